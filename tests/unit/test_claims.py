"""Who may carry out what, on both databases: urgency, lanes, leases and fences, also with many workers at once."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select, update

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Quantity
from app.domain.positions import Side
from app.domain.statuses import NEXT, IllegalTransition, Status, check_transition
from app.ledger import tables
from app.ledger.claims import Claim, Claims, LeaseLost
from app.ledger.connection import Ledger
from app.ledger.intake import Delivery, Wish, accept, new_id
from app.ledger.journal import Answer, Journal, Step
from app.ledger.readers import command_history
from app.ledger.types import from_now
from tests.conftest import on_both_databases

MES = "MES 12-26"


def whole(instrument: str = MES, account: str = "Sim101", **changes: Any) -> ClosePosition:
    return ClosePosition("nt8", account, instrument, **changes)


def part(instrument: str = MES, account: str = "Sim101") -> ClosePosition:
    return ClosePosition("nt8", account, instrument, Quantity(Decimal(1)), cancel_orders=False)


def flatten(**filters: Any) -> FlattenMatching:
    return FlattenMatching("nt8", **filters)


def taken_in(ledger: Ledger, *commands: Command) -> list[str]:
    delivery = Delivery("futures", new_id().encode(), "a text", "main")
    return [row.id for row in accept(ledger, delivery, Wish(commands)).commands]


def claim(ledger: Ledger, owner: str = "one") -> Claim | None:
    return Claims(ledger, owner).take(["nt8"])


def begun(ledger: Ledger, claim: Claim, kind: str = "close") -> int:
    journal = Journal(ledger)
    request: dict[str, Any] = {"method": "POST"}
    attempt = journal.begin(
        claim, kind, request, holdings=None, client_id=None, settle_window=12, retry_for=120
    )
    return attempt.number


def run_out(ledger: Ledger) -> None:
    """Every lease runs out."""
    with ledger.writing() as connection:
        held = tables.commands.c.lease_until.is_not(None)
        connection.execute(update(tables.commands).where(held).values(lease_until=from_now(-1)))


def status_of(ledger: Ledger, command_id: str) -> str:
    history = command_history(ledger, command_id)
    assert history is not None
    return str(history.command.status)


@on_both_databases
def test_the_most_urgent_is_taken_first_then_the_oldest(ledger: Ledger) -> None:
    commands = [
        part("A 12-26"),
        whole("B 12-26"),
        part("C 12-26"),
        flatten(account="Sim102"),
        whole("D 12-26"),
    ]
    ids = taken_in(ledger, *commands)

    order = []
    while found := claim(ledger):
        order.append(ids.index(found.id))
    assert order == [3, 1, 4, 0, 2]


@on_both_databases
def test_a_claim_is_one_workers_and_another_broker_is_not_mine(ledger: Ledger) -> None:
    taken_in(ledger, whole())

    assert Claims(ledger, "one").take(["okx"]) is None
    assert claim(ledger, "one") is not None
    assert claim(ledger, "two") is None


LANES: list[tuple[Command, Command, bool]] = [
    (whole(), whole(), True),
    (whole(), part(), True),
    (whole(), whole("mes 12-26"), True),
    (whole(), whole("MESZ2026"), True),
    (whole(), whole("MES1!"), True),
    (whole(), whole(account="SIM101"), True),
    (whole(), flatten(account="Sim101"), True),
    (whole(), flatten(instrument="MES"), True),
    (whole(), flatten(side=Side.SHORT), True),
    (whole(), FlattenEverything("nt8"), True),
    (flatten(account="Sim101"), flatten(instrument=MES), True),
    (whole(), whole("MES 03-27"), False),
    (whole(), whole("ES 12-26"), False),
    (whole(), whole(account="Sim102"), False),
    (whole(), flatten(account="Sim102"), False),
    (whole(), flatten(instrument="ES"), False),
    (flatten(account="Sim101"), flatten(account="Sim102"), False),
]


@on_both_databases
@pytest.mark.parametrize(("one", "other", "together"), LANES, ids=lambda it: str(it)[:60])
def test_what_could_touch_one_position_is_never_in_flight_together(
    ledger: Ledger, one: Command, other: Command, together: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        taken_in(ledger, first)
        held = claim(ledger)
        assert held is not None
        begun(ledger, held)
        taken_in(ledger, second)
        later = claim(ledger, "two")

        assert (later is None) is together
        with ledger.writing() as connection:
            done = {"status": Status.CANCELLED, "due_at": None, "lease_owner": None, "lease_until": None}
            connection.execute(update(tables.commands).values(done))


def test_a_part_waits_for_what_came_before_and_a_whole_close_only_for_calls_in_flight(ledger: Ledger) -> None:
    (first,) = taken_in(ledger, part())
    with ledger.writing() as connection:
        connection.execute(update(tables.commands).values(status=Status.IN_DOUBT, due_at=from_now(60)))
    taken_in(ledger, part())
    assert claim(ledger) is None
    (rescue,) = taken_in(ledger, whole())

    found = claim(ledger)
    assert found is not None
    assert found.id == rescue
    assert status_of(ledger, first) == "in_doubt"


def test_a_wide_close_that_waits_is_not_passed_by_later_ones(ledger: Ledger) -> None:
    taken_in(ledger, whole("ES 12-26"))
    in_flight = claim(ledger)
    assert in_flight is not None
    begun(ledger, in_flight)
    (wide,) = taken_in(ledger, flatten(account="Sim101"))
    taken_in(ledger, whole("NQ 12-26"))
    assert claim(ledger) is None  # or flattens would starve under a stream of closes
    Journal(ledger).move(in_flight, Step(Status.WORKING))

    found = claim(ledger)
    assert found is not None
    assert found.id == wide


@on_both_databases
def test_the_writes_of_a_stale_claim_miss(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    stale = claim(ledger, "one")
    assert stale is not None
    run_out(ledger)
    fresh = claim(ledger, "two")
    assert fresh is not None
    assert fresh.fence > stale.fence

    with pytest.raises(LeaseLost):
        begun(ledger, stale)
    with pytest.raises(LeaseLost):
        Journal(ledger).move(stale, Step(Status.REJECTED))
    Claims(ledger, "one").release(stale)
    assert status_of(ledger, command) == "queued"
    assert claim(ledger, "three") is None
    assert begun(ledger, fresh) == 1


@on_both_databases
def test_a_claim_whose_time_is_up_can_not_begin_even_if_nobody_took_over(ledger: Ledger) -> None:
    taken_in(ledger, whole())
    held = claim(ledger)
    assert held is not None
    run_out(ledger)

    with pytest.raises(LeaseLost):
        begun(ledger, held)


@on_both_databases
@pytest.mark.parametrize(("kind", "status"), [("close", "in_doubt"), ("cancel", "queued")])
def test_what_a_dead_worker_had_in_flight_is_taken_back(ledger: Ledger, kind: str, status: str) -> None:
    (command,) = taken_in(ledger, part())
    held = claim(ledger, "one")
    assert held is not None
    begun(ledger, held, kind)
    assert Claims(ledger, "two").recover() == []
    assert Claims(ledger, "two").recover(owner="one") == [command]
    assert Claims(ledger, "two").recover(owner="one") == []

    history = command_history(ledger, command)
    assert history is not None
    assert history.command.status == status
    assert history.command.fixed is (kind == "close")
    assert [(a.kind, a.outcome) for a in history.attempts] == [(kind, "outcome_unknown")]
    assert history.command.due_at >= history.attempts[0].settles_at
    with pytest.raises(LeaseLost):
        Journal(ledger).move(held, Step(Status.WORKING), Answer(1, "reported", {"success": True}))
    history = command_history(ledger, command)
    assert history is not None
    assert history.events[-1].name == "answered_late"
    assert history.events[-1].detail["answer"] == {"success": True}


@on_both_databases
def test_a_dead_worker_that_had_sent_nothing_leaves_nothing_in_doubt(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, part())
    claim(ledger, "one")
    Claims(ledger, "two").recover(owner="one")

    assert status_of(ledger, command) == "queued"
    assert claim(ledger, "two") is not None


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_a_status_follows_only_as_the_table_says(before: Status, after: Status) -> None:
    allowed = after in NEXT[before] or (before is after and bool(NEXT[before]))
    if allowed:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(before, after)


def test_a_move_that_the_table_forbids_writes_nothing(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    held = claim(ledger)
    assert held is not None

    with pytest.raises(IllegalTransition):
        Journal(ledger).move(held, Step(Status.WORKING))
    assert status_of(ledger, command) == "queued"


# Many at once


class Floor:
    """Several claimers that sometimes die, and a check that no lane is ever worked by two."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.lock = threading.Lock()
        self.in_flight: dict[str, str] = {}
        self.sent: list[str] = []
        self.clashes: list[str] = []
        self.random = random.Random(seed)

    def work(self, name: str) -> None:
        claims, journal = Claims(self.ledger, name), Journal(self.ledger)
        idle = 0
        while idle < 40:
            held = claims.take(["nt8"])
            if held is None:
                idle += 1
                time.sleep(0.005)
                continue
            idle = 0
            if held.status is not Status.QUEUED:  # taken back from the dead
                journal.move(held, Step(Status.CLOSED))
                continue
            self.carry_out(name, held, claims, journal)

    def carry_out(self, name: str, held: Claim, claims: Claims, journal: Journal) -> None:
        assert isinstance(held.command, ClosePosition)
        lane = held.command.instrument
        begun(self.ledger, held)
        with self.lock:
            if lane in self.in_flight:
                self.clashes.append(lane)
            self.in_flight[lane] = held.id
            self.sent.append(held.id)
            dies = self.random.random() < 0.1
        time.sleep(0.001)
        with self.lock:
            del self.in_flight[lane]
        if dies:
            claims.recover(owner=name)
            with self.ledger.writing() as connection:
                mine = tables.commands.c.id == held.id
                connection.execute(update(tables.commands).where(mine).values(due_at=from_now(0)))
            return
        journal.move(held, Step(Status.WORKING, due_in=0), Answer(1, "reported"), keep=True)
        journal.move(held, Step(Status.CLOSED))


@on_both_databases
def test_many_workers_and_deaths_send_each_close_once_and_keep_the_lanes(
    database_url: str, ledger: Ledger
) -> None:
    lanes = [f"L{n} 12-26" for n in range(12)]
    ids = [command for n in range(10) for command in taken_in(ledger, *(part(lane) for lane in lanes))]
    shared = Ledger(database_url, threads=10)
    floor = Floor(shared, seed=1)
    with ThreadPoolExecutor(8) as pool:
        for worker in [pool.submit(floor.work, f"worker-{n}") for n in range(8)]:
            worker.result()
    shared.dispose()

    with ledger.reading() as connection:
        commands = connection.execute(select(tables.commands).order_by(tables.commands.c.seq)).all()
        attempts = connection.execute(select(tables.attempts)).all()
    assert {row.status for row in commands} == {"closed"}
    assert floor.clashes == []
    assert sorted(floor.sent) == sorted(ids)  # each was sent, and none twice
    assert len(attempts) == len(ids)
    for lane in lanes:  # parts of one position go in the order of their alerts
        in_lane = [row.id for row in commands if row.instrument == lane]
        assert [command for command in floor.sent if command in in_lane] == in_lane
    names = [event.name for event in history_of(ledger, ids[0]).events]
    assert names[0] == "accepted"
    assert "sending" in names
    assert names[-1] == "status"


def history_of(ledger: Ledger, command_id: str) -> Any:
    history = command_history(ledger, command_id)
    assert history is not None
    return history
