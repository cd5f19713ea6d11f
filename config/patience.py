"""gunicorn's threads, given whole requests only: clients that send slowly, or half, wait outside.

gunicorn itself gives a connection a thread before its request is there, and lingers on a closing one in the one thread
that accepts: two dozen half-sent requests would keep every alert waiting for half a minute. Here no thread ever reads
from a connection. Plain HTTP/1 only; TLS ends at the router in front.
"""

import re
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

RECEIVE_SECONDS = 3
"""From a connection, or the first byte of a later request on it, to the last byte of the request."""
SEND_SECONDS = 3
"""Within which a client must take some more of its answer."""
SEND_BUFFER = 128 * 1024
"""More than twice what strangers can ask for in one request, so that no thread waits until they take it."""
LARGEST_HEAD = 32 * 1024
LARGEST_REQUEST = 64 * 1024
"""Of what is kept of one request. Whoever needs more for ENOUGH is sending chunks of a byte or two."""
ENOUGH = 16 * 1024 + 1
"""Bytes of a body after which the application is asked: the door reads no more than that."""

RECEIVED_AT: ContextVar[float | None] = ContextVar("RECEIVED_AT", default=None)
"""When the first byte of the request came that a thread answers now, by the monotonic clock."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_FRAMING = re.compile(rb"(?im)^(?:content-length|transfer-encoding)[ \t]*:.*$")
_LENGTH = re.compile(rb"(?i)content-length:[ \t]*(\d{1,18})[ \t]*\r")
_CHUNKED = re.compile(rb"(?i)transfer-encoding:[ \t]*chunked[ \t]*\r")
_EXPECTS = re.compile(rb"(?im)^expect:[ \t]*100-continue[ \t]*\r$")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?=[ \t]*;|\r)")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSAL = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"


class Arrival:
    """A request as far as it has come. Each byte is looked at once, however small the pieces.

    What could be read in two ways is refused here, so that gunicorn's parser finds the same end of it.
    """

    def __init__(self, received: bytes = b"") -> None:
        self.received = bytearray()
        self.complete = False
        self.expects_continue = False
        self.began_at = time.monotonic()
        """When its first byte came."""
        self.refusal: bytes | None = None
        """The answer to what will never be readable."""
        self._searched = 0
        self._body: int | None = None  # where the body begins; None: the head is not all there
        self._length: int | None = None  # None: in chunks
        self._next_chunk = 0  # where it begins, or will
        self._promised = 0  # bytes of the body, by the chunks before that
        self._last_chunk: int | None = None  # where the line of the last, empty one ends
        self.add(received)

    @property
    def readable(self) -> bool:
        """Whether as much is here as the application will read."""
        return self.complete or self._payload >= ENOUGH

    def add(self, data: bytes) -> None:
        """Take what has come, and see how far the request is."""
        if not self.received:
            self.began_at = time.monotonic()
        self.received += data
        if self._body is None:
            self._read_head()
        if self._body is not None and self.refusal is None:
            self._read_body(self._body)
        if not self.readable:
            self._refuse_too_much()

    @property
    def _payload(self) -> int:
        if self._body is None:
            return 0
        if self._length is not None:
            return len(self.received) - self._body
        missing = self._next_chunk - len(b"\r\n") - len(self.received)
        return self._promised - max(0, missing)

    def _read_head(self) -> None:
        looked_at = self._searched
        end = self._find(b"\r\n\r\n", 0)
        if _BARE_LF.search(self.received, looked_at, self._searched):
            self._refuse(b"400 Bad Request", b"end each line of the head with CR LF")
        elif end >= 0:
            head = bytes(self.received[: end + 2])
            self._body = self._next_chunk = end + 4
            self.expects_continue = _EXPECTS.search(head) is not None and b" HTTP/1.0\r\n" not in head
            self._read_framing(_FRAMING.findall(head))

    def _read_framing(self, lines: list[bytes]) -> None:
        if not lines:
            self._length = 0
        elif len(lines) == 1 and (length := _LENGTH.fullmatch(lines[0])):
            self._length = int(length[1])
        elif len(lines) > 1 or not _CHUNKED.fullmatch(lines[0]):
            self._refuse(b"400 Bad Request", b"send one Content-Length, or Transfer-Encoding: chunked")

    def _read_body(self, begins: int) -> None:
        if self._length is not None:
            self.complete = len(self.received) - begins >= self._length
            return
        if self._last_chunk is None:
            self._read_chunks()
        if self._last_chunk is not None:
            self.complete = self._find(b"\r\n\r\n", self._last_chunk) >= 0

    def _read_chunks(self) -> None:
        while len(self.received) > self._next_chunk:
            line_end = self._find(b"\r\n", self._next_chunk)
            if line_end < 0:
                return
            size = _CHUNK_SIZE.match(self.received, self._next_chunk)
            if size is None:
                self._refuse(
                    b"400 Bad Request", b"begin each chunk with its size, in up to 8 hexadecimal digits"
                )
                return
            if int(size[1], 16) == 0:
                self._last_chunk = line_end
                return
            self._promised += int(size[1], 16)
            self._next_chunk = line_end + 2 + int(size[1], 16) + 2

    def _find(self, mark: bytes, begins: int) -> int:
        """Where the mark is, searched for only in what is new; -1 if it has not come."""
        found = self.received.find(mark, max(begins, self._searched - len(mark) + 1))
        self._searched = len(self.received) if found < 0 else found
        return found

    def _refuse_too_much(self) -> None:
        if self._body is None and len(self.received) > LARGEST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", b"send fewer or shorter headers")
        elif len(self.received) > LARGEST_REQUEST:
            self._refuse(b"413 Content Too Large", b"send fewer and larger chunks")

    def _refuse(self, status: bytes, hint: bytes) -> None:
        self.refusal = self.refusal or _REFUSAL % (status, len(hint) + 1, hint + b"\n")


class PatientWorker(ThreadWorker):
    """A worker whose one event loop receives, and whose threads answer."""

    def init_process(self) -> None:
        """Accepted connections inherit how they send."""
        patience = struct.pack("ll", SEND_SECONDS, 0)
        for listener in self.sockets:
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """A connection is new, or ready for its next request, some of which may have come with the last."""
        if conn.parser is None:
            nothing_more = ()  # the parser never reads the socket: the rest of a body would be waited for
            conn.parser = http.get_parser(conn.cfg, nothing_more, conn.client)
        conn.arrival = Arrival(conn.parser.unreader.take_buffered())
        self._wait(conn, self._receive)
        self._go_on(conn)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        RECEIVED_AT.set(conn.arrival.began_at)
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: TConn, done: Any) -> None:
        """Keep the connection for another request, or close it without a thread's or the loop's waiting."""
        if not done.cancelled() and not done.exception() and done.result():
            super().finish_request(conn, done)
        else:
            self._linger(conn)

    def murder_pending(self) -> None:
        """Close what waited too long; and when there is room for no more, what was silent longest, one a turn."""
        super().murder_pending()
        silent = self.keepalived_conns or self.pending_conns
        if self.nr_conns >= self.worker_connections and silent:
            self._close(silent[0], silent)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """What follows half a body is no next request."""
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
        if not data:
            self._close(conn, self.pending_conns)
            return
        conn.arrival.add(data)
        self._go_on(conn)

    def _go_on(self, conn: TConn) -> None:
        """Serve what has come, or refuse it, or wait for more."""
        arrival: Arrival = conn.arrival
        if arrival.refusal:
            _send(conn.sock, arrival.refusal)
            self._release(conn, self.pending_conns)
            self._linger(conn)
        elif arrival.readable and not _takes_its_answers(conn.sock):
            self._close(conn, self.pending_conns)
        elif arrival.readable:
            self._release(conn, self.pending_conns)
            self._serve(conn)
        elif arrival.expects_continue:
            arrival.expects_continue = False
            _send(conn.sock, _CONTINUE)

    def _serve(self, conn: TConn) -> None:
        conn.parser.unreader.unread(bytes(conn.arrival.received))
        conn.data_ready = True
        super().enqueue_req(conn)

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
            self._close(conn, self.pending_conns)

    def _release(self, conn: TConn, among: Any) -> None:
        self.poller.unregister(conn.sock)
        among.remove(conn)

    def _close(self, conn: TConn, among: Any) -> None:
        self._release(conn, among)
        self.nr_conns -= 1
        conn.close()


def _takes_its_answers(client: socket.socket) -> bool:
    """Whether there is room for another answer: no thread must wait for a client that asks on and does not read."""
    room = select.poll()
    room.register(client, select.POLLOUT)
    return bool(room.poll(0))


def _send(client: socket.socket, data: bytes) -> None:
    """A few bytes, which a socket's buffer takes at once; a client that is gone needs none."""
    with suppress(OSError):
        client.send(data)


def _some_of(client: socket.socket) -> bytes | None:
    """What has come; empty at the end, None if there is nothing after all."""
    try:
        return client.recv(ENOUGH)
    except BlockingIOError:
        return None
    except OSError:
        return b""
