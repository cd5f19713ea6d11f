"""What operators stopped: for a hook, a broker or all of them nothing is sent until somebody lets it go on.

Reads and reconciling go on, and so does time: what is held runs on resume, or expires.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, insert, or_, select, update

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.events import record_act
from app.ledger.types import now

_pauses = tables.pauses


class Scope(StrEnum):
    """What a pause is of."""

    ALL = "all"
    BROKER = "broker"
    HOOK = "hook"


def is_paused(command: Any) -> ColumnElement[bool]:
    """Whether nothing is to be sent for a command, as a condition on `commands` or an alias of it."""
    return exists(
        select(_pauses.c.scope).where(
            or_(
                _pauses.c.scope == Scope.ALL,
                and_(_pauses.c.scope == Scope.BROKER, _pauses.c.name == command.broker),
                and_(_pauses.c.scope == Scope.HOOK, _pauses.c.name == command.hook),
            )
        )
    )


def pause(ledger: Ledger, scope: Scope, name: str, actor: str, reason: str) -> None:
    """Send nothing more of this, from the next call on. Pausing again keeps the time, and the newer reason."""
    with ledger.writing(in_turn=True) as connection:
        known = connection.execute(
            update(_pauses).where(_is(scope, name)).values(actor=actor, reason=reason)
        ).rowcount
        if not known:
            row = {"scope": scope, "name": name, "since": now(), "actor": actor, "reason": reason}
            connection.execute(insert(_pauses).values(row))
        record_act(connection, "paused", actor, _told(scope, name, reason))


def resume(ledger: Ledger, scope: Scope, name: str, actor: str, reason: str) -> list[str]:
    """Let it go on. The ids of the commands that it held."""
    with ledger.writing(in_turn=True) as connection:
        held = _held(connection)
        if connection.execute(_pauses.delete().where(_is(scope, name))).rowcount:
            record_act(connection, "resumed", actor, _told(scope, name, reason))
        still = set(_held(connection))
    return [it for it in held if it not in still]


def paused(ledger: Ledger) -> Sequence[Row[Any]]:
    """What is paused now, the oldest first."""
    with ledger.reading() as connection:
        return connection.execute(select(_pauses).order_by(_pauses.c.since)).all()


def _held(connection: Connection) -> list[str]:
    commands = tables.commands.c
    waiting = and_(commands.settled_at.is_(None), commands.due_at <= now(), is_paused(commands))
    return list(connection.execute(select(commands.id).where(waiting).order_by(commands.seq)).scalars())


def _is(scope: Scope, name: str) -> ColumnElement[bool]:
    return and_(_pauses.c.scope == scope, _pauses.c.name == name)


def _told(scope: Scope, name: str, reason: str) -> dict[str, str]:
    return {"scope": scope, "name": name, "reason": reason}
