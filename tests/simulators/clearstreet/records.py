"""What the book keeps: instruments, positions, orders, executions, and how an order is to end."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tests.simulators.line import FillPlan


class Side(StrEnum):
    """The side of an order or of a fill. SDK 0.11.0 knows no SELL_SHORT any more."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class OrderStatus(StrEnum):
    """SDK 0.11.0, types/v1/order_status.py."""

    PENDING_NEW = "PENDING_NEW"
    QUEUED = "QUEUED"
    PENDING_TRIGGER = "PENDING_TRIGGER"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"
    REPLACED = "REPLACED"
    DONE_FOR_DAY = "DONE_FOR_DAY"
    STOPPED = "STOPPED"
    SUSPENDED = "SUSPENDED"
    CALCULATED = "CALCULATED"
    OTHER = "OTHER"


ENDED = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.REPLACED,
        OrderStatus.DONE_FOR_DAY,
    }
)
"""brokers.md, 3.4: nothing may follow these. OTHER says nothing, so such an order still counts as open."""


class QueueState(StrEnum):
    """Of an order that was sent outside hours."""

    AWAITING_RELEASE = "AWAITING_RELEASE"
    RELEASED = "RELEASED"


@dataclass(frozen=True, slots=True)
class Instrument:
    """`symbol` is as the positions list shows it: an option's OSI symbol without padding."""

    instrument_id: str
    symbol: str
    instrument_type: str
    venue: str
    """MIC code, as it stands in orders."""
    multiplier: int = 1
    """Units of the underlying in one contract."""


@dataclass(slots=True)
class Position:
    """What an account holds of an instrument, negative when short."""

    account: int
    instrument: Instrument
    quantity: Decimal
    average_price: Decimal
    market_price: Decimal
    available: Decimal
    """Unsigned: what no open order on the closing side speaks for."""
    realized: Decimal = Decimal()
    """The session's profit or loss of what was closed."""
    closing_price: Decimal | None = None
    closing_date: str | None = None

    @property
    def closing_side(self) -> Side:
        return Side.SELL if self.quantity > 0 else Side.BUY

    @property
    def cost_basis(self) -> Decimal:
        return self.quantity * self.average_price * self.instrument.multiplier

    @property
    def market_value(self) -> Decimal:
        return self.quantity * self.market_price * self.instrument.multiplier


@dataclass(slots=True)
class Order:
    """An order. Times are seconds since 1970."""

    order_id: str
    account: int
    instrument: Instrument
    side: Side
    quantity: Decimal
    client_order_id: str
    created_at: float
    updated_at: float
    order_type: str = "MARKET"
    time_in_force: str = "DAY"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    position_intent: str | None = None
    status: OrderStatus = OrderStatus.PENDING_NEW
    filled: Decimal = Decimal()
    average_fill_price: Decimal | None = None
    details: tuple[str, ...] = ()
    queue_state: QueueState | None = None
    releases_at: float | None = None

    @property
    def open(self) -> bool:
        return self.status not in ENDED

    @property
    def unfilled(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def leaves(self) -> Decimal:
        """What may still be filled."""
        return self.unfilled if self.open else Decimal()


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, at the clock's time in seconds since 1970."""

    execution_id: str
    order_id: str
    account: int
    instrument: Instrument
    side: Side
    quantity: Decimal
    price: Decimal
    at: float


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order that somebody asks for. `client_order_id` None lets the venue name it."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    order_type: str = "MARKET"
    time_in_force: str = "DAY"
    client_order_id: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    position_intent: str | None = None


@dataclass(frozen=True, slots=True)
class Ending(FillPlan):
    """How an order ends otherwise than by filling: after `delay`, with so much of it filled."""

    status: OrderStatus = OrderStatus.REJECTED
    filled: Decimal = Decimal()
    details: tuple[str, ...] = ()
