"""A line between a client and a server that can be cut at any byte."""

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024
LONGEST_SEND = 5.0
"""Seconds for which one side may keep the other's bytes waiting; nothing here sends more than a socket holds."""


class Direction(StrEnum):
    REQUEST = "request"
    ANSWER = "answer"


class Way(StrEnum):
    """How a line ends."""

    RESET = "reset"
    """Both sides see a reset."""
    STALL = "stall"
    """Nothing passes any more; the line stays until the client gives up."""
    DROP = "drop"
    """Both sides see a quiet end. Of a request the server sees it first, and ends what it does with its half."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where and how a line is cut: so many bytes of the direction still pass.

    A request is cut before its last byte, so that the server never has it whole. An answer is cut when its first
    byte is there, even where none is to pass: so the server acted, and the test knows it.
    """

    direction: Direction
    after: int
    way: Way

    def __str__(self) -> str:
        return f"{self.way} after {self.after} bytes of the {self.direction}"


@dataclass(slots=True)
class Watched:
    """One connection that was picked, and what came to it."""

    picks: Callable[[bytes], bool]
    """Whether a connection that begins with these bytes is meant; asked once of each until one is."""
    cut: Cut | None
    taken: bool = False
    """Whether it came."""
    passed: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    """Bytes that came from either side, those that were cut off too."""
    was_cut: bool = False


class CuttingProxy:
    """Passes everything on to a server of this machine, byte by byte, but for the one line that is to be cut.

    One thread serves all lines. A line is made when its client has spoken.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._bell, self._heard = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._heard, selectors.EVENT_READ, None)
        self._lines: set[_Line] = set()
        self._watched: Watched | None = None
        self._thread = threading.Thread(target=self._serve, name="cutting-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bell.close()
        self._thread.join()

    def watch(self, picks: Callable[[bytes], bool], cut: Cut | None = None) -> Watched:
        """Cut the next line that is picked; without a cut, count what passes. Nothing else is watched any more."""
        self._watched = Watched(picks, cut)
        return self._watched

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._close()
                    return
                key.data()

    def _close(self) -> None:
        for line in list(self._lines):
            self._end(line)
        for left in (self._listener, self._heard):
            left.close()
        self._selector.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        line = _Line(_prepared(client))
        self._lines.add(line)
        self._selector.register(client, selectors.EVENT_READ, partial(self._from_client, line))

    def _from_client(self, line: "_Line") -> None:
        if line not in self._lines:  # it ended a moment ago, by what the server did
            return
        data = _received(line.client)
        if not data:
            # Who gave up on a line that stalls leaves the server half a request: after a reset it can't act on it.
            self._end(line, reset=line.cut is not None)
        elif line.cut is None and self._connected(line, data):
            self._pass_on(line, Direction.REQUEST, data)

    def _from_server(self, line: "_Line") -> None:
        if line not in self._lines:
            return
        assert line.server is not None
        data = _received(line.server)
        if not data:
            self._end(line)
        elif line.cut is None:
            self._pass_on(line, Direction.ANSWER, data)

    def _connected(self, line: "_Line", first: bytes) -> bool:
        """Whether the server was reached. If not, the client sees a reset."""
        if line.server is not None:
            return True
        try:
            line.server = _prepared(socket.create_connection(self._target, LONGEST_SEND))
        except OSError:
            self._end(line, reset=True)
            return False
        self._selector.register(line.server, selectors.EVENT_READ, partial(self._from_server, line))
        watched = self._watched
        if watched is not None and not watched.taken and watched.picks(first):
            watched.taken = True
            line.watched = watched
        return True

    def _pass_on(self, line: "_Line", direction: Direction, data: bytes) -> None:
        passes = line.counted(direction, data)
        try:
            line.to(direction).sendall(passes)
        except OSError:
            self._end(line, reset=True)
            return
        if line.cut is not None:
            self._cut(line, line.cut)

    def _cut(self, line: "_Line", cut: Cut) -> None:
        assert line.server is not None
        match cut.way, cut.direction:
            case Way.STALL, _:
                self._selector.unregister(line.server)
            case Way.DROP, Direction.REQUEST:
                # When it has ended what it does with its half, it closes its side, and the client's is closed with it.
                with suppress(OSError):
                    line.server.shutdown(socket.SHUT_WR)
            case _:
                self._end(line, reset=cut.way is Way.RESET)

    def _end(self, line: "_Line", *, reset: bool = False) -> None:
        """End both sides, the server's first."""
        self._lines.discard(line)
        for side in (line.server, line.client):
            if side is not None:
                with suppress(KeyError):
                    self._selector.unregister(side)
                _close(side, reset)


class _Line:
    """One connection of a client, and ours to the server once the client has spoken."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.watched: Watched | None = None
        self.cut: Cut | None = None
        """How it was cut. From then on nothing passes."""

    def to(self, direction: Direction) -> socket.socket:
        assert self.server is not None
        return self.server if direction is Direction.REQUEST else self.client

    def counted(self, direction: Direction, data: bytes) -> bytes:
        """Count these bytes. Those that pass."""
        watched = self.watched
        if watched is None:
            return data
        before = watched.passed[direction]
        watched.passed[direction] += len(data)
        cut = watched.cut
        if cut is None or cut.direction is not direction or before + len(data) < cut.after:
            return data
        self.cut = cut
        watched.was_cut = True
        return data[: cut.after - before]


def _prepared(side: socket.socket) -> socket.socket:
    side.settimeout(LONGEST_SEND)
    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return side


def _received(side: socket.socket) -> bytes:
    """What came; nothing where that side has ended."""
    try:
        return side.recv(CHUNK)
    except OSError:
        return b""


def _close(side: socket.socket, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            # A linger time of zero makes close() send a RST.
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()
