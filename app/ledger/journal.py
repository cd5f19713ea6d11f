"""What workers write of the commands they carry out: attempts, answers, and what became of them.

Every write is fenced: it counts only under the newest claim.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, func, or_, select, update

from app.domain.commands import urgency_of
from app.domain.positions import Holding
from app.domain.statuses import Attention, IllegalTransition, Status, check_transition
from app.ledger import tables
from app.ledger.attempts import begin_attempt, end_unsent, write_answer, write_closed, write_reads
from app.ledger.claim import LEASE_SECONDS, Claim, LeaseLost, PastAttempt
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.encoding import holding_json
from app.ledger.events import record
from app.ledger.lanes import PARTIAL
from app.ledger.overdue import unless_acknowledged
from app.ledger.pauses import is_paused
from app.ledger.sightings import Sighting, note
from app.ledger.step import Answer, Outgoing, Step
from app.ledger.superseding import look_into_doubts, supersede
from app.ledger.types import from_now, now, seconds

log = structlog.get_logger(__name__)

INSIST_EVERY = 0.25
"""Seconds between two tries to write what must not be lost."""

_commands = tables.commands
_attempts = tables.attempts


def _claimed(in_flight: bool, *conditions: ColumnElement[bool]) -> Update:
    """A write to the claimed row, if the claim is still the newest and its lease has not run out.

    An answer counts as long as nobody else took over, however late it is.
    """
    in_time = () if in_flight else (_commands.c.lease_until > now(),)
    return update(_commands).where(
        _commands.c.id == bindparam("claimed"),
        _commands.c.fence == bindparam("claimed_fence"),
        _commands.c.status == bindparam("claimed_as"),
        *in_time,
        *conditions,
    )


@cache
def _beginning(in_flight: bool, late: bool) -> Update:
    """The write before a call leaves; unless it may be late, in time and not while it is paused."""
    in_time = or_(
        and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at > now()),
        _commands.c.gives_up_at > now(),
    )
    allowed = () if late else (in_time, ~is_paused(_commands.c))
    return _claimed(in_flight, *allowed).values(
        status=Status.SENDING,
        first_attempt_at=func.coalesce(_commands.c.first_attempt_at, now()),
        gives_up_at=func.coalesce(_commands.c.gives_up_at, from_now(seconds("retry_for"))),
        lease_until=from_now(LEASE_SECONDS),
    )


@cache
def _moving(in_flight: bool, final: bool, attention: Attention | None, keep: bool) -> Update:
    """The write of what a command becomes."""
    lease = {"lease_until": from_now(LEASE_SECONDS)} if keep else {"lease_owner": None, "lease_until": None}
    return _claimed(in_flight).values(
        # Somebody took note of what it was then; how it ends is news.
        attention=attention if final else unless_acknowledged(attention),
        due_at=from_now(seconds("due_in")),
        settled_at=now() if final else None,
        **lease,
    )


class Paused(Exception):
    """Raised when an operator has stopped what was about to leave."""


class Journal:
    """The worker's pen."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._noted: set[tuple[str, Sighting]] = set()

    def begin(
        self,
        claim: Claim,
        outgoing: Sequence[Outgoing],
        *,
        holdings: tuple[Holding, ...] | None,
        settle_window: float,
        retry_for: float,
        late: bool = False,
    ) -> tuple[PastAttempt, ...]:
        """Commit attempts that are about to leave, with before and target. Raises LeaseLost, and Paused.

        After the command's time ran out nothing leaves, nor while it is paused, unless it is a cancel of our own order:
        that is never too late.
        """
        if claim.status is not Status.QUEUED and not late:
            raise IllegalTransition(claim.status, Status.SENDING)  # only what waits for its turn is sent
        check_transition(claim.status, Status.SENDING)
        started = time.monotonic()
        try:
            attempts = self._commit_begin(claim, outgoing, holdings, settle_window, retry_for, late)
        except LedgerUnavailable:
            self._insist(claim, lambda again: self._take_back_begun(claim))
            raise
        claim.reads.clear()
        claim.held_until = started + LEASE_SECONDS
        claim.status = Status.SENDING
        claim.holdings = holdings
        return attempts

    def _commit_begin(
        self,
        claim: Claim,
        outgoing: Sequence[Outgoing],
        holdings: tuple[Holding, ...] | None,
        settle_window: float,
        retry_for: float,
        late: bool,
    ) -> tuple[PastAttempt, ...]:
        closes = any(it.kind == "close" for it in outgoing)
        values = {
            "retry_for": retry_for,
            "holdings": None if holdings is None else [holding_json(h) for h in holdings],
            **({"acknowledged": None} if closes else {}),
        }
        with self._ledger.writing(in_turn=True) as connection:
            try:
                self._update(connection, claim, _beginning(claim.status is Status.SENDING, late), values)
            except LeaseLost:
                if not late and self._is_paused(connection, claim):
                    raise Paused(claim.id) from None
                raise
            write_reads(connection, claim)
            self._write_seen(connection, claim)
            self._status_event(connection, claim, Status.SENDING, None)
            attempts = tuple(begin_attempt(connection, claim, it, settle_window) for it in outgoing)
            if closes:
                supersede(connection, claim.id, claim.command, holdings, claim.owner)
        return attempts

    def _take_back_begun(self, claim: Claim) -> None:
        """The ledger failed as attempts were to be committed, or just after: nothing of them has left."""
        with self._ledger.writing(in_turn=True) as connection:
            mine = and_(_commands.c.id == claim.id, _commands.c.fence == claim.fence)
            status = connection.execute(select(_commands.c.status).where(mine)).scalar()
            if status not in (Status.SENDING, claim.status):
                return  # somebody else took over
            freed = {"due_at": now(), "lease_owner": None, "lease_until": None}
            connection.execute(update(_commands).where(mine).values(status=claim.status, **freed))
            if status == Status.SENDING:
                end_unsent(connection, claim)

    def _insist(self, claim: Claim, write: Callable[[bool], None]) -> None:
        """Write what must not be lost: again and again while the ledger is away and the lease lasts.

        `write` is told whether it was tried before: the ledger may have kept it, and only the word of that was lost.
        """
        again = False
        while True:
            try:
                return write(again)
            except LedgerUnavailable as exc:
                if not claim.holds(1.0):
                    raise
                log.warning("ledger_unavailable", reason=str(exc), then="what was learned is written again")
                time.sleep(INSIST_EVERY)
                again = True

    def _is_paused(self, connection: Connection, claim: Claim) -> bool:
        stopped = select(_commands.c.seq).where(_commands.c.id == claim.id, is_paused(_commands.c))
        return connection.execute(stopped).first() is not None

    def move(self, claim: Claim, step: Step, *answers: Answer, keep: bool = False) -> None:
        """Write what a command becomes, with the answers that made it so. The lease ends, unless kept.

        Raises LeaseLost if somebody else took over; a late answer is then kept as an event.
        """
        started = time.monotonic()
        try:
            self._insist(claim, lambda again: self._commit_move(claim, step, answers, keep, again))
        except LeaseLost:
            for answer in answers:
                self._keep_late(claim, answer)
            raise
        claim.reads.clear()
        self._noted |= {(claim.command.broker, sighting) for sighting in claim.seen}
        if keep:
            claim.held_until = started + LEASE_SECONDS
        claim.status = step.status
        claim.attention = step.attention
        claim.holdings = claim.holdings if step.holdings is None else step.holdings
        claim.fixed = claim.fixed if step.fixed is None else step.fixed

    def _commit_move(
        self, claim: Claim, step: Step, answers: Sequence[Answer], keep: bool, again: bool
    ) -> None:
        with self._ledger.writing() as connection:
            if not (again and self._is_kept(connection, claim, step)):
                self._move(connection, claim, step, answers, keep)

    def _is_kept(self, connection: Connection, claim: Claim, step: Step) -> bool:
        """Whether the first try was committed: the command is no longer what it was claimed as, by nobody else's doing."""
        row = connection.execute(select(_commands).where(_commands.c.id == claim.id)).one()
        moved = row.status != claim.status or row.lease_owner is None
        return bool(row.fence == claim.fence and row.status == step.status and moved)

    def _move(
        self, connection: Connection, claim: Claim, step: Step, answers: Sequence[Answer], keep: bool
    ) -> None:
        check_transition(claim.status, step.status)
        if (claim.status, step.status) == (Status.QUEUED, Status.WORKING) and not claim.closes:
            raise IllegalTransition(claim.status, step.status)  # nothing was ever sent
        values: dict[str, Any] = {"status": step.status, "reason": step.reason, "due_in": step.due_in}
        if step.holdings is not None:
            values["holdings"] = [holding_json(holding) for holding in step.holdings]
        if step.fixed is not None:
            values["fixed"] = step.fixed
        in_flight = claim.status is Status.SENDING
        moving = _moving(in_flight, step.status.final, step.attention, keep)
        self._update(connection, claim, moving, values)
        for answer in answers:
            write_answer(connection, claim, answer)
        write_reads(connection, claim)
        self._write_seen(connection, claim)
        write_closed(connection, claim, step.closed)
        self._status_event(connection, claim, step.status, step)
        if step.status is Status.CLOSED and urgency_of(claim.command) < PARTIAL:
            look_into_doubts(connection, claim.id)

    def _update(
        self, connection: Connection, claim: Claim, statement: Update, values: dict[str, Any]
    ) -> None:
        mine = {"claimed": claim.id, "claimed_fence": claim.fence, "claimed_as": claim.status}
        if connection.execute(statement, mine | values).rowcount != 1:
            raise LeaseLost(claim.id)

    def _write_seen(self, connection: Connection, claim: Claim) -> None:
        broker = claim.command.broker
        note(connection, broker, {it for it in claim.seen if (broker, it) not in self._noted})

    def _status_event(self, connection: Connection, claim: Claim, status: Status, step: Step | None) -> None:
        attention = step.attention if step else claim.attention
        if status == claim.status and attention == claim.attention:
            return
        detail: dict[str, Any] = {"from": claim.status, "to": status}
        if step and step.reason:
            detail["reason"] = step.reason
        if attention != claim.attention:
            detail["attention"] = attention
        record(connection, claim.id, "status", claim.owner, detail)

    def _keep_late(self, claim: Claim, answer: Answer) -> None:
        """An answer that came after the lease was lost changes nothing, but it is evidence."""
        with self._ledger.writing() as connection:
            detail = {"attempt": answer.number, "outcome": answer.outcome, "answer": answer.answer}
            record(connection, claim.id, "answered_late", claim.owner, detail)
