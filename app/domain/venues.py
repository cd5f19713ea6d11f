"""What each kind of broker can do: one row a venue, read by the checks at the door, the workers and the docs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from app.domain.instruments import is_opaque
from app.domain.symbols import crypto_symbol, futures_symbol, stock_symbol


@dataclass(frozen=True, slots=True)
class Venue:
    """The capabilities of one kind of broker."""

    kind: str
    title: str
    base_url: str
    """Where it is reached unless a broker's settings say otherwise."""
    credential: tuple[str, ...]
    """The secret settings that a broker of this kind needs."""
    settings: tuple[str, ...]
    """The settings that only some kinds have."""
    lot: Decimal | None
    """The step of quantities; a fraction is rounded up to it. None: each instrument has its own."""
    quantity_units: tuple[str, ...]
    """What a quantity may count."""
    closing_can_flip: bool
    """Whether a closing order can open a position on the other side."""
    whole_close_needs_position: bool
    """Whether something of the position is needed to build the request of a whole close."""
    whole_close_can_keep_orders: bool
    """Whether its call that closes a whole position can leave working orders alone."""
    flatten_can_keep_orders: bool
    """Whether a flatten can leave working orders alone."""
    names_accounts: bool
    """Whether a credential reaches several accounts, to be named in hooks."""
    opaque_names: bool
    """Whether an instrument may be named by an id (a UUID)."""
    cancels_at_once: int | None
    """Orders that one call cancels, each by its id, so that they are read first; None: all of an instrument."""
    tells_prices_later: bool
    """Whether what a close came to is told by its orders and fills, not by its answer."""
    transports: tuple[str, ...]
    symbol: Callable[[str], str]
    """The built-in rule from a chart's name to its own."""
    own_name: re.Pattern[str]
    """How it spells one contract itself."""
    takes_aliases: bool
    """Whether it takes other names too (a continuous future); they are resolved by a read before they are sent."""
    example: str
    """How an instrument is written there."""
    account_name: re.Pattern[str]
    """How its accounts are written."""

    def takes(self, name: str) -> bool:
        """Whether a name can be an instrument's at this venue."""
        return self.takes_aliases or self.spells(name) or (self.opaque_names and is_opaque(name))

    def spells(self, name: str) -> bool:
        """Whether a name is the venue's own, of exactly one contract."""
        return self.own_name.fullmatch(name) is not None


VENUES = {
    venue.kind: venue
    for venue in (
        Venue(
            kind="crosstrade",
            title="CrossTrade (NinjaTrader 8)",
            base_url="https://app.crosstrade.io",
            credential=("token",),
            settings=(),
            lot=Decimal(1),
            quantity_units=("contracts",),
            closing_can_flip=False,  # the add-on caps a close at the open quantity
            whole_close_needs_position=False,
            whole_close_can_keep_orders=False,
            flatten_can_keep_orders=False,  # NT8's flatten cancels the instrument's orders
            names_accounts=True,
            opaque_names=False,
            cancels_at_once=None,
            tells_prices_later=False,
            transports=("rest", "websocket"),
            symbol=futures_symbol,
            own_name=re.compile(r"[A-Z0-9.]+ (0[1-9]|1[0-2])-\d{2}"),
            takes_aliases=True,
            example="MES 12-26",
            account_name=re.compile(r".+"),
        ),
        Venue(
            kind="clearstreet",
            title="Clear Street",
            base_url="https://api.clearstreet.com",
            credential=("api_key",),
            settings=(),
            lot=Decimal(1),
            quantity_units=("contracts",),
            closing_can_flip=True,  # its orders have no reduce-only
            whole_close_needs_position=True,  # what is closing already must be known
            whole_close_can_keep_orders=False,  # it closes all of a position, whatever its orders will close
            flatten_can_keep_orders=True,
            names_accounts=True,
            opaque_names=True,
            cancels_at_once=None,
            tells_prices_later=True,
            transports=("rest",),
            symbol=stock_symbol,
            own_name=re.compile(r"[A-Z]{1,6}(\.[A-Z]{1,2})?|[A-Z.]{1,6} *\d{6}[CP]\d{8}"),  # a ticker, or OSI
            takes_aliases=False,
            example="AAPL",
            account_name=re.compile(r"[0-9]{1,19}"),
        ),
        Venue(
            kind="okx",
            title="OKX",
            base_url="https://www.okx.com",
            credential=("api_key", "api_secret", "passphrase"),
            settings=("demo", "margin_mode"),
            lot=None,
            quantity_units=("contracts", "base"),
            closing_can_flip=False,  # close-position and reduce-only orders only ever reduce
            whole_close_needs_position=True,  # its margin mode and side stand in the request
            whole_close_can_keep_orders=True,  # autoCxl
            flatten_can_keep_orders=True,
            names_accounts=False,
            opaque_names=False,
            cancels_at_once=20,
            tells_prices_later=True,
            transports=("rest",),
            symbol=crypto_symbol,
            own_name=re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*"),
            takes_aliases=False,
            example="BTC-USDT-SWAP",
            account_name=re.compile(r".+"),
        ),
    )
}
