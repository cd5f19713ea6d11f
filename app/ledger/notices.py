"""What people are to be told: one row for each cause and each address, so that each is told once.

A notice is taken for a while, sent, and then marked: who dies between sends it again, once. What cannot be delivered is
tried again, ever more seldom, for half a day.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, String, and_, cast, exists, func, literal, or_, select, update

from app.domain.causes import REFUSED
from app.ledger import tables
from app.ledger.connection import Ledger, insert_once
from app.ledger.types import from_now, now

LATELY = 86_400.0
"""Seconds after which nobody is told any more: a ledger that is watched for the first time is full of old causes."""
AT_ONCE = 100
"""Causes that are gathered in one go."""
LOOKED_THROUGH = 1000
"""Refused alerts, the newest, among which some may not be told yet."""
TAKEN = 60.0
"""Seconds for which one process has a notice to itself."""
TRIES = 20
LONGEST_WAIT = 3600.0
FIRST_WAIT = 10.0

_notices = tables.notices
_commands = tables.commands
_alerts = tables.alerts


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that people are to be told."""

    about: str
    """What tells it from others: of one that is known nobody is told again."""
    cause: str
    """One of `app.domain.causes`."""
    text: str
    path: str | None = None
    """Where on the dashboard more of it is."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A cause that one address is to be told."""

    seq: int
    cause: str
    text: str
    path: str | None
    noted_at: datetime
    tries: int


def gather(ledger: Ledger, causes: Collection[str], addresses: Collection[str]) -> None:
    """Note what came up since the last look at commands and alerts."""
    found = [*_asking(ledger, causes), *(_refused(ledger) if REFUSED in causes else ())]
    if found:
        note(ledger, found, addresses)


def note(ledger: Ledger, causes: Iterable[Cause], addresses: Collection[str]) -> None:
    """Let each of these addresses be told, once."""
    with ledger.writing() as connection:
        moment = connection.execute(select(now())).scalar_one()
        for it in causes:
            row = {"about": it.about, "cause": it.cause, "text": it.text, "path": it.path}
            for address in addresses:
                due = {"address": address, "noted_at": moment, "due_at": moment, "tries": 0}
                insert_once(connection, _notices, row | due)


def watched_since(ledger: Ledger, what: str) -> datetime:
    """When somebody first looked after this; kept, so that no restart begins it anew."""
    known = select(_notices.c.noted_at).where(_notices.c.about == f"watch {what}")
    with ledger.reading() as connection:
        since: datetime | None = connection.execute(known).scalar()
    if since is not None:
        return since
    with ledger.writing() as connection:
        row = {"about": f"watch {what}", "address": "", "cause": "", "text": "", "tries": 0}
        moment: datetime = connection.execute(select(now())).scalar_one()
        insert_once(connection, _notices, row | {"noted_at": moment})
    return moment


def over(ledger: Ledger, about: str) -> bool:
    """End what lasts, so that it is told anew should it begin again. Whether it was noted."""
    with ledger.reading() as connection:
        known = connection.execute(select(_notices.c.seq).where(_notices.c.about == about).limit(1)).first()
    if known is None:
        return False
    with ledger.writing() as connection:
        ended = update(_notices).where(_notices.c.about == about)
        until = literal(f"{about} until ") + cast(now(), String)
        return connection.execute(ended.values(about=until)).rowcount > 0


def take(ledger: Ledger, address: str) -> Sequence[Notice]:
    """What this address is to be told now, oldest first; nobody else takes it for a minute."""
    due = and_(_notices.c.address == address, _notices.c.due_at <= now())
    with ledger.reading() as connection:
        if connection.execute(select(_notices.c.seq).where(due).limit(1)).first() is None:
            return ()
    with ledger.writing() as connection:
        chosen = select(_notices.c.seq).where(due)
        taken = (
            update(_notices)
            .where(_notices.c.seq.in_(chosen.with_for_update(skip_locked=True)))
            .values(due_at=from_now(TAKEN), tries=_notices.c.tries + 1)
            .returning(*(_notices.c[name] for name in Notice.__dataclass_fields__))
        )
        rows = connection.execute(taken).all()
    return sorted((Notice(*row) for row in rows), key=lambda it: it.seq)


def told(ledger: Ledger, notices: Iterable[Notice]) -> None:
    """They were delivered."""
    _mark(ledger, notices, sent_at=now(), due_at=None)


def not_told(ledger: Ledger, notices: Sequence[Notice]) -> float | None:
    """They were not. The seconds until they are tried again, ever more; None: this was the last time."""
    waits = {}
    with ledger.writing() as connection:
        for tries in {it.tries for it in notices}:
            waits[tries] = None if tries >= TRIES else min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1))
            wait = waits[tries]
            mine = _notices.c.seq.in_([it.seq for it in notices if it.tries == tries])
            due_at = None if wait is None else from_now(wait)
            connection.execute(update(_notices).where(mine).values(due_at=due_at))
    return min((wait for wait in waits.values() if wait is not None), default=None)


def undelivered(ledger: Ledger) -> Mapping[str, int]:
    """How many notices of each address failed at least once and are not delivered, of the last day."""
    failed = and_(_notices.c.sent_at.is_(None), _notices.c.tries > 0, _notices.c.noted_at > from_now(-LATELY))
    counted = select(_notices.c.address, func.count()).where(failed).group_by(_notices.c.address)
    with ledger.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(counted).all()}


def _mark(ledger: Ledger, notices: Iterable[Notice], **values: Any) -> None:
    ids = [it.seq for it in notices]
    with ledger.writing() as connection:
        connection.execute(update(_notices).where(_notices.c.seq.in_(ids)).values(**values))


def _asking(ledger: Ledger, causes: Collection[str]) -> list[Cause]:
    """Commands that ask for a person and were not told yet."""
    about = literal("command ") + _commands.c.id + literal(" ") + _commands.c.attention
    wanted = (
        select(_commands)
        .where(_commands.c.attention.in_(causes), ~exists().where(_notices.c.about == about))
        .order_by(_commands.c.seq.desc())
        .limit(AT_ONCE)
    )
    with ledger.reading() as connection:
        since = _lately(connection)
        # What was held for days, and needs a person only now, is as new as any.
        lately = or_(
            _commands.c.settled_at.is_(None), _commands.c.settled_at > since, _commands.c.accepted_at > since
        )
        rows = connection.execute(wanted.where(lately)).all()
    return [
        Cause(
            f"command {row.id} {row.attention}",
            row.attention,
            f"{row.action} {row.instrument or 'all'} in {row.account or 'all accounts'} at {row.broker}: {row.reason}",
            f"/commands/{row.id}",
        )
        for row in rows
    ]


def _refused(ledger: Ledger) -> list[Cause]:
    """Alerts that were refused; only the newest are looked through, however many there ever were."""
    newest = (
        select(_alerts.c.seq)
        .where(_alerts.c.outcome == REFUSED)
        .order_by(_alerts.c.seq.desc())
        .limit(LOOKED_THROUGH)
    )
    about = literal("alert ") + _alerts.c.id
    wanted = select(_alerts.c.id, _alerts.c.hook, _alerts.c.reason).where(
        _alerts.c.seq.in_(newest), ~exists().where(_notices.c.about == about)
    )
    with ledger.reading() as connection:
        lately = wanted.where(_alerts.c.received_at > _lately(connection))
        rows = connection.execute(lately.order_by(_alerts.c.seq).limit(AT_ONCE)).all()
    return [
        Cause(f"alert {row.id}", REFUSED, f"an alert to the hook {row.hook}: {row.reason}", "/alerts")
        for row in rows
    ]


def _lately(connection: Connection) -> datetime:
    moment: datetime = connection.execute(select(from_now(-LATELY))).scalar_one()
    return moment
