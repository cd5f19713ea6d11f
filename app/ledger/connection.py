"""Connections to the ledger, and the one way to open a transaction."""

import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

STATEMENT_SECONDS = 1.5
"""No statement of the door may take longer, nor its wait to write: an alert's sender waits three seconds in all."""

_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


class LedgerUnavailable(Exception):
    """Raised when the ledger can't be read or written now; nothing of the transaction is kept, or it is not known."""


class Ledger:
    """The ledger's database. `reading` and `writing` open its transactions; nothing else does."""

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self.url = normalised(url)
        self.engine = _engine(self.url, threads)
        self._turn = threading.Lock()

    @property
    def sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back on an exception."""
        deadline = time.monotonic() + STATEMENT_SECONDS
        with self.translated(), self._turn_to_write(), self.engine.connect() as connection:
            connection = connection.execution_options(flatwire_lock_by=deadline)
            with connection.begin():
                yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the driver says when the database is away, slow or locked becomes LedgerUnavailable; bugs stay bugs."""
        try:
            yield
        except (OperationalError, NoFreeConnection, ResourceClosedError) as exc:
            raise LedgerUnavailable(self._told(exc)) from exc
        except DBAPIError as exc:
            # Plain, and no kind of it, is what SQLite says of a file that is damaged or no database.
            if exc.connection_invalidated or type(exc) is DatabaseError:
                raise LedgerUnavailable(self._told(exc)) from exc
            raise

    def _told(self, exc: Exception) -> str:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        return f"the ledger at {self.url.render_as_string(hide_password=True)}: {reason}"

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        """SQLite has one writer at a time: those of this process queue up here, and one asks for its lock."""
        if not self.sqlite:
            yield
            return
        if not self._turn.acquire(timeout=STATEMENT_SECONDS):
            raise LedgerUnavailable("the ledger is busy")
        try:
            yield
        finally:
            self._turn.release()

    def dispose(self) -> None:
        self.engine.dispose()


def normalised(url: str) -> URL:
    """The URL as SQLAlchemy wants it: PaaS hosts write `postgres://`, and both spellings mean psycopg 3."""
    return make_url(re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LedgerUnavailable(f"the folder {folder} can't be made: {exc.strerror}") from exc


def _engine(url: URL, threads: int) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    engine = _sqlite_engine(url, threads) if sqlite else _postgresql_engine(url, threads)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def clean(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> Any:
        return statement, _keepable(parameters)

    return engine


def _keepable(value: Any) -> Any:
    """Texts are others' words, and a broker's answer must not be lost for a character that no database keeps."""
    match value:
        case str():
            return value if value.isascii() and "\0" not in value else _UNKEEPABLE.sub("\ufffd", value)
        case dict():
            return {name: _keepable(item) for name, item in value.items()}
        case tuple() | list():
            return type(value)(_keepable(item) for item in value)
        case _:
            return value


def _postgresql_engine(url: URL, threads: int) -> Engine:
    return create_engine(
        url,
        pool_size=threads,
        max_overflow=2,
        pool_timeout=0.5,
        pool_pre_ping=True,
        pool_recycle=300,
        connect_args={
            "connect_timeout": 2,
            "options": f"-c statement_timeout={int(STATEMENT_SECONDS * 1000)} -c lock_timeout=1000"
            " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
        },
    )


def _sqlite_engine(url: URL, threads: int) -> Engine:
    if url.database and url.database != ":memory:":
        _make_folder(Path(url.database).parent)
    engine = create_engine(
        url, pool_size=threads, max_overflow=2, pool_timeout=0.5, connect_args={"timeout": STATEMENT_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def prepare(dbapi_connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: `begin` below does, with the lock we want.
        dbapi_connection.isolation_level = None
        deadline = time.monotonic() + STATEMENT_SECONDS
        _insist(lambda: dbapi_connection.execute("PRAGMA journal_mode = WAL"), deadline)
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A read transaction can't be upgraded while others write (SQLITE_BUSY at once), so writers lock first.
        deadline = connection.get_execution_options().get("flatwire_lock_by")
        if deadline is None:
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_writing(connection, deadline)

    return engine


def _begin_writing(connection: Connection, deadline: float) -> None:
    """Lock the file for writing."""
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")  # the waiting is ours
    try:
        _insist(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), deadline)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(STATEMENT_SECONDS * 1000)}")


def _insist(ask: Callable[[], object], deadline: float) -> None:
    """Ask for a lock of SQLite's every few milliseconds.

    SQLite itself asks ever more seldom, so that who has waited longest waits on while others come and go;
    and while several make a new file WAL, not at all.
    """
    while True:
        try:
            ask()
        except (OperationalError, sqlite3.OperationalError) as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.003))  # noqa: S311 - who asks next is left to chance
        else:
            return
