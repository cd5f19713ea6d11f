"""Who may carry out what, on both databases: urgency, turns, leases and fences, and what is taken back or settled."""

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event, select, update

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Quantity
from app.domain.positions import Side
from app.domain.statuses import NEXT, UNSETTLED, IllegalTransition, Status, check_transition
from app.ledger import tables
from app.ledger.claim import Claim, LeaseLost
from app.ledger.claims import Claims
from app.ledger.condition import health, moment
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.heartbeats import Heartbeat
from app.ledger.journal import Journal
from app.ledger.readers import CommandHistory, command_history
from app.ledger.step import Answer, Outgoing, Step
from app.ledger.types import from_now, now
from tests.conftest import on_both_databases
from tests.taking import accept
from workers.findings import settles_in

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
    (attempt,) = journal.begin(
        claim, [Outgoing(kind, request)], holdings=None, settle_window=12, retry_for=120
    )
    return attempt.number


def run_out(ledger: Ledger) -> None:
    """Every lease runs out."""
    with ledger.writing() as connection:
        held = tables.commands.c.lease_until.is_not(None)
        connection.execute(update(tables.commands).where(held).values(lease_until=from_now(-1)))


def set_on(ledger: Ledger, command_id: str, **values: Any) -> None:
    """A command is like this now, however it came to be."""
    with ledger.writing() as connection:
        mine = tables.commands.c.id == command_id
        connection.execute(update(tables.commands).where(mine).values(**values))


def history_of(ledger: Ledger, command_id: str) -> CommandHistory:
    history = command_history(ledger, command_id)
    assert history is not None
    return history


def status_of(ledger: Ledger, command_id: str) -> str:
    return str(history_of(ledger, command_id).command.status)


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
    again = claim(ledger, "two")
    assert again is not None, "somebody looks at once"
    assert status == "queued" or 11 < again.closes[0].settles_in <= 12
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


@on_both_databases
def test_closes_go_before_read_backs_and_what_is_not_due_does_not_go(ledger: Ledger) -> None:
    taken, doubtful, later, fresh = taken_in(
        ledger, whole("A 12-26"), whole("B 12-26"), whole("C 12-26"), part("D 12-26")
    )
    set_on(ledger, taken, status=Status.WORKING)
    set_on(ledger, doubtful, status=Status.IN_DOUBT)
    set_on(ledger, later, due_at=from_now(60))

    found = [claim(ledger) for _ in range(4)]
    assert [it and it.id for it in found] == [fresh, taken, doubtful, None]


@on_both_databases
def test_what_is_given_back_is_due_when_it_was_said(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    held = claim(ledger, "one")
    assert held is not None
    Claims(ledger, "one").release(held)
    again = claim(ledger, "two")
    assert again is not None
    assert (again.id, again.fence) == (command, held.fence + 1)

    Claims(ledger, "two").release(again, due_in=60)
    assert claim(ledger, "three") is None
    assert history_of(ledger, command).command.lease_owner is None


def test_a_call_in_flight_and_a_command_that_went_on_are_not_given_back(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    held = claim(ledger)
    assert held is not None
    begun(ledger, held)
    Claims(ledger, "one").release(held)
    assert history_of(ledger, command).command.lease_owner == "one"

    Journal(ledger).move(held, Step(Status.WORKING, due_in=60))
    Claims(ledger, "one").release(held)
    assert claim(ledger) is None  # or the read-back would come before its time


@on_both_databases
def test_leases_that_ran_out_are_taken_back_once_and_others_are_not(ledger: Ledger) -> None:
    dead, alive = taken_in(ledger, part("A 12-26"), part("B 12-26"))
    held, other = claim(ledger, "one"), claim(ledger, "two")
    assert held is not None
    assert other is not None
    begun(ledger, held)
    begun(ledger, other)
    set_on(ledger, dead, lease_until=from_now(-1))

    assert Claims(ledger, "three").recover() == [dead]
    assert Claims(ledger, "three").recover() == []
    assert [status_of(ledger, it) for it in (dead, alive)] == ["in_doubt", "sending"]
    last = history_of(ledger, dead).events[-1]
    assert (last.name, last.actor) == ("taken_back", "three")
    assert last.detail == {"worker": "one", "from": "sending", "to": "in_doubt"}


@on_both_databases
def test_a_command_that_was_never_tried_expires_and_is_never_claimed(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    held = claim(ledger)
    assert held is not None
    set_on(ledger, command, expires_at=from_now(-1), lease_until=from_now(-1))

    assert claim(ledger, "two") is None
    with pytest.raises(LeaseLost):
        begun(ledger, held)
    Claims(ledger, "two").expire()
    history = history_of(ledger, command)
    assert (history.command.status, history.command.attention) == ("expired", "expired")
    assert history.command.settled_at is not None
    assert history.attempts == []
    assert Claims(ledger, "two").recover() == []  # nothing is left to take back of what is settled
    assert history_of(ledger, command).events[-1].name == "status"


def test_a_claim_begins_nothing_once_the_command_is_too_old(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    held = claim(ledger)
    assert held is not None
    set_on(ledger, command, expires_at=from_now(-1))

    with pytest.raises(LeaseLost):
        begun(ledger, held)
    assert history_of(ledger, command).attempts == []


@pytest.mark.parametrize("outcome", ["reported", "outcome_unknown", "not_sent"])
def test_who_gives_up_without_a_close_says_if_the_orders_may_be_gone(ledger: Ledger, outcome: str) -> None:
    (command,) = taken_in(ledger, part())
    held = claim(ledger)
    assert held is not None
    number = begun(ledger, held, "cancel")
    Journal(ledger).move(held, Step(Status.QUEUED, due_in=60), Answer(number, outcome))
    set_on(ledger, command, gives_up_at=from_now(-1))
    assert claim(ledger) is None
    Claims(ledger, "one").expire()

    history = history_of(ledger, command)
    naked = outcome != "not_sent"
    assert history.command.status == "gave_up"
    assert history.command.attention == ("unprotected" if naked else "gave_up")
    assert history.events[-1].detail["attention"] == history.command.attention


def test_what_may_have_left_is_not_given_up_by_the_clock_but_judged(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, part())
    set_on(ledger, command, fixed=True, first_attempt_at=from_now(-200), gives_up_at=from_now(-1))

    found = claim(ledger)
    assert found is not None
    assert found.fixed
    assert found.since_first_attempt == pytest.approx(200, abs=2)
    with pytest.raises(LeaseLost):
        begun(ledger, found)


@on_both_databases
def test_who_waited_for_the_ledger_does_not_judge_the_sooner_for_it(ledger: Ledger) -> None:
    taken_in(ledger, part())
    first = claim(ledger)
    assert first is not None
    begun(ledger, first)
    run_out(ledger)
    assert Claims(ledger, "two").recover() == [first.id]
    with ledger.writing(in_turn=True) as connection:
        settles_at = connection.execute(select(tables.attempts.c.settles_at)).scalar_one()
        taking: list[Claim | None] = []
        waits = threading.Thread(target=lambda: taking.append(claim(ledger)))
        waits.start()
        time.sleep(0.5)
    waits.join()
    (taken,) = taking
    assert taken is not None

    left = settles_in(taken.closes, taken)
    assert left >= (settles_at - moment(ledger)).total_seconds()
    assert left == pytest.approx(12, abs=2.5)


@on_both_databases
def test_what_one_list_reads_back_is_taken_together_by_account_where_lists_are(ledger: Ledger) -> None:
    accounts = ["Sim101", "Sim102", "Sim101", "Sim101"]
    ids = taken_in(ledger, *(whole(account=account) for account in accounts))
    for it in ids:
        set_on(ledger, it, status="working", due_at=now())
    set_on(ledger, ids[3], due_at=from_now(30))
    first = claim(ledger)
    assert first is not None
    assert first.id == ids[0]

    claims = Claims(ledger, "two")
    assert [it.id for it in claims.take_read_backs(first, "Sim101", 20)] == [ids[2]]
    (other,) = claims.take_read_backs(first, None, 20)
    assert (other.id, other.owner, other.status) == (ids[1], "two", "working")
    assert claims.take_read_backs(first, None, 20) == []


# A worker that is paused in the middle of a write


def pausing(ledger: Ledger, statement: str, seconds: float) -> threading.Event:
    """The first such statement waits so long in its transaction. The event is set when it does."""
    paused = threading.Event()

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def pause(_connection: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if sql.startswith(statement) and not paused.is_set():
            paused.set()
            time.sleep(seconds)

    return paused


def while_paused(slow: Ledger, statement: str, write: Callable[[], object], ask: Callable[[], Any]) -> Any:
    """What is answered while a write of another worker is paused, past its lease."""
    paused = pausing(slow, statement, 0.6)
    writer = threading.Thread(target=write)
    writer.start()
    assert paused.wait(5)
    time.sleep(0.3)
    try:
        return ask()
    finally:
        writer.join()


@on_both_databases
def test_a_begin_that_is_paused_past_its_lease_keeps_its_lane(database_url: str, ledger: Ledger) -> None:
    first, _second = taken_in(ledger, whole(), whole())
    held = claim(ledger, "one")
    assert held is not None
    set_on(ledger, first, lease_until=from_now(0.2))
    slow = Ledger(database_url)

    found = while_paused(
        slow, "INSERT INTO attempts", lambda: begun(slow, held), lambda: claim(ledger, "two")
    )
    slow.dispose()
    assert status_of(ledger, first) == "sending"
    assert found is None
    assert len(history_of(ledger, first).attempts) == 1


@on_both_databases
def test_a_move_that_is_paused_past_its_lease_is_not_made_again(database_url: str, ledger: Ledger) -> None:
    (command,) = taken_in(ledger, whole())
    set_on(ledger, command, status=Status.WORKING)
    held = claim(ledger, "one")
    assert held is not None
    set_on(ledger, command, lease_until=from_now(0.2))
    slow = Ledger(database_url)

    found = while_paused(
        slow,
        "INSERT INTO events",
        lambda: Journal(slow).move(held, Step(Status.CLOSED)),
        lambda: claim(ledger, "two"),
    )
    slow.dispose()
    assert status_of(ledger, command) == "closed"
    assert found is None  # or it would be settled twice


# Signs of life


@on_both_databases
def test_a_worker_is_alive_while_it_beats(ledger: Ledger) -> None:
    one, two = Heartbeat(ledger, "one"), Heartbeat(ledger, "two")
    for heart in (one, two, one):
        heart.beat("0.1.0")
    assert health(ledger).workers == 2

    with ledger.writing() as connection:
        is_one = tables.workers.c.name == "one"
        connection.execute(update(tables.workers).where(is_one).values(seen_at=from_now(-31)))
    assert health(ledger).workers == 1
    two.leave()
    assert health(ledger).workers == 0


def test_a_worker_that_was_silent_for_an_hour_is_forgotten(ledger: Ledger) -> None:
    Heartbeat(ledger, "old").beat("0.1.0")
    with ledger.writing() as connection:
        connection.execute(update(tables.workers).values(seen_at=from_now(-3700)))
    Heartbeat(ledger, "new").beat("0.1.0")

    with ledger.reading() as connection:
        names = connection.execute(tables.workers.select()).scalars().all()
    assert names == ["new"]


def test_settled_is_what_has_a_final_status() -> None:
    assert {status for status in Status if not status.final} == set(UNSETTLED)


def test_a_read_back_that_waits_for_long_is_not_left_to_the_end_of_all_closes(ledger: Ledger) -> None:
    doubtful, *_ = taken_in(ledger, *(part(f"L{n} 12-26") for n in range(10)))
    set_on(ledger, doubtful, status=Status.IN_DOUBT, due_at=from_now(-5))
    claims = Claims(ledger, "one")

    found = [claims.take(["nt8"]) for _ in range(5)]
    assert doubtful in [it and it.id for it in found]
    assert [it and it.status for it in found].count(Status.QUEUED) == 4


def test_the_last_of_many_that_wait_gets_its_turn(ledger: Ledger) -> None:
    blocked = [part(f"L{n % 20} 12-26") for n in range(120)]
    ids = taken_in(ledger, *blocked, part("FREE 12-26"))
    with ledger.writing() as connection:
        first = tables.commands.c.id.in_(ids[:20])
        waits = {"status": Status.IN_DOUBT, "due_at": from_now(600)}
        connection.execute(update(tables.commands).where(first).values(**waits))

    found = claim(ledger)
    assert found is not None
    assert found.id == ids[-1]
    assert claim(ledger) is None
