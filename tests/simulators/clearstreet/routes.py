"""Which call a method and a path mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

ACCOUNT = "/v1/accounts/{account}"


class Operation(StrEnum):
    """Kinds of calls, as bad days name them."""

    CLOSE = "close"
    CLOSE_ALL = "close_all"
    POSITIONS = "positions"
    SUBMIT = "submit"
    ORDER = "order"
    ORDERS = "orders"
    CANCEL = "cancel"
    CANCEL_ALL = "cancel_all"
    EXECUTIONS = "executions"
    ACCOUNTS = "accounts"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    template: str
    operation: Operation


# SDK 0.11.0, resources/v1; brokers.md, 3.2 to 3.4.
ROUTES = (
    Route("GET", "/v1/accounts", Operation.ACCOUNTS),
    Route("GET", "/v1/clock", Operation.CLOCK),
    Route("GET", f"{ACCOUNT}/positions", Operation.POSITIONS),
    Route("DELETE", f"{ACCOUNT}/positions", Operation.CLOSE_ALL),
    Route("DELETE", f"{ACCOUNT}/positions/{{instrument}}", Operation.CLOSE),
    Route("GET", f"{ACCOUNT}/orders", Operation.ORDERS),
    Route("POST", f"{ACCOUNT}/orders", Operation.SUBMIT),
    Route("DELETE", f"{ACCOUNT}/orders", Operation.CANCEL_ALL),
    Route("GET", f"{ACCOUNT}/orders/{{order}}", Operation.ORDER),
    Route("DELETE", f"{ACCOUNT}/orders/{{order}}", Operation.CANCEL),
    Route("GET", f"{ACCOUNT}/executions", Operation.EXECUTIONS),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A route and what its path says."""

    route: Route
    named: dict[str, str]

    @property
    def operation(self) -> Operation:
        return self.route.operation


def find(method: str, path: str) -> Found | None:
    return next((found for found in _at(path) if found.route.method == method), None)


def allowed_methods(path: str) -> list[str]:
    """The methods that the path has; none if there is no such path."""
    return sorted({found.route.method for found in _at(path)})


def _at(path: str) -> Iterator[Found]:
    # brokers.md, 3.5a: an instrument that is lost on the way leaves `positions/`, which closes the account.
    segments = path.removesuffix("/").split("/")
    for route in ROUTES:
        named = _named(route.template.split("/"), segments)
        if named is not None:
            yield Found(route, named)


def _named(template: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    named = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{") and segment:
            named[expected.strip("{}")] = unquote(segment)
        elif expected != segment:
            return None
    return named
