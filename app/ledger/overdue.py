"""What waited for too long: commands that are no longer wanted, and those that something keeps from going out."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, literal, null, or_, update

from app.domain.statuses import Attention, Status
from app.ledger import tables
from app.ledger.claim import MAY_HAVE_ACTED
from app.ledger.events import record
from app.ledger.lanes import blocked_by_a_close, is_free
from app.ledger.types import from_now, now

_commands = tables.commands
_attempts = tables.attempts
_BLOCKED = "waits for an earlier close of the position, which may still act"


def expire(connection: Connection, actor: str) -> None:
    """Settle what was never tried, or never left, and is no longer wanted."""
    for ending, told in _ENDINGS:
        for row in connection.execute(ending).all():
            record(connection, row.id, "status", actor, told | {"attention": row.attention})


def tell_of_blocked(connection: Connection, can_flip: frozenset[str], seconds: float, actor: str) -> None:
    """Ask for attention to what waits longer than that for an earlier close that may still act."""
    for command in connection.execute(_telling(can_flip, seconds)).scalars().all():
        detail = {"from": Status.QUEUED, "to": Status.QUEUED, "reason": _BLOCKED}
        record(connection, command, "status", actor, detail | {"attention": Attention.STILL_OPEN})


def unless_acknowledged(attention: Attention | None) -> ColumnElement[str | None] | None:
    """What somebody took note of does not ask for a person again."""
    if attention is None:
        return None
    return case((_commands.c.acknowledged == attention, null()), else_=literal(attention))


def unprotected() -> ColumnElement[bool]:
    """Whether the working orders that protect the position may be gone."""
    return exists().where(
        _attempts.c.command == _commands.c.id,
        _attempts.c.kind == "cancel",
        _attempts.c.outcome.in_(MAY_HAVE_ACTED),
    )


@cache
def _telling(can_flip: frozenset[str], seconds: float) -> Any:
    waits = and_(
        _commands.c.settled_at.is_(None),
        _commands.c.status == Status.QUEUED,
        _commands.c.attention.is_(None),
        _commands.c.acknowledged.is_(None),
        _commands.c.accepted_at <= from_now(-seconds),
        is_free(_commands.c),
        blocked_by_a_close(can_flip),
    )
    telling = update(_commands).where(waits).values(attention=Attention.STILL_OPEN, reason=_BLOCKED)
    return telling.returning(_commands.c.id)


def has_run_out() -> ColumnElement[bool]:
    """Whether a queued command is no longer wanted: it is settled by `expire`, and is nobody's to take."""
    ended = or_(*(condition for condition, *_ in _REASONS))
    return and_(_commands.c.status == Status.QUEUED, ended)


def _ending(condition: ColumnElement[bool], status: Status, attention: Any, reason: str) -> Any:
    """What settles the waiting that it is true of, and what their event tells."""
    ended = {"status": status, "attention": attention, "reason": reason, "settled_at": now()}
    freed = {"due_at": None, "lease_owner": None, "lease_until": None}
    # Settled is what is not queued; it is said so that they are looked for among the unsettled alone.
    queued = and_(_commands.c.settled_at.is_(None), _commands.c.status == Status.QUEUED)
    waiting = update(_commands).where(queued, is_free(_commands.c), condition)
    told = {"from": Status.QUEUED, "to": status, "reason": reason}
    return waiting.values(**ended, **freed).returning(_commands.c.id, _commands.c.attention), told


_REASONS = (
    (
        and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at <= now()),
        Status.EXPIRED,
        Attention.EXPIRED,
        "too old before its first attempt",
    ),
    (
        and_(_commands.c.gives_up_at.is_not(None), _commands.c.gives_up_at <= now(), ~_commands.c.fixed),
        Status.GAVE_UP,
        case((unprotected(), Attention.UNPROTECTED), else_=Attention.GAVE_UP),
        "no close was sent before time ran out",
    ),
)
_ENDINGS = tuple(_ending(*reason) for reason in _REASONS)
