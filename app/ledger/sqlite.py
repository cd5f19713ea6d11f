"""Connections to an SQLite file: the journal that survives a crash, locks that are fair, and the file itself."""

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError, OperationalError

from app.ledger.transaction import transaction_of
from app.ledger.types import SQLITE_CLOCK, instant_of
from app.ledger.waiting import STATEMENT_SECONDS, statement_seconds

_MOMENT = f"SELECT {SQLITE_CLOCK}"

LOCKED: tuple[type[Exception], ...] = ()
"""SQLite locks the whole file, and so nothing of somebody else's."""
BECAME_A_REPLICA: tuple[type[Exception], ...] = ()


def engine(url: URL, threads: int) -> Engine:
    """Raises OSError if there is no file and none can be made."""
    engine = create_engine(
        url,
        pool_size=threads,
        max_overflow=2,
        pool_timeout=0.5,
        hide_parameters=True,  # what is written must not be read in a traceback
        connect_args={"timeout": STATEMENT_SECONDS},
    )
    if url.database and url.database != ":memory:" and "uri" not in url.query:
        _keep_to(Path(url.database).absolute(), engine)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _keep_to(path: Path, engine: Engine) -> None:
    """Work on this file alone: made here if there is none, and never again.

    SQLite would make an empty file in the place of one that is gone, and write on into one that was deleted or
    replaced while it was open: what is "committed" there is lost with the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch()

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, record: Any, _path: Any, parameters: Any) -> sqlite3.Connection:
        record.record_info["file"] = _identity(path)
        known = parameters | {"timeout": statement_seconds()}
        opened: sqlite3.Connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, **known)
        return opened

    @event.listens_for(engine, "checkout")
    def check(_connection: Any, record: Any, _proxy: Any) -> None:
        identity = _identity(path)
        if identity is None or identity != record.record_info["file"]:
            raise DisconnectionError("the ledger's file is gone, or another one")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not open transactions by itself: `_begin` does, with the lock we want.
    connection.isolation_level = None
    deadline = time.monotonic() + statement_seconds()
    _insist(lambda: connection.execute("PRAGMA journal_mode = WAL"), deadline)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A read transaction can't be upgraded while others write (SQLITE_BUSY at once), so writers lock first.
    transaction = transaction_of(connection)
    if transaction is None or transaction.lock_by is None:
        _wait_for_locks(connection, statement_seconds())
        _say(connection, "BEGIN")
    else:
        _begin_writing(connection, transaction.lock_by)
        ((moment,),) = _say(connection, _MOMENT)
        transaction.began_at = instant_of(moment)


def _begin_writing(connection: Connection, deadline: float) -> None:
    """Lock the file for writing."""
    _wait_for_locks(connection, 0)  # the waiting is ours
    try:
        _insist(lambda: _say(connection, "BEGIN IMMEDIATE"), deadline)
    finally:
        _wait_for_locks(connection, statement_seconds())


def _wait_for_locks(connection: Connection, seconds: float) -> None:
    _say(connection, f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _say(connection: Connection, statement: str) -> Any:
    """Past SQLAlchemy, which takes ten times as long over what each transaction says several times. The answer's rows."""
    driver: Any = connection.connection.driver_connection
    try:
        return driver.execute(statement)
    except sqlite3.DatabaseError as exc:
        raise OperationalError(statement, None, exc) from exc


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
