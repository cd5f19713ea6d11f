"""How the ledger is, and what waits in it: what probes, the doctor and the head of each page show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now, now

ALIVE = 30.0
"""Seconds since its last heartbeat in which a worker counts as alive."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes and the dashboard's head show."""

    workers: int
    unsettled: int
    oldest_unsettled: float | None
    """Seconds; None: everything is settled."""
    attention: int


def health(ledger: Ledger) -> Health:
    commands, workers = tables.commands.c, tables.workers.c
    with ledger.reading() as connection:
        alive = connection.execute(
            select(func.count()).select_from(tables.workers).where(workers.seen_at > from_now(-ALIVE))
        ).scalar_one()
        count, oldest, moment = connection.execute(
            select(func.count(), func.min(commands.accepted_at), now()).where(commands.settled_at.is_(None))
        ).one()
        attention = connection.execute(
            select(func.count()).select_from(tables.commands).where(commands.attention.is_not(None))
        ).scalar_one()
    age = None if oldest is None else (moment - oldest).total_seconds()
    return Health(alive, count, age, attention)


def workers_alive(ledger: Ledger) -> Sequence[Row[Any]]:
    """Workers that gave a sign of life lately, by name."""
    workers = tables.workers
    wanted = select(workers).where(workers.c.seen_at > from_now(-ALIVE)).order_by(workers.c.name)
    with ledger.reading() as connection:
        return connection.execute(wanted).all()


def moment(ledger: Ledger) -> datetime:
    """What the ledger's clock says."""
    with ledger.reading() as connection:
        found: datetime = connection.execute(select(now())).scalar_one()
    return found


def size(ledger: Ledger) -> dict[str, Any]:
    """What the ledger holds, without counting it: the highest numbers that were given, and bytes where they are known."""
    names = ("alerts", "commands", "attempts", "closed_positions")
    with ledger.reading() as connection:
        found = {
            name: connection.execute(select(func.max(tables.metadata.tables[name].c.seq))).scalar() or 0
            for name in names
        }
        if ledger.sqlite:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
            bytes_of_one = connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
            bytes_in_all = pages * bytes_of_one
        else:
            bytes_in_all = (
                connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0
            )
    return {"rows": found, "bytes": bytes_in_all, "kind": "SQLite" if ledger.sqlite else "PostgreSQL"}


def connections(ledger: Ledger) -> tuple[int, int] | None:
    """How many connections the server has, and how many it may have; None: there is no server."""
    if ledger.sqlite:
        return None
    with ledger.reading() as connection:
        used = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).scalar_one()
        most = connection.exec_driver_sql("SELECT current_setting('max_connections')").scalar_one()
    return int(used), int(most)


def check_writable(ledger: Ledger) -> None:
    """Raises LedgerUnavailable unless the ledger can be written now."""
    with ledger.writing() as connection:
        # Any write that changes nothing: it takes the lock and the disk that an alert would need.
        connection.execute(tables.alert_keys.delete().where(tables.alert_keys.c.key == ""))
