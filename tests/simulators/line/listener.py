"""One stretch of listening on a bound socket."""

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from typing import TYPE_CHECKING, Any

from .handler import Handler

if TYPE_CHECKING:
    from .simulator import Simulator

logger = logging.getLogger(__name__)


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread that accepts, a thread for each connection."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self, venue: "Simulator", bound: socket.socket) -> None:
        super().__init__(bound.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.venue = venue
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=venue.thread_name)

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
