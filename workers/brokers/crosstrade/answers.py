"""What CrossTrade's answers mean: our values out of its bodies, whichever way they came. Pure.

Pages: https://crosstrade.io/docs (the API's reference) and https://docs.crosstrade.io (the older copy).
Each function raises NothingOpen, Refused, Throttled or OutcomeUnknown where there is no definite success, and Unreadable
where there seems to be one whose shape is not the documented one: that settles nothing either.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from app.domain.positions import Fill, Order, Position, Report, Side
from workers.brokers.broker import Page
from workers.brokers.crosstrade.envelope import Answer, NothingOpen, body_of
from workers.brokers.crosstrade.fields import moment_of, number_of, optional_number_of, side_of
from workers.brokers.fields import Unreadable, text_of

T = TypeVar("T")

Parse = Callable[[Answer], T]

_ORDER_ENDED = {"filled", "cancelled", "rejected"}  # NinjaTrader's OrderState; anything else may still fill
# NinjaTrader's OrderType; anything else may be a close
_RESTING = {"limit", "stopmarket", "stoplimit", "mit"}


def whole(parse: Parse[tuple[T, ...]]) -> Parse[Page[T]]:
    """CrossTrade's lists come in one piece."""
    return lambda answer: Page(parse(answer))


def report_of(answer: Answer) -> Report:
    """What a close, a flatten or a cancel came to."""
    try:
        body = body_of(answer)
    except NothingOpen:
        return Report(nothing_open=True)
    if not isinstance(body, dict):
        raise Unreadable("a list where an object belongs")
    shown = [position_of(item) for item in _list(body.get("closedPositions", []))]
    # A flatten with nothing open is a success with an empty list; a success without any list tells nothing.
    # Its orderIds name the orders that it cancelled beside those that close, so they are left in the record.
    nothing = "closedPositions" in body and not shown
    return Report(tuple(position for position in shown if position), nothing_open=nothing)


def positions_of(answer: Answer) -> tuple[Position, ...]:
    """The open positions. Whether the list is bare or in an object differs between versions of the add-on."""
    return tuple(p for p in (position_of(item) for item in _items(answer, "positions")) if p)


def orders_of(answer: Answer) -> tuple[Order, ...]:
    """The orders that may still be filled: a state that we do not know counts as working."""
    return tuple(
        Order(
            text_of(item, "account"),
            text_of(item, "instrument"),
            text_of(item, "orderId"),
            market=str(item.get("orderType", "Market")).lower() not in _RESTING,
        )
        for item in _items(answer, "orders")
        if text_of(item, "orderState").lower() not in _ORDER_ENDED
    )


def fills_of(answer: Answer) -> tuple[Fill, ...]:
    """The executions. An execution's marketPosition is the side of the fill: a Short one is a sale."""
    return tuple(_fill_of(item) for item in _items(answer, "executions"))


def position_of(item: Any) -> Position | None:
    """A position object; None if it is flat. Raises Unreadable."""
    if not isinstance(item, dict):
        raise Unreadable("a position is not an object")
    side = side_of(item)
    quantity = number_of(item, "quantity")
    if quantity < 0 or (side is None and quantity):
        raise Unreadable(f"a quantity of {quantity} does not fit its side")
    if side is None or not quantity:
        return None
    return Position(
        account=text_of(item, "account"),
        instrument=text_of(item, "instrument"),
        side=side,
        quantity=quantity,
        average_price=optional_number_of(item, "averagePrice"),
        market_price=optional_number_of(item, "marketPrice"),
        profit_loss=optional_number_of(item, "unrealizedProfitLoss"),
        raw=item,
    )


def _fill_of(item: Any) -> Fill:
    filled = side_of(item)
    quantity = number_of(item, "quantity")
    if filled is None or quantity <= 0:
        raise Unreadable("an execution of nothing")
    return Fill(
        text_of(item, "account"),
        text_of(item, "instrument"),
        Side.LONG if filled is Side.SHORT else Side.SHORT,
        quantity,
        number_of(item, "price"),
        moment_of(item),
        str(item.get("orderId", "")),
    )


def _items(answer: Answer, name: str) -> list[Any]:
    body = body_of(answer)
    items = body if isinstance(body, list) else body.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unreadable(f"no list of {name}")
    return items


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("a list was expected")
    return value
