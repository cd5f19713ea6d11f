"""What is old: read whole, alert by alert, and deleted when nobody needs it any more.

An alert goes with all that it asked for, and only if all of that is settled and asks for nobody. Its key stays: what
was delivered once is a repeat for as long as the ledger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, delete, exists, func, or_, select

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import decimal_text, from_now

AT_ONCE = 100
"""Alerts of one transaction: closes wait for it."""
BESIDE = 500
"""Rows beside the alerts, in one transaction."""
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
        with ledger.reading(of_one_moment=True) as connection:
            rows = connection.execute(wanted.order_by(_alerts.c.seq).limit(AT_ONCE)).all()
            found = _documents(connection, rows)
        yield from found
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].seq


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the alerts that are old, one after the other."""

    days: float
    seqs: Sequence[int]


def chunks(ledger: Ledger, days: float) -> Iterator[Chunk]:
    """All alerts that are older than so many days, needed or not, oldest first."""
    old = _alerts.c.received_at < from_now(-days * 86400)
    after = 0
    with ledger.reading() as connection:
        newest = connection.execute(
            select(_alerts.c.seq).where(old).order_by(_alerts.c.received_at.desc()).limit(1)
        ).scalar()
    while newest is not None:
        wanted = select(_alerts.c.seq).where(old, _alerts.c.seq > after, _alerts.c.seq <= newest)
        with ledger.reading() as connection:
            seqs = connection.execute(wanted.order_by(_alerts.c.seq).limit(AT_ONCE)).scalars().all()
        if not seqs:
            return
        yield Chunk(days, seqs)
        after = seqs[-1]


def prunable(ledger: Ledger, chunk: Chunk) -> list[Document]:
    """Those of them that nobody needs any more, with all that became of them."""
    assert chunk.days >= LEAST_DAYS, chunk.days
    with ledger.reading(of_one_moment=True) as connection:
        return _documents(connection, connection.execute(_no_longer_needed(chunk)).all())


def prune(ledger: Ledger, chunk: Chunk, kept: Sequence[Document]) -> int:
    """Delete those that were kept elsewhere, but for what has become needed since, or came again. How many.

    Whoever claims a command waits meanwhile.
    """
    deliveries = {it["id"]: it["deliveries"] for it in kept}
    with ledger.writing(in_turn=True) as connection:  # an operator may be about to retry one of them
        # A repeat of one that is on its way counts first, and this one stays.
        still = _no_longer_needed(chunk).with_for_update(of=_alerts, skip_locked=True)
        ids = [row.id for row in connection.execute(still) if deliveries.get(row.id) == row.deliveries]
        commands = select(_commands.c.id).where(_commands.c.alert.in_(ids))
        for table in _BENEATH.values():
            connection.execute(delete(table).where(table.c.command.in_(commands)))
        connection.execute(delete(_commands).where(_commands.c.alert.in_(ids)))
        connection.execute(delete(_alerts).where(_alerts.c.id.in_(ids)))
    return len(ids)


def prune_beside(ledger: Ledger, days: float) -> Iterator[int]:
    """Delete what is old beside the alerts, in steps: who was turned away, what people were told, keys that ran out."""
    assert days >= LEAST_DAYS, days
    old = from_now(-days * 86400)
    with ledger.writing() as connection:
        connection.execute(delete(tables.strangers).where(tables.strangers.c.last_at < old))
    yield from _prune_notices(ledger, old)
    yield from _prune_keys(ledger, old)


def _prune_notices(ledger: Ledger, old: ColumnElement[datetime]) -> Iterator[int]:
    notices = tables.notices.c
    # What lasts still, since when somebody watches, and what of a command is there still, must not be told anew.
    command = func.substr(notices.about, len("command ") + 1, 32)
    gone = and_(notices.about.like("command %"), ~exists().where(_commands.c.id == command))
    over = or_(gone, notices.about.like("alert %"), notices.about.like("% until %"))
    chosen = select(notices.seq).where(notices.noted_at < old, notices.due_at.is_(None), over).limit(BESIDE)
    deleted = BESIDE
    while deleted == BESIDE:
        with ledger.writing() as connection:
            deleted = connection.execute(delete(tables.notices).where(notices.seq.in_(chosen))).rowcount
        yield deleted


def _prune_keys(ledger: Ledger, old: ColumnElement[datetime]) -> Iterator[int]:
    keys = tables.alert_keys.c
    after = ""
    while True:
        wanted = select(keys.key).where(keys.key > after).order_by(keys.key).limit(BESIDE)
        with ledger.reading() as connection:
            found = connection.execute(wanted).scalars().all()
        if not found:
            return
        ran_out = and_(keys.key.in_(found), keys.expires_at < old)
        with ledger.writing() as connection:
            yield connection.execute(delete(tables.alert_keys).where(ran_out)).rowcount
        after = found[-1]


def _no_longer_needed(chunk: Chunk) -> Select[Any]:
    old = from_now(-chunk.days * 86400)
    lately = exists().where(tables.events.c.command == _commands.c.id, tables.events.c.at >= old)
    took_over = tables.commands.alias()
    goes_on = exists().where(took_over.c.id == _commands.c.superseded_by, took_over.c.settled_at.is_(None))
    needed = or_(
        _commands.c.settled_at.is_(None),
        _commands.c.settled_at >= old,
        _commands.c.attention.is_not(None),
        lately,  # an operator looked at it, say
        goes_on,  # should that one come to nothing, this one asks for somebody
    )
    mine = _commands.c.alert == _alerts.c.id
    return (
        select(_alerts)
        .where(_alerts.c.seq.in_(chunk.seqs), _alerts.c.received_at < old, ~exists().where(mine, needed))
        .where(_alerts.c.id.not_in(_newest()), _heard_since())
        .order_by(_alerts.c.seq)
    )


def _heard_since() -> ColumnElement[bool]:
    """Whether its hook heard something by the same secret since: when each was heard last is kept."""
    later = tables.alerts.alias()
    same = and_(later.c.hook == _alerts.c.hook, later.c.secret_label == _alerts.c.secret_label)
    return exists().where(same, later.c.seq > _alerts.c.seq)


def _newest() -> Any:
    """The alerts of the newest rows: SQLite counts on from the highest number that is there, and cursors rely on it."""
    newest = select(func.max(_commands.c.seq)).scalar_subquery()
    found = [select(_commands.c.alert).where(_commands.c.seq == newest)]
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
