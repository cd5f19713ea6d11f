"""What we say to Clear Street: requests out of our values. Pure.

Pages: https://docs.clearstreet.com/api and https://docs.clearstreet.com/openapi.yaml; the names of the newest queries
are those of the official SDK (PyPI `clearstreet` 0.11.0).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode

from app.domain.positions import Side
from workers.brokers.clearstreet.names import account_id, one_of_a_list
from workers.brokers.fields import LARGEST
from workers.brokers.http import HttpRequest
from workers.brokers.names import named, segment

LARGEST_PAGE = 1000
"""Items. The pages of orders and executions: page_size is at most 1000."""
PAGE_OF_ORDERS = 500
"""Items. Orders are shown with forty fields each: more of them might not fit into the largest answer that is read."""
LONGEST_CLIENT_ID = 64
"""Characters. The submit orders page."""

_MAY_STILL_FILL = (
    "PENDING_NEW",
    "QUEUED",
    "PENDING_TRIGGER",
    "NEW",
    "PARTIALLY_FILLED",
    "PENDING_CANCEL",
    "PENDING_REPLACE",
    "STOPPED",
    "SUSPENDED",
    "CALCULATED",
    "OTHER",  # could be anything: such an order must be seen, and then fails loudly
)


def accounts_request(page: str | None) -> HttpRequest:
    """https://docs.clearstreet.com/api, get accounts."""
    return HttpRequest("GET", f"/v1/accounts?{_query(page)}")


def positions_request(account: str, page: str | None) -> HttpRequest:
    """https://docs.clearstreet.com/api, get positions."""
    return HttpRequest("GET", f"{_account(account)}/positions?{_query(page)}")


def orders_request(account: str, page: str | None) -> HttpRequest:
    """https://docs.clearstreet.com/api, get orders: those that may still be filled, however old.

    Without the filter it would be the account's whole history.
    """
    query = _query(page, {"status": ",".join(_MAY_STILL_FILL)}, PAGE_OF_ORDERS)
    return HttpRequest("GET", f"{_account(account)}/orders?{query}")


def order_request(account: str, order_id: str) -> HttpRequest:
    """https://docs.clearstreet.com/api, get order by id: the venue's id."""
    return HttpRequest("GET", f"{_account(account)}/orders/{segment(order_id)}")


def orders_with_client_id_request(account: str, client_id: str) -> HttpRequest:
    """https://docs.clearstreet.com/api, get orders: `order_ids` takes our own ids too, and at any time.

    The path of one order takes our id only while the order is open.
    """
    query = _query(None, {"order_ids": one_of_a_list(client_id)})
    return HttpRequest("GET", f"{_account(account)}/orders?{query}")


def executions_request(account: str, since: datetime, page: str | None) -> HttpRequest:
    """https://docs.clearstreet.com/api, get executions: since a moment, the latest first."""
    start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return HttpRequest("GET", f"{_account(account)}/executions?{_query(page, {'from': start})}")


def close_request(account: str, instrument: str, cancel_orders: bool) -> HttpRequest:
    """https://docs.clearstreet.com/api, close position: all of it, by the instrument's id or its symbol.

    Without an instrument the same address closes the whole account.
    """
    path = f"{_account(account)}/positions/{segment(instrument)}"
    return HttpRequest("DELETE", path, body={"cancel_orders": cancel_orders})


def close_account_request(account: str) -> HttpRequest:
    """https://docs.clearstreet.com/api, close positions: all of an account, its orders cancelled first."""
    return HttpRequest("DELETE", f"{_account(account)}/positions", body={"cancel_orders": True})


def reduce_request(
    account: str, symbol: str, instrument_id: str | None, side: Side, quantity: Decimal, client_id: str
) -> HttpRequest:
    """https://docs.clearstreet.com/api, submit orders: a market order for a part of a position on this side.

    The order names the instrument by its id, or else by its symbol: the list of positions shows options without the
    padding that a symbol has elsewhere. No page says that the intent CLOSE keeps an order from opening the other side.
    """
    if len(one_of_a_list(client_id)) > LONGEST_CLIENT_ID:
        raise ValueError(f"too long for an id: {client_id!r}")
    by_id = instrument_id is not None
    order = {
        "id": client_id,
        "instrument_id" if by_id else "symbol": named(symbol if instrument_id is None else instrument_id),
        "side": "SELL" if side is Side.LONG else "BUY",
        "quantity": _amount(quantity),
        "order_type": "MARKET",
        "time_in_force": "DAY",
        "position_intent": "CLOSE",
    }
    return HttpRequest("POST", f"{_account(account)}/orders", body=[order])


def cancel_order_request(account: str, order_id: str) -> HttpRequest:
    """https://docs.clearstreet.com/api, cancel order. One that has ended already is a success."""
    return HttpRequest("DELETE", f"{_account(account)}/orders/{segment(order_id)}")


def cancel_orders_request(account: str, instrument: str) -> HttpRequest:
    """https://docs.clearstreet.com/api, cancel all orders: of one instrument; unfiltered it is the whole account's."""
    query = urlencode({"instrument_ids": one_of_a_list(instrument)})
    return HttpRequest("DELETE", f"{_account(account)}/orders?{query}")


def _account(name: str) -> str:
    return f"/v1/accounts/{account_id(name)}"


def _query(page: str | None, filters: Mapping[str, str] | None = None, size: int = LARGEST_PAGE) -> str:
    # The token holds the state of the list; the filters are said again lest a venue forgets them.
    token = {} if page is None else {"page_token": page}
    return urlencode({"page_size": size, **(filters or {}), **token})


def _amount(quantity: Decimal) -> str:
    """A quantity as the venue's plain text; raises ValueError for none."""
    if not quantity.is_finite() or not 0 < quantity < LARGEST:
        raise ValueError(f"not a quantity: {quantity}")
    text = format(quantity, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
