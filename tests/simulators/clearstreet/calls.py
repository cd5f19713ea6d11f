"""The venue's calls: what a path, a query and a body ask for, in a status and JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from tests.simulators.line import Answer, FillPlan

from . import arguments as take
from .book import Book
from .errors import InvalidRequest, Refusal, UnknownInstrument
from .paging import page
from .presentation import (
    Json,
    account_json,
    account_name,
    execution_json,
    failure,
    order_json,
    position_json,
    success,
    timestamp,
)
from .records import Instrument, NewOrder, Order, OrderStatus, Side
from .routes import Operation

PAGING = ("page_size", "page_token")
# SDK 0.11.0, types/v1: request_order_type, request_time_in_force, request_position_effect, security_type.
ORDER_TYPES = ("MARKET", "LIMIT", "STOP", "STOP_LIMIT", "TRAILING_STOP", "TRAILING_STOP_LIMIT")
TIMES_IN_FORCE = (
    "DAY",
    "GOOD_TILL_CANCEL",
    "IMMEDIATE_OR_CANCEL",
    "FILL_OR_KILL",
    "GOOD_TILL_DATE",
    "AT_OPEN",
    "AT_CLOSE",
)
INTENTS = ("OPEN", "CLOSE")
INSTRUMENT_TYPES = ("COMMON_STOCK", "INDEX", "OPTION", "CASH")
SIDES = tuple(Side)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as it matters to a call."""

    operation: Operation
    named: Mapping[str, str]
    """What the path says."""
    query: Mapping[str, str]
    content: bytes = b""

    @property
    def account(self) -> int:
        return take.account(self.named["account"])


Call = Callable[[Book, Asked, FillPlan | None], Answer]


def answer(book: Book, asked: Asked, plan: FillPlan | None = None) -> Answer:
    """Carry out one call. `plan` is how its market orders go, if not as the book says."""
    try:
        return CALLS[asked.operation](book, asked, plan)
    except Refusal as exc:
        return refused(exc)


def refused(refusal: Refusal) -> Answer:
    return Answer(refusal.status, failure(refusal.status, refusal.message, refusal.details))


def close_position(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    cancel_orders = take.cancels_orders(asked.content)
    return _sent(book, book.close(asked.account, asked.named["instrument"], cancel_orders, plan))


def close_positions(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    return _sent(book, book.close_all(asked.account, take.cancels_orders(asked.content), plan))


def get_positions(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.known_filters(asked.query, (*PAGING, "instrument_ids"))
    # brokers.md, 3.3: this filter takes UUIDs only.
    ids = [_uuid(text) for text in take.several(asked.query, "instrument_ids")]
    positions = [
        position_json(position)
        for position in book.positions(asked.account)
        if not ids or position.instrument.instrument_id in ids
    ]
    return _page(asked, positions)


def get_orders(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.known_filters(
        asked.query,
        (*PAGING, "order_ids", "status", "symbol", "instrument_ids", "instrument_type", "from", "to"),
    )
    query, names = asked.query, take.several(asked.query, "order_ids")
    statuses = take.one_of(query, "status", tuple(OrderStatus))
    of_instrument = _instrument_filter(book, query)
    symbol = book.instrument(query["symbol"]) if "symbol" in query else None
    within = _within(query)
    orders = [
        order_json(order, book.timestamps)
        for order in reversed(book.orders(asked.account))
        # SDK 0.11.0: each of them may be an order's id or its client order id, at any time.
        if (not names or order.order_id in names or order.client_order_id in names)
        and (not statuses or order.status in statuses)
        and ("symbol" not in query or order.instrument == symbol)
        and of_instrument(order.instrument)
        and within(order.created_at)
    ]
    return _page(asked, orders)


def get_order(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    order = book.order(asked.account, asked.named["order"])
    return Answer(200, success(order_json(order, book.timestamps)))


def submit_orders(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    wanted = [_new_order(book, fields) for fields in take.array(asked.content)]
    submitted = book.submit(asked.account, wanted, plan)
    return _sent(book, submitted.orders, submitted.acted)


def cancel_orders(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.known_filters(asked.query, ("instrument_ids", "instrument_type", "side", "type"))
    of_instrument = _instrument_filter(book, asked.query)
    sides = take.one_of(asked.query, "side", SIDES)
    types = take.one_of(asked.query, "type", (*ORDER_TYPES, "OTHER"))

    def matches(order: Order) -> bool:
        return (
            of_instrument(order.instrument)
            and (not sides or order.side in sides)
            and (not types or order.order_type in types)
        )

    return _sent(book, book.cancel_orders(asked.account, matches))


def cancel_order(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    order = book.cancel_order(asked.account, asked.named["order"])
    return Answer(200, success(order_json(order, book.timestamps)), acted=order.open)


def get_executions(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.known_filters(asked.query, (*PAGING, "instrument_ids", "order_ids", "from", "to"))
    ids = take.several(asked.query, "order_ids")
    of_instrument, within = _instrument_filter(book, asked.query), _within(asked.query)
    executions = [
        execution_json(fill, book.timestamps)
        # SDK 0.11.0: by transaction time, the latest first.
        for fill in reversed(book.executions(asked.account))
        if (not ids or fill.order_id in ids) and of_instrument(fill.instrument) and within(fill.at)
    ]
    return _page(asked, executions)


def get_accounts(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.known_filters(asked.query, (*PAGING, "account_id", "account_name"))
    # SDK 0.11.0: a prefix of the id, a part of the name in any case.
    prefix = asked.query.get("account_id", "")
    part = asked.query.get("account_name", "").casefold()
    accounts = [
        account_json(account)
        for account in book.accounts()
        if str(account).startswith(prefix) and part in account_name(account).casefold()
    ]
    return _page(asked, accounts)


def get_clock(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    return Answer(200, success({"clock": timestamp(book.now(), book.timestamps)}))


def _sent(book: Book, orders: list[Order], acted: bool | None = None) -> Answer:
    shown = [order_json(order, book.timestamps) for order in orders]
    return Answer(200, success(shown), acted=bool(orders) if acted is None else acted)


def _page(asked: Asked, items: list[Json]) -> Answer:
    shown, metadata = page(items, asked.query)
    return Answer(200, success(shown, metadata))


def _new_order(book: Book, fields: take.Fields) -> NewOrder:
    order_type = fields.choice("order_type", ORDER_TYPES)
    quantity = fields.amount("quantity")
    side = Side(fields.choice("side", SIDES))
    time_in_force = fields.choice("time_in_force", TIMES_IN_FORCE)
    limit_price, stop_price = fields.optional_amount("limit_price"), fields.optional_amount("stop_price")
    if order_type in ("LIMIT", "STOP_LIMIT") and limit_price is None:
        raise InvalidRequest(f"limit_price is required for {order_type} orders")
    if order_type in ("STOP", "STOP_LIMIT") and stop_price is None:
        raise InvalidRequest(f"stop_price is required for {order_type} orders")
    client_order_id = fields.optional("id")
    if client_order_id is not None and not 1 <= len(client_order_id) <= take.LONGEST_ID:
        raise InvalidRequest(f"id must have 1 to {take.LONGEST_ID} characters")
    name = fields.optional("instrument_id") or fields.optional("symbol")
    if not name:
        raise InvalidRequest("Either symbol or instrument_id must be provided")
    instrument = book.instrument(name)
    if instrument is None:
        raise UnknownInstrument(name)
    intent = fields.optional_choice("position_intent", INTENTS)
    return NewOrder(
        instrument,
        side,
        quantity,
        order_type,
        time_in_force,
        client_order_id,
        limit_price,
        stop_price,
        intent,
    )


def _instrument_filter(book: Book, query: Mapping[str, str]) -> Callable[[Instrument], bool]:
    names = take.several(query, "instrument_ids")
    wanted = [book.instrument(name) for name in names]
    types = take.one_of(query, "instrument_type", INSTRUMENT_TYPES)
    return lambda instrument: (
        (not names or instrument in wanted) and (not types or instrument.instrument_type in types)
    )


def _within(query: Mapping[str, str]) -> Callable[[float], bool]:
    earliest, latest = take.moment(query, "from"), take.moment(query, "to")

    def within(seconds: float) -> bool:
        at = datetime.fromtimestamp(seconds, UTC)
        return (earliest is None or at >= earliest) and (latest is None or at <= latest)

    return within


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        message = f"Failed to deserialize query string: instrument_ids: invalid UUID `{text}`"
        raise InvalidRequest(message) from None


CALLS: dict[Operation, Call] = {
    Operation.CLOSE: close_position,
    Operation.CLOSE_ALL: close_positions,
    Operation.POSITIONS: get_positions,
    Operation.SUBMIT: submit_orders,
    Operation.ORDER: get_order,
    Operation.ORDERS: get_orders,
    Operation.CANCEL: cancel_order,
    Operation.CANCEL_ALL: cancel_orders,
    Operation.EXECUTIONS: get_executions,
    Operation.ACCOUNTS: get_accounts,
    Operation.CLOCK: get_clock,
}
