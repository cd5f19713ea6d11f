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
class Position:
    """An open position as a venue showed it. The quantity is above zero; prices are per unit, null where unsaid."""

    account: str
    instrument: str
    side: Side
    quantity: Decimal
    average_price: Decimal | None = None
    market_price: Decimal | None = None
    profit_loss: Decimal | None = None
    """Of the whole position at the market price, in the instrument's currency."""
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


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """An order at the venue that may still be filled."""

    account: str
    instrument: str
    order_id: str
    market: bool
    """Whether it is a market order, as our closes are; stops and targets are not."""


@dataclass(frozen=True, slots=True)
class Report:
    """A definite answer to a call that closes: what the venue says it is closing, in our terms."""

    positions: tuple[Position, ...] = ()
    order_ids: tuple[str, ...] = ()
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
