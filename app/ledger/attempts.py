"""The rows of what was asked of a broker, what it answered, and what that closed; in the transaction of who writes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from app.domain.failures import NotSent
from app.domain.positions import ClosedPosition
from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.claim import Claim, PastAttempt
from app.ledger.encoding import place_json, report_json
from app.ledger.events import record
from app.ledger.step import Answer, Outgoing
from app.ledger.types import from_now, now

_commands = tables.commands
_attempts = tables.attempts


def begin_attempt(
    connection: Connection, claim: Claim, outgoing: Outgoing, settle_window: float
) -> PastAttempt:
    """Add an attempt that is about to leave; its effect can be read back `settle_window` seconds from now."""
    number = _next_number(connection, claim.id)
    attempt = (
        insert(_attempts)
        .values(
            command=claim.id,
            number=number,
            kind=outgoing.kind,
            place=None if outgoing.place is None else place_json(outgoing.place),
            client_id=outgoing.client_id,
            lapses=outgoing.lapses,
            request=outgoing.request,
            sent_at=now(),
            settles_at=from_now(settle_window),
        )
        .returning(_attempts.c.sent_at)
    )
    sent_at: datetime = connection.execute(attempt).scalar_one()
    record(connection, claim.id, "sending", claim.owner, {"attempt": number, "kind": outgoing.kind})
    return PastAttempt(
        number,
        sent_at,
        0.0,
        settle_window,
        None,
        None,
        outgoing.client_id,
        outgoing.lapses,
        outgoing.place,
    )


def write_answer(connection: Connection, claim: Claim, answer: Answer) -> None:
    """Keep what became of an attempt."""
    connection.execute(
        update(_attempts)
        .where(_attempts.c.command == claim.id, _attempts.c.number == answer.number)
        .values(
            answered_at=now(),
            outcome=answer.outcome,
            answer=answer.answer,
            detail=answer.detail,
            report=None if answer.report is None else report_json(answer.report),
        )
    )
    detail = {"attempt": answer.number, "outcome": answer.outcome}
    record(connection, claim.id, "answered", claim.owner, detail)


def write_reads(connection: Connection, claim: Claim) -> None:
    """Add the reads that were made under a claim and are not written yet."""
    for read in claim.reads:
        connection.execute(
            insert(_attempts).values(
                command=claim.id,
                number=_next_number(connection, claim.id),
                kind="read",
                request=read.request,
                sent_at=from_now(-read.seconds),
                settles_at=now(),
                answered_at=now(),
                outcome=read.outcome,
                answer=read.answer,
                detail=read.detail,
            )
        )


def end_unsent(connection: Connection, claim: Claim) -> None:
    """The attempts in flight never left: the ledger failed as they were to be committed. The claim is as it was before."""
    reason = "the ledger failed before the first byte"
    connection.execute(
        update(_attempts)
        .where(_attempts.c.command == claim.id, _attempts.c.outcome.is_(None))
        .values(answered_at=now(), outcome=NotSent.outcome, detail=reason)
    )
    detail = {"from": Status.SENDING, "to": claim.status, "reason": reason}
    record(connection, claim.id, "status", claim.owner, detail)


def write_closed(connection: Connection, claim: Claim, closed: Sequence[ClosedPosition]) -> None:
    """Add what a command closed."""
    hook = select(_commands.c.hook).where(_commands.c.id == claim.id).scalar_subquery()
    for position in closed:
        connection.execute(
            insert(tables.closed_positions).values(
                command=claim.id,
                hook=hook,
                broker=claim.command.broker,
                closed_at=now(),
                account=position.account,
                instrument=position.instrument,
                side=position.side,
                quantity=position.quantity,
                average_price=position.average_price,
                close_price=position.close_price,
                profit_loss=position.profit_loss,
                currency=position.currency,
                source=position.source,
                order_ids=list(position.order_ids),
                raw=dict(position.raw),
            )
        )


def _next_number(connection: Connection, command: str) -> int:
    highest = select(func.max(_attempts.c.number)).where(_attempts.c.command == command)
    return (connection.execute(highest).scalar() or 0) + 1
