"""One RPC and the ways to answer it, on a WebSocket that other RPCs use at the same time."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from tests.simulators.line import Act, Answer, Exchange, LineIsDown, Request, Talk, json_bytes

from .presentation import Json

Later = Callable[[float, Callable[[], object]], None]


class RpcExchange(Exchange):
    """
    Statuses are for the journal: no message has one.

    `error_beside_id`: whether an error stands beside the `id`, or in `data` like everything else. The docs don't show it.
    """

    def __init__(
        self, talk: Talk, rpc_id: Any, request: Request, act: Act, later: Later, *, error_beside_id: bool
    ) -> None:
        about = request.body.get("account", "") if isinstance(request.body, dict) else ""
        super().__init__(talk.connection, request, act, later, talk.stopping, str(about))
        self._talk = talk
        self._id = rpc_id
        self._error_beside_id = error_beside_id

    def encoded(self, answer: Answer) -> tuple[bytes, bytes]:
        return self._talk.frame(json_bytes(self._reply(answer.body)))

    def reply(self, status: int, body: bytes, content_type: str, headers: Any = None) -> None:
        """A message of any text."""
        self.note_status(status)
        self.send(b"".join(self._talk.frame(body)))

    def answer_under(self, rpc_id: Any, answer: Answer) -> None:
        """Answer under another id; None is under none."""
        name = {} if rpc_id is None else {"id": rpc_id}
        self.reply(answer.status, json_bytes(name | {"data": answer.body}), "")

    def answer_with_nan(self, answer: Answer) -> None:
        self.reply(
            answer.status, json.dumps(self._reply(answer.body) | {"latency": float("nan")}).encode(), ""
        )

    def close(self, code: int, reason: str) -> NoReturn:
        self._talk.close(code, reason)
        raise LineIsDown

    def send(self, data: bytes) -> None:
        try:
            self._talk.send(data)
        except OSError:
            raise LineIsDown from None

    def reset(self) -> NoReturn:
        self._talk.tear()
        raise LineIsDown

    def hang_up(self) -> NoReturn:
        self._talk.hang_up()
        raise LineIsDown

    def _reply(self, body: Any) -> Json:
        # XT docs, WebSocket API: `id` and `data`, "the same body as over REST".
        if self._error_beside_id and isinstance(body, dict) and "error" in body:
            return {"id": self._id, **body}
        return {"id": self._id, "data": body}
