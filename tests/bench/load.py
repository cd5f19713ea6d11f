"""The load: alerts from processes of their own, over kept-alive connections, timed where they are sent.

A rate is kept whatever the door does: an alert's time counts from when it was meant to leave, so that a slow answer
does not hide those that wait behind it.
"""

import http.client
import itertools
import multiprocessing
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
    """One connection, made anew when it broke."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=PATIENCE)

    def connect(self) -> None:
        with suppress(OSError):
            self._connection.connect()

    def close(self) -> None:
        self._connection.close()

    def send(self, number: str, due: float) -> Sent:
        body, began, at = self._target.body(number), time.perf_counter(), time.time()
        try:
            self._connection.request("POST", self._target.path, body)
            answer = self._connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            status = 0
        return Sent(number, at, began - due, time.perf_counter() - began, status)
