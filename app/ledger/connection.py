"""Connections to the ledger, and the one way to open a transaction."""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, event
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from app.ledger import events
from app.ledger.transaction import Transaction
from app.ledger.waiting import Breaker, one_deadline, statement_seconds

_SILENT = "the ledger did not answer a moment ago"
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


class LedgerUnavailable(Exception):
    """Raised when the ledger can't be read or written now; nothing of the transaction is kept, or it is not known."""


class LedgerLocked(LedgerUnavailable):
    """Raised when a transaction of somebody else holds what is to be written; nothing is kept."""


class Ledger:
    """The ledger's database. `reading` and `writing` open its transactions; nothing else does."""

    def __init__(self, url: str, *, threads: int = 4) -> None:
        self.url = normalised(url)
        self._driver = _driver_of(self.url)
        self.engine = _engine(self._driver, self.url, threads)
        self._turn = threading.Lock()
        self._writes = Breaker()
        self._reads = Breaker(beyond=self._writes)

    @property
    def sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self, *, of_one_moment: bool = False) -> Iterator[Connection]:
        """A transaction that only reads. Raises LedgerUnavailable, at once if the ledger is known to be silent.

        `of_one_moment`: all its statements see the same; SQLite's do anyway.
        """
        with (
            self._unless_silent(self._reads),
            one_deadline(),
            self.translated(),
            self.engine.connect() as connection,
        ):
            connection = Transaction(of_one_moment=of_one_moment).on(connection)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(
        self, *, awaited: bool = False, in_turn: bool = False, row_lock_seconds: float | None = None
    ) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back on an exception.

        `awaited`: somebody waits for it who will ask again. It fails at once if the ledger is known to be silent,
        for the sake of those who wait behind it; others try, for what they know would be lost.
        `in_turn`, `row_lock_seconds`: see `Transaction`.
        """
        transaction = Transaction(
            lock_by=time.monotonic() + statement_seconds(), in_turn=in_turn, row_lock_seconds=row_lock_seconds
        )
        with (
            self._unless_silent(self._writes, insist=not awaited),
            one_deadline(),
            self.translated(),
            self._turn_to_write(),
            self.engine.connect() as connection,
        ):
            connection = transaction.on(connection)
            with connection.begin():
                yield connection
                events.write(connection, transaction)
        events.tell(transaction)

    def refuse_while_silent(self) -> None:
        """Raises LedgerUnavailable if a writer who is awaited need not wait for his turn: it would be refused him."""
        if self._writes.turns_away():
            raise LedgerUnavailable(_SILENT)

    @contextmanager
    def _unless_silent(self, breaker: Breaker, *, insist: bool = False) -> Iterator[None]:
        """Ask the ledger only if it is not known to be silent, unless one insists; and learn whether it is."""
        if not insist and not breaker.lets_through():
            raise LedgerUnavailable(_SILENT)
        began = time.monotonic()
        failed = False
        try:
            yield
        except LedgerUnavailable:
            failed = True
            raise
        finally:
            breaker.learn(began, failed=failed)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the driver says when the database is away, slow or locked becomes LedgerUnavailable; bugs stay bugs."""
        try:
            yield
        except (OperationalError, NoFreeConnection, ResourceClosedError) as exc:
            locked = isinstance(getattr(exc, "orig", None), self._driver.LOCKED)
            raise (LedgerLocked if locked else LedgerUnavailable)(self._told(exc)) from exc
        except DBAPIError as exc:
            # Plain, and no kind of it, is what SQLite says of a file that is damaged or no database.
            damaged = type(exc) is DatabaseError
            if exc.connection_invalidated or damaged or isinstance(exc.orig, self._driver.BECAME_A_REPLICA):
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
        if not self._turn.acquire(timeout=statement_seconds()):
            raise LedgerUnavailable("the ledger is busy")
        try:
            yield
        finally:
            self._turn.release()

    def dispose(self) -> None:
        self.engine.dispose()


def insert_once(connection: Connection, table: Table, *rows: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Add each row, unless there is one with its key. Those that were added."""
    return connection.execute(_insert_once(connection.dialect.name, table), rows).all()


@cache
def _insert_once(dialect: str, table: Table) -> Any:
    insert_into = sqlite_dialect.insert if dialect == "sqlite" else postgresql_dialect.insert
    return insert_into(table).on_conflict_do_nothing().returning(*table.c)


def normalised(url: str) -> URL:
    """The URL as SQLAlchemy wants it: PaaS hosts write `postgres://`, and both spellings mean psycopg 3."""
    return make_url(re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url))


def _driver_of(url: URL) -> ModuleType:
    """One of two modules that have the same names. To load the other's driver too is a tenth of a start."""
    if url.get_backend_name() == "sqlite":
        from app.ledger import sqlite

        return sqlite
    from app.ledger import postgresql

    return postgresql


def _engine(driver: ModuleType, url: URL, threads: int) -> Engine:
    try:
        engine: Engine = driver.engine(url, threads)
    except OSError as exc:
        raise LedgerUnavailable(f"{exc.filename} can't be made: {exc.strerror}") from exc

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
