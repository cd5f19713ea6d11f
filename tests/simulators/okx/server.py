"""OKX's v5 REST API on a port of this machine: who is let in, and which call a request means."""

from email.message import Message
from functools import partial
from typing import Any

from tests.simulators.line import (
    Answer,
    Buckets,
    Call,
    FillPlan,
    Forecast,
    Request,
    Simulator,
    TokenBucket,
)

from . import envelopes, routes, signing
from .book import Book
from .calls import Asked
from .codes import Refusal
from .control import OkxFace
from .faults import KINDS, WORDS
from .routes import SENDS_ORDERS, Operation, Route
from .signing import Credential

# The rates are told for two seconds.
RATE_SECONDS = 2


class OkxSimulator(Simulator):
    """
    OKX's v5 REST API over a book of its own.

    `api_key`, `api_secret` and `passphrase` are the credential that is let in; without a key any is,
    if its headers are there. `demo`: whether this is the demo environment, which the header
    `x-simulated-trading: 1` must name. Port 0 takes a free one.
    `refusals_in_data`: whether the refusal of a single close or order stands in `data` (True) or at the top
    level (False); None, the default, is what is known of each call and code.
    """

    thread_name = "okx-simulator"
    secret_headers = frozenset({"ok-access-key", "ok-access-sign", "ok-access-passphrase"})
    wording = WORDS
    book: Book

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        passphrase: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: bool = False,
        demo: bool = True,
        book: Book | None = None,
    ) -> None:
        self.credential = Credential(api_key, api_secret or "", passphrase or "") if api_key else None
        self.demo = demo
        self.book = book or Book()
        self.refusals_in_data: bool | None = None
        self._buckets = Buckets() if rate_limit else None
        forecast = Forecast(KINDS, list(Operation), SENDS_ORDERS)
        super().__init__(self.book, OkxFace(self.book), forecast, host=host, port=port)

    @property
    def clock_offset(self) -> float:
        """Seconds by which the venue's clock is ahead of ours."""
        return self.book.clock_offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        self.book.clock_offset = seconds

    def receive(self, request: Request, headers: Message) -> Answer | Call:
        at = routes.at(request.route)
        if not at:
            return Answer(404, {"code": "404", "data": [], "msg": "Not Found"})
        route = at.get(request.method)
        if route is None:
            return envelopes.refused("50115")
        try:
            self._let_in(route, request, headers)
            asked = self._asked(request, headers)
        except Refusal as refusal:
            return envelopes.refused(refusal.code, refusal.message)
        instrument = _instrument(asked.parameters)
        act = partial(self._carry_out, route, asked)
        return Call(route.operation, act, self._bucket(route, instrument), instrument)

    def _let_in(self, route: Route, request: Request, headers: Message) -> None:
        if route.public:
            return
        now = self.book.now()
        method, path, content = request.method, request.path, request.content
        signing.check(self.credential, self.demo, now, headers, method, path, content)

    def _asked(self, request: Request, headers: Message) -> Asked:
        now, expires = self.book.now(), headers.get("expTime", "")
        if expires and not expires.isdigit():
            raise Refusal("51000", "expTime")
        expires_at = int(expires) / 1000 if expires else None
        return Asked(
            _parameters(request, headers), now, expires_at, self.book.elapsed(), self.refusals_in_data
        )

    def _bucket(self, route: Route, instrument: str) -> TokenBucket | None:
        if self._buckets is None:
            return None
        key = f"{route.method} {route.path} {instrument if route.by_instrument else ''}"
        return self._buckets.of(key, route.often / RATE_SECONDS, route.often)

    def _carry_out(self, route: Route, asked: Asked, plan: FillPlan | None) -> Answer:
        try:
            return route.call(self.book, asked, plan)
        except Refusal as refusal:
            return envelopes.refused(refusal.code, refusal.message)


def _parameters(request: Request, headers: Message) -> Any:
    if request.method == "GET":
        return request.query
    if request.body is None:
        raise Refusal("50000")
    if headers.get_content_type() != "application/json":
        raise Refusal("50006")
    if not isinstance(request.body, dict | list):
        raise Refusal("50002")
    return request.body


def _instrument(parameters: Any) -> str:
    name = parameters.get("instId") if isinstance(parameters, dict) else None
    return name if isinstance(name, str) else ""
