"""What waited for too long: commands that are no longer wanted, and those that something keeps from going out."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, case, exists, literal, null, or_, update

from app.domain.statuses import Attention, Status
from app.ledger import tables
from app.ledger.claim import MAY_HAVE_ACTED
from app.ledger.events import record
from app.ledger.lanes import blocked_by_a_close
from app.ledger.types import from_now, now

_commands = tables.commands
_attempts = tables.attempts


def expire(connection: Connection, actor: str) -> None:
    """Settle what was never tried, or never left, and is no longer wanted."""
    untried = and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at <= now())
    unsent = and_(_commands.c.gives_up_at <= now(), ~_commands.c.fixed)
    queued = and_(_commands.c.status == Status.QUEUED, _is_free())
    naked = case((unprotected(), Attention.UNPROTECTED), else_=Attention.GAVE_UP)
    for condition, status, attention, reason in (
        (untried, Status.EXPIRED, Attention.EXPIRED, "too old before its first attempt"),
        (unsent, Status.GAVE_UP, naked, "no close was sent before time ran out"),
    ):
        rows = connection.execute(
            update(_commands)
            .where(queued, condition)
            .values(
                status=status,
                attention=attention,
                reason=reason,
                settled_at=now(),
                due_at=None,
                lease_owner=None,
                lease_until=None,
            )
            .returning(_commands.c.id, _commands.c.attention)
        )
        for row in rows.all():
            detail = {"from": Status.QUEUED, "to": status, "reason": reason, "attention": row.attention}
            record(connection, row.id, "status", actor, detail)


def tell_of_blocked(connection: Connection, can_flip: Collection[str], seconds: float, actor: str) -> None:
    """Ask for attention to what waits longer than that for an earlier close that may still act."""
    waits = and_(
        _commands.c.settled_at.is_(None),
        _commands.c.status == Status.QUEUED,
        _commands.c.attention.is_(None),
        _commands.c.acknowledged.is_(None),
        _commands.c.accepted_at <= from_now(-seconds),
        _is_free(),
        blocked_by_a_close(can_flip),
    )
    reason = "waits for an earlier close of the position, which may still act"
    blocked = connection.execute(
        update(_commands)
        .where(waits)
        .values(attention=Attention.STILL_OPEN, reason=reason)
        .returning(_commands.c.id)
    )
    for row in blocked.all():
        detail = {"from": Status.QUEUED, "to": Status.QUEUED, "reason": reason}
        record(connection, row.id, "status", actor, detail | {"attention": Attention.STILL_OPEN})


def unless_acknowledged(attention: Attention | None) -> ColumnElement[str | None] | None:
    """What somebody took note of does not ask for a person again."""
    if attention is None:
        return None
    return case((_commands.c.acknowledged == attention, null()), else_=literal(attention))


def _is_free() -> ColumnElement[bool]:
    return or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now())


def unprotected() -> ColumnElement[bool]:
    """Whether the working orders that protect the position may be gone."""
    return exists().where(
        _attempts.c.command == _commands.c.id,
        _attempts.c.kind == "cancel",
        _attempts.c.outcome.in_(MAY_HAVE_ACTED),
    )
