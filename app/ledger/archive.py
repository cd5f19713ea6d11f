"""What is old: read whole, alert by alert, and deleted when nobody needs it any more.

An alert goes with all that it asked for, and only if all of that is settled and asks for nobody. Its key stays: what
was delivered once is a repeat for as long as the ledger.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, delete, exists, func, or_, select

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.turns import one_at_a_time
from app.ledger.types import decimal_text, from_now

AT_ONCE = 100
"""Alerts of one transaction: closes wait for it."""
COUNTED = 1000
LEAST_DAYS = 7
"""What is younger is never deleted; of events the database itself refuses it."""

_alerts, _commands = tables.alerts, tables.commands
_BENEATH = {"attempts": tables.attempts, "closed_positions": tables.closed_positions, "events": tables.events}

Document = dict[str, Any]
"""An alert with its commands, and these with their attempts, closed positions and events; JSON's values only."""


def documents(
    ledger: Ledger, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Document]:
    """The alerts that were received from `since` until before `until`, oldest first, however many."""
    after = 0
    while True:
        wanted = select(_alerts).where(_alerts.c.seq > after)
        if since is not None:
            wanted = wanted.where(_alerts.c.received_at >= since)
        if until is not None:
            wanted = wanted.where(_alerts.c.received_at < until)
        with ledger.reading() as connection:
            rows = connection.execute(wanted.order_by(_alerts.c.seq).limit(AT_ONCE)).all()
            found = _documents(connection, rows)
        yield from found
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].seq


def prunable(ledger: Ledger, days: float) -> int:
    """How many alerts `prune` would delete now."""
    count, after = 0, 0
    while True:
        with ledger.reading() as connection:
            found = connection.execute(_no_longer_needed(days, after, COUNTED)).all()
        count += len(found)
        if len(found) < COUNTED:
            return count
        after = found[-1].seq


def prune(
    ledger: Ledger, days: float, keep: Callable[[Sequence[Document]], None], after: int = 0
) -> tuple[int, int | None]:
    """Delete some of the alerts that are older than so many days, after handing them to `keep`; none, if that raises.

    How many they were, and after which to go on; None: there are no more. Whoever claims a command waits meanwhile.
    """
    assert days >= LEAST_DAYS, days
    with ledger.writing() as connection:
        one_at_a_time(connection)  # an operator may be about to retry one of them
        rows = connection.execute(_no_longer_needed(days, after, AT_ONCE)).all()
        keep(_documents(connection, rows))
        ids = [row.id for row in rows]
        commands = select(_commands.c.id).where(_commands.c.alert.in_(ids))
        for table in _BENEATH.values():
            connection.execute(delete(table).where(table.c.command.in_(commands)))
        connection.execute(delete(_commands).where(_commands.c.alert.in_(ids)))
        connection.execute(delete(_alerts).where(_alerts.c.id.in_(ids)))
    return len(rows), rows[-1].seq if len(rows) == AT_ONCE else None


def prune_beside(ledger: Ledger, days: float) -> None:
    """Delete what is old beside the alerts: keys that ran out, who was turned away, what people were told."""
    assert days >= LEAST_DAYS, days
    old = from_now(-days * 86400)
    keys, strangers, notices = tables.alert_keys.c, tables.strangers.c, tables.notices.c
    # What lasts still, and since when somebody watches, must not be told anew.
    over = or_(
        notices.about.like("command %"), notices.about.like("alert %"), notices.about.like("% until %")
    )
    with ledger.writing() as connection:
        connection.execute(delete(tables.alert_keys).where(keys.expires_at < old))
        connection.execute(delete(tables.strangers).where(strangers.last_at < old))
        connection.execute(
            delete(tables.notices).where(notices.noted_at < old, notices.due_at.is_(None), over)
        )


def _no_longer_needed(days: float, after: int, limit: int) -> Select[Any]:
    old = from_now(-days * 86400)
    of_command = tables.events.c.command == _commands.c.id
    lately = exists().where(of_command, tables.events.c.at >= old)  # an operator looked at it, say
    needed = or_(
        _commands.c.settled_at.is_(None),
        _commands.c.settled_at >= old,
        _commands.c.attention.is_not(None),
        lately,
    )
    mine = _commands.c.alert == _alerts.c.id
    old_and_done = and_(_alerts.c.received_at < old, ~exists().where(mine, needed))
    wanted = select(_alerts).where(_alerts.c.seq > after, old_and_done, _alerts.c.id.not_in(_newest()))
    return wanted.order_by(_alerts.c.seq).limit(limit)


def _newest() -> Any:
    """The alerts of the newest rows: SQLite counts on from the highest number that is there, and cursors rely on it."""
    last = [select(func.max(table.c.seq)).scalar_subquery() for table in (_alerts, _commands)]
    found = [
        select(_alerts.c.id).where(_alerts.c.seq == last[0]),
        select(_commands.c.alert).where(_commands.c.seq == last[1]),
    ]
    for table in _BENEATH.values():
        newest = select(func.max(table.c.seq)).scalar_subquery()
        of = select(table.c.command).where(table.c.seq == newest).scalar_subquery()
        found.append(select(_commands.c.alert).where(_commands.c.id == of))
    return found[0].union_all(*found[1:])


def _documents(connection: Connection, rows: Sequence[Row[Any]]) -> list[Document]:
    commands = _grouped(connection, _commands, "alert", [row.id for row in rows])
    ids = [it["id"] for found in commands.values() for it in found]
    beneath = {name: _grouped(connection, table, "command", ids) for name, table in _BENEATH.items()}
    for found in commands.values():
        for command in found:
            command |= {name: of.get(command["id"], []) for name, of in beneath.items()}
    return [{**_plain(row), "commands": commands.get(row.id, [])} for row in rows]


def _grouped(connection: Connection, table: Table, by: str, ids: Sequence[str]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for row in connection.execute(select(table).where(table.c[by].in_(ids)).order_by(table.c.seq)):
        found.setdefault(row._mapping[by], []).append(_plain(row))
    return found


def _plain(row: Row[Any]) -> Document:
    return {name: _json(value) for name, value in row._asdict().items()}


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return decimal_text(value)
    return value
