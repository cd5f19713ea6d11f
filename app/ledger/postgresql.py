"""Connections to PostgreSQL that wait no longer than their transaction may.

The server's own time-outs end what the server still looks at. Against one that is frozen, or a host that swallows
what it is sent, only a deadline on this side helps.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from app.ledger.waiting import STATEMENT_SECONDS, seconds_left

SILENCE = 1000
"""Milliseconds after which the kernel ends a line that acknowledges nothing: one that died while it lay idle in the
pool is found by the ping, in time to connect anew."""

BECAME_A_REPLICA = psycopg.errors.ReadOnlySqlTransaction
"""What a server says to whoever writes after another one took over; the driver calls it an internal error."""


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself at the deadline of its transaction, so that neither rollback nor the pool waits again."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        left = seconds_left() if timeout is None else timeout
        try:
            return super().wait(gen, interval, left)
        except psycopg.errors._WaitTimeout as exc:
            self.close()
            raise psycopg.OperationalError("no answer in time") from exc


def engine(url: URL, threads: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=threads,
        max_overflow=2,
        pool_timeout=0.5,
        hide_parameters=True,  # what is written must not be read in a traceback
        pool_pre_ping=True,
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
        return _in_time(partial(PatientConnection.connect, *arguments, **parameters))

    return engine


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
