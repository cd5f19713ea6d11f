"""The socket under a WebSocket: no wait on it outlives a moment that is set beforehand."""

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from requests.utils import DEFAULT_CA_BUNDLE_PATH

T = TypeVar("T")

LARGEST_HANDSHAKE = 64 * 1024
"""Bytes that are read before the WebSocket stands."""


def connected(host: str, port: int, *, tls: bool, connect_timeout: float, ends_at: float) -> "Line":
    """A line to a host, past no proxy. Raises OSError."""
    left = ends_at - time.monotonic()
    sock = socket.create_connection((host, port), max(0.001, min(connect_timeout, left)))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            # The authorities that REST's `requests` trusts.
            context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
            sock = context.wrap_socket(sock, server_hostname=host)
        return Line(sock, ends_at)
    except BaseException:
        sock.close()
        raise


class Line:
    """
    A connected socket, in the shape in which `websocket-client` takes one.

    One thread may read while another writes. `read_until` and `write_until` are moments of the monotonic clock; a
    read or a write that has to wait longer raises TimeoutError.
    """

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        sock.setblocking(False)
        self.read_until = self.write_until = ends_at
        self.allowance: int | None = LARGEST_HANDSHAKE
        """Bytes that may still be read; None: any number."""
        self._socket = sock
        self._turn = threading.Lock()  # OpenSSL takes one call at a time on a connection

    def recv(self, size: int) -> bytes:
        chunk = self._once_ready(
            lambda: self._socket.recv(size), selectors.EVENT_READ, lambda: self.read_until
        )
        if self.allowance is not None:
            self.allowance -= len(chunk)
            if self.allowance < 0:
                raise OSError("the handshake is too large")
        return chunk

    def send(self, data: bytes) -> int:
        return self._once_ready(
            lambda: self._socket.send(data), selectors.EVENT_WRITE, lambda: self.write_until
        )

    def at_end(self) -> bool:
        """Whether the other side has ended the line, and all that it sent was read."""
        try:
            # Below TLS, whose sockets can't peek: what counts is whether there is anything at all.
            return not socket.socket.recv(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def gettimeout(self) -> None:
        """`websocket-client` asks; the moments above are what counts."""

    def close(self) -> None:
        """End the line. Its descriptor is kept until `free`: another thread may be waiting on it."""
        with suppress(OSError):
            # A TLS socket's own shutdown would take its layer off, and what is read then is no plain text.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def free(self) -> None:
        """Give the descriptor back, when nobody uses the line any more."""
        self._socket.close()

    def _once_ready(self, act: Callable[[], T], event: int, until: Callable[[], float]) -> T:
        while True:
            try:
                with self._turn:
                    return act()
            except ssl.SSLWantReadError:
                wanted = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                wanted = selectors.EVENT_WRITE
            except BlockingIOError:
                wanted = event
            self._wait(wanted, until() - time.monotonic())

    def _wait(self, event: int, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, event)
            if seconds <= 0 or not selector.select(seconds):
                raise TimeoutError("the line was not ready in time")
