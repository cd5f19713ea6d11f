"""HTTP on a raw socket: reads one request, asks the venue, and answers it or lets it have its bad day."""

import logging
import math
import socket
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from . import control
from .exchange import Exchange, LineIsDown
from .journal import Request, parsed
from .records import Answer, Call, Upgrade
from .talk import Talk

if TYPE_CHECKING:
    from .listener import Listener

logger = logging.getLogger(__name__)


class Handler(BaseHTTPRequestHandler):
    """One connection. Its method names are the standard library's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Listener"
    connection: socket.socket

    def do_GET(self) -> None:
        try:
            self._serve()
        except LineIsDown:
            self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def _serve(self) -> None:
        venue = self.server.venue
        request = self._read()
        if request.route.startswith(control.PREFIX):
            # Not in the journal: it is about the venue, not asked of it.
            answer = venue.control.answer(request.method, request.route, request.body)
            return self._say(request, answer)
        venue.journal.write(request)
        found = venue.receive(request, self.headers)
        if isinstance(found, Answer):
            return self._say(request, found)
        if isinstance(found, Upgrade):
            request.status = 101
            found.take(Talk(self.connection, self.rfile, self._head(), self.server.stopping))
            raise LineIsDown
        return self._carry_out(request, found)

    def _head(self) -> bytes:
        """The request's first lines once more, for who reads them in its own way."""
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _read(self) -> Request:
        secret = self.server.venue.secret_headers
        headers = {name: value for name, value in self.headers.items() if name.lower() not in secret}
        request = Request(self.command, self.path, headers, None)
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            # Never taken for an empty body: an empty body may flatten everything.
            self._say(request, self.server.venue.wording.no_length())
            raise LineIsDown
        request.content = self.rfile.read(int(length))
        if len(request.content) < int(length):
            raise LineIsDown
        request.body = parsed(request.content)
        return request

    def _carry_out(self, request: Request, call: Call) -> None:
        venue = self.server.venue
        request.operation = str(call.operation)
        wait = call.bucket.take() if call.bucket else 0.0
        if wait:
            told = math.ceil(wait) if venue.wording.tells_wait else None
            return self._say(request, venue.wording.throttled(told))
        exchange = Exchange(self.connection, request, call.act, venue.later, self.server.stopping, call.about)
        return venue.forecast.let_be(request, exchange)

    def _say(self, request: Request, answer: Answer) -> None:
        """Answer what has no bad days."""
        venue = self.server.venue
        exchange = Exchange(self.connection, request, lambda plan: answer, venue.later, self.server.stopping)
        exchange.answer(exchange.act())
