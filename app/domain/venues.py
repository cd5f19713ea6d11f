"""What each kind of broker can do: one row a venue, read by the checks at the door, the workers and the docs."""

import re
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
    own_name: re.Pattern[str]
    """How it spells one contract itself. Any other name is resolved by a read before it is sent."""

    def spells(self, name: str) -> bool:
        """Whether a name is the venue's own, of exactly one contract."""
        return self.own_name.fullmatch(name) is not None


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
            own_name=re.compile(r"[A-Z0-9.]+ (0[1-9]|1[0-2])-\d{2}"),  # NinjaTrader's, `MES 12-26`
        ),
    )
}
