"""The load: alerts from processes of their own, over kept-alive connections, timed where they are sent.

A rate is kept whatever the door does: an alert's time counts from when it was meant to leave, so that a slow answer
does not hide those that wait behind it.
"""

import itertools
import multiprocessing
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

PROCESSES = 2
"""Clients that send as fast as they can: one Python process can't keep a door busy."""
CONNECTIONS = 16
"""Of each of them. The door has 16 threads."""
SENDERS = 48
"""Threads that keep to a rate: so many alerts may be on their way at once before the next is late."""
PATIENCE = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where alerts go, and what they say."""

    port: int
    path: str
    template: str
    """`{n}` stands for what makes each alert another."""

    def body(self, number: str) -> bytes:
        return self.template.replace("{n}", number).encode()


@dataclass(frozen=True, slots=True)
class Sent:
    """One alert, as its sender saw it."""

    number: str
    at: float
    """Seconds since 1970, right before its first byte."""
    late: float
    """Seconds after the moment at which it was meant to leave."""
    took: float
    """Seconds from the first byte to the end of the answer."""
    status: int
    """0: the line broke."""

    @property
    def latency(self) -> float:
        return self.late + self.took


class Clients:
    """Processes that send. A run of one begins when all that it needs is there."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> "Clients":
        for started in [self._pool.submit(time.sleep, 0.2) for _ in range(PROCESSES)]:
            started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def in_a_row(self, target: Target, numbers: Sequence[str]) -> list[Sent]:
        """One after the other, on one connection."""
        return self._pool.submit(in_a_row, target, numbers).result()

    def at_rate(self, target: Target, numbers: Sequence[str], rate: float) -> list[Sent]:
        """So many a second."""
        return self._pool.submit(at_rate, target, numbers, rate).result()

    def at_once(self, target: Target, numbers: Sequence[str]) -> list[Sent]:
        """All at the same moment, each on a new connection."""
        return self._pool.submit(at_once, target, numbers).result()

    def flat_out(self, target: Target, seconds: float) -> list[Sent]:
        """As many as the door takes, from all processes."""
        running = [self._pool.submit(flat_out, target, seconds) for _ in range(PROCESSES)]
        return [sent for it in running for sent in it.result()]


def fresh(count: int) -> list[str]:
    """So many numbers that no alert had before."""
    start = uuid.uuid4().hex[:20]
    return [f"{start}{number:08d}" for number in range(count)]


def throughput(sent: Sequence[Sent]) -> float:
    """Answers a second, from the first byte of the first to the last answer."""
    return len(sent) / (max(it.at + it.took for it in sent) - min(it.at for it in sent))


def in_a_row(target: Target, numbers: Iterable[str]) -> list[Sent]:
    sender = _Sender(target)
    sender.connect()
    sent = [sender.send(number, time.perf_counter()) for number in numbers]
    sender.close()
    return sent


def at_rate(target: Target, numbers: Sequence[str], rate: float) -> list[Sent]:
    begins = time.perf_counter() + 0.1
    left = iter([(begins + place / rate, number) for place, number in enumerate(numbers)])
    lock = threading.Lock()

    def send_some(sender: _Sender, sent: list[Sent]) -> None:
        while True:
            with lock:
                due, number = next(left, (0.0, ""))
            if not number:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            sent.append(sender.send(number, due))

    return _together(target, min(SENDERS, len(numbers)), send_some)


def at_once(target: Target, numbers: Sequence[str]) -> list[Sent]:
    ready = threading.Barrier(len(numbers))
    left = iter(numbers)

    def send_one(sender: _Sender, sent: list[Sent]) -> None:
        number = next(left)
        sender.close()
        ready.wait()
        sent.append(sender.send(number, time.perf_counter()))

    return _together(target, len(numbers), send_one)


def flat_out(target: Target, seconds: float) -> list[Sent]:
    ends = time.perf_counter() + seconds
    numbers = (f"{uuid.uuid4().hex[:20]}{number:08d}" for number in itertools.count())
    lock = threading.Lock()

    def send_on(sender: _Sender, sent: list[Sent]) -> None:
        while time.perf_counter() < ends:
            with lock:
                number = next(numbers)
            sent.append(sender.send(number, time.perf_counter()))

    return _together(target, CONNECTIONS, send_on)


def _together(target: Target, count: int, send: Callable[["_Sender", list[Sent]], None]) -> list[Sent]:
    """Threads, each with a connection of its own that is there before it begins."""
    senders = [_Sender(target) for _ in range(count)]
    for sender in senders:
        sender.connect()
    lists: list[list[Sent]] = [[] for _ in senders]
    threads = [
        threading.Thread(target=send, args=(sender, sent))
        for sender, sent in zip(senders, lists, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sender in senders:
        sender.close()
    return [it for sent in lists for it in sent]


class _Sender:
    """One connection, made anew when it broke. It knows no more of HTTP than it needs: the door is to be kept busy."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._head = (
            f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        with suppress(OSError):
            self._connected()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, number: str, due: float) -> Sent:
        body = self._target.body(number)
        began, at = time.perf_counter(), time.time()
        try:
            connection = self._connected()
            connection.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            status = self._answered(connection)
        except OSError:
            self.close()
            status = 0
        return Sent(number, at, began - due, time.perf_counter() - began, status)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._target.port), PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _answered(self, connection: socket.socket) -> int:
        """The status, once the whole answer has come. Raises OSError if it does not."""
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _some_of(connection)
        head = received[:end].lower()
        length = _LENGTH.search(head)
        missing = end + 4 + int(length[1] if length else 0) - len(received)
        while missing > 0:
            missing -= len(_some_of(connection))
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head[9:12])


def _some_of(connection: socket.socket) -> bytes:
    received = connection.recv(64 * 1024)
    if not received:
        raise ConnectionResetError("the line ended before the answer")
    return received
