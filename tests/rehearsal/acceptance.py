"""The series of acceptance: how soon a sender has its answer, and which, on each bad day of what Flatwire stands on."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import requests

from tests.dependencies import (
    dead_redis,
    frozen_postgres,
    frozen_redis,
    full_redis,
    killed_postgres,
    locked_postgres,
    locked_sqlite,
    read_only_redis,
)
from tests.postgres import PostgresServer
from tests.running import Product, RedisServer, eventually, running_product

PROMISE = 2500.0
"""Milliseconds: TradingView waits three seconds, and some of them pass on the way."""
AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What the senders of one day saw."""

    day: str
    expected: int
    statuses: tuple[int, ...]
    """All that there were."""
    median: float
    """Milliseconds, like the next."""
    worst: float

    @property
    def fine(self) -> bool:
        return self.statuses == (self.expected,) and self.worst < PROMISE


def acceptances(alerts: int = 100) -> Iterator[Acceptance]:
    """Each day as it ends: so many alerts one after the other, and then many at once."""
    with tempfile.TemporaryDirectory(prefix="flatwire-acceptance-") as folder:
        yield from _on_sqlite(Path(folder) / "sqlite", alerts)
        yield from _on_postgres(Path(folder) / "postgres", alerts)


def _on_sqlite(folder: Path, alerts: int) -> Iterator[Acceptance]:
    folder.mkdir()
    file = folder / "flatwire.db"
    redis = RedisServer(folder / "redis").start()
    try:
        with running_product(folder, f"sqlite:///{file}", redis.url) as product:
            yield from _day(product, alerts, "all is well, SQLite", 202, nullcontext())
            yield from _day(product, alerts, "Redis frozen", 202, frozen_redis(redis))
            yield from _day(product, alerts, "Redis dead", 202, dead_redis(redis))
            yield from _day(product, alerts, "Redis full", 202, full_redis(redis))
            yield from _day(product, alerts, "Redis read-only", 202, read_only_redis(redis))
            yield from _day(product, alerts, "SQLite locked", 503, locked_sqlite(file))
    finally:
        redis.kill()


def _on_postgres(folder: Path, alerts: int) -> Iterator[Acceptance]:
    folder.mkdir()
    server = PostgresServer()
    try:
        with running_product(folder, server.start().url, None) as product:
            yield from _day(product, alerts, "all is well, PostgreSQL", 202, nullcontext())
            yield from _day(product, alerts, "PostgreSQL frozen", 503, frozen_postgres(server))
            yield from _day(product, alerts, "PostgreSQL dead", 503, killed_postgres(server))
            yield from _day(product, alerts, "PostgreSQL locked", 503, locked_postgres(server))
    finally:
        server.end()


def _day(
    product: Product, alerts: int, day: str, expected: int, bad: AbstractContextManager[None]
) -> Iterator[Acceptance]:
    eventually(product.ready, what="the day before is over")
    with bad:
        in_turn = [_send(product) for _ in range(alerts)]
        time.sleep(6)  # what was learnt is forgotten by then: the first of the many pay again
        with ThreadPoolExecutor(AT_ONCE) as senders:
            at_once = list(senders.map(lambda _: _send(product), range(AT_ONCE)))
    yield _seen(day, expected, in_turn)
    yield _seen(f"{day}, {AT_ONCE} at once", expected, at_once)


def _send(product: Product) -> tuple[int, float]:
    """The status of the answer to an alert like no other, and the milliseconds that it took."""
    began = time.monotonic()
    text = f"action=close;account=nobody;instrument=MES 12-26;id={secrets.token_hex(8)}"
    answer: requests.Response = product.send(text, "everything")
    return answer.status_code, (time.monotonic() - began) * 1000


def _seen(day: str, expected: int, answers: Sequence[tuple[int, float]]) -> Acceptance:
    took = [milliseconds for _, milliseconds in answers]
    return Acceptance(
        day, expected, tuple(sorted({status for status, _ in answers})), median(took), max(took)
    )
