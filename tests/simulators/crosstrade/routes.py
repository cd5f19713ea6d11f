"""Which call a method and a path mean, and what to suggest when they mean none."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from .presentation import Json

PREFIX = "/v1/api"
ACCOUNT = f"{PREFIX}/accounts/{{account}}"


class Operation(StrEnum):
    """Kinds of calls, as bad days name them."""

    CLOSE = "close"
    FLATTEN = "flatten"
    POSITIONS = "positions"
    POSITION = "position"
    ORDERS = "orders"
    EXECUTIONS = "executions"
    CANCEL = "cancel"
    ACCOUNTS = "accounts"
    ENDPOINTS = "endpoints"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    template: str
    api: str
    operation: Operation


# XT docs, positions, orders, executions, accounts; llms-full, endpoint patterns.
ROUTES = (
    Route("POST", f"{ACCOUNT}/positions/close", "ClosePosition", Operation.CLOSE),
    Route("POST", f"{ACCOUNT}/positions/flatten", "FlattenAccount", Operation.FLATTEN),
    Route("POST", f"{PREFIX}/positions/flatten", "Flatten", Operation.FLATTEN),
    Route("GET", f"{ACCOUNT}/position", "GetPosition", Operation.POSITION),
    Route("GET", f"{ACCOUNT}/positions", "ListPositions", Operation.POSITIONS),
    Route("GET", f"{PREFIX}/positions", "GetAllPositions", Operation.POSITIONS),
    Route("POST", f"{ACCOUNT}/orders/cancel", "CancelOrders", Operation.CANCEL),
    Route("POST", f"{PREFIX}/orders/cancelall", "CancelAllOrders", Operation.CANCEL),
    Route("POST", f"{ACCOUNT}/orders/{{orderId}}/cancel", "Cancel", Operation.CANCEL),
    Route("GET", f"{ACCOUNT}/orders", "ListOrders", Operation.ORDERS),
    Route("GET", f"{ACCOUNT}/orders/{{orderId}}", "GetOrder", Operation.ORDERS),
    Route("GET", f"{ACCOUNT}/orders/{{orderId}}/status", "GetOrderStatus", Operation.ORDERS),
    Route("GET", f"{ACCOUNT}/executions", "ListExecutions", Operation.EXECUTIONS),
    Route("GET", f"{ACCOUNT}/executions/{{executionId}}", "GetExecution", Operation.EXECUTIONS),
    Route("GET", f"{PREFIX}/accounts", "ListAccounts", Operation.ACCOUNTS),
    Route("GET", ACCOUNT, "GetAccount", Operation.ACCOUNTS),
    Route("GET", f"{PREFIX}/_endpoints", "Endpoints", Operation.ENDPOINTS),
)

# The calls that the docs name for the WebSocket.
RPCS = {
    "ClosePosition": Operation.CLOSE,
    "Flatten": Operation.FLATTEN,
    "FlattenEverything": Operation.FLATTEN,
    "GetPosition": Operation.POSITION,
    "GetAllPositions": Operation.POSITIONS,
    "CancelOrders": Operation.CANCEL,
    "Cancel": Operation.CANCEL,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A route and what its path says."""

    route: Route
    named: dict[str, str]


def find(method: str, path: str) -> Found | None:
    return next((found for found in _at(path) if found.route.method == method), None)


def allowed_methods(path: str) -> list[str]:
    """The methods that the path has; none if there is no such path."""
    return sorted({found.route.method for found in _at(path)})


def not_found(method: str, path: str) -> Json:
    # XT docs, llms-full: a wrong guess gets a structured 404 with `did_you_mean`; its shape is not shown.
    templates = sorted({route.template for route in ROUTES})
    return {
        "success": False,
        "error": "not_found",
        "detail": f"No endpoint {method} {path}",
        "did_you_mean": difflib.get_close_matches(path, templates, n=3, cutoff=0.4),
    }


def catalogue() -> Json:
    # XT docs, llms-full: `_endpoints` lists every public route; its shape is not shown.
    endpoints = [{"name": route.api, "method": route.method, "path": route.template} for route in ROUTES]
    return {"endpoints": endpoints, "count": len(endpoints), "success": True}


def _at(path: str) -> Iterator[Found]:
    segments = path.split("/")
    for route in ROUTES:
        named = _named(route.template.split("/"), segments)
        if named is not None:
            yield Found(route, named)


def _named(template: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    named = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            named[expected.strip("{}")] = unquote(segment)
        elif expected != segment:
            return None
    return named
