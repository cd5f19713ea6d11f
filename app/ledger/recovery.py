"""Taking back what a dead worker held. Its request may still act: that is found out, and never assumed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, or_, select, update

from app.domain.failures import OutcomeUnknown
from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.claim import LEASE_SECONDS
from app.ledger.clock import A_JUMP
from app.ledger.events import record
from app.ledger.types import from_now, now

_commands = tables.commands
_attempts = tables.attempts


def _held(gone: ColumnElement[bool]) -> Select[Any]:
    """The commands whose holder is gone."""
    held = select(_commands).where(_commands.c.lease_owner.is_not(None), gone)
    return held.with_for_update(key_share=True)


_OF = _held(_commands.c.lease_owner == bindparam("owner"))
# A lease that ends later than any was given for is of before a jump.
_RAN_OUT = _held(
    or_(_commands.c.lease_until <= now(), _commands.c.lease_until > from_now(LEASE_SECONDS + A_JUMP))
)


def take_back_of(connection: Connection, owner: str, actor: str) -> list[str]:
    """Take back what a worker held that is known to be dead. The ids of the commands.

    A close that was in flight is in doubt until its settle window has passed, from its sending.
    """
    return _take_back_all(connection, connection.execute(_OF, {"owner": owner}).all(), actor, anew=False)


def take_back_what_ran_out(connection: Connection, actor: str) -> list[str]:
    """Take back the commands whose lease ran out. Their ids. What was in flight has its settle window anew, from now."""
    return _take_back_all(connection, connection.execute(_RAN_OUT).all(), actor, anew=True)


def _take_back_all(connection: Connection, rows: Sequence[Row[Any]], actor: str, *, anew: bool) -> list[str]:
    for row in rows:
        _take_back(connection, row, actor, anew)
    return [row.id for row in rows]


def begin_windows_anew(connection: Connection) -> None:
    """After a jump back: what was sent "in the future" has its whole settle window from now."""
    ahead = select(_attempts).where(_attempts.c.sent_at > now(), _attempts.c.kind == "close")
    for attempt in connection.execute(ahead).all():
        _settle_anew(connection, attempt)


def _settle_anew(connection: Connection, attempt: Row[Any]) -> None:
    window = (attempt.settles_at - attempt.sent_at).total_seconds()
    mine = _attempts.c.seq == attempt.seq
    connection.execute(update(_attempts).where(mine).values(settles_at=from_now(window)))


def _take_back(connection: Connection, row: Row[Any], actor: str, anew: bool) -> None:
    values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "fence": row.fence + 1}
    detail: dict[str, Any] = {"worker": row.lease_owner}
    if row.status == Status.SENDING:
        attempts = _end_unanswered(connection, row.id, anew)
        # Cancelling orders twice does no harm; closing twice might, and a close that left before may be at work.
        repeatable = not row.fixed and all(attempt.kind == "cancel" for attempt in attempts)
        status = Status.QUEUED if repeatable else Status.IN_DOUBT
        values |= {"status": status, "due_at": now(), "reason": "the worker ended mid-call"}
        values |= {} if repeatable else {"fixed": True}
        detail |= {"from": row.status, "to": status}
    connection.execute(update(_commands).where(_commands.c.id == row.id).values(**values))
    record(connection, row.id, "taken_back", actor, detail)


def _end_unanswered(connection: Connection, command_id: str, anew: bool) -> Sequence[Row[Any]]:
    """The attempts of a command that were in flight: what became of them is not known."""
    in_flight = and_(_attempts.c.command == command_id, _attempts.c.outcome.is_(None))
    attempts = connection.execute(select(_attempts).where(in_flight)).all()
    unknown = {"outcome": OutcomeUnknown.outcome, "detail": "the worker ended before an answer came"}
    connection.execute(update(_attempts).where(in_flight).values(**unknown))
    for attempt in attempts if anew else ():
        _settle_anew(connection, attempt)
    return attempts
