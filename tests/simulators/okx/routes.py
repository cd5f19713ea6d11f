"""Which call a method and a path mean, how often it may be made, and whether it is anybody's."""

from dataclasses import dataclass
from enum import StrEnum

from . import calls, reads
from .calls import Call

PREFIX = "/api/v5"


class Operation(StrEnum):
    """Kinds of calls, as bad days name them."""

    CLOSE = "close"
    ORDER = "order"
    CANCEL = "cancel"
    POSITIONS = "positions"
    POSITIONS_HISTORY = "positions_history"
    LOOKUP = "lookup"
    """One order by its id."""
    ORDERS = "orders"
    FILLS = "fills"
    ALGOS = "algos"
    CANCEL_ALGOS = "cancel_algos"
    ACCOUNT = "account"
    INSTRUMENTS = "instruments"
    TIME = "time"


SENDS_ORDERS = frozenset({Operation.CLOSE, Operation.ORDER})


@dataclass(frozen=True, slots=True)
class Route:
    """A call; `often` is how many are let through in two seconds, of each instrument if so."""

    method: str
    path: str
    call: Call
    operation: Operation
    often: int
    by_instrument: bool = False
    public: bool = False


# OKX docs, each call's own rate limit.
ROUTES = (
    Route("POST", "/trade/close-position", calls.close_position, Operation.CLOSE, 20, True),
    Route("POST", "/trade/order", calls.place_order, Operation.ORDER, 60, True),
    Route("POST", "/trade/batch-orders", calls.place_batch, Operation.ORDER, 300),
    Route("POST", "/trade/cancel-order", calls.cancel_order, Operation.CANCEL, 60, True),
    Route("POST", "/trade/cancel-batch-orders", calls.cancel_batch, Operation.CANCEL, 300),
    Route("POST", "/trade/cancel-algos", calls.cancel_algos, Operation.CANCEL_ALGOS, 20),
    Route("GET", "/trade/order", reads.order, Operation.LOOKUP, 60, True),
    Route("GET", "/trade/orders-pending", reads.orders_pending, Operation.ORDERS, 60),
    Route("GET", "/trade/orders-history", reads.orders_history, Operation.ORDERS, 40),
    Route("GET", "/trade/fills", reads.fills, Operation.FILLS, 60),
    Route("GET", "/trade/fills-history", reads.fills_history, Operation.FILLS, 10),
    Route("GET", "/trade/orders-algo-pending", reads.algos_pending, Operation.ALGOS, 20),
    Route("GET", "/account/positions", reads.positions, Operation.POSITIONS, 10),
    Route("GET", "/account/positions-history", reads.positions_history, Operation.POSITIONS_HISTORY, 10),
    Route("GET", "/account/config", reads.account_config, Operation.ACCOUNT, 5),
    Route("GET", "/asset/currencies", reads.currencies, Operation.ACCOUNT, 12),
    Route("GET", "/public/time", reads.server_time, Operation.TIME, 20, public=True),
    Route("GET", "/public/instruments", reads.instruments, Operation.INSTRUMENTS, 40, public=True),
)


def at(path: str) -> dict[str, Route]:
    """The calls of a path by their methods."""
    return {route.method: route for route in ROUTES if PREFIX + route.path == path}
