"""Ten minutes at 50 alerts a second while a worker is killed each minute: nothing lost or doubled, and all stays flat.

Every alert is a whole close of another account at Clear Street, which publishes no limits; one in four has a position.
In the middle of each minute one worker process is killed (SIGKILL). At the end, once all that waits is done, each alert
that was answered 202 is held against the venue's own book and journal: its position is flat and one call closed it, or
there was none and no call was made, or it is in doubt and a person was told (a worker that is killed with a call on its
way may leave that: at this venue none is ever repeated). Each figure has a value for each minute. It is one run, and is
not part of a run of all subjects. `--short`: one minute.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from redis import Redis
from sqlalchemy import or_, select, text

from app.ledger import tables
from tests.bench.figures import Figure, Finding, Note, quantile, told
from tests.bench.load import Sent
from tests.bench.processes import handles, memory
from tests.bench.setting import LOOK_EVERY, Bench, Setting, setting
from tests.simulators.line import Journal, Request

A_SECOND = 50
MINUTES = 10
FIRST_ACCOUNT = 100_000
OPEN_ONE_IN = 4
ALERT = '{"action": "close", "instrument": "AAPL", "account": "{n}"}'
PATIENCE = 3600.0
"""Seconds that what is left at the end has, to be done."""


@dataclass(slots=True)
class Minute:
    """What was seen in one."""

    sent: Sequence[Sent]
    waiting: int
    """Commands that were not settled at its end."""
    open: dict[str, float]
    """Files, connections and memory at its end."""


@dataclass(slots=True)
class Day:
    """What was seen in all."""

    minutes: list[Minute] = field(default_factory=list)
    closes: list[Request] = field(default_factory=list)
    """The venue's journal of calls that close."""
    killed: int = 0

    @property
    def taken(self) -> list[str]:
        """The accounts whose alert was answered 202."""
        return [it.number for minute in self.minutes for it in minute.sent if it.status == 202]


def measure(bench: Bench) -> Iterator[Finding]:
    minutes, each = bench.pick(MINUTES, 1), 60 * A_SECOND
    for kind in bench.kinds:
        with setting(bench, kind, "stocks") as running:
            for account in range(FIRST_ACCOUNT, FIRST_ACCOUNT + minutes * each):
                held = "AAPL" if _is_open(str(account)) else "MSFT"
                running.stocks.book.set_position(account, held, "long", 100, "145.00", "151.00")
            running.product.start_workers()
            day = Day()
            for minute in range(minutes):
                day.minutes.append(_minute(bench, running, day, FIRST_ACCOUNT + minute * each, each))
            ended = time.monotonic()
            missing = _done(running)
            _read_journal(running, day)
            yield from _figures(running, kind, day)
            yield from _verdicts(running, kind, day)
            left = f", {missing} were NOT done then" if missing else ""
            yield Note(f"{kind}: after the last alert the rest took {time.monotonic() - ended:.0f} s{left}")


def _minute(bench: Bench, running: Setting, day: Day, first: int, many: int) -> Minute:
    killing = threading.Timer(30.0, _kill_a_worker, (running, day))
    killing.start()
    target = running.target("stocks", ALERT)
    try:
        sent = bench.clients.at_rate(target, [str(first + number) for number in range(many)], A_SECOND)
    except BaseException:
        killing.cancel()  # whoever stops the soak need not wait for it
        raise
    killing.join()
    _read_journal(running, day)
    return Minute(sent, running.count(of="commands") - running.settled(), _open(running))


def _kill_a_worker(running: Setting, day: Day) -> None:
    os.kill(random.choice(running.product.worker_pids()), signal.SIGKILL)
    day.killed += 1


def _read_journal(running: Setting, day: Day) -> None:
    """Of hundreds of thousands of calls only those that close are kept."""
    read, running.stocks.journal = running.stocks.journal, Journal()
    day.closes += [it for it in read.read() if it.operation in (None, "close")]


def _open(running: Setting) -> dict[str, float]:
    web, worker = (running.product.processes[name].pid for name in ("web", "worker"))
    client: Redis = running.redis.client
    found = {
        "files of web": float(handles(web)),
        "files of workers": float(handles(worker)),
        "MiB of web": memory(web),
        "MiB of workers": memory(worker),
        "connections to Redis": float(client.info("clients")["connected_clients"]),
    }
    if not running.ledger.sqlite:
        asked = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        with running.ledger.reading() as connection:
            found["connections to PostgreSQL"] = float(connection.execute(asked).scalar_one())
    return found


def _done(running: Setting) -> int:
    """How many still go on by themselves when none should, or when time is up."""
    commands = tables.commands.c
    goes_on = or_(commands.due_at.is_not(None), commands.lease_owner.is_not(None))
    deadline = time.monotonic() + PATIENCE
    while left := running.count(commands.settled_at.is_(None), goes_on, of="commands"):
        if time.monotonic() > deadline:
            return left
        time.sleep(LOOK_EVERY)
    return 0


def _figures(running: Setting, kind: str, day: Day) -> Iterator[Finding]:
    for name, part in (("median", 0.5), ("99 %", 0.99)):
        answers = [quantile([it.latency * 1000 for it in minute.sent], part) for minute in day.minutes]
        yield Figure(f"{kind}, the door's answer: {name} of each minute", "ms", answers)
        yield Note(f"{kind}, minute by minute: {', '.join(told(it) for it in answers)} ms")
    lengths = _until_settled(running)
    for name, part in (("median", 0.5), ("99 %", 0.99)):
        of_minutes = [
            [lengths[it.number] for it in minute.sent if it.number in lengths] for minute in day.minutes
        ]
        closed = [quantile(each, part) for each in of_minutes if each]
        yield Figure(f"{kind}, accepted to closed: {name} of each minute", "s", closed)
        yield Note(f"{kind}, minute by minute: {', '.join(told(it) for it in closed)} s")
    yield Figure(f"{kind}, waiting at the end of each minute", "", [float(it.waiting) for it in day.minutes])
    for name in day.minutes[0].open:
        values = [it.open[name] for it in day.minutes]
        yield Figure(f"{kind}, {name}", "", values)
        yield Note(f"{kind}, {name}, minute by minute: {', '.join(told(it) for it in values)}")


def _until_settled(running: Setting) -> dict[str, float]:
    """Seconds from acceptance to the end of each command, by its account."""
    commands = tables.commands.c
    wanted = select(commands.account, commands.accepted_at, commands.settled_at)
    with running.ledger.reading() as connection:
        rows = connection.execute(wanted.where(commands.settled_at.is_not(None))).all()
    return {row.account: (row.settled_at - row.accepted_at).total_seconds() for row in rows}


def _verdicts(running: Setting, kind: str, day: Day) -> Iterator[Note]:
    commands = tables.commands.c
    with running.ledger.reading() as connection:
        rows = connection.execute(select(commands.account, commands.status, commands.attention)).all()
    statuses = {row.account: row.status for row in rows}
    calls = Counter(it.path.split("/")[3] for it in day.closes if it.acted)
    book = running.stocks.book
    doubts = {row.account for row in rows if row.status == row.attention == "in_doubt"}
    wrong = {it for it in day.taken if statuses.get(it) != _should_be(it) or book.position(int(it), "AAPL")}
    lost = sorted(wrong - doubts)
    doubled = [account for account, times in calls.items() if times > _is_open(account)]
    unanswered = Counter(it.status for minute in day.minutes for it in minute.sent if it.status != 202)
    yield Note(
        f"{kind}: {len(day.taken):,} answered 202, {day.killed} workers killed; lost {len(lost)} {lost[:3] or ''}, "
        f"doubled {len(doubled)} {doubled[:3] or ''}; in doubt, and told, {len(doubts)}; "
        f"statuses {dict(Counter(statuses.values()))}; "
        f"for a person {sum(row.attention is not None for row in rows)}; not answered 202: {dict(unanswered)}"
    )


def _is_open(account: str) -> bool:
    return int(account) % OPEN_ONE_IN == 0


def _should_be(account: str) -> str:
    return "closed" if _is_open(account) else "nothing_open"
