"""The ledger's schema and its connections: migrated by anybody, once; refused when it is not ours; durable as promised."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from app.domain.commands import ClosePosition
from app.domain.statuses import Status
from app.ledger import condition, due, readers, tables
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable, normalised
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.migration import migrate
from app.ledger.schema import SchemaMismatch, check_schema
from app.ledger.types import now
from tests.conftest import on_both_databases
from tests.running import ROOT
from tests.taking import accept

MIGRATE = """
import sys
from app.ledger.connection import Ledger
from app.ledger.migration import migrate
migrate(Ledger(sys.argv[1]))
"""


@on_both_databases
def test_the_migrations_make_the_tables_indexes_and_defaults_that_the_code_says(ledger: Ledger) -> None:
    opts = {"compare_type": True, "compare_server_default": True}
    with ledger.engine.connect() as connection:  # it looks at each column, and may take its time
        difference = compare_metadata(MigrationContext.configure(connection, opts=opts), tables.metadata)
        found = {it["name"]: it for it in inspect(connection).get_indexes("commands")}

    assert difference == []
    for name, where in (("ix_commands_lease", "lease_owner"), ("ix_commands_settled_at", "settled_at")):
        options = found[name]["dialect_options"]
        assert where in str(options["sqlite_where" if ledger.sqlite else "postgresql_where"])


@on_both_databases
def test_several_processes_migrate_at_once(database_url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, database_url], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    complaints = [process.communicate(timeout=60)[1].decode() for process in started]

    assert [process.returncode for process in started] == [0] * 4, complaints
    ledger = Ledger(database_url)
    check_schema(ledger)
    ledger.dispose()


@on_both_databases
def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    before, after = migrate(ledger)

    assert before == after


@on_both_databases
@pytest.mark.parametrize("revision", [None, "9999_from_the_future"])
def test_a_schema_that_is_not_ours_is_refused_with_what_to_do(
    database_url: str, revision: str | None
) -> None:
    ledger = Ledger(database_url)
    if revision:
        migrate(ledger)
        with ledger.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})

    with pytest.raises(SchemaMismatch, match="python -m app migrate"):
        check_schema(ledger)
    ledger.dispose()


@on_both_databases
def test_what_happened_can_not_be_changed(ledger: Ledger) -> None:
    delivery = Delivery("futures", b"a text", "a text", "main")
    accept(ledger, delivery, Wish([ClosePosition("nt8", "Sim101", "MES 12-26")]))
    for change in (tables.events.update().values(actor="nobody"), tables.events.delete()):
        with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as connection:
            connection.execute(change)

    with ledger.reading() as connection:
        assert connection.execute(select(tables.events.c.actor)).scalars().all() == ["futures"]


def test_sqlite_keeps_what_it_promised(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        values = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]

    assert values == ["wal", 2, 1, 1500]


def test_two_writers_of_sqlite_wait_for_each_other(database_url: str, ledger: Ledger) -> None:
    other = Ledger(database_url)
    with ledger.writing() as connection:
        connection.execute(tables.workers.delete())
        with pytest.raises(LedgerUnavailable, match="locked"), other.writing() as second:
            second.execute(tables.workers.delete())
    other.dispose()


@on_both_databases
def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    def half() -> None:
        with ledger.writing() as connection:
            row = {"name": "one", "version": "1", "started_at": now(), "seen_at": now()}
            connection.execute(insert(tables.workers).values(row))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()

    with ledger.reading() as connection:
        assert connection.execute(select(tables.workers)).all() == []


@pytest.mark.parametrize("spoil", ["corrupt", "folder", "no folder"])
def test_a_file_that_is_no_ledger_is_told_in_a_sentence(tmp_path: Path, spoil: str) -> None:
    place = tmp_path / "flatwire.db"
    if spoil == "corrupt":
        place.write_bytes(b"this is no database" * 500)
    elif spoil == "folder":
        place.mkdir()
    else:
        (tmp_path / "file").write_text("in the way")
        place = tmp_path / "file" / "flatwire.db"

    with pytest.raises(LedgerUnavailable) as told:
        check_schema(Ledger(f"sqlite:///{place}"))
    assert "\n" not in str(told.value)


def test_a_server_that_is_not_there_is_told_soon_and_without_its_password() -> None:
    ledger = Ledger("postgres://ada:geheim@127.0.0.1:1/flatwire")

    with pytest.raises(LedgerUnavailable) as told:
        check_schema(ledger)
    assert "geheim" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://a:b@h/d", "postgresql+psycopg"),
        ("postgresql://a:b@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://a:b@h/d", "postgresql+psycopg"),
        ("sqlite:///var/flatwire.db", "sqlite"),
    ],
)
def test_the_spellings_of_paas_hosts_are_understood(url: str, driver: str) -> None:
    assert normalised(url).drivername == driver


@on_both_databases
def test_odd_texts_are_kept_as_they_are(ledger: Ledger) -> None:
    odd = "a\x00b \ud800 \N{GRINNING FACE} \u202e " + "x" * 16_000
    warnings = [{"field": odd, "message": odd, "hint": None}]
    delivery = Delivery("futures", new_id().encode(), "a text", "main")
    taken = accept(ledger, delivery, Wish([ClosePosition("nt8", "Sim101", "MES 12-26")], warnings))

    with ledger.reading() as connection:
        kept: Any = connection.execute(select(tables.alerts.c.warnings)).scalar_one()
    assert kept == warnings
    assert len(taken.commands) == 1


# What grows must not slow down


EVERY_DAY: dict[str, Callable[[Ledger], object]] = {
    "claim": lambda ledger: Claims(ledger, "one").take(["nt8"]),
    "recover": lambda ledger: Claims(ledger, "one").recover(),
    "next due": due.seconds_to_next_due,
    "health": condition.health,
    "closes": lambda ledger: readers.histories(ledger, readers.commands_page(ledger, {}).rows),
    "commands by status": lambda ledger: readers.commands_page(ledger, {"status": Status.QUEUED}),
    "alerts": lambda ledger: readers.commands_of_alerts(ledger, [readers.alerts_page(ledger, {}).rows[0].id]),
    "closed positions": lambda ledger: readers.closed_positions_page(ledger, {}),
    "a command": lambda ledger: readers.command_history(ledger, "x"),
    "an alert": lambda ledger: intake(ledger),
}


def intake(ledger: Ledger) -> str:
    delivery = Delivery("futures", new_id().encode(), "a text", "main")
    return accept(ledger, delivery, Wish([ClosePosition("nt8", "Sim101", "MES 12-26")], sender_id="1")).alert


@pytest.mark.parametrize("ask", EVERY_DAY.values(), ids=EVERY_DAY)
def test_no_question_of_every_day_reads_a_whole_table(
    ledger: Ledger, ask: Callable[[Ledger], object]
) -> None:
    intake(ledger)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SELECT" in statement or statement.startswith(("UPDATE", "DELETE")):
            asked.append((statement, parameters))

    ask(ledger)
    event.remove(ledger.engine, "before_cursor_execute", note)
    assert asked
    for statement, parameters in asked:
        with ledger.reading() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        read_whole = [row.detail for row in plan if is_whole_table(row.detail)]
        pages = (
            "ORDER BY" in statement
            and "LIMIT" in statement
            and not any("B-TREE" in row.detail for row in plan)
        )
        assert not read_whole or pages, (statement, read_whole)


def is_whole_table(detail: str) -> bool:
    """A scan by no index; the workers' few rows may be scanned."""
    return (
        detail.startswith("SCAN")
        and "USING" not in detail
        and detail not in ("SCAN workers", "SCAN CONSTANT ROW")
    )


def test_the_tables_are_all_known_to_the_migrations(ledger: Ledger) -> None:
    assert set(inspect(ledger.engine).get_table_names()) == {*tables.metadata.tables, "alembic_version"}
