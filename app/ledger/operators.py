"""What operators do to a command: cancel, resolve, acknowledge, retry. Each is recorded, with who and why."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, or_, select, update

from app.domain.commands import Action
from app.domain.failures import REPORTED
from app.domain.statuses import UNSETTLED, Attention, Status
from app.ledger import tables
from app.ledger.claim import MAY_HAVE_ACTED
from app.ledger.connection import Ledger
from app.ledger.delivery import new_id
from app.ledger.encoding import columns_of, command_of
from app.ledger.events import record
from app.ledger.once import accepted_anew
from app.ledger.overdue import unprotected
from app.ledger.superseding import tell_of_superseded
from app.ledger.transaction import moment_of
from app.ledger.types import now

RETRYABLE = (
    Status.REJECTED,
    Status.GAVE_UP,
    Status.EXPIRED,
    Status.CANCELLED,
    Status.SUPERSEDED,
    Status.NOTHING_OPEN,
)

_commands = tables.commands


class NoSuchCommand(Exception):
    """Raised when there is no command of that id."""


class NotPossible(Exception):
    """Raised when a command is not in the state for what is asked. Says why, and what to do instead."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def cancel(ledger: Ledger, command_id: str, actor: str, reason: str) -> None:
    """End what was not sent. Raises NoSuchCommand, NotPossible."""
    with ledger.writing(in_turn=True) as connection:
        row = _locked(connection, command_id)
        if _may_have_acted(row):
            hint = "look at the broker, then resolve it as done or as not done"
            raise NotPossible(f"it is {row.status}, and what was sent may have acted", hint)
        _end(connection, row, f"cancelled by {actor}: {reason}", actor)


def resolve(ledger: Ledger, command_id: str, done: bool, actor: str, reason: str) -> None:
    """Say what became of a command that may have acted. Raises NoSuchCommand, NotPossible.

    Done is checked by a worker's fresh read, which decides between `closed` and `cancelled`.
    """
    with ledger.writing(in_turn=True) as connection:
        row = _locked(connection, command_id)
        if row.status == Status.QUEUED and not _may_have_acted(row):
            raise NotPossible("nothing of it is in doubt: it waits to be sent", "cancel it")
        if not done:
            _end(connection, row, f"resolved as not done by {actor}: {reason}", actor)
            return
        _check_unsettled(row)
        resolution = f"resolved as done by {actor}: {reason}"
        _write(connection, row, resolution=resolution, due_at=now())
        record(connection, row.id, "resolved", actor, {"outcome": "done", "reason": reason})


def acknowledge(ledger: Ledger, command_id: str, actor: str, reason: str) -> None:
    """Take note of what asks for attention: it does not ask for that again. Raises NoSuchCommand, NotPossible."""
    with ledger.writing(in_turn=True) as connection:
        row = _locked(connection, command_id)
        if row.attention is None:
            if row.acknowledged is None:
                raise NotPossible("nothing of it asks for attention", "there is nothing to do")
            return  # somebody else was faster
        noted = update(_commands).where(_commands.c.id == row.id)
        connection.execute(noted.values(attention=None, acknowledged=row.attention))
        record(connection, row.id, "acknowledged", actor, {"attention": row.attention, "reason": reason})


def retry(ledger: Ledger, command_id: str, actor: str, reason: str, max_age: float) -> str:
    """Ask anew for what a settled command left open: a new command, once. Its id. Raises NoSuchCommand, NotPossible."""
    with ledger.writing(in_turn=True) as connection:
        row = _locked(connection, command_id)
        if row.status in UNSETTLED:
            hint = "cancel or resolve it first" if row.status != Status.SENDING else "wait for its answer"
            raise NotPossible(f"it is {row.status}: it goes on by itself, or may still act", hint)
        if row.dry_run:
            raise NotPossible(
                "its hook was in shadow mode: nothing of it was ever to be sent", "send a new alert"
            )
        if row.status not in RETRYABLE:
            raise NotPossible(f"it is {row.status}: there is nothing to do again", "send a new alert")
        if anew := accepted_anew(connection, row.id):
            raise NotPossible(f"its alert came again, and was accepted anew as {anew}", "look at that one")
        known = connection.execute(select(_commands.c.id).where(_commands.c.retry_of == row.id)).scalar()
        if known:
            raise NotPossible(f"it was retried already, by command {known}", "retry that one if it must be")
        return _insert_retry(connection, row, actor, reason, max_age)


def _insert_retry(connection: Connection, row: Row[Any], actor: str, reason: str, max_age: float) -> str:
    moment = moment_of(connection)
    asked = columns_of(command_of(row), moment.date())
    if Attention.TOO_MANY_POSITIONS in (row.attention, row.acknowledged):
        asked["max_positions"] = None  # somebody was told how many there are, and wants it all the same
    again = new_id()
    connection.execute(
        insert(_commands).values(
            id=again,
            alert=row.alert,
            retry_of=row.id,
            hook=row.hook,
            **asked | _what_is_left(connection, row),
            status=Status.QUEUED,
            accepted_at=moment,
            expires_at=moment + timedelta(seconds=max_age),
            due_at=moment,
            fence=0,
            fixed=False,
        )
    )
    record(connection, again, "accepted", actor, {"retry_of": row.id, "reason": reason}, alert=row.alert)
    record(connection, row.id, "retried", actor, {"by": again, "reason": reason})
    return again


def _what_is_left(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """The size of a part that may have acted: less by what was closed, or was seen to be gone, as the venue counts."""
    if (row.quantity is None and row.percent is None) or not _close_may_have_acted(connection, row.id):
        return {}
    if row.status == Status.CANCELLED and _order_may_live(connection, row.id):
        why = "its order may still fill, and a second would close as much again"
        raise NotPossible(why, "look at the broker, then send an alert for what is left")
    closed = tables.closed_positions.c
    done = connection.execute(select(closed.quantity).where(closed.command == row.id)).scalars().all()
    after = row.holdings[0]["after"] if row.holdings else None
    if None in done or after is None:
        why = "it is not known how much of the part was closed"
        raise NotPossible(why, "look at the broker, then send an alert for what is left")
    (holding,) = row.holdings
    gone = max(sum(done), Decimal(holding["before"]) - Decimal(after))
    left = Decimal(holding["before"]) - Decimal(holding["target"]) - gone
    if left <= 0:
        raise NotPossible("all that it asked for is closed", "there is nothing to do again")
    return {"quantity": left, "quantity_unit": None, "percent": None}


def _end(connection: Connection, row: Row[Any], reason: str, actor: str) -> None:
    _check_unsettled(row)
    tell_of_superseded(connection, row.id, actor)
    acted = _close_may_have_acted(connection, row.id)
    naked = select(_commands.c.seq).where(_commands.c.id == row.id, unprotected())
    takes_orders = row.cancel_orders and row.quantity is None and row.percent is None
    attention = None
    if connection.execute(naked).first() or (acted and takes_orders):
        attention = Attention.UNPROTECTED
    elif row.status == Status.WORKING or (row.action != Action.CLOSE and _order_may_live(connection, row.id)):
        # The broker took it: its order may be at work still.
        attention, reason = (
            Attention.STILL_OPEN,
            f"{reason}; look at its order at the broker, which may still fill",
        )
    _write(
        connection,
        row,
        status=Status.CANCELLED,
        reason=reason,
        attention=attention,
        settled_at=now(),
        due_at=None,
    )
    detail = {"from": row.status, "to": Status.CANCELLED, "reason": reason, "attention": attention}
    record(connection, row.id, "status", actor, detail)


def _close_may_have_acted(connection: Connection, command_id: str) -> bool:
    attempts = tables.attempts.c
    closes = and_(attempts.command == command_id, attempts.kind == "close")
    unsure = or_(attempts.outcome.is_(None), attempts.outcome.in_(MAY_HAVE_ACTED))
    reports = connection.execute(select(attempts.report).where(closes, unsure)).scalars().all()
    return any(report is None or not report["nothing_open"] for report in reports)


def _order_may_live(connection: Connection, command_id: str) -> bool:
    """Whether the broker took a close of it, or may take one yet."""
    attempts = tables.attempts.c
    taken = or_(attempts.outcome == REPORTED, attempts.settles_at > now())
    unsure = or_(attempts.outcome.is_(None), attempts.outcome.in_(MAY_HAVE_ACTED))
    wanted = select(attempts.seq).where(
        attempts.command == command_id, attempts.kind == "close", unsure, taken
    )
    return connection.execute(wanted.limit(1)).first() is not None


def _may_have_acted(row: Row[Any]) -> bool:
    """A close that waits was proved undone; of a flatten that is made of several calls some may have left."""
    in_part = row.status == Status.QUEUED and row.fixed and row.action != Action.CLOSE
    return row.status in (Status.WORKING, Status.IN_DOUBT) or in_part


def _check_unsettled(row: Row[Any]) -> None:
    if row.status == Status.SENDING:
        raise NotPossible("a call is in flight for it", "ask again in a few seconds")
    if row.status not in UNSETTLED:
        raise NotPossible(f"it is settled already: {row.status}", "there is nothing to do")


def _write(connection: Connection, row: Row[Any], **values: Any) -> None:
    """A worker that reads for it just now has nothing more to write."""
    released = {"fence": row.fence + 1, "lease_owner": None, "lease_until": None}
    connection.execute(update(_commands).where(_commands.c.id == row.id).values(**released, **values))


def _locked(connection: Connection, command_id: str) -> Row[Any]:
    wanted = select(_commands).where(_commands.c.id == command_id).with_for_update()
    row = connection.execute(wanted).first()
    if row is None:
        raise NoSuchCommand(command_id)
    return row
