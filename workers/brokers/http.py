"""One HTTP request, sent once, on a connection of its own: no retry, no redirect, no proxy, one deadline."""

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, default_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from app.domain.failures import NotSent, OutcomeUnknown
from workers.brokers.broker import Guard

LARGEST_ANSWER = 1024 * 1024
KEPT_ANSWER = 16 * 1024
"""Characters of an unreadable answer that are kept as evidence."""
LONGEST_WAIT = 86_400.0
"""Seconds. A venue that asks for more has a clock that is off, or means something else."""

_JSON_TYPE = re.compile(r"(application/json|[^\s/;,]+/[^\s/;,]+\+json)\s*(;[^,]*)?", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float
    read: float
    deadline: float
    """For the whole call, from its start to the last byte of the answer."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a venue's `requests` builds it."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: Any = None
    """To be sent as JSON; None is no body."""

    @property
    def content(self) -> bytes | None:
        """The very bytes of the body, for what is signed."""
        return None if self.body is None else json.dumps(self.body).encode()

    def for_the_record(self) -> dict[str, Any]:
        return {"method": self.method, "url": self.url, "body": self.body}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. The body is JSON, parsed; None where it is none, or says that it is not (the text is kept)."""

    status: int
    headers: dict[str, str]
    body: Any
    text: str

    def for_the_record(self) -> dict[str, Any]:
        readable = self.body is not None
        return {"status": self.status, "body": self.body if readable else self.text[:KEPT_ANSWER]}

    @property
    def date(self) -> datetime | None:
        """When it was sent, by the clock of who answered; None where that is not said."""
        return _moment(self.header("date"))

    @property
    def retry_after(self) -> float | None:
        """Seconds that the venue asks us to wait; None where it does not, or makes no sense.

        https://www.rfc-editor.org/rfc/rfc9110#name-retry-after: seconds, or a moment, which is the venue's clock's.
        """
        said = (self.header("retry-after") or "").strip()
        if _SECONDS.fullmatch(said):
            return min(float(said), LONGEST_WAIT)
        until = _moment(said)
        if until is None:
            return None
        wait = (until - (self.date or datetime.now(UTC))).total_seconds()
        return min(wait, LONGEST_WAIT) if wait >= 0 else None

    def header(self, name: str) -> str | None:
        """A header, by its name in lower case."""
        return next((value for said, value in self.headers.items() if said.lower() == name), None)


def answer_of(status: int, headers: dict[str, str], text: str) -> HttpAnswer:
    """A whole answer. One that calls itself anything but JSON has no body: a page is no success, whatever it holds."""
    answer = HttpAnswer(status, headers, None, text)
    kind = (answer.header("content-type") or "").strip()
    return answer if kind and not _JSON_TYPE.fullmatch(kind) else replace(answer, body=parsed(text))


def send(request: HttpRequest, timeouts: Timeouts, guard: Guard) -> HttpAnswer:
    """Send a request once. Raises NotSent or OutcomeUnknown; `guard` may raise what it likes before the first byte.

    Whether a byte left is not read off an exception's name: the connection itself notes when it was ready to send.
    """
    line = _Line(time.monotonic() + timeouts.deadline, timeouts.read, guard)
    try:
        headers = default_headers()
        headers.update(request.headers)
        headers.update({"Connection": "close", "Accept": "application/json"})
        prepared = requests.Request(request.method, request.url, headers, data=request.content).prepare()
        with (
            _adapter(line) as adapter,
            adapter.send(prepared, stream=True, timeout=(timeouts.connect, timeouts.read)) as response,
        ):
            text = _read(response)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
        raise _failure(line, exc) from exc
    return answer_of(response.status_code, dict(response.headers), text)


def _failure(line: "_Line", exc: Exception) -> NotSent | OutcomeUnknown:
    reason = type(exc).__name__
    if not line.open:
        return NotSent(f"the venue could not be reached ({reason})")
    if line.left <= 0:
        return OutcomeUnknown("no whole answer came within the deadline")
    return OutcomeUnknown(f"the connection broke before the whole answer was read ({reason})")


def _read(response: requests.Response) -> str:
    chunks, size = [], 0
    for chunk in response.iter_content(64 * 1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
    expected = response.headers.get("Content-Length", "")
    encoded = "Content-Encoding" in response.headers
    if expected.isdigit() and not encoded and size < int(expected):
        raise ValueError("the answer was cut short")
    return b"".join(chunks).decode("utf-8", "replace")


def parsed(text: str) -> Any:
    """The JSON of a text; None if it is none. NaN and infinities are none."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=_number)
    except (ValueError, RecursionError):
        return None


def _moment(text: str | None) -> datetime | None:
    """A moment as HTTP spells it; None where it is none."""
    try:
        moment = None if text is None else parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


class _Line:
    """What one call's connection tells: whether it was ever ready to send; and how long it may still wait."""

    def __init__(self, ends_at: float, read: float, guard: Guard) -> None:
        self._ends_at = ends_at
        self._read = read
        self._guard = guard
        self.open = False

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._ends_at - time.monotonic()

    def ready(self) -> None:
        """Called when the connection stands and nothing was sent: the last moment to keep the request here."""
        if (left := self.left) <= 0:
            raise TimeoutError("connecting took the whole deadline")
        self._guard(left)
        if self.left <= 0:
            raise TimeoutError("the guard took the whole deadline")
        self.open = True

    def patience(self) -> float:
        """Seconds for the next piece. A read timeout is per read: by itself a dripping answer would outlive the call."""
        if (left := self.left) <= 0:
            raise TimeoutError("the deadline came before the end of the answer")
        return min(self._read, left)


@contextmanager
def _adapter(line: _Line) -> Iterator[HTTPAdapter]:
    """An adapter of one call: nothing of it is ever used again, so each request has a connection that is new.

    A session of `requests` would follow redirects, and take proxies, cookies and a .netrc entry in the place of our
    Authorization header from the environment; without one nothing of that is there.
    """
    calling = _calling.set(line)
    try:
        with closing(_OneLine(max_retries=0)) as adapter:
            yield adapter
    finally:
        _calling.reset(calling)


_calling: ContextVar[_Line] = ContextVar("_calling")
"""The line of the call that this thread makes."""


@cache
def trust() -> ssl.SSLContext:
    """The authorities that `requests` brings. Read once: that takes longer than most calls."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = _TlsSocket
    return context


class _OneLine(HTTPAdapter):
    """Makes connections that report to the line of their call."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=trust())
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has what `requests` would load here anew, and asks for a certificate by itself."""
        if verify is not True or cert is not None:
            raise ValueError("nobody may turn the check of certificates off")
        conn.cert_reqs = "CERT_REQUIRED"


class _PlainSocket(socket.socket):
    """Waits for each piece only as long as its call still may."""

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(_calling.get().patience())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(_calling.get().patience())
        super().sendall(*arguments)


class _TlsSocket(ssl.SSLSocket):
    """The same, over TLS. What comes without being asked for (tickets, keys) is worked through, however much there is."""

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(_calling.get().patience())
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        self.settimeout(_calling.get().patience())
        return super().send(*arguments)


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        return _PlainSocket(connected.family, connected.type, connected.proto, connected.detach())

    def connect(self) -> None:
        super().connect()
        _calling.get().ready()


class _Tls(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _calling.get().ready()


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls
