"""What the dashboard's overview counts: always of a bounded stretch of the ledger, however long that grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from app.domain.failures import REPORTED, Throttled
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.readers import Record
from app.ledger.types import EPOCH, now

HOUR = 3600
"""Seconds."""
LAST = 500
"""Settled commands, and attempts, of which shares and percentiles are made: the latest."""
MOST = 20_000
"""Closed positions that are summed at most: the latest."""

_commands, _attempts, _closed = tables.commands.c, tables.attempts.c, tables.closed_positions.c


@dataclass(frozen=True, slots=True)
class BrokerHealth:
    """How a broker answered lately."""

    last_success: datetime | None
    calls: int
    """Of the latest ones of all brokers."""
    failed: int
    throttled: int


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one close took, in seconds."""

    settled_at: datetime
    to_broker: float | None
    to_closed: float


def _moment(connection: Connection) -> datetime:
    """Now. Compared with as a value: PostgreSQL looks nothing up in an index by a clock that runs on."""
    moment: datetime = connection.execute(select(now())).scalar_one()
    return moment


def settled_by_hour(ledger: Ledger, hours: int = 24) -> tuple[datetime, Mapping[datetime, Mapping[str, int]]]:
    """The hour that is now, and of each hour how many commands ended as what."""
    hour = type_coerce(_commands.settled_at, BigInteger()) // (HOUR * 1_000_000)
    counted = select(hour, _commands.status, func.count()).group_by(hour, _commands.status)
    with ledger.reading() as connection:
        moment = _moment(connection)
        lately = _commands.settled_at > moment - timedelta(hours=hours)
        rows = connection.execute(counted.where(lately, _commands.dry_run.is_(False))).all()
    found: dict[datetime, dict[str, int]] = {}
    for bucket, status, count in rows:
        found.setdefault(EPOCH + timedelta(hours=bucket), {})[status] = count
    return moment.replace(minute=0, second=0, microsecond=0), found


def closed_since(ledger: Ledger, hours: int = 24) -> Sequence[Record]:
    """When what was closed, with its profit or loss; oldest first."""
    wanted = (
        select(_closed.closed_at, _closed.broker, _closed.currency, _closed.profit_loss, _closed.source)
        .order_by(_closed.closed_at.desc())
        .limit(MOST)
    )
    with ledger.reading() as connection:
        lately = _closed.closed_at > _moment(connection) - timedelta(hours=hours)
        rows: Sequence[Any] = connection.execute(wanted.where(lately)).all()
    return rows[::-1]


def latencies(ledger: Ledger) -> list[Latency]:
    """Of the latest commands that ended `closed`, oldest first."""
    wanted = (
        select(_commands.accepted_at, _commands.first_attempt_at, _commands.settled_at, _commands.status)
        .where(_commands.settled_at.is_not(None))
        .order_by(_commands.settled_at.desc())
        .limit(LAST)
    )
    with ledger.reading() as connection:
        rows = connection.execute(wanted).all()
    return [
        Latency(
            row.settled_at,
            (row.first_attempt_at - row.accepted_at).total_seconds() if row.first_attempt_at else None,
            (row.settled_at - row.accepted_at).total_seconds(),
        )
        for row in reversed(rows)
        if row.status == "closed"
    ]


def broker_health(ledger: Ledger) -> dict[str, BrokerHealth]:
    """Of the brokers that were called lately, by name."""
    wanted = (
        select(_commands.broker, _attempts.outcome, _attempts.answered_at)
        .join_from(tables.attempts, tables.commands, _attempts.command == _commands.id)
        .order_by(_attempts.seq.desc())
        .limit(LAST)
    )
    with ledger.reading() as connection:
        rows: Sequence[Any] = connection.execute(wanted).all()
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(row.broker, []).append(row)
    return {name: _health(calls) for name, calls in found.items()}


def _health(calls: Sequence[Record]) -> BrokerHealth:
    answered = [row for row in calls if row.outcome is not None]
    return BrokerHealth(
        last_success=next((row.answered_at for row in answered if row.outcome == REPORTED), None),
        calls=len(answered),
        failed=sum(row.outcome != REPORTED for row in answered),
        throttled=sum(row.outcome == Throttled.outcome for row in answered),
    )
