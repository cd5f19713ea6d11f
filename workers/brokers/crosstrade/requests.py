"""What we say to CrossTrade: requests out of our values, over REST and as RPCs of its WebSocket. Pure.

Pages: https://crosstrade.io/docs (the API's reference) and https://docs.crosstrade.io (the older copy; its page
websocket-api has the RPCs, which take a path's account among their other arguments).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from app.domain.positions import Side
from workers.brokers.broker import Limit
from workers.brokers.crosstrade.names import contracts
from workers.brokers.http import HttpRequest
from workers.brokers.names import named, segment

EXECUTIONS_REACH = 900
"""Seconds. The executions page: lookbackTime is at most 900."""
ON_ITS_WAY = 2.0
"""Seconds by which executions are asked for further back: the venue counts from when it reads the request, not from when
we made it, and the one that is looked for may be the oldest of that time."""

LIMITS = (Limit("2 s", 20, 2), Limit("9 s", 26, 9), Limit("1 min", 180, 60))
"""The rate limiting page: a bucket of 20 that gets 3 a second, and 180 a minute, for REST and the WebSocket together.

So many in any 2, and in any 9 seconds never find the bucket empty: 20 at once, 6 more once it got 6, and 26 in 9 s as
long as it gets 27 in them. More at once would: ten such calls in a row end the WebSocket.
"""


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """A call of the WebSocket."""

    api: str
    args: dict[str, Any]


# REST


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
    """https://crosstrade.io/docs, close position: without a quantity all of it, with its working orders."""
    path = f"/v1/api/accounts/{segment(account)}/positions/close"
    return HttpRequest("POST", path, body=_what_to_close(instrument, quantity))


def flatten_request(account: str | None, instrument: str | None, side: Side | None) -> HttpRequest:
    """https://crosstrade.io/docs, flatten: all filters must match. An empty filter is everything, so there is none."""
    return HttpRequest("POST", "/v1/api/positions/flatten", body=_filters(account, instrument, side))


def flatten_everything_request() -> HttpRequest:
    """https://crosstrade.io/docs, flatten: `{}` closes every position and cancels every order on every account."""
    return HttpRequest("POST", "/v1/api/positions/flatten", body={})


def cancel_orders_request(account: str, instrument: str) -> HttpRequest:
    """https://crosstrade.io/docs, cancel orders: without an instrument it would be the whole account's."""
    path = f"/v1/api/accounts/{segment(account)}/orders/cancel"
    return HttpRequest("POST", path, body={"instrument": named(instrument)})


# RPC


def positions_rpc() -> RpcRequest:
    """https://docs.crosstrade.io/api/websocket-api and positions: flat ones are left out unless asked for."""
    return RpcRequest("GetAllPositions", {"includeFlat": False})


def close_rpc(account: str, instrument: str, quantity: Decimal | None) -> RpcRequest:
    """https://docs.crosstrade.io/api/websocket-api and close position."""
    return RpcRequest("ClosePosition", {"account": named(account), **_what_to_close(instrument, quantity)})


def flatten_rpc(account: str | None, instrument: str | None, side: Side | None) -> RpcRequest:
    """https://docs.crosstrade.io/api/websocket-api and flatten: all filters must match, and there is at least one."""
    return RpcRequest("Flatten", _filters(account, instrument, side))


def flatten_everything_rpc() -> RpcRequest:
    """https://docs.crosstrade.io/api/websocket-api and flatten: here everything has a name of its own."""
    return RpcRequest("FlattenEverything", {})


def cancel_orders_rpc(account: str, instrument: str) -> RpcRequest:
    """https://docs.crosstrade.io/api/websocket-api and cancel orders."""
    return RpcRequest("CancelOrders", {"account": named(account), "instrument": named(instrument)})


def _what_to_close(instrument: str, quantity: Decimal | None) -> dict[str, Any]:
    """A percent is never sent: it would be of what remains, so a repeat would close more."""
    if quantity is None:
        return {"instrument": named(instrument)}
    return {"instrument": named(instrument), "quantity": contracts(quantity)}


def _filters(account: str | None, instrument: str | None, side: Side | None) -> dict[str, Any]:
    filters = {
        "account": None if account is None else named(account),
        "instrument": None if instrument is None else named(instrument),
        "marketPosition": None if side is None else str(side),
    }
    given = {name: value for name, value in filters.items() if value is not None}
    if not given:
        raise ValueError("a flatten without a filter closes everything: that is flatten_everything")
    return given
