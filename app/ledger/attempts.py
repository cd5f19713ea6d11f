"""The rows of what was asked of a broker, what it answered, and what that closed; in the transaction of who writes."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update

from app.domain.failures import NotSent
from app.domain.positions import ClosedPosition
from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.claim import Claim, PastAttempt
from app.ledger.encoding import place_json, report_json
from app.ledger.events import record
from app.ledger.step import Answer, Outgoing
from app.ledger.types import from_now, now, seconds
from app.ledger.waiting import TRANSACTION_SECONDS

_commands = tables.commands
_attempts = tables.attempts
_others = tables.attempts.alias("others")

_next_number = (
    select(func.coalesce(func.max(_others.c.number), 0) + 1)
    .where(_others.c.command == bindparam("of"))
    .scalar_subquery()
)
_SENDING = (
    insert(_attempts)
    .values(
        command=bindparam("of"),
        number=_next_number,
        sent_at=now(),
        settles_at=from_now(seconds("settles_in")),
    )
    .returning(_attempts.c.number, _attempts.c.sent_at)
)
_ANSWERED = (
    update(_attempts)
    .where(_attempts.c.command == bindparam("of"), _attempts.c.number == bindparam("which"))
    .values(answered_at=now())
)
_READ = insert(_attempts).values(
    command=bindparam("of"),
    number=_next_number,
    kind="read",
    sent_at=from_now(seconds("asked")),
    settles_at=now(),
    answered_at=from_now(seconds("answered")),
)
_hook = select(_commands.c.hook).where(_commands.c.id == bindparam("of")).scalar_subquery()
_CLOSED = insert(tables.closed_positions).values(command=bindparam("of"), hook=_hook, closed_at=now())


def begin_attempt(
    connection: Connection, claim: Claim, outgoing: Outgoing, settle_window: float
) -> PastAttempt:
    """Add an attempt that is about to leave; its effect can be read back `settle_window` seconds from now.

    What lapses at the venue does so some time after its call began, and that begins only once this is committed: its
    window is longer by what a commit may take.
    """
    settles_in = settle_window + (TRANSACTION_SECONDS if outgoing.lapses else 0.0)
    attempt = {
        "of": claim.id,
        "kind": outgoing.kind,
        "place": None if outgoing.place is None else place_json(outgoing.place),
        "client_id": outgoing.client_id,
        "lapses": outgoing.lapses,
        "request": outgoing.request,
        "settles_in": settles_in,
    }
    number, sent_at = connection.execute(_SENDING, attempt).one()
    record(connection, claim.id, "sending", claim.owner, {"attempt": number, "kind": outgoing.kind})
    return PastAttempt(
        number,
        sent_at,
        0.0,
        settles_in,
        None,
        None,
        outgoing.client_id,
        outgoing.lapses,
        outgoing.place,
    )


def write_answer(connection: Connection, claim: Claim, answer: Answer) -> None:
    """Keep what became of an attempt."""
    answered = {
        "of": claim.id,
        "which": answer.number,
        "outcome": answer.outcome,
        "answer": answer.answer,
        "detail": answer.detail,
        "report": None if answer.report is None else report_json(answer.report),
    }
    connection.execute(_ANSWERED, answered)
    detail = {"attempt": answer.number, "outcome": answer.outcome}
    record(connection, claim.id, "answered", claim.owner, detail)


def write_reads(connection: Connection, claim: Claim) -> None:
    """Add the reads that were made under a claim and are not written yet."""
    for read in claim.reads:
        made = {
            "of": claim.id,
            "request": read.request,
            "asked": -read.seconds - read.ago,
            "answered": -read.ago,
            "outcome": read.outcome,
            "answer": read.answer,
            "detail": read.detail,
        }
        connection.execute(_READ, made)


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
    for position in closed:
        row = {
            "of": claim.id,
            "broker": claim.command.broker,
            "account": position.account,
            "instrument": position.instrument,
            "side": position.side,
            "quantity": position.quantity,
            "average_price": position.average_price,
            "close_price": position.close_price,
            "profit_loss": position.profit_loss,
            "currency": position.currency,
            "source": position.source,
            "order_ids": list(position.order_ids),
            "raw": dict(position.raw),
        }
        connection.execute(_CLOSED, row)
