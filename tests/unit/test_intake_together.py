"""Alerts that wait at the door at the same moment are committed together, and each is told what became of it alone."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from app.domain.commands import ClosePosition
from app.ledger import once, tables
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Taken, Wish, new_id
from app.ledger.intake import Intake
from app.ledger.once import Key, KeyReused
from tests.conftest import on_both_databases, on_postgresql, on_sqlite
from tests.running import eventually
from tests.taking import accept
from tests.unit.test_intake import CLOSE, at_once, delivery, rows, window_ran_out
from tests.web import closing_ledger

OTHER = ClosePosition("nt8", "Sim102", "MNQ 12-26")
Offer = tuple[Delivery, Wish]


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test holds a commit up, none begins beside it."""
    monkeypatch.setattr("app.ledger.intake._BESIDE_SECONDS", 60.0)


class Busy:
    """An intake whose transactions go on when they are let; the first of them is being written when its block begins."""

    def __init__(self, ledger: Ledger) -> None:
        self.rung: list[list[str]] = []
        self.commits: list[str] = []
        """The threads that asked for them."""
        self.fails_at: int | None = None
        self.intake = Intake(ledger, lambda ids: self.rung.append(list(ids)))
        self._ledger = ledger
        self._pool = ThreadPoolExecutor(40)
        self._began, self._may_go = threading.Semaphore(0), threading.Semaphore(0)

    def offer(self, *offers: Offer) -> list[Future[Taken]]:
        """These come one after the other, and wait."""
        waiting = []
        for offered in offers:
            before = len(self.intake._waiting)
            waiting.append(self.send(offered))
            eventually(lambda before=before: len(self.intake._waiting) > before, what="it waits")
        return waiting

    def send(self, offered: Offer) -> Future[Taken]:
        return self._pool.submit(self._accept, *offered)

    def let(self, transactions: int = 1) -> None:
        self._may_go.release(transactions)

    def next_began(self) -> None:
        assert self._began.acquire(timeout=5)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """At its end all that wait are let go on."""
        engine = self._ledger.engine
        listeners = ("before_cursor_execute", self._wait), ("commit", self._count)
        for listener in listeners:
            event.listen(engine, *listener)
        first = self._pool.submit(self._accept, delivery("the first"), Wish([CLOSE]))
        self.next_began()
        yield
        self.let(100)
        assert not first.result(5).duplicate
        self._pool.shutdown()
        for listener in listeners:
            event.remove(engine, *listener)

    def _accept(self, offered: Delivery, wish: Wish) -> Taken:
        threading.current_thread().name = offered.text
        return self.intake.accept(offered, wish)

    def _wait(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO alert_keys"):
            self._began.release()
            assert self._may_go.acquire(timeout=5)

    def _count(self, _connection: Any) -> None:
        self.commits.append(threading.current_thread().name)
        if len(self.commits) == self.fails_at:
            raise LedgerUnavailable("away")


def told(answers: Sequence[Future[Taken]]) -> list[Taken]:
    return [it.result(5) for it in answers]


@on_both_databases
def test_those_that_wait_are_committed_and_rung_for_at_once_in_the_order_of_their_coming(
    ledger: Ledger,
) -> None:
    busy = Busy(ledger)
    wishes = [Wish([CLOSE]), Wish([OTHER, CLOSE]), Wish([OTHER]), Wish((), ignored="an entry")]
    with busy.writing():
        waiting = busy.offer(*((delivery(f"alert {n}"), wish) for n, wish in enumerate(wishes)))
    taken = told(waiting)

    assert len(busy.commits) == 2
    assert [row.text for row in rows(ledger, tables.alerts)] == [
        "the first",
        *(f"alert {n}" for n in range(4)),
    ]
    assert [row.outcome for row in rows(ledger, tables.alerts)][-2:] == ["accepted", "ignored"]
    of_each = {it.alert: [row.id for row in it.commands] for it in taken}
    first, *others = rows(ledger, tables.commands)
    assert [(row.alert, row.id) for row in others] == [(it, id) for it, ids in of_each.items() for id in ids]
    assert [row.account for row in others] == ["Sim101", "Sim102", "Sim101", "Sim102"]
    # The two rings are of two threads.
    assert sorted(busy.rung) == sorted([[first.id], [row.id for row in others]])
    accepted = [row.command for row in rows(ledger, tables.events) if row.name == "accepted"]
    assert accepted == [first.id, *(row.id for row in others)]


@on_both_databases
def test_each_of_them_is_told_its_own_warnings(ledger: Ledger) -> None:
    accept(ledger, delivery("before"), Wish([CLOSE], sender_id="7"))
    fault = {"field": "", "message": "undedupable", "hint": None}
    late = Wish([CLOSE], fired_at=datetime.now(UTC) - timedelta(seconds=301))
    busy = Busy(ledger)
    with busy.writing():
        waiting = busy.offer(
            (delivery("none"), Wish([CLOSE], sender_id="8")),
            (delivery("reused"), Wish([CLOSE], sender_id="7")),
            (delivery("odd"), Wish([CLOSE], warnings=[fault])),
            (delivery("late"), late),
            (delivery("elsewhere", hook="other"), Wish([CLOSE], sender_id="7")),
            (delivery("of those that wait"), Wish([CLOSE], sender_id="8")),
        )
    messages = [[it["message"] for it in taken.warnings] for taken in told(waiting)]

    assert messages == [[], ["id_reused"], ["undedupable"], ["too_old"], [], ["id_reused"]]
    assert [[it["message"] for it in row.warnings] for row in rows(ledger, tables.alerts)][2:] == messages
    statuses = [row.status for row in rows(ledger, tables.commands)]
    assert statuses == ["queued"] * 5 + ["expired", "queued", "queued"]
    assert sum(map(len, busy.rung)) == 6  # the first, and five of these: who is too late rings for nobody


@on_both_databases
def test_repeats_among_them_are_one_alert_and_a_key_of_another_body_is_refused_alone(ledger: Ledger) -> None:
    known = accept(ledger, delivery("known", header_key="k"), Wish([CLOSE]))
    busy = Busy(ledger)
    with busy.writing():
        reused, *waiting = busy.offer(
            (delivery("another", header_key="k"), Wish([CLOSE])),
            (delivery("the first"), Wish([CLOSE])),
            (delivery("twice"), Wish([CLOSE, OTHER])),
            (delivery("known", header_key="k"), Wish([CLOSE])),
            (delivery("twice"), Wish([CLOSE, OTHER])),
            (delivery("once"), Wish([CLOSE])),
            (delivery("twice"), Wish([CLOSE, OTHER])),
        )
    first, twice, again, *others = taken = told(waiting)

    with pytest.raises(KeyReused) as refused:
        reused.result(5)
    assert refused.value.alert == known.alert
    assert [it.duplicate for it in taken] == [True, False, True, True, False, True]
    assert again.alert == known.alert
    assert {others[0].alert, others[2].alert} == {twice.alert}
    assert [row.id for row in others[2].commands] == [row.id for row in twice.commands]
    kept = {row.text: row.deliveries for row in rows(ledger, tables.alerts)}
    assert kept == {"known": 2, "the first": 2, "twice": 3, "once": 1}
    assert first.alert == rows(ledger, tables.alerts)[1].id
    assert len(rows(ledger, tables.commands)) == 5
    assert len(busy.commits) == 2


@on_both_databases
def test_texts_that_come_again_after_their_window_are_written_in_the_order_of_their_coming(
    ledger: Ledger,
) -> None:
    texts = ["close 50%", "close 1", "close 2", "close 3"]
    for known in texts:
        accept(ledger, delivery(known), Wish([CLOSE]))
    window_ran_out(ledger)
    busy = Busy(ledger)
    came = [texts[0], texts[2], "a new one", texts[1], texts[2], texts[3]]
    with busy.writing():
        waiting = busy.offer(*((delivery(it), Wish([CLOSE])) for it in came))

    assert [it.duplicate for it in told(waiting)] == [False] * 4 + [True, False]
    written = [row.text for row in rows(ledger, tables.alerts)][len(texts) + 1 :]
    assert written == [texts[0], texts[2], "a new one", texts[1], texts[3]]
    assert len(busy.commits) == 2


@on_both_databases
def test_one_that_cannot_be_written_spoils_no_other(ledger: Ledger) -> None:
    busy = Busy(ledger)
    spoilt = ClosePosition("nt8", "Sim101", "MES 12-26", cancel_orders=None)  # type: ignore[arg-type]
    with busy.writing():
        one, bad, other = busy.offer(
            (delivery("one"), Wish([CLOSE])),
            (delivery("bad"), Wish([spoilt])),
            (delivery("other"), Wish([CLOSE])),
        )

    assert [it.duplicate for it in told([one, other])] == [False, False]
    with pytest.raises(Exception, match=r"(?i)cancel_orders"):
        bad.result(5)
    assert {row.text for row in rows(ledger, tables.alerts)} == {"the first", "one", "other"}
    assert sorted(map(len, busy.rung)) == [1, 1, 1]
    assert accept(ledger, delivery("bad"), Wish([CLOSE])).duplicate is False


@on_both_databases
def test_without_the_ledger_all_of_them_are_told_so_and_none_is_kept(ledger: Ledger) -> None:
    busy = Busy(ledger)
    busy.fails_at = 2
    with busy.writing():
        waiting = busy.offer(*((delivery(f"alert {n}"), Wish([CLOSE])) for n in range(3)))

    for it in waiting:
        with pytest.raises(LedgerUnavailable, match="away"):
            it.result(5)
    assert [row.text for row in rows(ledger, tables.alerts)] == ["the first"]
    assert not accept(ledger, delivery("alert 1"), Wish([CLOSE])).duplicate


@on_both_databases
def test_who_waited_in_vain_is_told_in_time_and_is_not_taken_in_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(ledger)
    with busy.writing():
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 0.3)
        (impatient,) = busy.offer((delivery("impatient"), Wish([CLOSE])))
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 1.8)
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="busy"):
            impatient.result(5)
        assert time.monotonic() - began < 1
        (patient,) = busy.offer((delivery("patient"), Wish([CLOSE])))

    assert not patient.result(5).duplicate
    assert [row.text for row in rows(ledger, tables.alerts)] == ["the first", "patient"]


@on_both_databases
def test_the_newest_commits_for_all_as_it_has_the_most_time_left(ledger: Ledger) -> None:
    busy = Busy(ledger)
    with busy.writing():
        waiting = busy.offer(*((delivery(name), Wish([CLOSE])) for name in ("old", "older", "newest")))

    assert [it.duplicate for it in told(waiting)] == [False] * 3
    assert busy.commits == ["the first", "newest"]


@on_both_databases
def test_when_the_newest_gives_up_the_next_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(ledger)
    with busy.writing():
        waiting = busy.offer((delivery("patient"), Wish([CLOSE])))
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 0.2)
        (impatient,) = busy.offer((delivery("impatient"), Wish([CLOSE])))
        with pytest.raises(LedgerUnavailable, match="busy"):
            impatient.result(5)

    assert not waiting[0].result(5).duplicate
    assert busy.commits == ["the first", "patient"]


@on_both_databases
def test_who_is_taken_in_is_not_held_up_by_those_who_come_after(ledger: Ledger) -> None:
    busy = Busy(ledger)
    with busy.writing():
        waiting = busy.offer(*((delivery(name), Wish([CLOSE])) for name in ("one", "two", "three")))
        busy.let()
        busy.next_began()
        (later,) = busy.offer((delivery("later"), Wish([CLOSE])))
        busy.let()
        busy.next_began()

        assert [it.duplicate for it in told(waiting)] == [False] * 3
        assert not later.done()
    assert not later.result(5).duplicate


@on_both_databases
def test_who_is_being_committed_as_his_time_ends_hears_what_becomes_of_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that it may not have been kept, he would send it again: a partial close twice, if nothing tells a repeat."""
    monkeypatch.setattr("app.ledger.intake._HEAR_SECONDS", 20.0)
    busy = Busy(ledger)
    with busy.writing():
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 2.0)
        (hurried,) = busy.offer((delivery("hurried"), Wish([CLOSE])))
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 20.0)
        (patient,) = busy.offer((delivery("patient"), Wish([CLOSE])))
        busy.let()
        busy.next_began()
        time.sleep(2.2)
        assert not hurried.done()

    assert not hurried.result(5).duplicate
    assert not patient.result(5).duplicate
    assert busy.commits == ["the first", "patient"]


@on_both_databases
def test_but_he_does_not_wait_for_ever(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ledger.intake._HEAR_SECONDS", 0.1)
    busy = Busy(ledger)
    with busy.writing():
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 1.0)
        (hurried,) = busy.offer((delivery("hurried"), Wish([CLOSE])))
        monkeypatch.setattr("app.ledger.waiting.TRANSACTION_SECONDS", 20.0)
        (patient,) = busy.offer((delivery("patient"), Wish([CLOSE])))
        busy.let()
        busy.next_began()
        with pytest.raises(LedgerUnavailable, match="busy"):
            hurried.result(3)

    assert not patient.result(5).duplicate
    assert {row.text for row in rows(ledger, tables.alerts)} == {"the first", "hurried", "patient"}


@on_postgresql
def test_a_slow_commit_holds_up_nobody_for_long(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ledger.intake._BESIDE_SECONDS", 0.1)
    busy = Busy(ledger)
    with busy.writing():
        beside = busy.send((delivery("second"), Wish([CLOSE])))
        busy.next_began()
        third = busy.send((delivery("third"), Wish([CLOSE])))
        busy.next_began()

    assert [it.duplicate for it in told([beside, third])] == [False] * 2
    assert sorted(busy.commits) == ["second", "the first", "third"]


@on_sqlite
def test_where_one_writes_at_a_time_none_begins_beside_a_slow_commit(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ledger.intake._BESIDE_SECONDS", 0.05)
    busy = Busy(ledger)
    with busy.writing():
        waiting = busy.offer(*((delivery(name), Wish([CLOSE])) for name in ("one", "two")))
        time.sleep(0.3)
        assert len(busy.intake._waiting) == 2

    assert [it.duplicate for it in told(waiting)] == [False] * 2
    assert busy.commits == ["the first", "two"]


@on_both_databases
def test_while_the_ledger_is_known_to_be_silent_nobody_waits_for_a_turn(ledger: Ledger) -> None:
    busy = Busy(ledger)
    with busy.writing():
        for _ in range(2):  # the first time-out is another's, and the second finds nothing better
            ledger._writes.learn(time.monotonic() - 1, failed=True)
        with pytest.raises(LedgerUnavailable, match="a moment ago"):
            busy.intake.accept(delivery("hurried"), Wish([CLOSE]))

    assert [row.text for row in rows(ledger, tables.alerts)] == ["the first"]


@pytest.mark.of_waiting
@on_postgresql  # SQLite locks all or nothing
def test_one_whose_key_another_process_holds_is_waited_for_by_itself(
    database_url: str, ledger: Ledger
) -> None:
    busy, held = Busy(ledger), delivery("held")
    key = once.key_of(held, Wish([CLOSE]))
    row = {"key": key.key, "alert": new_id(), "body": key.body}
    with closing_ledger(database_url) as elsewhere, elsewhere.engine.connect() as other:
        other.execute(tables.alert_keys.insert(), row)
        with busy.writing():
            *waiting, stuck = busy.offer(
                *((delivery(name), Wish([CLOSE])) for name in ("one", "two")), (held, Wish([CLOSE]))
            )
            busy.let(10)
            assert [it.duplicate for it in told(waiting)] == [False] * 2
            assert not busy.intake.accept(delivery("after"), Wish([CLOSE])).duplicate
            assert not stuck.done()
            began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match=r"lock timeout|no answer in time"):
            stuck.result(5)
        assert time.monotonic() - began > 0.8  # by itself it has all the patience there is
        other.rollback()
    assert not accept(ledger, held, Wish([CLOSE])).duplicate


@on_postgresql
def test_the_short_wait_for_a_lock_is_of_one_transaction(ledger: Ledger) -> None:
    def patience(row_lock_seconds: float | None) -> str:
        with ledger.writing(row_lock_seconds=row_lock_seconds) as connection:
            return str(connection.execute(text("SHOW lock_timeout")).scalar_one())

    usual = patience(None)
    assert patience(0.2) == "200ms" != usual
    assert patience(None) == usual  # of the same connection


@on_postgresql
def test_a_key_that_is_pruned_while_one_looks_at_it_is_taken(database_url: str, ledger: Ledger) -> None:
    first = accept(ledger, delivery("again"), Wish([CLOSE]))
    pruned: list[int] = []

    def prune(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM alert_keys" in statement and not pruned:
            pruned.append(1)
            with elsewhere.writing() as connection:
                connection.execute(tables.alert_keys.delete())

    with closing_ledger(database_url) as elsewhere:
        event.listen(ledger.engine, "before_cursor_execute", prune)
        second = accept(ledger, delivery("again"), Wish([CLOSE]))
        event.remove(ledger.engine, "before_cursor_execute", prune)

    assert pruned
    assert not second.duplicate
    assert second.alert != first.alert
    assert accept(ledger, delivery("again"), Wish([CLOSE])).alert == second.alert


@on_both_databases
def test_many_threads_of_several_processes_with_the_same_alerts_in_any_order_make_each_once(
    database_url: str, ledger: Ledger
) -> None:
    """Two transactions that waited for each other's keys would be ended by the database, and answered with 503."""
    webs = [Ledger(database_url, threads=12) for _ in range(2)]
    intakes = [Intake(web, lambda _: None) for web in webs]

    def deliver(number: int) -> Taken:
        text = f"alert {number % 7 if number % 2 else 6 - number % 7}"
        return intakes[number % 2].accept(delivery(text, header_key=text), Wish([CLOSE]))

    for attempt in range(5):
        taken = at_once(24, deliver)
        assert sum(not it.duplicate for it in taken) == (7 if attempt == 0 else 0)
    for web in webs:
        web.dispose()
    assert len(rows(ledger, tables.commands)) == 7
    assert sum(row.deliveries for row in rows(ledger, tables.alerts)) == 5 * 24


@on_postgresql  # SQLite has one writer at a time
def test_two_who_claim_the_same_keys_the_other_way_round_do_not_wait_for_each_other(ledger: Ledger) -> None:
    keys = {name: Key(name, "a body", None) for name in "amz"}

    def claim(names: str) -> int:
        with ledger.writing() as connection:
            return len(once.claim(connection, {new_id(): keys[name] for name in names}))

    def waiting() -> int:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with ledger.reading() as connection:
            return int(connection.execute(text(asked)).scalar_one())

    with ThreadPoolExecutor(2) as pool:
        with ledger.writing() as connection:
            once.claim(connection, {new_id(): keys["m"]})
            both = [pool.submit(claim, names) for names in ("amz", "zma")]
            eventually(lambda: waiting() == 2, 1, "both wait")
        assert sorted(it.result(5) for it in both) == [0, 2]
