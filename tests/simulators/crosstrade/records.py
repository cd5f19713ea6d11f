"""What the book keeps: positions, orders, executions."""

from dataclasses import dataclass
from enum import StrEnum


class MarketPosition(StrEnum):
    """NinjaTrader's words for a side, as they stand in answers."""

    LONG = "Long"
    SHORT = "Short"
    FLAT = "Flat"


class OrderState(StrEnum):
    """The states of NinjaTrader's orders that the simulator uses."""

    WORKING = "Working"
    PART_FILLED = "PartFilled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"


ACTIVE_STATES = frozenset({OrderState.WORKING, OrderState.PART_FILLED})


@dataclass(slots=True)
class Position:
    """A position, flat ones too: `side` is then the side it last had."""

    account: str
    instrument: str
    side: MarketPosition
    quantity: int
    """Unsigned, as the venue shows it."""
    average_price: float
    market_price: float
    point_value: float
    instrument_type: str = "Future"

    @property
    def market_position(self) -> MarketPosition:
        return self.side if self.quantity else MarketPosition.FLAT

    @property
    def profit_loss(self) -> float:
        """Of the whole position at the market price."""
        if not self.quantity:
            return 0.0
        direction = 1 if self.side is MarketPosition.LONG else -1
        return (self.market_price - self.average_price) * direction * self.quantity * self.point_value


@dataclass(slots=True)
class Order:
    """An order; `reduces` is the side of the position that its fills make smaller."""

    order_id: str
    account: str
    instrument: str
    instrument_type: str
    order_type: str
    reduces: MarketPosition
    quantity: int
    placed_at: float
    name: str = "Exit"
    price: float = 0.0
    """The stop or limit price; 0 for a market order."""
    state: OrderState = OrderState.WORKING
    filled: int = 0
    average_fill_price: float = 0.0

    @property
    def active(self) -> bool:
        return self.state in ACTIVE_STATES


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, at the clock's time in seconds since 1970."""

    execution_id: str
    order_id: str
    account: str
    instrument: str
    instrument_type: str
    name: str
    side: MarketPosition
    """The side of the fill, not of the position: a sale is Short."""
    position: int
    """What is left of the position, negative when short."""
    price: float
    quantity: int
    at: float


@dataclass(frozen=True, slots=True)
class Flattened:
    """What a flatten found and did."""

    closed: tuple[Position, ...]
    """As they stood before."""
    closing_ids: tuple[str, ...]
    cancelled_ids: tuple[str, ...]
