"""What is open at a venue, what was filled there, and what a command closed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Side(StrEnum):
    """The side of a position, not of the order that closes it."""

    LONG = "long"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class Place:
    """Which position of several: enough to know it again."""

    account: str
    instrument: str
    side: Side
    handle: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """An open position as a venue showed it. The quantity is above zero; prices are per unit, null where unsaid."""

    account: str
    instrument: str
    side: Side
    quantity: Decimal
    average_price: Decimal | None = None
    market_price: Decimal | None = None
    profit_loss: Decimal | None = None
    """Of the whole position at the market price, in its currency."""
    currency: str | None = None
    unit_value: Decimal | None = None
    """The money that one unit gains for each point of price; None where the venue does not tell."""
    opened_at: datetime | None = None
    handle: Mapping[str, str] = field(default_factory=dict)
    """The venue's own words for exactly this position, for its adapter to say in a request. Opaque to all others."""
    aliases: tuple[str, ...] = ()
    """Other names of its instrument at the venue: an id, say."""
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a command does to one position: how much there was, shall be left, and is left. Null is not known yet."""

    account: str
    instrument: str
    side: Side
    before: Decimal
    target: Decimal
    after: Decimal | None = None
    average_price: Decimal | None = None
    market_price: Decimal | None = None
    profit_loss: Decimal | None = None
    currency: str | None = None
    unit_value: Decimal | None = None
    opened_at: datetime | None = None
    handle: Mapping[str, str] = field(default_factory=dict)
    """As of the position: two holdings of one contract and side may differ in it alone."""
    aliases: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        return Place(self.account, self.instrument, self.side, self.handle)


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution that reduces positions on one side (a sale reduces longs)."""

    account: str
    instrument: str
    reduces: Side
    quantity: Decimal
    price: Decimal
    at: datetime
    order_id: str | None = None
    profit_loss: Decimal | None = None
    """What it realised, as the venue reckons it."""
    currency: str | None = None


class OrderState(StrEnum):
    """How far an order got, in our terms."""

    WORKING = "working"
    """It may still fill."""
    HELD = "held"
    """The venue took it and keeps it until later: until the market opens, say."""
    FILLED = "filled"
    ENDED = "ended"
    """It fills no more, and was not filled whole: rejected, cancelled, expired."""

    @property
    def live(self) -> bool:
        return self in (OrderState.WORKING, OrderState.HELD)


@dataclass(frozen=True, slots=True)
class Order:
    """An order at the venue."""

    account: str
    instrument: str
    """Blank where it has none of its own: an order of several legs could be of any."""
    order_id: str
    market: bool
    """Whether it is a market order, as our closes are; stops and targets are not."""
    state: OrderState = OrderState.WORKING
    reduces: Side | None = None
    """The side of the positions that it makes smaller; None where the venue does not say."""
    quantity: Decimal | None = None
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    """Of what was filled."""
    profit_loss: Decimal | None = None
    """What it realised, as the venue reckons it."""
    currency: str | None = None
    client_id: str | None = None
    detail: str | None = None
    """The venue's own words for its state, and the reason it gives."""
    aliases: tuple[str, ...] = ()

    @property
    def leaves(self) -> Decimal | None:
        """What it may still fill; None where its quantity is not known."""
        return None if self.quantity is None else self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class Report:
    """A definite answer to a call that closes: what the venue says it is closing, in our terms."""

    positions: tuple[Position, ...] = ()
    order_ids: tuple[str, ...] = ()
    """Of the orders that it sent for this call; empty where the answer does not name them."""
    nothing_open: bool = False
    """The venue says that there is nothing to close: a claim to be checked by a read, not a fact."""


class Source(StrEnum):
    """Where the numbers of a closed position come from."""

    FILLS = "fills"
    SNAPSHOT = "snapshot"
    """A mark at the time of closing, not a fill: an estimate."""


@dataclass(frozen=True, slots=True)
class ClosedPosition:
    """What a command closed of one position. Null is what the venue did not say."""

    account: str
    instrument: str
    side: Side | None
    quantity: Decimal | None
    average_price: Decimal | None
    close_price: Decimal | None
    profit_loss: Decimal | None
    source: Source
    order_ids: tuple[str, ...] = ()
    currency: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
