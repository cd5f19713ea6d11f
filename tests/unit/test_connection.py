"""A ledger that is frozen, locked, full or gone: each transaction ends in time, and goes through once it is mended."""

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, func, select, text

from app.domain.commands import ClosePosition
from app.ledger import condition, postgresql, tables
from app.ledger.connection import Ledger, LedgerUnavailable, insert_once
from app.ledger.delivery import Delivery, Wish
from app.ledger.migration import migrate
from app.ledger.transaction import moment_of
from app.ledger.types import now
from app.ledger.waiting import FORGOTTEN, PAUSE, TRANSACTION_SECONDS, Breaker, one_deadline
from tests.conftest import on_both_databases
from tests.postgres import CONNECTIONS, PostgresServer, of_the_system
from tests.rehearsal import commits
from tests.taking import accept
from tests.web import closing_ledger

PROMISE = 2.5
WISH = Wish([ClosePosition("nt8", "Sim101", "MES 12-26")])


@pytest.fixture
def alert(request: pytest.FixtureRequest) -> Delivery:
    """One that no other test sends: nothing is deleted from a ledger."""
    body = request.node.name
    return Delivery("futures", body.encode(), body, "main")


@contextmanager
def in_time() -> Iterator[None]:
    """The ledger is unavailable, and says so before a sender stops waiting."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        yield
    assert time.monotonic() - began < PROMISE


def all_fail_in_time(*jobs: Callable[[], object]) -> None:
    """As many alerts as may come at once, for the threads of one web process."""
    began = time.monotonic()
    with ThreadPoolExecutor(16) as web_threads:
        answers = [web_threads.submit(job) for job in jobs]
    assert time.monotonic() - began < PROMISE
    assert [it.exception() for it in answers if not isinstance(it.exception(), LedgerUnavailable)] == []


def taken_once(ledger: Ledger, alert: Delivery, within: float = 5.0) -> None:
    """An alert that was not taken while the ledger was unavailable is taken now, as the first of its kind."""
    deadline = time.monotonic() + within
    while True:
        try:
            taken = accept(ledger, alert, WISH)
            break
        except LedgerUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert not taken.duplicate
    assert kept(ledger, alert) == 1


def kept(ledger: Ledger, alert: Delivery) -> int:
    """How many alerts of this text there are."""
    with ledger.reading() as connection:
        of_it = select(func.count()).select_from(tables.alerts).where(tables.alerts.c.text == alert.text)
        return int(connection.execute(of_it).scalar_one())


# PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be frozen: the other tests have theirs."""
    server = PostgresServer()
    try:
        with closing_ledger(server.start().url) as ledger:
            migrate(ledger)
        yield server
    finally:
        server.end()


@pytest.fixture
def postgres(server: PostgresServer) -> Iterator[Ledger]:
    """A ledger that was used, so that there are connections in its pool."""
    with closing_ledger(server.url, threads=16) as ledger:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: condition.health(ledger), range(4)))
        yield ledger


def test_a_frozen_server_is_waited_for_no_longer_than_a_sender_waits(
    server: PostgresServer, postgres: Ledger, alert: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    def write() -> None:
        with postgres.writing() as connection:
            connection.execute(text("SELECT 1"))

    server.freeze()
    try:
        alerts = [partial(accept, postgres, alert, WISH)] * 38
        all_fail_in_time(partial(condition.health, postgres), write, *alerts)
    finally:
        server.thaw()

    assert [it for it in caplog.records if it.exc_info] == []  # the senders are told, and no traceback
    taken_once(postgres, alert, within=2 * PAUSE)


def test_a_server_frozen_within_a_transaction_ends_it_in_time(
    server: PostgresServer, postgres: Ledger, alert: Delivery
) -> None:
    with in_time(), postgres.writing() as connection:
        connection.execute(text("UPDATE alerts SET reason = 'never to be seen'"))
        server.freeze()
    server.thaw()

    taken_once(postgres, alert)


@pytest.mark.parametrize("bad_day", ["stop", "kill"])
def test_a_server_that_went_away_is_found_again_once_it_is_back(
    server: PostgresServer, postgres: Ledger, bad_day: str, alert: Delivery
) -> None:
    getattr(server, bad_day)()
    try:
        with in_time():
            accept(postgres, alert, WISH)
    finally:
        server.start()

    taken_once(postgres, alert)


@pytest.mark.parametrize("bad_day", ["stop", "kill"])
def test_a_server_that_was_started_anew_between_two_alerts_takes_the_second(
    server: PostgresServer, postgres: Ledger, monkeypatch: pytest.MonkeyPatch, bad_day: str, alert: Delivery
) -> None:
    """Its end is seen on the line, without asking."""
    monkeypatch.setattr(postgresql, "ASKED_AGAIN", 3600)
    accept(postgres, alert, WISH)
    getattr(server, bad_day)()
    server.start()

    assert accept(postgres, alert, WISH).duplicate


def test_a_locked_table_holds_nobody_longer_than_a_sender_waits(
    server: PostgresServer, postgres: Ledger, alert: Delivery
) -> None:
    with server.connected() as operator:
        operator.execute(text("LOCK TABLE commands IN ACCESS EXCLUSIVE MODE"))
        all_fail_in_time(*[partial(accept, postgres, alert, WISH)] * 40)

    taken_once(postgres, alert)


def test_without_a_free_connection_the_ledger_is_unavailable_and_not_broken(
    server: PostgresServer, alert: Delivery
) -> None:
    with closing_ledger(server.url) as ledger:
        with ThreadPoolExecutor(CONNECTIONS) as pool, closing_all() as held:
            held.extend(it for it in pool.map(lambda _: taken_connection(server), range(CONNECTIONS)) if it)
            with in_time():
                accept(ledger, alert, WISH)

        taken_once(ledger, alert)


@contextmanager
def closing_all() -> Iterator[list[Any]]:
    held: list[Any] = []
    yield held
    for it in held:
        it.close()


def taken_connection(server: PostgresServer) -> Any:
    with suppress(psycopg.OperationalError):
        return psycopg.connect(server.url)
    return None


def test_a_server_that_became_a_replica_is_unavailable(
    server: PostgresServer, postgres: Ledger, alert: Delivery
) -> None:
    with server.connected() as operator:
        operator.execution_options(isolation_level="AUTOCOMMIT")
        operator.execute(text("ALTER SYSTEM SET default_transaction_read_only = on"))
        operator.execute(text("SELECT pg_reload_conf()"))
        try:
            postgres.dispose()
            with in_time():
                accept(postgres, alert, WISH)
        finally:
            operator.execute(text("SET default_transaction_read_only = off"))
            operator.execute(text("ALTER SYSTEM RESET default_transaction_read_only"))
            operator.execute(text("SELECT pg_reload_conf()"))

    postgres.dispose()
    taken_once(postgres, alert)


def test_a_host_that_swallows_what_it_is_sent_is_waited_for_no_longer_than_a_sender_waits(
    alert: Delivery,
) -> None:
    """A listener with a full queue drops who knocks, as a firewall does."""
    with socket.socket() as deaf, closing_all() as queued:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            knocking = socket.socket()
            knocking.setblocking(False)
            knocking.connect_ex(deaf.getsockname())
            queued.append(knocking)
        with closing_ledger(f"postgresql://ada@127.0.0.1:{deaf.getsockname()[1]}/x") as ledger, in_time():
            accept(ledger, alert, WISH)


def test_a_migration_may_take_longer_than_a_transaction(postgres: Ledger) -> None:
    with postgres.translated(), postgres.engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": TRANSACTION_SECONDS + 0.2})


@on_both_databases
def test_who_waits_for_his_turn_begins_after_the_other_ended(ledger: Ledger) -> None:
    def second() -> datetime:
        with ledger.writing(in_turn=True) as connection:
            return moment_of(connection)

    with ThreadPoolExecutor(1) as beside:
        with ledger.writing(in_turn=True) as connection:
            waiting = beside.submit(second)
            time.sleep(0.3)
            ended: datetime = connection.execute(select(now())).scalar_one()
            assert not waiting.done()
        assert waiting.result() >= ended


def test_a_server_that_is_too_old_is_named(postgres: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "OLDEST", 1000)
    url = postgres.url.render_as_string(hide_password=False)
    with closing_ledger(url) as later, pytest.raises(LedgerUnavailable, match="1000 or newer is needed"):
        condition.check_writable(later)


def test_most_tests_ask_the_systems_own_server(postgres_server: str) -> None:
    """What a new version takes an old one may not: it did happen that no worker could claim anything on PostgreSQL 15."""
    programs = of_the_system()
    if programs is None:
        pytest.skip("NO POSTGRESQL OF THE SYSTEM: apt install postgresql")
    with psycopg.connect(postgres_server) as connection:
        assert connection.info.server_version // 10_000 == int(programs.parent.name)


@on_both_databases
def test_what_fails_midway_leaves_nothing(ledger: Ledger, alert: Delivery) -> None:
    def failing() -> None:
        with ledger.writing() as connection:
            row = {"key": "k", "alert": "a", "body": "b", "expires_at": None}
            assert insert_once(connection, tables.alert_keys, row)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    with ledger.reading() as connection:
        assert connection.execute(select(tables.alert_keys)).all() == []
    taken_once(ledger, alert)


# A line that is cut while it commits


@pytest.mark.patient
def test_a_line_cut_at_any_byte_of_a_commit_leaves_one_alert_or_none_and_a_resend_makes_one(
    server: PostgresServer, postgres: Ledger
) -> None:
    whole = commits.fate(server, postgres, None)
    assert (whole.taken, whole.kept, whole.duplicate) == (True, 1, True)
    ended = list(commits.fates(server, postgres, commits.of_the_commit(whole.watched)))

    assert [it for it in ended if not it.fine or it.taken is it.watched.was_cut] == []
    # Some were cut before PostgreSQL had it all, and some after: then the 503 is a doubt, and the resend ends it.
    assert {it.kept for it in ended if not it.taken} == {0, 1}


# SQLite


@pytest.fixture
def path(ledger: Ledger) -> Path:
    return Path(str(ledger.url.database))


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE"])
def test_a_file_locked_by_another_process_holds_nobody_longer_than_a_sender_waits(
    ledger: Ledger, path: Path, lock: str, alert: Delivery
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        if "EXCLUSIVE;" in lock:
            ledger.dispose()  # it waits for all others to be gone
        other.executescript(lock)
        all_fail_in_time(*[partial(accept, ledger, alert, WISH)] * 40)
        other.execute("ROLLBACK")

    taken_once(ledger, alert)


def test_who_has_waited_before_waits_for_the_files_lock_only_as_long_as_he_has_left(
    ledger: Ledger, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other, one_deadline():
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        time.sleep(TRANSACTION_SECONDS - 0.3)
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="locked"), ledger.writing():
            pass
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_is_gone_is_not_written_and_not_replaced_by_an_empty_one(
    ledger: Ledger, path: Path, what: str, alert: Delivery
) -> None:
    assert condition.health(ledger).unsettled == 0
    gone = path if what == "file" else path.parent
    elsewhere = gone.with_name("elsewhere")
    gone.rename(elsewhere)
    try:
        with in_time():
            accept(ledger, alert, WISH)
        assert not path.exists()
    finally:
        elsewhere.rename(gone)

    taken_once(ledger, alert)


def test_a_file_that_was_replaced_is_the_one_that_is_written(
    ledger: Ledger, path: Path, migrated_file: Path, alert: Delivery
) -> None:
    assert condition.health(ledger).unsettled == 0
    for it in path.parent.glob("flatwire.db*"):
        it.unlink()
    shutil.copy(migrated_file, path)

    taken_once(ledger, alert)


def test_a_full_disk_makes_the_ledger_unavailable_until_there_is_room(
    ledger: Ledger, alert: Delivery
) -> None:
    pages = {"most": "1"}

    @event.listens_for(ledger.engine, "begin")
    def limit(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages['most']}")

    body = b"close MES 12-26" + b" " * 16_000
    with in_time():
        accept(ledger, Delivery("futures", body, body.decode(), "main"), WISH)
    pages["most"] = "100000"

    taken_once(ledger, alert)


def test_a_file_that_may_only_be_read_makes_the_ledger_unavailable(ledger: Ledger, alert: Delivery) -> None:
    setting = {"query_only": "ON"}

    @event.listens_for(ledger.engine, "checkout")
    def limit(connection: Any, *_rest: Any) -> None:
        connection.execute(f"PRAGMA query_only = {setting['query_only']}")

    with in_time():
        accept(ledger, alert, WISH)
    setting["query_only"] = "OFF"

    taken_once(ledger, alert)


# What the many learn from the few


class Clock:
    """The monotonic clock, by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.ledger.waiting.time", clock)
    return clock


def waited_in_vain(breaker: Breaker, clock: Clock, seconds: float = TRANSACTION_SECONDS) -> None:
    began = clock.now
    clock.now += seconds
    breaker.learn(began, failed=True)


def test_a_silent_ledger_is_asked_by_one_at_a_time_after_a_pause(clock: Clock) -> None:
    breaker = Breaker()
    assert breaker.lets_through()
    waited_in_vain(breaker, clock)
    assert not breaker.lets_through()
    clock.now += PAUSE

    assert breaker.lets_through()
    assert not breaker.lets_through()
    breaker.learn(clock.now, failed=False)
    assert breaker.lets_through()
    assert breaker.lets_through()


def test_who_asks_and_never_tells_keeps_nobody_out_for_long(clock: Clock) -> None:
    breaker = Breaker()
    waited_in_vain(breaker, clock)
    clock.now += PAUSE
    assert breaker.lets_through()
    clock.now += TRANSACTION_SECONDS

    assert breaker.lets_through()


def test_a_silence_of_long_ago_turns_nobody_away(clock: Clock) -> None:
    breaker = Breaker()
    waited_in_vain(breaker, clock)
    clock.now += PAUSE + FORGOTTEN

    assert [breaker.lets_through() for _ in range(30)] == [True] * 30


def test_what_fails_fast_is_asked_again_by_everybody(clock: Clock) -> None:
    breaker = Breaker()
    waited_in_vain(breaker, clock, seconds=0.1)

    assert breaker.lets_through()


def test_a_ledger_that_answers_others_meanwhile_is_not_silent(clock: Clock) -> None:
    breaker = Breaker()
    began = clock.now
    clock.now += 1
    breaker.learn(clock.now - 0.1, failed=False)
    clock.now += 0.8
    breaker.learn(began, failed=True)

    assert breaker.lets_through()
