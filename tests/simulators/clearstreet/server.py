"""Clear Street's API on a port of this machine: who is let in, and which call a request means."""

from email.message import Message
from functools import partial

from tests.simulators.line import Answer, Call, FillPlan, Request, Simulator, TokenBucket

from . import calls, routes
from .book import Book
from .control import ClearStreetFace
from .faults import KINDS, WORDS, ClearStreetForecast
from .presentation import failure
from .routes import Found, Operation

# brokers.md, 3.1: none are published. These are ours, to see a 429.
REFILL_PER_SECOND = 10.0
BURST = 20.0
SENDS_ORDERS = frozenset({Operation.CLOSE, Operation.CLOSE_ALL, Operation.SUBMIT})


class ClearStreetSimulator(Simulator):
    """
    Clear Street's trading API over a book of its own.

    `api_key` is the bearer that is let in; None lets any in. Port 0 takes a free one.
    Only loopback addresses: the control face asks nobody who they are.
    """

    thread_name = "clearstreet-simulator"
    wording = WORDS

    def __init__(
        self,
        api_key: str | None = None,
        *,
        book: Book | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: bool = False,
    ) -> None:
        self.api_key = api_key or None
        self.book = book or Book()
        self.throttle = TokenBucket(REFILL_PER_SECOND, BURST) if rate_limit else None
        forecast = ClearStreetForecast(KINDS, list(Operation), SENDS_ORDERS)
        super().__init__(self.book, ClearStreetFace(self.book), forecast, host=host, port=port)

    def receive(self, request: Request, headers: Message) -> Answer | Call:
        if not self._authorized(headers.get("Authorization", "")):
            # brokers.md, 3.7: the body of a 401 is not in the spec.
            return Answer(401, failure(401, "The request does not have valid authentication credentials"))
        found = routes.find(request.method, request.route)
        if found is None:
            return misrouted(request)
        act = partial(self._carry_out, request, found)
        return Call(found.operation, act, self.throttle, found.named.get("account", ""))

    def _authorized(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        return scheme.lower() == "bearer" and (bool(key) if self.api_key is None else key == self.api_key)

    def _carry_out(self, request: Request, found: Found, plan: FillPlan | None) -> Answer:
        asked = calls.Asked(found.operation, found.named, request.query, request.content)
        return calls.answer(self.book, asked, plan)


def misrouted(request: Request) -> Answer:
    allowed = routes.allowed_methods(request.route)
    if allowed:
        return Answer(405, failure(405, "Method not allowed"), headers={"Allow": ", ".join(allowed)})
    return Answer(404, failure(404, f"No route for {request.method} {request.route}"))
