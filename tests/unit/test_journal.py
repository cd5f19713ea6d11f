"""What workers write: attempts before they leave, answers with what follows from them, once each, and nothing by halves."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text
from sqlalchemy.exc import DBAPIError

from app.domain.positions import ClosedPosition, Holding, Position, Report, Side, Source
from app.domain.statuses import NEXT, Attention, IllegalTransition, Status
from app.ledger import tables
from app.ledger.claim import Claim, LeaseLost, PastAttempt, Read
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.journal import Journal
from app.ledger.step import Answer, Outgoing, Step
from app.ledger.types import from_now
from tests.conftest import on_both_databases
from tests.unit.test_claims import begun, claim, history_of, part, run_out, set_on, taken_in, whole

HOLDING = Holding(
    "Sim101", "MES 12-26", Side.LONG, Decimal("10.50"), Decimal("0"), None, Decimal("5779.8125")
)
CLOSED = ClosedPosition(
    "Sim101", "MES 12-26", Side.LONG, Decimal(4), Decimal("5779.8125"), None, None, Source.FILLS, ("o1",)
)


def held(ledger: Ledger) -> Claim:
    """A claim on a new part of a position."""
    taken_in(ledger, part())
    found = claim(ledger)
    assert found is not None
    return found


@on_both_databases
def test_an_attempt_is_committed_before_it_leaves(database_url: str, ledger: Ledger) -> None:
    mine = held(ledger)
    (attempt,) = Journal(ledger).begin(
        mine,
        [Outgoing("close", {"method": "POST"}, "c1")],
        holdings=(HOLDING,),
        settle_window=12,
        retry_for=120,
    )

    elsewhere = Ledger(database_url)
    history = history_of(elsewhere, mine.id)
    elsewhere.dispose()
    (kept,) = history.attempts
    assert (kept.number, kept.kind, kept.client_id, kept.outcome) == (1, "close", "c1", None)
    assert kept.request == {"method": "POST"}
    assert kept.sent_at == attempt.sent_at
    assert (kept.settles_at - kept.sent_at).total_seconds() == pytest.approx(12, abs=0.5)
    assert history.command.status == "sending"
    assert (history.command.gives_up_at - kept.sent_at).total_seconds() == pytest.approx(120, abs=0.5)
    assert mine.holdings == (HOLDING,)
    assert history.command.holdings[0]["average_price"] == "5779.8125"


@on_both_databases
def test_what_lapses_at_the_venue_has_as_much_longer_as_its_commit_may_take(ledger: Ledger) -> None:
    mine = held(ledger)
    (attempt,) = Journal(ledger).begin(
        mine, [Outgoing("close", {}, "c1", lapses=True)], holdings=None, settle_window=12, retry_for=120
    )

    (kept,) = history_of(ledger, mine.id).attempts
    assert (kept.settles_at - kept.sent_at).total_seconds() == pytest.approx(13.8, abs=0.01)
    assert attempt.settles_in == pytest.approx(13.8)


def test_a_second_attempt_can_not_begin_while_one_is_in_flight(ledger: Ledger) -> None:
    mine = held(ledger)
    before = copy.copy(mine)
    begun(ledger, mine)

    with pytest.raises(IllegalTransition):
        begun(ledger, mine)
    with pytest.raises(LeaseLost):
        begun(ledger, before)  # as it was, before it began
    assert len(history_of(ledger, mine.id).attempts) == 1


@pytest.mark.parametrize("status", [Status.WORKING, Status.IN_DOUBT])
def test_only_what_is_queued_begins(ledger: Ledger, status: Status) -> None:
    (command,) = taken_in(ledger, whole())
    set_on(ledger, command, status=status)
    mine = claim(ledger)
    assert mine is not None

    with pytest.raises(IllegalTransition):
        begun(ledger, mine)
    assert history_of(ledger, command).attempts == []


def test_the_ledger_goes_only_where_the_table_lets_it(ledger: Ledger) -> None:
    mine = held(ledger)
    mine.closes = (PastAttempt(1, datetime.now(UTC), 0.0, 0.0, "not_sent", None),)
    for before, after in product(Status, Status):
        set_on(ledger, mine.id, status=before, lease_owner="one", lease_until=from_now(30))
        mine.status = before
        if after in NEXT[before] or (after is before and NEXT[before]):
            Journal(ledger).move(mine, Step(after))
            expected = after
        else:
            with pytest.raises(IllegalTransition):
                Journal(ledger).move(mine, Step(after))
            expected = before
        command = history_of(ledger, mine.id).command
        assert command.status == expected, (before, after)


@on_both_databases
def test_what_was_closed_is_written_once(ledger: Ledger) -> None:
    mine = held(ledger)
    number = begun(ledger, mine)
    Journal(ledger).move(mine, Step(Status.WORKING), Answer(number, "reported"), keep=True)
    before = copy.copy(mine)
    done = Step(Status.CLOSED, holdings=(HOLDING,), closed=(CLOSED,))
    Journal(ledger).move(mine, done)

    with pytest.raises(IllegalTransition):
        Journal(ledger).move(mine, done)
    with pytest.raises(LeaseLost):
        Journal(ledger).move(before, done)
    history = history_of(ledger, mine.id)
    (closed,) = history.closed_positions
    assert (closed.hook, closed.broker, closed.side, closed.source) == ("futures", "nt8", "long", "fills")
    assert (closed.quantity, closed.average_price, closed.close_price) == (4, Decimal("5779.8125"), None)
    assert closed.order_ids == ["o1"]
    assert history.command.settled_at is not None
    assert history.command.lease_owner is None


def test_a_lease_is_renewed_by_who_goes_on_and_ends_with_who_does_not(ledger: Ledger) -> None:
    mine = held(ledger)
    number = begun(ledger, mine)
    set_on(ledger, mine.id, lease_until=from_now(1))
    mine.held_until = 0.0
    assert not mine.holds(0)

    Journal(ledger).move(mine, Step(Status.WORKING), Answer(number, "reported"), keep=True)
    assert mine.holds(25)
    assert claim(ledger, "two") is None
    Journal(ledger).move(mine, Step(Status.WORKING, due_in=0))
    found = claim(ledger, "two")
    assert found is not None
    assert found.id == mine.id


@on_both_databases
def test_a_write_that_breaks_off_leaves_nothing(ledger: Ledger) -> None:
    mine = held(ledger)

    def break_off(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO events"):
            raise ZeroDivisionError

    event.listen(ledger.engine, "before_cursor_execute", break_off)
    with pytest.raises(ZeroDivisionError):
        begun(ledger, mine)
    event.remove(ledger.engine, "before_cursor_execute", break_off)

    history = history_of(ledger, mine.id)
    assert (history.command.status, history.attempts) == ("queued", [])
    assert history.command.first_attempt_at is None
    assert begun(ledger, mine) == 1  # nothing left, so nothing is in the way


@on_both_databases
def test_calls_of_every_kind_are_numbered_in_one_row_and_reads_are_written_once(ledger: Ledger) -> None:
    mine = held(ledger)
    mine.reads.append(Read({"asks": "positions"}, "reported", 0.25, answer=[1]))
    cancel = begun(ledger, mine, "cancel")
    Journal(ledger).move(mine, Step(Status.QUEUED, due_in=0), Answer(cancel, "reported"), keep=True)
    close = begun(ledger, mine)
    mine.reads.append(Read({"asks": "positions"}, "not_sent", 0.5, detail="refused"))
    Journal(ledger).move(mine, Step(Status.WORKING, due_in=0), Answer(close, "reported", report=REPORT))

    attempts = history_of(ledger, mine.id).attempts
    assert [(it.number, it.kind) for it in attempts] == [
        (1, "read"),
        (2, "cancel"),
        (3, "close"),
        (4, "read"),
    ]
    assert attempts[0].answered_at - attempts[0].sent_at
    found = claim(ledger, "two")
    assert found is not None
    assert found.tries == 4
    assert found.cancels
    (past,) = found.closes
    assert (past.number, past.outcome, past.report) == (3, "reported", REPORT)


REPORT = Report((Position("Sim101", "MES 12-26", Side.SHORT, Decimal("1.0"), raw={"id": 1}),), ("o1",))


def test_before_and_target_stay_unless_a_step_says_otherwise(ledger: Ledger) -> None:
    mine = held(ledger)
    begun(ledger, mine)
    doubt = Step(Status.IN_DOUBT, "no answer", 0, Attention.IN_DOUBT, holdings=(HOLDING,), fixed=True)
    Journal(ledger).move(mine, doubt, keep=True)
    assert (mine.holdings, mine.fixed, mine.attention) == ((HOLDING,), True, Attention.IN_DOUBT)
    Journal(ledger).move(mine, Step(Status.IN_DOUBT, due_in=0, attention=Attention.POSITION_CHANGED))

    found = claim(ledger)
    assert found is not None
    assert found.holdings == (HOLDING,)
    assert found.fixed
    events = [it.detail for it in history_of(ledger, mine.id).events if it.name == "status"]
    assert [it.get("attention") for it in events] == [None, "in_doubt", "position_changed"]


@on_both_databases
def test_an_answer_counts_however_late_until_somebody_else_took_over(ledger: Ledger) -> None:
    mine = held(ledger)
    number = begun(ledger, mine)
    run_out(ledger)
    Journal(ledger).move(mine, Step(Status.WORKING), Answer(number, "reported"))

    history = history_of(ledger, mine.id)
    assert (history.command.status, history.attempts[0].outcome) == ("working", "reported")


@on_both_databases
def test_an_answer_that_comes_after_somebody_took_over_is_kept_and_changes_nothing(ledger: Ledger) -> None:
    mine = held(ledger)
    number = begun(ledger, mine)
    run_out(ledger)
    assert Claims(ledger, "two").recover() == [mine.id]

    with pytest.raises(LeaseLost):
        Journal(ledger).move(mine, Step(Status.WORKING), Answer(number, "reported"))
    history = history_of(ledger, mine.id)
    assert history.command.status == "in_doubt"
    assert history.attempts[0].outcome == "outcome_unknown"
    assert history.events[-1].name == "answered_late"
    assert history.events[-1].detail == {"attempt": number, "outcome": "reported", "answer": None}


class Failing:
    """A ledger that is away for its next transactions, before they began or after they were committed."""

    def __init__(self, ledger: Ledger, times: int, *, after_commit: bool) -> None:
        self.ledger = ledger
        self.times = times
        self.after_commit = after_commit

    @contextmanager
    def writing(self, *, in_turn: bool = False) -> Iterator[Connection]:
        fails, self.times = self.times > 0, self.times - 1
        if fails and not self.after_commit:
            raise LedgerUnavailable("away")
        with self.ledger.writing(in_turn=in_turn) as connection:
            yield connection
        if fails:
            raise LedgerUnavailable("the word of it was lost")


@on_both_databases
@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_an_answer_is_written_though_the_ledger_is_away_for_a_moment(
    ledger: Ledger, after_commit: bool, keep: bool
) -> None:
    mine = held(ledger)
    number = begun(ledger, mine)
    failing: Any = Failing(ledger, 2, after_commit=after_commit)
    Journal(failing).move(mine, Step(Status.WORKING, due_in=0), Answer(number, "reported"), keep=keep)

    history = history_of(ledger, mine.id)
    assert (history.command.status, history.attempts[0].outcome) == ("working", "reported")
    assert [event.name for event in history.events].count("answered") == 1
    assert mine.status is Status.WORKING


@on_both_databases
@pytest.mark.parametrize("after_commit", [False, True])
def test_what_the_ledger_may_not_have_kept_does_not_leave_and_can_go_on_at_once(
    ledger: Ledger, after_commit: bool
) -> None:
    mine = held(ledger)
    failing: Any = Failing(ledger, 2 if not after_commit else 1, after_commit=after_commit)
    with pytest.raises(LedgerUnavailable):
        Journal(failing).begin(mine, [Outgoing("close", {})], holdings=None, settle_window=12, retry_for=120)

    history = history_of(ledger, mine.id)
    assert history.command.status == "queued"
    assert [attempt.outcome for attempt in history.attempts] == (["not_sent"] if after_commit else [])
    again = claim(ledger, "two")
    assert again is not None
    assert not again.fixed


ODD = "no\x00 way \ud83d \N{GRINNING FACE} \u202e"


@on_both_databases
def test_no_character_of_a_broker_loses_its_answer(ledger: Ledger) -> None:
    mine = held(ledger)
    mine.reads.append(Read({"asks": ODD}, "refused", 0.1, answer={ODD: ODD}, detail=ODD))
    number = begun(ledger, mine)
    Journal(ledger).move(
        mine, Step(Status.WORKING), Answer(number, "reported", {"message": ODD}, ODD), keep=True
    )
    closed = ClosedPosition(
        ODD, ODD, None, None, None, None, None, Source.SNAPSHOT, (ODD,), ODD * 9, {"a": ODD}
    )
    Journal(ledger).move(mine, Step(Status.CLOSED, ODD, closed=(closed,)))

    kept = "no\ufffd way \ufffd \N{GRINNING FACE} \u202e"
    history = history_of(ledger, mine.id)
    assert history.command.reason == kept
    assert [it.detail for it in history.attempts] == [kept, kept]
    assert history.attempts[-1].answer == {"message": ODD}  # as it came: JSON spells it in ASCII
    (row,) = history.closed_positions
    assert (row.account, row.currency, row.order_ids) == (kept, kept * 9, [ODD])


@on_both_databases
def test_the_record_of_what_happened_can_not_be_emptied(ledger: Ledger) -> None:
    mine = held(ledger)
    emptied = text("DELETE FROM events" if ledger.sqlite else "TRUNCATE events")
    with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as connection:
        connection.execute(emptied)

    with ledger.reading() as connection:
        names = connection.execute(select(tables.events.c.name)).scalars().all()
    assert names == ["accepted"]
    assert history_of(ledger, mine.id).events[0].actor == "futures"
