"""`python -m tests.capabilities`: writes the table of what each venue can do into docs/brokers.md, from its row."""

from collections.abc import Callable
from pathlib import Path

from app.domain.venues import VENUES, Venue

PAGE = Path(__file__).resolve().parents[1] / "docs" / "brokers.md"
BEGIN = "<!-- made of app/domain/venues.py by `python -m tests.capabilities` -->"
END = "<!-- end of the table -->"


def _yes_or_no(said: bool) -> str:
    return "yes" if said else "no"


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


ROWS: dict[str, tuple[str, Callable[[Venue], str]]] = {
    "base_url": ("reached at, unless `base_url` says otherwise", lambda it: f"`{it.base_url}`"),
    "credential": ("secrets", lambda it: _words(it.credential)),
    "settings": ("settings of its own", lambda it: _words(it.settings)),
    "transports": ("transports", lambda it: _words(it.transports)),
    "names_accounts": (
        "accounts",
        lambda it: "several, named in the hook" if it.names_accounts else "one, the broker's name",
    ),
    "example": ("an instrument", lambda it: f"`{it.example}`"),
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
    "cancels_by_order": (
        "working orders are cancelled",
        lambda it: "by their ids, read first" if it.cancels_by_order else "by instrument",
    ),
    "tells_prices_later": (
        "prices of a close",
        lambda it: "its orders and fills" if it.tells_prices_later else "marks in its answer",
    ),
}
"""A line of the table for each field of a venue's row."""

TOLD_ELSEWHERE = {"kind", "title", "symbol", "own_name", "account_name"}
"""The first two head a column; docs/alerts.md tells how names are written."""


def table() -> str:
    """What each venue can do, a column each, in Markdown."""
    venues = tuple(VENUES.values())
    lines = [
        ["", *(f"{venue.title}, `{venue.kind}`" for venue in venues)],
        ["---"] * (1 + len(venues)),
        *([label, *map(render, venues)] for label, render in ROWS.values()),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table_on_the_page() -> str:
    return PAGE.read_text().partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
