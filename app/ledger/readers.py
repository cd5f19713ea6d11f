"""What is read from the ledger: one question a function. Lists are newest first and page by keyset, never by offset."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    Table,
    and_,
    case,
    func,
    select,
)

from app.domain.statuses import GRAVEST_FIRST, UNSETTLED
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.intake import BY_SCHEDULE

Record = Row[Any]
"""One row of a table, its columns as attributes."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first."""

    rows: Sequence[Row[Any]]
    next: int | None
    """The `before` of the next page; None: this is the last."""


@dataclass(frozen=True, slots=True)
class CommandHistory:
    """A command with all that happened to it."""

    command: Row[Any]
    attempts: Sequence[Row[Any]]
    closed_positions: Sequence[Row[Any]]
    events: Sequence[Row[Any]]


def commands_page(
    ledger: Ledger, filters: Mapping[str, Any], *, before: int | None = None, limit: int = 50
) -> Page:
    """Commands by `status, broker, account, instrument, hook, attention, since, until`, as far as given."""
    return _page(ledger, tables.commands, _filters(tables.commands, "accepted_at", filters), before, limit)


def alerts_page(
    ledger: Ledger, filters: Mapping[str, Any], *, before: int | None = None, limit: int = 50
) -> Page:
    """Alerts by `hook, outcome, since, until`."""
    return _page(ledger, tables.alerts, _filters(tables.alerts, "received_at", filters), before, limit)


def in_flight(ledger: Ledger, limit: int) -> Sequence[Row[Any]]:
    """Commands that are not settled, the oldest first."""
    commands = tables.commands
    # By status, and sorted after: else SQLite walks through all that is settled, from the oldest on.
    unsettled = and_(commands.c.settled_at.is_(None), commands.c.status.in_(UNSETTLED))
    wanted = select(commands).where(unsettled).order_by(commands.c.seq + 0).limit(limit)
    with ledger.reading() as connection:
        return connection.execute(wanted).all()


def asking_for_attention(ledger: Ledger, limit: int) -> Sequence[Row[Any]]:
    """Commands that a person must look at: the gravest causes first, of each the newest."""
    commands = tables.commands
    gravity = case({str(cause): at for at, cause in enumerate(GRAVEST_FIRST)}, value=commands.c.attention)
    asking = select(commands).where(commands.c.attention.is_not(None))
    wanted = asking.order_by(gravity, commands.c.seq.desc())
    with ledger.reading() as connection:
        return connection.execute(wanted.limit(limit)).all()


def commands_named(ledger: Ledger, ids: Sequence[str]) -> Sequence[Row[Any]]:
    """These commands, the newest first."""
    commands = tables.commands
    with ledger.reading() as connection:
        return connection.execute(
            select(commands).where(commands.c.id.in_(ids)).order_by(commands.c.seq.desc())
        ).all()


def acts(ledger: Ledger, limit: int) -> Sequence[Row[Any]]:
    """What operators did that is of no single command, the newest first."""
    wanted = select(tables.acts).order_by(tables.acts.c.seq.desc()).limit(limit)
    with ledger.reading() as connection:
        return connection.execute(wanted).all()


def closed_positions_page(
    ledger: Ledger,
    filters: Mapping[str, Any],
    *,
    before: int | None = None,
    limit: int = 50,
    oldest_first: bool = False,
) -> Page:
    """Closed positions by `broker, account, instrument, hook, since, until`. Oldest first, `before` is what came before."""
    closed = tables.closed_positions
    conditions = _filters(closed, "closed_at", filters)
    return _page(ledger, closed, conditions, before, limit, oldest_first=oldest_first)


def gains(ledger: Ledger, filters: Mapping[str, Any], limit: int) -> tuple[Sequence[Record], bool]:
    """What the newest closed positions of a filter brought, at most so many; and whether there are more."""
    closed = tables.closed_positions
    wanted = (
        select(closed.c.broker, closed.c.currency, closed.c.profit_loss, closed.c.source)
        .where(*_filters(closed, "closed_at", filters))
        .order_by(closed.c.seq.desc())
        .limit(limit + 1)
    )
    with ledger.reading() as connection:
        rows: Sequence[Any] = connection.execute(wanted).all()
    return rows[:limit], len(rows) > limit


def command_history(ledger: Ledger, command_id: str) -> CommandHistory | None:
    with ledger.reading() as connection:
        command = connection.execute(
            select(tables.commands).where(tables.commands.c.id == command_id)
        ).first()
        if command is None:
            return None
        return CommandHistory(
            command,
            _of_command(connection, tables.attempts, command_id),
            _of_command(connection, tables.closed_positions, command_id),
            _of_command(connection, tables.events, command_id),
        )


def histories(ledger: Ledger, commands: Sequence[Row[Any]]) -> list[CommandHistory]:
    """The commands with their attempts and closed positions; without events."""
    ids = [command.id for command in commands]
    with ledger.reading() as connection:
        attempts = _by_command(connection, tables.attempts, ids)
        closed = _by_command(connection, tables.closed_positions, ids)
    return [CommandHistory(row, attempts.get(row.id, ()), closed.get(row.id, ()), ()) for row in commands]


def alert(ledger: Ledger, alert_id: str) -> Row[Any] | None:
    with ledger.reading() as connection:
        return connection.execute(select(tables.alerts).where(tables.alerts.c.id == alert_id)).first()


def last_heard(ledger: Ledger, hook: str) -> datetime | None:
    """When the last alert of a hook came, whatever became of it; None: there was none. Its schedules send none."""
    alerts = tables.alerts.c
    sent = and_(alerts.hook == hook, ~alerts.secret_label.startswith(BY_SCHEDULE, autoescape=True))
    last = select(alerts.received_at).where(sent).order_by(alerts.seq.desc()).limit(1)
    with ledger.reading() as connection:
        return connection.execute(last).scalar()


def last_uses(ledger: Ledger, hook: str, labels: Iterable[str]) -> dict[str, datetime | None]:
    """When each secret of a hook was last used, by its label; None: never."""
    alerts = tables.alerts.c
    with ledger.reading() as connection:
        return {
            label: connection.execute(
                select(alerts.received_at)
                .where(alerts.hook == hook, alerts.secret_label == label)
                .order_by(alerts.seq.desc())
                .limit(1)
            ).scalar()
            for label in labels
        }


def commands_of_alerts(ledger: Ledger, alert_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the commands of each alert."""
    commands = tables.commands.c
    found: dict[str, list[str]] = {alert_id: [] for alert_id in alert_ids}
    with ledger.reading() as connection:
        wanted = select(commands.alert, commands.id).where(commands.alert.in_(alert_ids))
        for row in connection.execute(wanted.order_by(commands.seq)):
            found[row.alert].append(row.id)
    return found


def _page(
    ledger: Ledger,
    table: Table,
    conditions: list[ColumnElement[bool]],
    before: int | None,
    limit: int,
    *,
    oldest_first: bool = False,
) -> Page:
    order = table.c.seq.asc() if oldest_first else table.c.seq.desc()
    wanted: Select[Any] = select(table).where(*conditions).order_by(order).limit(limit + 1)
    if before is not None:
        wanted = wanted.where(table.c.seq > before if oldest_first else table.c.seq < before)
    with ledger.reading() as connection:
        rows = connection.execute(wanted).all()
    return Page(rows[:limit], rows[limit - 1].seq if len(rows) > limit else None)


def _filters(table: Table, moment: str, filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    conditions = []
    for name, value in filters.items():
        if value is None:
            continue
        if name == "since":
            conditions += [table.c[moment] >= value, table.c.seq >= _first_from(table, moment, value)]
        elif name == "until":
            conditions += [table.c[moment] < value, table.c.seq <= _last_before(table, moment, value)]
        elif name == "account":
            # Both by the database: SQLite's lower() knows ASCII only, Python's knows more.
            conditions.append(func.lower(table.c.account) == func.lower(value))
        elif name == "status" and isinstance(value, list):
            conditions.append(table.c.status.in_(value))
        else:
            conditions.append(table.c[name] == value)
    return conditions


def _first_from(table: Table, moment: str, value: datetime) -> ScalarSelect[Any]:
    """Where in the list to stop looking for what is of a time: numbers grow with it, but for what came side by side."""
    at = table.c[moment]
    return select(table.c.seq).where(at >= value - SIDE_BY_SIDE).order_by(at).limit(1).scalar_subquery()


def _last_before(table: Table, moment: str, value: datetime) -> ScalarSelect[Any]:
    """Where in the list to begin, so that what is later is not gone through."""
    at = table.c[moment]
    return select(table.c.seq).where(at < value + SIDE_BY_SIDE).order_by(at.desc()).limit(1).scalar_subquery()


SIDE_BY_SIDE = timedelta(minutes=1)
"""Transactions that overlap, and a clock that is set right, leave numbers and times that much out of step."""


def _of_command(connection: Connection, table: Table, command_id: str) -> Sequence[Row[Any]]:
    return connection.execute(select(table).where(table.c.command == command_id).order_by(table.c.seq)).all()


def _by_command(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(select(table).where(table.c.command.in_(ids)).order_by(table.c.seq)):
        found.setdefault(row.command, []).append(row)
    return found
