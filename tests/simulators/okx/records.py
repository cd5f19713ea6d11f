"""What the book keeps: instruments, positions, orders, algo orders, fills. Quantities are Decimal, times seconds."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class PositionMode(StrEnum):
    """OKX's words for whether long and short of one instrument are one position or two."""

    NET = "net_mode"
    LONG_SHORT = "long_short_mode"


class OrderState(StrEnum):
    """OKX docs, GET order: the states that the simulator uses."""

    LIVE = "live"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"


ACTIVE_STATES = frozenset({OrderState.LIVE, OrderState.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be held; MARGIN pairs are counted in their base currency, contracts in contracts."""

    inst_id: str
    inst_type: str
    contract_value: Decimal
    lot: Decimal
    least: Decimal
    tick: Decimal
    most_at_market: Decimal
    expires_at: str = ""
    """In milliseconds, for FUTURES."""

    @property
    def family(self) -> str:
        return "-".join(self.inst_id.split("-")[:2])

    @property
    def base(self) -> str:
        return self.inst_id.split("-")[0]

    @property
    def quote(self) -> str:
        return self.inst_id.split("-")[1]

    @property
    def is_margin(self) -> bool:
        return self.inst_type == "MARGIN"


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a position one position."""

    inst_id: str
    margin_mode: str
    pos_side: str
    """`net`, or in long/short mode `long` or `short`."""


@dataclass(slots=True)
class Position:
    """A position, closed ones too."""

    key: Key
    instrument: Instrument
    pos_id: str
    signed: Decimal = ZERO
    """Below zero when short, in both modes."""
    average_price: Decimal = ZERO
    mark_price: Decimal = ZERO
    lever: Decimal = Decimal(10)
    available: Decimal = ZERO
    """What no pending closing order holds, without a sign."""
    opened_at: float = 0.0
    updated_at: float = 0.0
    direction: str = "long"
    """The side it has, or had last."""
    trade_id: str = ""
    largest: Decimal = ZERO
    closed: Decimal = ZERO
    """How much of it was closed since it was opened, and for how much in all."""
    closed_for: Decimal = ZERO
    realized: Decimal = ZERO
    fee: Decimal = ZERO

    @property
    def inst_id(self) -> str:
        return self.key.inst_id

    @property
    def margin_mode(self) -> str:
        return self.key.margin_mode

    @property
    def pos_side(self) -> str:
        return self.key.pos_side

    @property
    def quantity(self) -> Decimal:
        """Signed for `net`, else without a sign: as the venue shows contracts."""
        return self.signed if self.pos_side == "net" else abs(self.signed)

    @property
    def profit_loss(self) -> Decimal:
        """Unrealized, at the mark price."""
        return (self.mark_price - self.average_price) * self.signed * self.instrument.contract_value


@dataclass(slots=True)
class Order:
    """An order, of a client or of a close."""

    order_id: str
    key: Key
    instrument: Instrument
    side: str
    """`buy` or `sell`."""
    order_type: str
    quantity: Decimal
    placed_at: float
    updated_at: float
    closes: bool
    """Whether it can only make its position smaller."""
    reduce_only: bool = False
    price: Decimal | None = None
    """Of a limit order."""
    client_id: str = ""
    tag: str = ""
    lever: Decimal = Decimal(10)
    state: OrderState = OrderState.LIVE
    filled: Decimal = ZERO
    filled_for: Decimal = ZERO
    pnl: Decimal = ZERO
    fee: Decimal = ZERO
    fills: list["Fill"] = field(default_factory=list)

    @property
    def active(self) -> bool:
        return self.state in ACTIVE_STATES

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class Fill:
    """One part of an order that was carried out."""

    trade_id: str
    bill_id: str
    order_id: str
    client_id: str
    tag: str
    key: Key
    instrument: Instrument
    side: str
    price: Decimal
    quantity: Decimal
    pnl: Decimal
    fee: Decimal
    """Below zero: it is paid."""
    at: float
    maker: bool = False


@dataclass(slots=True)
class AlgoOrder:
    """A stop or a target that waits for its trigger; here nothing triggers it."""

    algo_id: str
    key: Key
    instrument: Instrument
    side: str
    order_type: str
    quantity: Decimal
    trigger_price: Decimal
    placed_at: float
    client_id: str = ""
    active: bool = True
