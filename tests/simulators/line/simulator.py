"""A venue on a port of this machine: starts, stops, and stops listening for a while."""

import ipaddress
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from email.message import Message
from types import TracebackType
from typing import Any, ClassVar, Self

from .control import Book, BookFace, Control
from .faults import Wording
from .forecast import EVERY, Forecast
from .journal import Journal, Request
from .listener import Listener
from .records import Answer, Call, Upgrade


class Simulator(ABC):
    """
    What all venues have in common. Port 0 takes a free one.

    Only loopback addresses: the control face asks nobody who they are.
    """

    thread_name: ClassVar[str] = "simulator"
    secret_headers: ClassVar[frozenset[str]] = frozenset({"authorization"})
    """In lower case: what the journal does not keep."""
    wording: Wording
    book: Any
    """A `control.Book`; a venue says of which type. Another may be put in its place at any time."""

    def __init__(self, book: Book, face: BookFace, forecast: Forecast, *, host: str, port: int) -> None:
        if not is_loopback(host):
            raise ValueError(f"{host} is not a loopback address")
        self.book = book
        self.forecast = forecast
        self.journal = Journal()
        self.control = Control(face, self.advance, forecast, self.journal)
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._listener: Listener | None = None

    @abstractmethod
    def receive(self, request: Request, headers: Message) -> Answer | Call | Upgrade:
        """The call that a request means, or the answer to one that means none or is not let in."""

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def requests(self) -> list[Request]:
        """All that was asked of the venue, oldest first."""
        self.advance()
        return self.journal.read()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen to the book after a time."""
        self.book.later(seconds, act)

    def advance(self) -> None:
        """Let everything happen to the book that is due by now."""
        self.book.advance()

    def bad_day(self, fault: str, on: str = EVERY, times: int | None = 1, **options: Any) -> None:
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


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
