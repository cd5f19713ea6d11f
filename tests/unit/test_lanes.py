"""Many workers at once, as threads and as processes, that sometimes die: what the ledger promises holds all the same.

Each call in flight is a file in a folder per position, made so that a second one can't be: a witness that is not the
ledger.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import and_, func, select, update

from app.domain.commands import ClosePosition, Command, FlattenMatching, Quantity
from app.domain.statuses import UNSETTLED, Status
from app.ledger import tables
from app.ledger.claim import Claim
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.journal import Journal
from app.ledger.readers import CommandHistory, command_history
from app.ledger.step import Answer, Outgoing, Step
from app.ledger.types import from_now
from tests.conftest import on_both_databases
from tests.running import ROOT
from tests.taking import accept

ACCOUNTS = ("Sim101", "Sim102", "Sim103")
INSTRUMENTS = tuple(f"L{n} 12-26" for n in range(8))
LANES = [(account, instrument) for account in ACCOUNTS for instrument in INSTRUMENTS]
MIXED = "Sim103"
"""Where all that is open is closed too; elsewhere parts only, which a wider close would supersede."""
CLAIMERS = 8
LEASED = tables.commands.c.lease_until.is_not(None)

T = TypeVar("T")


def asked_for() -> list[Command]:
    """200 commands over 24 positions: mostly parts, some whole closes, a few flattens of an account."""
    dice = random.Random(7)
    commands: list[Command] = [FlattenMatching("nt8", account=MIXED) for _ in range(6)]
    for n in range(194):
        account, instrument = LANES[n % len(LANES)]
        whole = account == MIXED and dice.random() < 0.4
        size = {} if whole else {"size": Quantity(Decimal(1)), "cancel_orders": False}
        commands.append(ClosePosition("nt8", account, instrument, **size))
    dice.shuffle(commands)
    return commands


def lanes_of(command: Command) -> list[tuple[str, str]]:
    """The positions that a command could touch."""
    if isinstance(command, ClosePosition):
        return [(command.account, command.instrument)]
    assert isinstance(command, FlattenMatching)
    return [lane for lane in LANES if lane[0] == command.account]


class Worker:
    """Claims and carries out until everything is settled. It dies now and then, and so do its calls."""

    def __init__(self, ledger: Ledger, name: str, floor: Path) -> None:
        self.ledger = ledger
        self.name = name
        self.floor = floor
        self.claims = Claims(ledger, name)
        self.journal = Journal(ledger)
        self.dice = random.Random(name)

    def work(self) -> None:
        while self._unless_busy(self._unsettled, 1):
            held = self._unless_busy(lambda: self.claims.take(["nt8"]), None)
            if held is None:
                self._unless_busy(self.claims.recover, [])
                time.sleep(0.005)
            elif self.dice.random() < 0.05 or not self._unless_busy(
                lambda it=held: self._carry_on(it), False
            ):
                while not self._unless_busy(lambda it=held: self._die(it), False):
                    pass

    def _unless_busy(self, ask: Callable[[], T], otherwise: T) -> T:
        """A machine with no time to spare may keep a write waiting too long: that is one more death."""
        try:
            return ask()
        except LedgerUnavailable as exc:
            if "deadlock" in str(exc):
                raise
            return otherwise

    def _carry_on(self, held: Claim) -> bool:
        match held.status:
            case Status.QUEUED:
                self._close(held)
            case Status.WORKING:
                self.journal.move(held, Step(Status.CLOSED))
            case _:
                done = self.dice.random() < 0.5
                self.journal.move(held, Step(Status.CLOSED) if done else Step(Status.QUEUED, due_in=0))
        return True

    def _close(self, held: Claim) -> None:
        (attempt,) = self.journal.begin(
            held, [Outgoing("close", {})], holdings=None, settle_window=0, retry_for=600
        )
        self._call(held)
        answer = Answer(attempt.number, "reported")
        fate = self.dice.random()
        if fate < 0.1:
            self._die(held)
        elif fate < 0.2:
            self.journal.move(
                held, Step(Status.QUEUED, due_in=0.01), Answer(attempt.number, "not_sent"), keep=False
            )
        elif fate < 0.3:
            lost = Answer(attempt.number, "outcome_unknown")
            self.journal.move(held, Step(Status.IN_DOUBT, due_in=0.01, fixed=True), lost)
        elif fate < 0.5:
            self.journal.move(held, Step(Status.WORKING, due_in=0), answer)
        else:
            self.journal.move(held, Step(Status.WORKING, due_in=0), answer, keep=True)
            self.journal.move(held, Step(Status.CLOSED))

    def _call(self, held: Claim) -> None:
        """The call itself: two of them at one position would meet at its file."""
        places = [self.floor / f"{account} {instrument}" for account, instrument in lanes_of(held.command)]
        for place in places:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL))
        time.sleep(0.001)
        for place in places:
            place.unlink()

    def _die(self, held: Claim) -> bool:
        """Nothing more comes of this claim, and its lease has run out."""
        with self.ledger.writing() as connection:
            mine = and_(tables.commands.c.id == held.id, tables.commands.c.fence == held.fence, LEASED)
            connection.execute(update(tables.commands).where(mine).values(lease_until=from_now(-1)))
        return True

    def _unsettled(self) -> int:
        with self.ledger.reading() as connection:
            unsettled = tables.commands.c.status.in_(UNSETTLED)
            count: int = connection.execute(
                select(func.count()).select_from(tables.commands).where(unsettled)
            ).scalar_one()
            return count


def work_in_threads(url: str, floor: Path, names: list[str]) -> None:
    """Several workers of one process. Raises what the first of them raised."""
    ledger = Ledger(url, threads=len(names))
    faults: list[BaseException] = []

    def work(name: str) -> None:
        try:
            Worker(ledger, name, floor).work()
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.dispose()
    if faults:
        raise faults[0]


def work_in_processes(url: str, floor: Path, names: list[str]) -> None:
    """Two workers a process."""
    script = "from config.logging import configure_logging; configure_logging('ERROR', 'text'); "
    script += "import sys, pathlib; from tests.unit.test_lanes import work_in_threads as work; "
    script += "work(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, str(floor), *names[n : n + 2]],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        for n in range(0, len(names), 2)
    ]
    complaints = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), complaints


@on_both_databases
def test_many_workers_that_die_keep_every_promise(database_url: str, ledger: Ledger, tmp_path: Path) -> None:
    floor = tmp_path / "floor"
    floor.mkdir()
    ids = []
    for command in asked_for():
        taken = accept(ledger, Delivery("futures", new_id().encode(), "a text", "main"), Wish([command]))
        ids += [row.id for row in taken.commands]

    work_in_processes(database_url, floor, [f"worker-{n}" for n in range(CLAIMERS)])

    histories = [history for it in ids if (history := command_history(ledger, it))]
    assert len(histories) == 200
    superseded = [history for history in histories if history.command.status == "superseded"]
    assert {history.command.status for history in histories} == {"closed", "superseded"}
    assert {history.command.account for history in superseded} == {MIXED}
    assert list(floor.iterdir()) == []
    for history in histories:
        assert_the_events_tell_it_all(history)
        assert_it_was_sent_no_oftener_than_allowed(history)
    assert_parts_waited_for_all_before_them(histories)
    for history in superseded:
        assert_a_wider_close_left_before_it_ended(history, histories)


def assert_the_events_tell_it_all(history: CommandHistory) -> None:
    """From the first to the last, each begins where the one before ended."""
    names = [event.name for event in history.events]
    assert names[0] == "accepted"
    status = "queued"
    for event in history.events:
        if "from" in event.detail:
            assert event.detail["from"] == status, names
            status = event.detail["to"]
    assert status == history.command.status
    assert names.count("sending") == len(history.attempts)
    assert names.count("answered") == sum(1 for it in history.attempts if it.answered_at is not None)


def assert_it_was_sent_no_oftener_than_allowed(history: CommandHistory) -> None:
    """Once; and again only after it was proved unsent, or judged to have done nothing."""
    proved_unsent = sum(1 for it in history.attempts if it.outcome == "not_sent")
    judged = sum(1 for it in history.events if (it.detail.get("from"), it.detail.get("to")) == AGAIN)
    ended_unsent = history.command.status == "superseded"
    assert len(history.attempts) == (0 if ended_unsent else 1) + proved_unsent + judged
    assert [it.number for it in history.attempts] == list(range(1, len(history.attempts) + 1))


AGAIN = ("in_doubt", "queued")


def assert_parts_waited_for_all_before_them(histories: list[CommandHistory]) -> None:
    """No part was sent before every earlier command that could touch its position had settled."""
    settled: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for history in histories:  # in the order of acceptance
        command = history.command
        lanes = [
            lane for lane in LANES if lane[0] == command.account and command.instrument in (None, lane[1])
        ]
        if command.quantity is not None and command.status == "closed":
            assert all(moment <= history.attempts[0].sent_at for moment in settled[lanes[0]])
        for lane in lanes:
            settled[lane].append(command.settled_at)


def assert_a_wider_close_left_before_it_ended(
    history: CommandHistory, histories: list[CommandHistory]
) -> None:
    (wider,) = (it for it in histories if it.command.id in history.command.reason)
    assert wider.command.quantity is None
    assert wider.command.instrument in (None, history.command.instrument)
    assert wider.attempts[0].sent_at <= history.command.settled_at
