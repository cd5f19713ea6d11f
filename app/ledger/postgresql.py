"""Connections to PostgreSQL that wait no longer than their transaction may.

The server's own time-outs end what the server still looks at. Against one that is frozen, or a host that swallows
what it is sent, only a deadline on this side helps.
"""

import select
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError, OperationalError

from app.ledger.transaction import Transaction, transaction_of
from app.ledger.types import POSTGRESQL_CLOCK, instant_of
from app.ledger.waiting import STATEMENT_SECONDS, seconds_left

_MOMENT = f"SELECT {POSTGRESQL_CLOCK}"
# The number is "claim": any fixed one that is ours; as a decimal, since no server before 16 reads another.
_TURN = f"(SELECT pg_advisory_xact_lock({0x636C61696D})) AS turn"

OLDEST = 12
"""The first version that this works on, as the ledger's tests did when they were tried on it."""
ASKED_AGAIN = 2.0
"""Seconds after its last answer at which a connection is asked whether it lives before it is used."""
SILENCE = 1000
"""Milliseconds after which the kernel ends a line that acknowledges nothing: one that died while it lay idle in the
pool is found by the ping, in time to connect anew."""

LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
"""What a server says to whoever waited too long for another transaction, or would have for ever."""
BECAME_A_REPLICA = (psycopg.errors.ReadOnlySqlTransaction,)
"""What a server says to whoever writes after another one took over; the driver calls it an internal error."""


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself at the deadline of its transaction, so that neither rollback nor the pool waits again."""

    answered_at: float = 0.0
    """By the monotonic clock."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        left = seconds_left() if timeout is None else timeout
        try:
            answer = super().wait(gen, interval, left)
        except psycopg.errors._WaitTimeout as exc:
            self.close()
            raise psycopg.OperationalError("no answer in time") from exc
        self.answered_at = time.monotonic()
        return answer

    def lives(self) -> bool:
        """Whether the server is still there: asked of it only after a while, or if the line has something to tell.

        A server that ends says so on the line, or the kernel does.
        """
        if self.closed:
            return False
        line = select.poll()
        line.register(self.pgconn.socket, select.POLLIN)
        if not line.poll(0) and time.monotonic() - self.answered_at < ASKED_AGAIN:
            return True
        try:
            self.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


def engine(url: URL, threads: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=threads,
        max_overflow=2,
        pool_timeout=0.5,
        hide_parameters=True,  # what is written must not be read in a traceback
        pool_use_lifo=True,  # the one that was heard last need not be asked whether it lives
        pool_recycle=300,
        connect_args={
            "connect_timeout": 2,
            "tcp_user_timeout": SILENCE,
            "options": f"-c statement_timeout={int(STATEMENT_SECONDS * 1000)}"
            f" -c lock_timeout={int((STATEMENT_SECONDS - 0.1) * 1000)}"
            " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> PatientConnection:
        # Autocommit is the driver's word for leaving it to us how a transaction begins.
        found = _in_time(partial(PatientConnection.connect, *arguments, **parameters, autocommit=True))
        if (version := found.info.server_version // 10_000) < OLDEST:
            found.close()
            raise psycopg.OperationalError(f"PostgreSQL {version} is too old: {OLDEST} or newer is needed")
        return found

    @event.listens_for(engine, "checkout")
    def check(connection: PatientConnection, _record: Any, _proxy: Any) -> None:
        if not connection.lives():
            raise InvalidatePoolError("the line to the server broke")

    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Begin, with the first questions on the same way to the server; what only reads needs no transaction for it.

    Each statement sees what is committed, within a transaction as without.
    """
    transaction = transaction_of(connection)
    if transaction is None:
        connection.exec_driver_sql("BEGIN")
    elif transaction.of_one_moment:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
    elif transaction.lock_by is not None:
        transaction.began_at = instant_of(_asked(connection, _first_question(transaction)))


def _first_question(transaction: Transaction) -> str:
    question = _MOMENT
    if transaction.row_lock_seconds is not None:
        question += f", set_config('lock_timeout', '{int(transaction.row_lock_seconds * 1000)}', true)"
    return f"{question} FROM {_TURN}" if transaction.in_turn else question


def _asked(connection: Connection, question: str) -> int:
    """Begin a transaction and ask it for one number, in one message; SQLAlchemy gives only the first of two answers."""
    driver: Any = connection.connection.driver_connection
    statement = f"BEGIN; {question}"
    try:
        cursor = driver.execute(statement)
        cursor.nextset()
        number, *_ = cursor.fetchone()
    except psycopg.Error as exc:
        if driver.closed:
            connection.invalidate(exc)  # else the pool would roll it back in vain, and tell of that
        raise OperationalError(statement, None, exc) from exc
    return int(number)


def _in_time(connect: Callable[[], PatientConnection]) -> PatientConnection:
    """Connect in a thread of its own: psycopg gives each address two whole seconds, and a name server any number."""
    left = seconds_left()
    if left == 0:
        raise psycopg.OperationalError("no time left to connect")
    thread = ThreadPoolExecutor(1, "connect")
    connecting = thread.submit(connect)
    thread.shutdown(wait=False)
    try:
        return connecting.result(left)
    except TimeoutError as exc:
        connecting.add_done_callback(_close_late)
        raise psycopg.OperationalError("no connection in time") from exc


def _close_late(connecting: Future[PatientConnection]) -> None:
    if connecting.exception() is None:
        connecting.result().close()
