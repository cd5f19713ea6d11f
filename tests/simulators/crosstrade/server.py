"""CrossTrade's API on a port of this machine: who is let in, and which call a request means."""

from email.message import Message
from functools import partial
from typing import Any

from tests.simulators.line import (
    Answer,
    Call,
    FillPlan,
    Forecast,
    Request,
    Simulator,
    TokenBucket,
    Upgrade,
)

from . import calls, routes, stream
from .book import Book
from .control import CrossTradeFace
from .errors import InvalidRequest
from .faults import KINDS, WORDS
from .routes import Found, Operation
from .stream import Stream

# XT docs, rate limiting: 3 requests a second, a burst of 20, 180 a minute.
REFILL_PER_SECOND = 3.0
BURST = 20.0
# XT docs, authentication; the body of a 401 is not shown.
UNAUTHORIZED = Answer(401, {"success": False, "error": "unauthorized", "detail": "Invalid bearer token"})
METHOD_NOT_ALLOWED = {"success": False, "error": "Method not allowed"}
SENDS_ORDERS = frozenset({Operation.CLOSE, Operation.FLATTEN})


class CrossTradeSimulator(Simulator):
    """
    CrossTrade's REST API and its WebSocket, over a book of its own.

    `token` is the bearer token that is let in; None lets any in. Port 0 takes a free one.
    Only loopback addresses: the control face asks nobody who they are.
    `rpc_error_beside_id` may be set at any time: the docs don't show where an RPC's error stands.
    """

    thread_name = "crosstrade-simulator"
    wording = WORDS
    book: Book

    def __init__(
        self,
        token: str | None = None,
        *,
        book: Book | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: bool = False,
    ) -> None:
        self.token = token or None
        self.book = book or Book()
        self.stream = Stream(self)
        self.rpc_error_beside_id = False
        self.throttle = TokenBucket(REFILL_PER_SECOND, BURST) if rate_limit else None
        forecast = Forecast(KINDS, list(Operation), SENDS_ORDERS)
        super().__init__(self.book, CrossTradeFace(self.book), forecast, host=host, port=port)

    def receive(self, request: Request, headers: Message) -> Answer | Call | Upgrade:
        authorization = headers.get("Authorization", "")
        if not self._authorized(authorization):
            return UNAUTHORIZED
        if request.route == stream.PATH:
            return Upgrade(partial(self.stream.take, authorization))
        found = routes.find(request.method, request.route)
        if found is None:
            return misrouted(request)
        act = partial(self._carry_out, request, found)
        return Call(found.route.operation, act, self.throttle, found.named.get("account", ""))

    def _authorized(self, header: str) -> bool:
        # XT docs, authentication: a bearer token, 401 otherwise.
        scheme, _, token = header.partition(" ")
        return scheme.lower() == "bearer" and (bool(token) if self.token is None else token == self.token)

    def _carry_out(self, request: Request, found: Found, plan: FillPlan | None) -> Answer:
        if found.route.operation is Operation.ENDPOINTS:
            return Answer(200, routes.catalogue())
        try:
            args = arguments(request) | found.named
        except InvalidRequest as exc:
            return calls.refused(exc)
        return calls.answer(self.book, found.route.api, args, plan)


def misrouted(request: Request) -> Answer:
    allowed = routes.allowed_methods(request.route)
    if allowed:
        return Answer(405, METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)})
    return Answer(404, routes.not_found(request.method, request.route))


def arguments(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    # The docs send `{}` where there is nothing to say; no body at all is read as that.
    body = {} if request.body is None else request.body
    if not isinstance(body, dict):
        raise InvalidRequest("the body is not a JSON object")
    return body
