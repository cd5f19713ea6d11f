"""What each kind of broker can do: one row a venue, read by the checks at the door, the workers and the docs."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Venue:
    """The capabilities of one kind of broker."""

    kind: str
    title: str
    lot: Decimal
    """The step of quantities; a fraction is rounded up to it."""
    closing_can_flip: bool
    """Whether a closing order can open a position on the other side."""
    whole_close_needs_position: bool
    """Whether something of the position is needed to build the request of a whole close."""
    flatten_can_keep_orders: bool
    """Whether a flatten can leave working orders alone."""
    flattens_everything: bool
    """Whether it has a call that closes all that the credential reaches."""
    names_accounts: bool
    """Whether a credential reaches several accounts, to be named in hooks."""


VENUES = {
    venue.kind: venue
    for venue in (
        Venue(
            kind="crosstrade",
            title="CrossTrade (NinjaTrader 8)",
            lot=Decimal(1),
            closing_can_flip=False,  # the add-on caps a close at the open quantity
            whole_close_needs_position=False,
            flatten_can_keep_orders=False,  # NT8's flatten cancels the instrument's orders
            flattens_everything=True,
            names_accounts=True,
        ),
    )
}
