"""Requests in OKX's words, out of our values. Pure. URLs are paths: what is signed.

Page: https://www.okx.com/docs-v5/en.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from app.domain.positions import Holding, Order, Position, Side
from workers.brokers.http import HttpRequest
from workers.brokers.okx.names import KINDS, MODES, POSITION_SIDES, family_of, identified, named

PAGE = 100
"""Rows of a whole page of orders or fills: the most that the venue gives."""
MOST_CANCELLED = 20
"""Orders that one cancel takes."""
FILLS_REACH = 3 * 86_400
"""Seconds. The page on transaction details: the last three days."""

_CURRENCY = re.compile(r"[A-Z0-9_-]*")
_OURS = "flatwire"


def time_request() -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#public-data-rest-api-get-system-time: needs no signature."""
    return HttpRequest("GET", "/api/v5/public/time")


def positions_request() -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#trading-account-rest-api-get-positions: without a filter none that is closed."""
    return HttpRequest("GET", "/api/v5/account/positions")


def close_position_request(holding: Holding, client_id: str, *, cancel_orders: bool) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-close-positions: all of a position, at market."""
    body = {
        "instId": named(holding.instrument),
        "mgnMode": _mode(holding),
        **_position_side(holding),
        **_currency(holding),
        "autoCxl": cancel_orders,
        "clOrdId": identified(client_id),
        "tag": _OURS,
    }
    return HttpRequest("POST", "/api/v5/trade/close-position", body=body)


def reduce_request(holding: Holding, quantity: Decimal, client_id: str) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-place-order: part of a position, at market.

    The quantity counts what the position does: contracts, or coins of the base of a long margin position. The venue
    refuses the whole order rather than trim it to the position.
    """
    if not can_be_reduced(holding):
        raise ValueError(f"no order surely only reduces {holding.instrument}")
    by_side = _position_side(holding)
    reduce_only = not by_side or _word(holding.handle, "instType", KINDS) == "MARGIN"
    body = {
        "instId": named(holding.instrument),
        "tdMode": _mode(holding),
        **_currency(holding),
        "side": "sell" if holding.side is Side.LONG else "buy",
        **by_side,
        "ordType": "market",
        "sz": _size(quantity),
        # In long/short mode an order against posSide can only reduce, and the venue ignores the flag.
        **({"reduceOnly": True} if reduce_only else {}),
        "clOrdId": identified(client_id),
        "tag": _OURS,
    }
    return HttpRequest("POST", "/api/v5/trade/order", body=body)


def can_be_reduced(holding: Holding) -> bool:
    """Whether an order surely makes the position smaller by just so much.

    The flag is not honoured for options in net mode; and what the size of a market buy counts that closes a short
    margin position, the base or the quote, no page says.
    """
    kind = _word(holding.handle, "instType", KINDS)
    if kind == "MARGIN":
        return holding.side is Side.LONG
    return kind != "OPTION" or bool(_position_side(holding))


def expiring(request: HttpRequest, moment: int) -> HttpRequest:
    """An order that the venue refuses after a moment of its own clock (milliseconds since 1970).

    https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-place-order: not known of close-position.
    """
    return HttpRequest(request.method, request.url, {**request.headers, "expTime": str(moment)}, request.body)


def cancel_request(instrument: str, orders: Sequence[Order]) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-multiple-orders: one to twenty."""
    if not 1 <= len(orders) <= MOST_CANCELLED:
        raise ValueError(f"one to {MOST_CANCELLED} orders can be cancelled at once, not {len(orders)}")
    if any(order.instrument != instrument for order in orders):
        raise ValueError(f"not all are orders of {instrument}")
    body = [{"instId": named(instrument), "ordId": identified(order.order_id)} for order in orders]
    return HttpRequest("POST", "/api/v5/trade/cancel-batch-orders", body=body)


def orders_request(page: str | None) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-get-order-list: newest first, `page` the last seen."""
    after = None if page is None else identified(page)
    return _get("/api/v5/trade/orders-pending", limit=str(PAGE), after=after)


def order_request(instrument: str, order_id: str | None, client_id: str | None) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-get-order-details: of several with our id, the latest."""
    if order_id is None and client_id is None:
        raise ValueError("an order is looked up by its id or by ours")
    return _get(
        "/api/v5/trade/order",
        instId=named(instrument),
        ordId=None if order_id is None else identified(order_id),
        clOrdId=None if order_id is not None or client_id is None else identified(client_id),
    )


def fills_request(since: str, page: str | None) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#order-book-trading-trade-get-transaction-details-last-3-days: newest first.

    `since` is milliseconds since 1970 by the venue's clock; `page` the bill of the last one seen.
    """
    after = None if page is None else identified(page)
    return _get("/api/v5/trade/fills", begin=since, limit=str(PAGE), after=after)


def instrument_request(position: Position) -> HttpRequest:
    """https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments: needs no signature."""
    kind = _word(position.handle, "instType", KINDS)
    instrument = named(position.instrument)
    # Options are listed by family only.
    return _get(
        "/api/v5/public/instruments", instType=kind, instFamily=family_of(instrument), instId=instrument
    )


def _get(path: str, **parameters: str | None) -> HttpRequest:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return HttpRequest("GET", f"{path}?{query}")


def _mode(holding: Holding) -> str:
    return _word(holding.handle, "mgnMode", MODES)


def _position_side(holding: Holding) -> dict[str, Any]:
    """Said in long/short mode only. Another side than the holding's would open a position there."""
    side = _word(holding.handle, "posSide", POSITION_SIDES)
    if side == "net":
        return {}
    if side != str(holding.side):
        raise ValueError(f"the {holding.side} position is not the venue's {side} one")
    return {"posSide": side}


def _currency(holding: Holding) -> dict[str, Any]:
    """Told for a margin position with cross margin: an account in futures mode has one for each currency."""
    currency = holding.handle.get("ccy", "")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"not a currency: {currency!r}")
    cross_margin = _word(holding.handle, "instType", KINDS) == "MARGIN" and _mode(holding) == "cross"
    return {"ccy": currency} if cross_margin and currency else {}


def _word(handle: Mapping[str, str], name: str, known: Collection[str]) -> str:
    word = handle.get(name)
    if word is None or word not in known:
        raise ValueError(f"the position's {name} is {word!r}")
    return word


def _size(quantity: Decimal) -> str:
    if not quantity.is_finite() or quantity <= 0:
        raise ValueError(f"not a quantity: {quantity}")
    return format(quantity.normalize(), "f")
