"""CrossTrade's WebSocket: one for each token, RPCs side by side, the same limit as REST."""

import json
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulators.line import Answer, FillPlan, LineIsDown, Request, Talk, json_bytes

from . import calls
from .errors import InvalidRequest
from .faults import WORDS
from .routes import RPCS
from .rpc import RpcExchange

if TYPE_CHECKING:
    from .server import CrossTradeSimulator

PATH = "/ws/stream"
# XT docs, rate limiting: ten violations in a row end the connection with 1008.
VIOLATIONS = 10
POLICY_VIOLATION = 1008
# "Session active elsewhere" was seen; with which code, the docs don't say.
KICKED = (4001, "Session active elsewhere")
AT_ONCE = 64


class Stream:
    """All the WebSockets of a venue. Each serves its RPCs as they come; a slow one holds no other up."""

    def __init__(self, venue: "CrossTradeSimulator") -> None:
        self.keepalives = 0
        """`ping` messages that came."""
        self.kicked = 0
        """WebSockets that were ended because their token opened another."""
        self._venue = venue
        self._lock = threading.Lock()
        self._open: dict[str, Talk] = {}

    @property
    def talks(self) -> list[Talk]:
        """The WebSockets that stand."""
        with self._lock:
            return list(self._open.values())

    def take(self, token: str, talk: Talk) -> None:
        """Serve a connection until it ends. It ends the one that the token had before."""
        # Whoever was let in first is the former one: the answer to the handshake leaves in the same turn.
        with self._lock:
            if not talk.open():
                return
            former, self._open[token] = self._open.get(token), talk
        if former is not None:
            self.kicked += 1
            former.close(*KICKED)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self._converse(talk, pool)
            with self._lock:
                if self._open.get(token) is talk:
                    del self._open[token]

    def _converse(self, talk: Talk, pool: Executor) -> None:
        violations = 0
        for text in talk.texts():
            message = parsed(text)
            match message.get("action"):
                case "rpc":
                    wait = self._receive(talk, message, text, pool)
                    violations = violations + 1 if wait else 0
                    if violations == VIOLATIONS:
                        talk.close(POLICY_VIOLATION, "Rate limit exceeded")
                case "ping":
                    # The docs have the action, and don't show what answers it.
                    self.keepalives += 1
                    say(talk, {"type": "pong"})
                case _:
                    say(talk, {"error": "Invalid request"})

    def _receive(self, talk: Talk, message: dict[str, Any], text: str, pool: Executor) -> float:
        """Take one RPC in. The seconds that its sender should have waited; 0 if it was in time."""
        api, args = str(message.get("api")), message.get("args")
        operation = RPCS.get(api)
        request = Request("WS", f"{PATH}/{api}", {}, args, text.encode(), operation=operation)
        self._venue.journal.write(request)
        exchange = RpcExchange(
            talk,
            message.get("id"),
            request,
            partial(self._carry_out, api, args),
            self._venue.later,
            error_beside_id=self._venue.rpc_error_beside_id,
        )
        wait = self._venue.throttle.take() if self._venue.throttle else 0.0
        if wait:
            pool.submit(quietly, exchange.answer, WORDS.throttled(None))
        elif operation is None:
            pool.submit(quietly, exchange.answer, Answer(400, {"error": "Unknown API command"}))
        else:
            pool.submit(quietly, self._venue.forecast.let_be, request, exchange)
        return wait

    def _carry_out(self, api: str, args: Any, plan: FillPlan | None) -> Answer:
        if not isinstance(args, dict):
            return calls.refused(InvalidRequest("the arguments are no object"))
        return calls.answer(self._venue.book, api, args, plan)


def parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def say(talk: Talk, message: dict[str, Any]) -> None:
    with suppress(OSError):
        talk.say(json_bytes(message))


def quietly(act: Any, *args: Any) -> None:
    with suppress(LineIsDown):
        act(*args)
