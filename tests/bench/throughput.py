"""Commands a second: a thousand closes wait, each of its own account at Clear Street, which publishes no limits.

A run starts so many workers and tells how fast they closed the next of those that wait; then others wait in their place.
A close is a read of the orders, a read of the positions, the close, and both read back: each call on a connection of
its own.

Beside it: how many jobs that do nothing the same RQ worker class carries out, in as many processes. The ratio of the two
is the part of a command's time that one ring takes; a ring carries on up to ten commands, so it is the most there is.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice

from redis import Redis
from sqlalchemy import select

from app.domain.commands import ClosePosition
from app.ledger import tables
from app.ledger.delivery import Delivery, Wish
from app.queueing import QUEUE, Doorbell
from tests.bench.figures import Figure, Finding, Note
from tests.bench.setting import Bench, Setting, setting
from tests.running import eventually
from tests.taking import accept

WORKERS = (1, 2, 4)
AT_ONCE = 100
"""Rings that Redis is sent together."""
IDLE_JOBS = "RQ's jobs that do nothing"


@dataclass(slots=True)
class Waiting:
    """Closes that wait, always as many."""

    running: Setting
    many: int
    accounts: Iterator[int] = field(default_factory=lambda: count(20_000))
    made: int = 0

    def top_up(self) -> None:
        doorbell = Doorbell(self.running.redis.url)
        missing = self.many - (self.made - self.running.settled())
        for account in islice(self.accounts, missing):
            self.running.stocks.book.set_position(account, "AAPL", "long", 100, "145.00", "151.00")
            delivery = Delivery("stocks", str(account).encode(), "a close", "main")
            wish = Wish([ClosePosition("cs", str(account), "AAPL")], max_age=86400)
            taken = accept(self.running.ledger, delivery, wish)
            doorbell.ring([row.id for row in taken.commands])
            self.made += 1


def measure(bench: Bench) -> Iterator[Finding]:
    deep, closed = bench.pick(1000, 40), bench.pick(80, 15)
    for kind in bench.kinds:
        with setting(bench, kind, "stocks") as running:
            waiting = Waiting(running, deep)
            rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
            jobs: dict[int, list[float]] = {workers: [] for workers in WORKERS}
            for _ in range(bench.runs):
                for workers in WORKERS:
                    waiting.top_up()
                    rates[workers].append(_commands_a_second(running, workers, closed))
                    jobs[workers].append(_jobs_a_second(running, workers, bench.pick(500, 100)))
            for workers in WORKERS:
                name = f"{kind}, {workers} {'worker' if workers == 1 else 'workers'}, {deep:,} waiting"
                yield Figure(name, "closes/s", rates[workers], {IDLE_JOBS: jobs[workers]})
            yield from _wrongly_closed(running, kind)


def _commands_a_second(running: Setting, workers: int, closed: int) -> float:
    """From the first that these workers settle to the last, by the ledger's clock."""
    before = running.settled()
    product = running.product
    product.workers = workers
    product.start("worker", "-m", "workers")
    running.wait_settled(before + closed, 120)
    product.stop("worker")
    settled = tables.commands.c.settled_at
    with running.ledger.reading() as connection:
        ends = connection.scalars(select(settled).where(settled.is_not(None)).order_by(settled)).all()[
            before:
        ]
    seconds: float = (ends[-1] - ends[0]).total_seconds()
    return (len(ends) - 1) / seconds


def _jobs_a_second(running: Setting, workers: int, jobs: int) -> float:
    """Of all that wait, the second half: by then every process is at it."""
    place = running.another(2)
    client = Redis.from_url(str(place.redis_url))
    client.flushdb()
    for number in range(workers):
        place.start(f"idle{number}", "-m", "tests.bench.ceilings", str(place.redis_url))
    eventually(lambda: client.scard("rq:workers") >= workers, 30, "RQ's workers are there")
    doorbell = Doorbell(place.redis_url)
    for _ in range(2 * jobs // AT_ONCE):
        assert doorbell.ring(["nobody's"] * AT_ONCE), "Redis took them"
    while (left := client.llen(f"rq:queue:{QUEUE}")) > jobs:
        time.sleep(0.002)
    began = time.perf_counter()
    while client.llen(f"rq:queue:{QUEUE}"):
        time.sleep(0.002)
    taken = time.perf_counter() - began
    client.close()
    place.stop_all()
    running.beside.remove(place)
    return float(left) / taken


def _wrongly_closed(running: Setting, kind: str) -> Iterator[Note]:
    """Every command that settled is closed, and its position is flat in the venue's own book."""
    commands = tables.commands.c
    with running.ledger.reading() as connection:
        settled = connection.execute(
            select(commands.account, commands.status).where(commands.settled_at.is_not(None))
        ).all()
    wrong = [
        it for it in settled if it.status != "closed" or running.stocks.book.position(int(it.account), "AAPL")
    ]
    yield Note(f"{kind}: {len(settled):,} closed" + (f", {len(wrong)} WRONGLY: {wrong[:3]}" if wrong else ""))
