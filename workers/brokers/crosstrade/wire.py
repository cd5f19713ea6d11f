"""CrossTrade's REST words: requests out of our values, and our values out of its answers. Pure.

Pages: https://crosstrade.io/docs (the API's reference) and https://docs.crosstrade.io (the older copy).
No other module knows its paths and field names.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from app.domain.failures import OutcomeUnknown, Refused, Throttled
from app.domain.positions import Fill, Order, Position, Report, Side
from workers.brokers.http import HttpAnswer, HttpRequest

EXECUTIONS_REACH = 900
"""Seconds. The executions page: lookbackTime is at most 900."""

_NOTHING_OPEN = re.compile(r"No positions? found for instrument", re.IGNORECASE)
_SIDES = {"long": Side.LONG, "short": Side.SHORT}
_ORDER_ENDED = {"filled", "cancelled", "rejected"}  # NinjaTrader's OrderState; anything else may still fill
_RESTING = {
    "limit",
    "stopmarket",
    "stoplimit",
    "mit",
}  # NinjaTrader's OrderType; anything else may be a close
_LARGEST = Decimal(10) ** 15  # no quantity, price or profit is larger; what the ledger's columns take
_FIRST_MOMENT, _LAST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_LONGEST_WAIT = 86_400.0  # seconds


class Unreadable(Exception):
    """Raised when an answer has not the shape that the pages promise."""


# Requests


def positions_request() -> HttpRequest:
    """https://crosstrade.io/docs, positions: flat ones are left out unless asked for."""
    return HttpRequest("GET", "/v1/api/positions?includeFlat=false")


def orders_request(account: str) -> HttpRequest:
    """https://crosstrade.io/docs, orders."""
    return HttpRequest("GET", f"/v1/api/accounts/{segment(account)}/orders?activeOnly=true")


def executions_request(account: str, seconds: int) -> HttpRequest:
    """https://crosstrade.io/docs, executions."""
    query = urlencode({"lookbackTime": seconds})
    return HttpRequest("GET", f"/v1/api/accounts/{segment(account)}/executions?{query}")


def close_request(account: str, instrument: str, quantity: Decimal | None) -> HttpRequest:
    """https://crosstrade.io/docs, close position: without a quantity all of it, with its working orders.

    A percent is never sent: it would be of what remains, so a repeat would close more.
    """
    body: dict[str, Any] = {"instrument": named(instrument)}
    if quantity is not None:
        body["quantity"] = contracts(quantity)
    return HttpRequest("POST", f"/v1/api/accounts/{segment(account)}/positions/close", body=body)


def flatten_request(account: str | None, instrument: str | None, side: Side | None) -> HttpRequest:
    """https://crosstrade.io/docs, flatten: all filters must match. An empty filter is everything, so there is none."""
    filters = {
        "account": None if account is None else named(account),
        "instrument": None if instrument is None else named(instrument),
        "marketPosition": None if side is None else str(side),
    }
    body = {name: value for name, value in filters.items() if value is not None}
    if not body:
        raise ValueError("a flatten without a filter closes everything: that is flatten_everything_request")
    return HttpRequest("POST", "/v1/api/positions/flatten", body=body)


def flatten_everything_request() -> HttpRequest:
    """https://crosstrade.io/docs, flatten: `{}` closes every position and cancels every order on every account."""
    return HttpRequest("POST", "/v1/api/positions/flatten", body={})


def cancel_orders_request(account: str, instrument: str) -> HttpRequest:
    """https://crosstrade.io/docs, cancel orders: without an instrument it would be the whole account's."""
    path = f"/v1/api/accounts/{segment(account)}/orders/cancel"
    return HttpRequest("POST", path, body={"instrument": named(instrument)})


def named(name: str) -> str:
    """A name that may go into a request; raises ValueError for one that could change its meaning."""
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"not a name: {name!r}")
    return name


def segment(name: str) -> str:
    """A name as one segment of a path. HTTP clients fold dot segments even when quoted, so those are no names."""
    if named(name) in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"not a name for a path: {name!r}")
    return quote(name, safe="")


def contracts(quantity: Decimal) -> int:
    """A quantity as the whole number that the venue takes; raises ValueError rather than round."""
    if not quantity.is_finite() or quantity <= 0 or quantity != quantity.to_integral_value():
        raise ValueError(f"not a number of contracts: {quantity}")
    return int(quantity)


# Answers


def body_of(answer: HttpAnswer) -> Any:
    """The body of a definite success. Raises Refused, Throttled or OutcomeUnknown.

    https://crosstrade.io/docs, errors: success is 200 with `success` true; errors are `{"error": …}` or
    `{"success": false, "error": …}`. 408 covers both "never reached NinjaTrader" and "no reply in time", and no page
    says what a 5xx leaves behind: neither proves anything.
    """
    body = answer.body
    error = body.get("error") if isinstance(body, dict) else None
    record = answer.for_the_record()
    if answer.status == 200 and _succeeded(body):
        return body
    if isinstance(error, str) and error:
        if answer.status == 429:  # refused by the limiter, before the add-on sees it
            raise Throttled(f"CrossTrade: {error}", answer=record, retry_after=_retry_after(answer.headers))
        if answer.status in (200, 400, 401, 403, 404):
            detail = body.get("detail")
            said = f"{error}: {detail}" if isinstance(detail, str) and detail else error
            raise Refused(f"CrossTrade: {said}", answer=record)
    raise OutcomeUnknown(f"CrossTrade answered {answer.status} in a form that settles nothing", answer=record)


def report_of(answer: HttpAnswer) -> Report:
    """What a close, a flatten or a cancel came to."""
    if _says_nothing_open(answer):
        return Report(nothing_open=True)
    body = body_of(answer)
    with_evidence = answer.for_the_record()
    if not isinstance(body, dict):
        raise OutcomeUnknown("CrossTrade answered with a list where an object belongs", answer=with_evidence)
    try:
        shown = [position_of(item) for item in _list(body.get("closedPositions", []))]
    except Unreadable as exc:
        raise OutcomeUnknown(f"CrossTrade's answer can't be read: {exc}", answer=with_evidence) from exc
    # A flatten with nothing open is a success with an empty list; a success without any list tells nothing.
    # Its orderIds name the orders that it cancelled beside those that close, so they are left in the record.
    nothing = "closedPositions" in body and not shown
    return Report(tuple(position for position in shown if position), nothing_open=nothing)


def positions_of(answer: HttpAnswer) -> tuple[Position, ...]:
    """The open positions. Whether the list is bare or in an object differs between versions of the add-on."""
    return tuple(p for p in (position_of(item) for item in _items(answer, "positions")) if p)


def orders_of(answer: HttpAnswer) -> tuple[Order, ...]:
    """The orders that may still be filled: a state that we do not know counts as working."""
    return tuple(
        Order(
            _text(item, "account"),
            _text(item, "instrument"),
            _text(item, "orderId"),
            market=str(item.get("orderType", "Market")).lower() not in _RESTING,
        )
        for item in _items(answer, "orders")
        if _text(item, "orderState").lower() not in _ORDER_ENDED
    )


def fills_of(answer: HttpAnswer) -> tuple[Fill, ...]:
    """The executions. An execution's marketPosition is the side of the fill: a Short one is a sale."""
    fills = []
    for item in _items(answer, "executions"):
        filled = _side(_text(item, "marketPosition"))
        at = _moment(_number(item, "epoch"))
        quantity, price = _number(item, "quantity"), _number(item, "price")
        if filled is None or quantity <= 0:
            raise Unreadable("an execution of nothing")
        reduces = Side.LONG if filled is Side.SHORT else Side.SHORT
        account, instrument = _text(item, "account"), _text(item, "instrument")
        fills.append(Fill(account, instrument, reduces, quantity, price, at, str(item.get("orderId", ""))))
    return tuple(fills)


def position_of(item: Any) -> Position | None:
    """A position object; None if it is flat. Raises Unreadable."""
    if not isinstance(item, dict):
        raise Unreadable("a position is not an object")
    side = _side(_text(item, "marketPosition"))
    quantity = _number(item, "quantity")
    if quantity < 0 or (side is None and quantity):
        raise Unreadable(f"a quantity of {quantity} does not fit its side")
    if side is None or not quantity:
        return None
    return Position(
        account=_text(item, "account"),
        instrument=_text(item, "instrument"),
        side=side,
        quantity=quantity,
        average_price=_optional_number(item, "averagePrice"),
        market_price=_optional_number(item, "marketPrice"),
        profit_loss=_optional_number(item, "unrealizedProfitLoss"),
        raw=item,
    )


def _succeeded(body: Any) -> bool:
    if isinstance(body, list):
        return True
    if not isinstance(body, dict) or body.get("error"):
        return False
    lists = ("closedPositions", "positions", "orders", "executions", "orderIds")
    return body.get("success") is True or ("success" not in body and any(name in body for name in lists))


def _says_nothing_open(answer: HttpAnswer) -> bool:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    return answer.status == 400 and isinstance(error, str) and bool(_NOTHING_OPEN.match(error))


def _items(answer: HttpAnswer, name: str) -> list[Any]:
    body = body_of(answer)
    items = body if isinstance(body, list) else body.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        _unreadable(answer, f"no list of {name}")
    return items


def _moment(epoch: Decimal) -> datetime:
    """The vendor's sample has milliseconds, older pages have seconds. Its `time` is the trader's local clock."""
    seconds = epoch / 1000 if epoch > 10**11 else epoch
    if not _FIRST_MOMENT.timestamp() < seconds < _LAST_MOMENT.timestamp():
        raise Unreadable(f"no moment of our time: {epoch}")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=float(seconds))


def _unreadable(answer: HttpAnswer, reason: str) -> NoReturn:
    raise OutcomeUnknown(f"CrossTrade's answer can't be read: {reason}", answer=answer.for_the_record())


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("a list was expected")
    return value


def _side(word: str) -> Side | None:
    """None is flat. A word that decides what is open must be one we know."""
    if word.lower() == "flat":
        return None
    if word.lower() not in _SIDES:
        raise Unreadable(f"an unknown side of the market: {word[:40]!r}")
    return _SIDES[word.lower()]


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing")
    return value


def _optional_number(item: Mapping[str, Any], name: str) -> Decimal | None:
    return None if item.get(name) is None else _number(item, name)


def _number(item: Mapping[str, Any], name: str) -> Decimal:
    value = item.get(name)
    try:
        if value is None or isinstance(value, bool):
            raise InvalidOperation
        number = Decimal(str(value))
        if not number.is_finite() or abs(number) >= _LARGEST:
            raise InvalidOperation
    except InvalidOperation as exc:
        raise Unreadable(f"{name} is not a number") from exc
    return number


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header. Its other form, a date, is left to our own backoff."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdecimal() and value.isascii():
            return min(float(value), _LONGEST_WAIT)
    return None
