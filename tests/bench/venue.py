"""From an alert's first byte to the venue's receipt of the close, a whole one at CrossTrade, which answers at once.

Both moments are told by this machine's clock: the client's, and that of the simulator, when it has read a request's
head. The venue's limits are forgotten before each close: it is not they that are measured.

Beside it, in turns: a bare view that commits one row and rings once, and two processes of RQ's worker class as the
product has it, whose job makes the same call to the same venue. What the product does beyond that is what it is for:
it reads the alert, claims the command, and commits the attempt before its first byte leaves.

Where the time goes is told by a run of its own, with Redis telling what it is asked (MONITOR); the ledger's moments are
the database's clock within its transactions, on SQLite in whole milliseconds.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import ConnectionError as RedisConnectionError
from sqlalchemy import select

from app.ledger import tables
from app.queueing import QUEUE
from tests.bench.ceilings import PATH, make_table
from tests.bench.figures import Aim, Figure, Finding, Note, quantile
from tests.bench.load import Sent, Target, fresh
from tests.bench.setting import Bench, Setting, setting, start_ceiling
from tests.running import eventually
from tests.simulators.line import Request

ALERT = '{"action": "close", "instrument": "MES 12-26", "id": "{n}"}'
CLOSE_PATH = "/v1/api/accounts/Sim101/positions/close"
RELAYS = 2
"""Like the product's workers."""
MEDIAN_AT_MOST, LAST_AT_MOST = 8.0, 40.0
RELAY = "commit, ring, call"


@dataclass(frozen=True, slots=True)
class Walk:
    """One alert that came to the venue."""

    sent: Sent
    receipt: Request

    @property
    def milliseconds(self) -> float:
        return (self.receipt.received_at - self.sent.at) * 1000


def measure(bench: Bench) -> Iterator[Finding]:
    for kind in bench.kinds:
        with setting(bench, kind, "futures") as running:
            ceiling = _start_relays(running)
            running.product.start_workers()
            door = running.target("futures", ALERT)
            for _ in range(5):
                _walked(bench, running, door), _walked(bench, running, ceiling)
            many = bench.pick(40, 5)
            runs = [_in_turns(bench, running, door, ceiling, many) for _ in range(bench.runs)]
            for told, part, limit in (("median", 0.5, MEDIAN_AT_MOST), ("99 %", 0.99, LAST_AT_MOST)):
                ours = [quantile([it.milliseconds for it in own], part) for own, _ in runs]
                theirs = [quantile([it.milliseconds for it in beside], part) for _, beside in runs]
                name = f"{kind}, first byte to venue: {told} of {many}"
                yield Figure(name, "ms", ours, {RELAY: theirs}, Aim(limit))
            all_of_them = [it.milliseconds for own, _ in runs for it in own]
            last = quantile(all_of_them, 0.99)
            yield Note(f"{kind}: the 99th percentile of all {len(all_of_them)} is {last:.1f} ms")
            yield from _stages(bench, running, kind, door, bench.pick(100, 10))


def _start_relays(running: Setting) -> Target:
    make_table(running.ledger)
    committing = running.another(1, {"BENCH_TOKEN": running.futures.token or ""})
    start_ceiling(committing, "committing")
    for number in range(RELAYS):
        call = ("--venue", running.futures.url, "--path", CLOSE_PATH, "--body", '{"instrument": "MES 12-26"}')
        committing.start(f"relay{number}", "-m", "tests.bench.ceilings", str(committing.redis_url), *call)
    return Target(committing.port, PATH, ALERT)


def _in_turns(
    bench: Bench, running: Setting, door: Target, ceiling: Target, many: int
) -> tuple[list[Walk], list[Walk]]:
    pairs = [(_walked(bench, running, door), _walked(bench, running, ceiling)) for _ in range(many)]
    return [own for own, _ in pairs], [beside for _, beside in pairs]


def _walked(bench: Bench, running: Setting, target: Target) -> Walk:
    """Send one alert, and wait until the venue has the close and all is quiet again."""
    running.futures.book.set_position("Sim101", "MES 12-26", "Long", 10, 5779.8125, 5797.0, 5)
    running.forget_rates()
    seen = len(running.futures.journal.read())

    def close() -> Request | None:
        asked = running.futures.journal.read()[seen:]
        return next((it for it in asked if it.operation == "close"), None)

    (sent,) = bench.clients.in_a_row(target, fresh(1))
    assert sent.status == 202, f"answered {sent.status}"
    receipt: Request = eventually(close, 10, "the close comes to the venue")
    eventually(lambda: running.settled() == running.count(of="commands"), 30, "it is read back")
    time.sleep(random.uniform(0.02, 0.12))  # else each might meet a sweep, or none
    return Walk(sent, receipt)


# Where the time goes


@dataclass(frozen=True, slots=True)
class Moments:
    """One alert's way, each in seconds since 1970. Redis's clock, and the database's, are this machine's."""

    sent: float
    received: float
    """Within the transaction that keeps the alert."""
    rung: float
    heard: float
    """The worker asked Redis for the job."""
    claimed: float
    """The claim was committed: the venue's limits were asked for room."""
    attempted: float
    """Within the transaction that writes the attempt."""
    at_venue: float
    answered: float


STAGES = {
    "first byte → the alert's transaction": ("sent", "received"),
    "→ committed, and the ring in Redis": ("received", "rung"),
    "→ a worker hears it": ("rung", "heard"),
    "→ claimed": ("heard", "claimed"),
    "→ room in the limits, attempt written": ("claimed", "attempted"),
    "→ committed, connected, at the venue": ("attempted", "at_venue"),
    "(first byte → the answer)": ("sent", "answered"),
}


def _stages(bench: Bench, running: Setting, kind: str, door: Target, many: int) -> Iterator[Finding]:
    with _monitored(running) as asked:
        walks = [_walked(bench, running, door) for _ in range(many)]
    told = [it for walk in walks if (it := _moments(running, walk, asked)) is not None]
    for name, (since, until) in STAGES.items():
        lengths = [(getattr(it, until) - getattr(it, since)) * 1000 for it in told]
        yield Figure(f"{kind}: {name}", "ms", lengths)
    if len(told) < many:
        yield Note(f"{kind}: {many - len(told)} of {many} went out by a sweep, before their ring was heard")


def _moments(running: Setting, walk: Walk, asked: list[tuple[float, str]]) -> Moments | None:
    """None if it was not the ring that the worker came by."""
    left, came = walk.sent.at, walk.receipt.received_at
    during = [(at, what) for at, what in asked if left <= at <= came]
    pushed = [(at, what) for at, what in during if what.startswith(f"RPUSH rq:queue:{QUEUE} ")]
    if not pushed:
        return None
    rung, job = pushed[0][0], f"rq:job:{pushed[0][1].rpartition(' ')[2]}"

    def first(after: float | None, begins: str) -> float | None:
        if after is None:
            return None
        return next((at for at, what in during if at > after and what.startswith(begins)), None)

    heard = first(rung, f"HGETALL {job}")
    claimed = first(heard, "GET flatwire-rates:held")
    if heard is None or claimed is None:
        return None
    received, attempted = _written(running, walk)
    return Moments(left, received, rung, heard, claimed, attempted, came, left + walk.sent.took)


def _written(running: Setting, walk: Walk) -> tuple[float, float]:
    """When the alert was received and the attempt written, by the ledger's clock."""
    alerts, commands, attempts = tables.alerts.c, tables.commands.c, tables.attempts.c
    joined = tables.attempts.join(tables.commands, attempts.command == commands.id)
    wanted = (
        select(alerts.received_at, attempts.sent_at)
        .select_from(joined.join(tables.alerts, commands.alert == alerts.id))
        .where(alerts.text.contains(walk.sent.number), attempts.kind == "close")
    )
    with running.ledger.reading() as connection:
        received, attempted = connection.execute(wanted).one()
    return received.timestamp(), attempted.timestamp()


@contextmanager
def _monitored(running: Setting) -> Iterator[list[tuple[float, str]]]:
    """What Redis is asked, each with its time."""
    asked: list[tuple[float, str]] = []
    client = running.redis.client
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]

        def listen() -> None:
            try:
                for told in monitor.listen():
                    asked.append((told["time"], told["command"]))
            except (RedisConnectionError, OSError, ValueError):
                return

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        yield asked
        time.sleep(0.2)
    listening.join(2)
