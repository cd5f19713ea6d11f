"""gunicorn's threads, given whole requests only: clients that send slowly, or half, wait outside.

gunicorn itself gives a connection a thread before its request is there, and lingers on a closing one in the one thread
that accepts: two dozen half-sent requests would keep every alert waiting for half a minute. Plain HTTP/1 only; TLS
ends at the router in front.
"""

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

RECEIVE_SECONDS = 3
"""From a connection, or the end of the request before, to the last byte of a request."""
LARGEST_HEAD = 32 * 1024
LARGEST_REQUEST = 64 * 1024
"""Of what is kept of one request. Whoever needs more for ENOUGH is sending chunks of a byte or two."""
ENOUGH = 16 * 1024 + 1
"""Bytes of a body after which the application is asked: it reads no more than that."""

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,18})[ \t]*\r$")
_ENCODED = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[ \t]*chunked[ \t]*\r$")
_EXPECTS = re.compile(rb"(?im)^expect:[ \t]*100-continue[ \t]*\r$")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSAL = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"


class Arrival:
    """A request as far as it has come. Each byte is looked at once, however small the pieces."""

    def __init__(self, received: bytes = b"") -> None:
        self.received = bytearray(received)
        self.expects_continue = False
        self._unreadable = False
        self._searched = 0
        self._body: int | None = None  # where the body begins; None: the head is not there yet
        self._length: int | None = None  # None: chunked
        self._chunk = 0  # where the next chunk begins
        self._payload = 0  # in the chunks that are here, as far as they are
        self._before = 0  # in the chunks before that
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        if self._look() is None:
            return False
        return self._ended if self._length is None else self._arrived >= self._length

    @property
    def readable(self) -> bool:
        """Whether as much is here as the application will read."""
        if self.complete:
            return True
        if self._look() is None:
            return False
        return (self._payload if self._length is None else self._arrived) >= ENOUGH

    @property
    def refusal(self) -> bytes | None:
        """The answer to what will never be readable; None while it may."""
        if self.readable:
            return None
        if self._look() is None and len(self.received) > LARGEST_HEAD:
            return _refusal(b"431 Request Header Fields Too Large", b"send fewer or shorter headers")
        if len(self.received) > LARGEST_REQUEST:
            return _refusal(b"413 Content Too Large", b"send fewer and larger chunks")
        if self._unreadable:
            return _refusal(b"400 Bad Request", b"send the body as it is: no Transfer-Encoding but chunked")
        return None

    @property
    def _arrived(self) -> int:
        assert self._body is not None
        return len(self.received) - self._body

    def _look(self) -> int | None:
        if self._body is None:
            end = self.received.find(b"\r\n\r\n", max(0, self._searched - 3))
            self._searched = len(self.received)
            if end >= 0:
                self._read_head(end)
        elif self._length is None:
            self._read_chunks()
        return self._body

    def _read_head(self, end: int) -> None:
        head = bytes(self.received[: end + 2])
        self._body = self._chunk = end + 4
        self.expects_continue = _EXPECTS.search(head) is not None
        if _ENCODED.search(head):
            self._unreadable = _CHUNKED.search(head) is None
            self._read_chunks()
            return
        length = _LENGTH.search(head)
        self._length = int(length[1]) if length else 0  # one that is nonsense is gunicorn's to refuse

    def _read_chunks(self) -> None:
        while not self._ended:
            line_end = self.received.find(b"\r\n", self._chunk)
            if line_end < 0:
                return
            digits = _CHUNK_SIZE.match(self.received, self._chunk, line_end)
            size = int(digits[0], 16) if digits else 0
            if size == 0:
                # The last chunk and its trailer; or nonsense, which is gunicorn's to refuse.
                self._ended = digits is None or self.received.find(b"\r\n\r\n", line_end) >= 0
                return
            begins = line_end + 2
            self._payload = self._before + min(size, len(self.received) - begins)
            if begins + size + 2 > len(self.received):
                return
            self._before += size
            self._chunk = begins + size + 2


class PatientWorker(ThreadWorker):
    """A worker whose one event loop receives, and whose threads answer."""

    def enqueue_req(self, conn: TConn) -> None:
        """A connection is new, or ready for its next request, some of which may have come with the last."""
        conn.arrival = Arrival(b"" if conn.parser is None else conn.parser.unreader.take_buffered())
        self._wait(conn, self._receive)
        self._go_on(conn)

    def finish_request(self, conn: TConn, done: Any) -> None:
        if not done.cancelled() and not done.exception() and done.result():
            super().finish_request(conn, done)
            return
        self._linger(conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """The rest of a body that nobody reads is waited for by no thread."""
        return bool(conn.arrival.complete and super()._keepalive_after(conn, keepalive))

    def _wait(self, conn: TConn, callback: Callable[[TConn, socket.socket], None]) -> None:
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, EVENT_READ, partial(callback, conn))
        conn.timeout = time.monotonic() + RECEIVE_SECONDS  # murder_pending() closes it then
        self.pending_conns.append(conn)

    def _receive(self, conn: TConn, client: socket.socket) -> None:
        data = _some_of(client)
        if data is None:
            return
        conn.arrival.received += data
        if not self._go_on(conn) and not data:
            self._drop(conn)

    def _go_on(self, conn: TConn) -> bool:
        """Serve what has come, or refuse it. False if more is needed to tell."""
        arrival: Arrival = conn.arrival
        if arrival.readable:
            self._release(conn)
            self._serve(conn)
            return True
        if refusal := arrival.refusal:
            self._release(conn)
            _send(conn.sock, refusal)
            self._linger(conn)
            return True
        if arrival.expects_continue:
            arrival.expects_continue = False
            _send(conn.sock, _CONTINUE)
        return False

    def _linger(self, conn: TConn) -> None:
        """Closing with bytes unread would reset the connection, and the answer with it."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn, self._discard)
        except (OSError, ValueError):  # it is closed already
            self.nr_conns -= 1
            conn.close()

    def _discard(self, conn: TConn, client: socket.socket) -> None:
        if _some_of(client) == b"":
            self._drop(conn)

    def _serve(self, conn: TConn) -> None:
        if conn.parser is None:
            conn.parser = http.get_parser(conn.cfg, conn.sock, conn.client)
        conn.parser.unreader.unread(bytes(conn.arrival.received))
        conn.data_ready = True
        super().enqueue_req(conn)

    def _release(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)

    def _drop(self, conn: TConn) -> None:
        self._release(conn)
        self.nr_conns -= 1
        conn.close()


def _refusal(status: bytes, hint: bytes) -> bytes:
    return _REFUSAL % (status, len(hint) + 1, hint + b"\n")


def _send(client: socket.socket, data: bytes) -> None:
    """A few bytes, which a socket's buffer takes at once; a client that is gone needs none."""
    with suppress(OSError):
        client.send(data)


def _some_of(client: socket.socket) -> bytes | None:
    """What has come; empty at the end, None if there is nothing after all."""
    try:
        return client.recv(LARGEST_REQUEST)
    except BlockingIOError:
        return None
    except OSError:
        return b""
