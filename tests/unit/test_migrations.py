"""The schema, made by the migrations alone: what the code expects, all of it or nothing; and databases that fail us."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, text

from app.domain.commands import ClosePosition
from app.ledger import condition, readers, tables
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.migration import migrate
from app.ledger.schema import SchemaMismatch, check_schema
from tests.conftest import on_both_databases
from tests.running import ROOT
from tests.taking import accept


@pytest.fixture
def empty(database_url: str) -> Iterator[Ledger]:
    """A ledger that nobody migrated."""
    ledger = Ledger(database_url)
    yield ledger
    ledger.dispose()


def alert_came(ledger: Ledger) -> None:
    accept(
        ledger,
        Delivery("futures", new_id().encode(), "close", "main"),
        Wish([ClosePosition("nt8", "Sim101", "MES")]),
    )


@on_both_databases
def test_a_migration_that_breaks_off_leaves_the_database_as_it_was(empty: Ledger) -> None:
    with empty.writing() as connection:
        connection.execute(text("CREATE TABLE events (somebody TEXT)"))  # in the way of ours

    with pytest.raises(Exception, match="already exists"):
        migrate(empty)
    assert inspect(empty.engine).get_table_names() == ["events"]
    with empty.writing() as connection:
        connection.execute(text("DROP TABLE events"))
    assert migrate(empty)[0] is None
    check_schema(empty)


@on_both_databases
def test_what_a_later_version_made_is_left_alone(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch, match="9999, which a later version made"):
        migrate(ledger)
    with ledger.reading() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_migration_waits_for_a_writer_longer_than_the_door_would(empty: Ledger, database_url: str) -> None:
    other = Ledger(database_url)
    with other.writing() as connection:
        waiting = threading.Thread(target=migrate, args=(empty,))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        connection.execute(text("SELECT 1"))
    waiting.join(10)
    other.dispose()

    check_schema(empty)


# What SQLite is told


def test_writers_lock_first_and_readers_wait_for_nobody(ledger: Ledger, database_url: str) -> None:
    other = Ledger(database_url)
    began: list[str] = []

    @event.listens_for(ledger.engine, "checkout")
    def trace(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.set_trace_callback(lambda said: began.append(said) if said.startswith("BEGIN") else None)

    with other.writing() as writer:
        writer.execute(tables.workers.delete())
        condition.health(ledger)
    alert_came(ledger)
    other.dispose()

    assert began == ["BEGIN", "BEGIN IMMEDIATE"]


def test_every_connection_of_sqlite_is_durable_and_keeps_references(ledger: Ledger) -> None:
    with ledger.reading() as one, ledger.reading() as two, ledger.writing() as three:
        for connection in (one, two, three):
            found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in PRAGMAS]
            assert found == ["wal", 2, 1, 1500]
    with pytest.raises(Exception, match="FOREIGN KEY"), ledger.writing() as connection:
        connection.execute(text("INSERT INTO events VALUES (1, 'none', 1, 'x', 'x', '{}')"))


PRAGMAS = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")


# Databases that fail


def told(what: Any) -> str:
    """What is said of a ledger that can't be used: one plain line."""
    with pytest.raises(LedgerUnavailable) as raised:
        what()
    words = str(raised.value)
    assert words.startswith("the ledger")
    assert "\n" not in words
    return words


def test_a_full_disk_is_told_and_what_is_there_can_still_be_read(ledger: Ledger) -> None:
    alert_came(ledger)

    @event.listens_for(ledger.engine, "begin")
    def fill_the_disk(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    def until_it_is_full() -> None:
        for _ in range(2000):
            alert_came(ledger)

    assert "full" in told(until_it_is_full)
    assert condition.health(ledger).unsettled >= 1


def test_a_file_that_is_damaged_in_the_middle_is_told(ledger: Ledger, database_url: str) -> None:
    for _ in range(50):
        alert_came(ledger)
    ledger.dispose()
    place = Path(database_url.removeprefix("sqlite:///"))
    damaged = bytearray(place.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    place.write_bytes(damaged)

    assert "malformed" in told(lambda: readers.commands_page(Ledger(database_url), {}))
    assert "malformed" in told(lambda: alert_came(Ledger(database_url)))
    assert "malformed" in told(lambda: Claims(Ledger(database_url), "one").take(["nt8"]))


READ_ONLY = """
import os, sys
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger import condition, migration
url, nobody = sys.argv[1], 65534
opened = Ledger(url)
opened.engine.connect().close()
opened.dispose()
if os.geteuid() == 0:
    os.seteuid(nobody)
for ask in (lambda: condition.check_writable(opened), lambda: migration.migrate(Ledger(url))):
    try:
        ask()
    except LedgerUnavailable as exc:
        print(exc)
"""


def test_a_file_that_may_only_be_read_is_told() -> None:
    folder = Path(tempfile.mkdtemp(prefix="flatwire-read-only-"))
    url = f"sqlite:///{folder / 'flatwire.db'}"
    ledger = Ledger(url)
    migrate(ledger)
    ledger.dispose()
    (folder / "flatwire.db").chmod(0o444)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=dict(os.environ),
    )
    folder.chmod(0o755)
    shutil.rmtree(folder)

    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("the ledger at sqlite")
        assert "readonly" in line or "unable to open" in line


def test_a_folder_that_is_missing_is_made_and_one_that_can_not_be_is_told(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there" / "flatwire.db"
    ledger = Ledger(f"sqlite:///{place}")
    migrate(ledger)
    check_schema(ledger)
    ledger.dispose()
    assert place.exists()

    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable, match="can't be made"):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'flatwire.db'}")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_cuts_its_connections_is_told_once_and_then_found_again(ledger: Ledger) -> None:
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    at_work = text("SELECT pg_terminate_backend(pg_backend_pid())")

    def while_at_work() -> None:
        with ledger.writing() as connection:
            connection.execute(at_work)

    assert "terminating" in told(while_at_work)
    with ledger.reading() as connection, ledger.reading():
        connection.execute(cut)
    for _ in range(3):
        alert_came(ledger)  # nobody notices a connection that died in the pool


def test_a_new_file_that_somebody_writes_just_now_is_waited_for(empty: Ledger, database_url: str) -> None:
    first = sqlite3.connect(
        database_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    first.execute("CREATE TABLE anything (it TEXT)")
    first.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.3, first.execute, ["ROLLBACK"])
    ends.start()

    migrate(empty)  # it makes the file WAL, which SQLite refuses at once while another writes
    ends.join()
    first.close()
    check_schema(empty)


@on_both_databases
def test_many_that_migrate_a_new_database_at_the_same_instant_all_get_in(database_url: str) -> None:
    ledgers = [Ledger(database_url) for _ in range(8)]
    barrier = threading.Barrier(len(ledgers))

    def migrated(ledger: Ledger) -> None:
        barrier.wait(10)
        migrate(ledger)

    with ThreadPoolExecutor(len(ledgers)) as pool:
        for done in [pool.submit(migrated, ledger) for ledger in ledgers]:
            done.result()
    for ledger in ledgers:
        check_schema(ledger)
        ledger.dispose()
