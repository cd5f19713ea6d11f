"""HTTP on a raw socket: reads one request, finds its call, and answers it or lets it have its bad day."""

import json
import logging
import math
import socket
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from . import bad_days, calls, control, routes
from .calls import Answer
from .errors import InvalidRequest
from .exchange import Exchange, LineIsDown
from .journal import Request
from .records import FillPlan

if TYPE_CHECKING:
    from .server import Listener

logger = logging.getLogger(__name__)

# XT docs, authentication; the body of a 401 is not shown.
UNAUTHORIZED = Answer(401, {"success": False, "error": "unauthorized", "detail": "Invalid bearer token"})
LENGTH_REQUIRED = Answer(411, {"success": False, "error": "Content-Length is required"})
METHOD_NOT_ALLOWED = Answer(405, {"success": False, "error": "Method not allowed"})


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
        request = self._read()
        path = urlsplit(self.path).path
        if path.startswith(control.PREFIX):
            # Not in the journal: it is about the venue, not asked of it.
            answer = self.server.venue.control.answer(self.command, path, request.body)
            return self._exchange(request).answer(answer)
        self.server.venue.journal.write(request)
        if not self._authorized():
            return self._exchange(request).answer(UNAUTHORIZED)
        found = routes.find(self.command, path)
        if found is None:
            return self._misrouted(request, path)
        return self._carry_out(request, found)

    def _read(self) -> Request:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        request = Request(self.command, self.path, headers, None)
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            # Never taken for an empty body: an empty body may flatten everything.
            self._exchange(request).answer(LENGTH_REQUIRED)
            raise LineIsDown
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise LineIsDown
        request.body = parsed(body.decode("utf-8", "replace"))
        return request

    def _authorized(self) -> bool:
        # XT docs, authentication: a bearer token, 401 otherwise.
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        expected = self.server.venue.token
        return scheme.lower() == "bearer" and (bool(token) if expected is None else token == expected)

    def _misrouted(self, request: Request, path: str) -> None:
        exchange = self._exchange(request)
        allowed = routes.allowed_methods(path)
        if allowed:
            return exchange.answer(METHOD_NOT_ALLOWED, {"Allow": ", ".join(allowed)})
        return exchange.answer(Answer(404, routes.not_found(self.command, path)))

    def _carry_out(self, request: Request, found: routes.Found) -> None:
        venue = self.server.venue
        request.operation = found.route.operation.value
        exchange = self._exchange(request, found)
        wait = venue.throttle.take() if venue.throttle else 0.0
        if wait:
            return bad_days.throttled(exchange, math.ceil(wait))
        day = venue.forecast.take(found.route.operation)
        if day is None:
            return exchange.answer(exchange.act())
        request.fault = day.fault.value
        return bad_days.play(day, exchange)

    def _exchange(self, request: Request, found: routes.Found | None = None) -> Exchange:
        book = self.server.venue.book

        def call(plan: FillPlan | None) -> Answer:
            if found is None or found.route.operation is routes.Operation.ENDPOINTS:
                return Answer(200, routes.catalogue())
            try:
                args = arguments(request) | found.named
            except InvalidRequest as exc:
                return calls.refused(exc)
            return calls.answer(book, found.route.api, args, plan)

        account = found.named.get("account", "") if found else ""
        return Exchange(self.connection, request, call, book.later, self.server.stopping, account)


def parsed(text: str) -> Any:
    """The JSON in a body, else its text; None only when there is no body."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None else value


def arguments(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(parse_qsl(urlsplit(request.path).query))
    # The docs send `{}` where there is nothing to say; no body at all is read as that.
    body = {} if request.body is None else request.body
    if not isinstance(body, dict):
        raise InvalidRequest("the body is not a JSON object")
    return body
