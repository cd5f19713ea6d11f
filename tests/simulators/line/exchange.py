"""One request and the ways to answer it, down to tearing the line."""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from http import HTTPStatus

from .journal import Request
from .records import Act, Answer, FillPlan, Headers

Later = Callable[[float, Callable[[], object]], None]
"""What puts something off for so many seconds."""
JSON_TYPE = "application/json"


class LineIsDown(Exception):
    """Raised when the connection can take no more: torn by us, left by the client, or the venue stops."""


class Exchange:
    """
    A request that was read, on a socket that nobody else writes to.

    `act` carries the request out, once however often it is called; what is sent leaves in one piece,
    so that a cut comes where it is meant to.
    """

    def __init__(
        self,
        connection: socket.socket,
        request: Request,
        act: Act,
        later: Later,
        stopping: threading.Event,
        about: str = "",
    ) -> None:
        self.about = about
        self._connection = connection
        self._request = request
        self._act = act
        self._later = later
        self._stopping = stopping
        self._answer: Answer | None = None

    def act(self, plan: FillPlan | None = None) -> Answer:
        if self._answer is None:
            self._answer = self._act(plan)
            self._request.acted = self._answer.acted
        return self._answer

    def act_later(self, seconds: float) -> None:
        self._later(seconds, self.act)

    def answer(self, answer: Answer) -> None:
        self._request.status = answer.status
        before, body = self.encoded(answer)
        self.send(before + body)

    def encoded(self, answer: Answer) -> tuple[bytes, bytes]:
        """An answer as it goes out: what comes before the body, and the body."""
        body = json_bytes(answer.body)
        return head(answer.status, len(body), JSON_TYPE, answer.headers), body

    def reply(self, status: int, body: bytes, content_type: str, headers: Headers | None = None) -> None:
        self._request.status = status
        self.send(head(status, len(body), content_type, headers) + body)

    def send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            raise LineIsDown from None

    def wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise LineIsDown

    def note_status(self, status: int) -> None:
        self._request.status = status

    def reset(self) -> None:
        """Tear the line with a RST: the client sees a reset, not an end."""
        # A linger time of zero makes close() drop what is unsent and send a RST.
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self._connection.detach())
        raise LineIsDown

    def hang_up(self) -> None:
        """End the line without another byte."""
        raise LineIsDown


def json_bytes(body: object) -> bytes:
    return json.dumps(body).encode()


def head(status: int, length: int, content_type: str, headers: Headers | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
