"""The venue on a port of this machine: starts, stops, and stops listening for a while."""

import contextlib
import ipaddress
import logging
import socket
import socketserver
import sys
import threading
from types import TracebackType
from typing import Any, Self

from .book import Book
from .control import Control
from .faults import EVERY, Fault, Forecast
from .handler import Handler
from .journal import Journal, Request
from .throttle import TokenBucket

logger = logging.getLogger(__name__)


class CrossTradeSimulator:
    """
    CrossTrade's REST API over a book of its own.

    `token` is the bearer token that is let in; None lets any in. Port 0 takes a free one.
    Only loopback addresses: the control face asks nobody who they are.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        book: Book | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rate_limit: bool = False,
    ) -> None:
        if not is_loopback(host):
            raise ValueError(f"{host} is not a loopback address")
        self.token = token or None
        self.book = book or Book()
        self.throttle = TokenBucket() if rate_limit else None
        self.forecast = Forecast()
        self.journal = Journal()
        self.control = Control(self.book, self.forecast, self.journal)
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def requests(self) -> list[Request]:
        """All that was asked of the venue, oldest first."""
        self.book.advance()
        return self.journal.read()

    def bad_day(self, fault: Fault, on: str = EVERY, times: int | None = 1, **options: Any) -> None:
        """Let the next `times` calls of a kind (None: all) go wrong; several are taken in turn."""
        self.forecast.add(fault, on, times, **options)

    def good_days(self) -> None:
        """Forget the bad days that have not come yet."""
        self.forecast.clear()

    def start(self) -> Self:
        """Raises OSError when the port is taken."""
        self._bind()
        self.listen_again()
        return self

    def stop(self) -> None:
        self.stop_listening()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def stop_listening(self) -> None:
        """Cut every connection and refuse new ones. The port stays ours; the book goes on."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
            self._bind()

    def listen_again(self) -> None:
        if self._listener is None and self._socket is not None:
            self._listener = Listener(self, self._socket)
            self._listener.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bind(self) -> None:
        # A bound socket that does not listen refuses connections, and keeps others off the port.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._port))
        except OSError:
            bound.close()
            raise
        self._socket = bound
        self._port = bound.getsockname()[1]


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One stretch of listening: a thread that accepts, a thread for each connection."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, venue: CrossTradeSimulator, bound: socket.socket) -> None:
        super().__init__(bound.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.venue = venue
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="crosstrade-simulator")

    def start(self) -> None:
        self.server_activate()
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            logger.debug("the client left", exc_info=True)
        else:
            logger.exception("the simulator failed")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
