"""What a venue's row says, in words: the docs and the dashboard show the same."""

from collections.abc import Callable

from app.domain.venues import Venue


def _yes_or_no(said: bool) -> str:
    return "yes" if said else "no"


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


CAPABILITIES: dict[str, tuple[str, Callable[[Venue], str]]] = {
    "base_url": ("reached at, unless `base_url` says otherwise", lambda it: it.base_url),
    "credential": ("secrets", lambda it: _words(it.credential)),
    "settings": ("settings of its own", lambda it: _words(it.settings)),
    "transports": ("transports", lambda it: _words(it.transports)),
    "names_accounts": (
        "accounts",
        lambda it: "several, named in the hook" if it.names_accounts else "one, the broker's name",
    ),
    "example": ("an instrument", lambda it: it.example),
    "takes_aliases": (
        "a name that is not its own, after mapping",
        lambda it: "resolved by a read" if it.takes_aliases else "refused",
    ),
    "opaque_names": ("an instrument by its id (a UUID)", lambda it: _yes_or_no(it.opaque_names)),
    "quantity_units": ("a quantity may count", lambda it: _words(it.quantity_units)),
    "lot": (
        "step of quantities",
        lambda it: "the instrument's own" if it.lot is None else f"{it.lot:f}",
    ),
    "closing_can_flip": (
        "a closing order can open the other side",
        lambda it: _yes_or_no(it.closing_can_flip),
    ),
    "whole_close_needs_position": (
        "the position is read before a whole close",
        lambda it: "always" if it.whole_close_needs_position else "only for a name not its own",
    ),
    "whole_close_can_keep_orders": (
        "a whole close that keeps working orders",
        lambda it: "the same call" if it.whole_close_can_keep_orders else "a close by quantity",
    ),
    "flatten_can_keep_orders": (
        "a flatten can keep working orders",
        lambda it: _yes_or_no(it.flatten_can_keep_orders),
    ),
    "cancels_at_once": (
        "working orders are cancelled",
        lambda it: (
            f"by their ids, read first, {it.cancels_at_once} a call"
            if it.cancels_at_once
            else "by instrument"
        ),
    ),
    "tells_prices_later": (
        "prices of a close",
        lambda it: "its orders and fills" if it.tells_prices_later else "marks in its answer",
    ),
}
"""A line of the table for each field of a venue's row."""

TOLD_ELSEWHERE = {"kind", "title", "symbol", "own_name", "account_name"}
"""The first two head a column; docs/alerts.md tells how names are written."""
