"""What workers write: claims, attempts, and what became of them. Every write is fenced."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, insert, or_, select, text, update

from app.domain.commands import Command
from app.domain.positions import ClosedPosition, Holding, Report
from app.domain.statuses import Attention, Status, check_transition
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.encoding import command_of, holding_json, holdings_of, report_json, report_of
from app.ledger.events import record
from app.ledger.lanes import may_go
from app.ledger.types import from_now, now

LEASE_SECONDS = 30.0
_CLAIM_LOCK = 0x636C61696D  # "claim": any fixed number that is ours

_commands = tables.commands
_attempts = tables.attempts


class LeaseLost(Exception):
    """Raised when a write comes from a worker whose claim is no longer the newest, or when time ran out."""


@dataclass(slots=True)
class Claim:
    """One worker's right to carry out one command, until the lease runs out."""

    id: str
    command: Command
    status: Status
    fence: int
    owner: str
    held_until: float
    """By this process's monotonic clock, read before the lease was written: never later than the ledger's."""
    holdings: tuple[Holding, ...] | None
    fixed: bool
    """An attempt may have left: before and target stay as they are."""
    attention: Attention | None
    since_first_attempt: float | None
    """Seconds, by the database's clock; None: no attempt yet."""
    closes: tuple["PastAttempt", ...] = ()
    """The attempts that close, oldest first."""
    tries: int = 0
    """Calls made so far, of any kind."""
    cancelled_orders: bool = False
    """A cancel of working orders was reported already."""
    reads: list["Read"] = field(default_factory=list)
    """Made under this claim and not written yet."""

    def holds(self, seconds: float) -> bool:
        """Whether the lease lasts that much longer."""
        return time.monotonic() + seconds < self.held_until


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An earlier attempt, as the evidence needs it."""

    number: int
    sent_at: datetime
    age: float
    """Seconds since it was sent, by the database's clock."""
    outcome: str | None
    report: Report | None


@dataclass(frozen=True, slots=True)
class Read:
    """A call that only reads."""

    request: dict[str, Any]
    outcome: str
    seconds: float
    """How long it took."""
    answer: Any = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt."""

    number: int
    outcome: str
    answer: Any = None
    detail: str | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a command becomes next."""

    status: Status
    reason: str | None = None
    due_in: float | None = None
    """Seconds until it goes on by itself; None: it does not."""
    attention: Attention | None = None
    holdings: tuple[Holding, ...] | None = None
    """None: as they were."""
    fixed: bool | None = None
    """None: as it was."""
    closed: tuple[ClosedPosition, ...] = ()


class Journal:
    """The worker's pen. One instance a process; `owner` is the worker's name."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self.ledger = ledger
        self.owner = owner

    def claim(self, brokers: Collection[str]) -> Claim | None:
        """Take the most urgent due command of these brokers whose turn it is, or None."""
        started = time.monotonic()
        with self.ledger.writing() as connection:
            self._one_at_a_time(connection)
            self._expire(connection)
            due = and_(
                _commands.c.broker.in_(brokers),
                _commands.c.due_at <= now(),
                or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now()),
                or_(
                    and_(_commands.c.status == Status.QUEUED, may_go()),
                    _commands.c.status.in_((Status.WORKING, Status.IN_DOUBT)),
                ),
            )
            # Closes before read-backs; then flatten, whole, partial; then age.
            read_back = case((_commands.c.status == Status.QUEUED, 0), else_=1)
            order = (read_back, _commands.c.urgency, _commands.c.seq)
            row = connection.execute(select(_commands).where(due).order_by(*order).limit(1)).first()
            return self._take(connection, row, started) if row else None

    def begin(
        self,
        claim: Claim,
        kind: str,
        request: dict[str, Any],
        *,
        holdings: tuple[Holding, ...] | None,
        client_id: str | None,
        settle_window: float,
        retry_for: float,
    ) -> PastAttempt:
        """Commit an attempt that is about to leave, with before and target. Raises LeaseLost."""
        started = time.monotonic()
        with self.ledger.writing() as connection:
            in_time = or_(
                and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at > now()),
                _commands.c.gives_up_at > now(),
            )
            self._update(
                connection,
                claim,
                in_time,
                status=Status.SENDING,
                first_attempt_at=func.coalesce(_commands.c.first_attempt_at, now()),
                gives_up_at=func.coalesce(_commands.c.gives_up_at, from_now(retry_for)),
                lease_until=from_now(LEASE_SECONDS),
                holdings=None if holdings is None else [holding_json(h) for h in holdings],
            )
            self._write_reads(connection, claim)
            number = self._next_number(connection, claim.id)
            attempt = (
                insert(_attempts)
                .values(
                    command=claim.id,
                    number=number,
                    kind=kind,
                    client_id=client_id,
                    request=request,
                    sent_at=now(),
                    settles_at=from_now(settle_window),
                )
                .returning(_attempts.c.sent_at)
            )
            sent_at: datetime = connection.execute(attempt).scalar_one()
            self._status_event(connection, claim, Status.SENDING, None)
            record(connection, claim.id, "sending", self.owner, {"attempt": number, "kind": kind})
        claim.held_until = started + LEASE_SECONDS
        claim.status = Status.SENDING
        claim.holdings = holdings
        return PastAttempt(number, sent_at, 0.0, None, None)

    def move(self, claim: Claim, step: Step, answer: Answer | None = None, *, keep: bool = False) -> None:
        """Write what a command becomes, with the answer that made it so. The lease ends, unless kept.

        Raises LeaseLost if somebody else took over; a late answer is then kept as an event.
        """
        started = time.monotonic()
        try:
            with self.ledger.writing() as connection:
                self._move(connection, claim, step, answer, keep)
        except LeaseLost:
            if answer:
                self._keep_late(claim, answer)
            raise
        if keep:
            claim.held_until = started + LEASE_SECONDS
        claim.status = step.status
        claim.attention = step.attention
        claim.holdings = claim.holdings if step.holdings is None else step.holdings
        claim.fixed = claim.fixed if step.fixed is None else step.fixed

    def release(self, claim: Claim, due_in: float = 0) -> None:
        """Give a claim back unchanged. Somebody else may have it already: that is fine."""
        mine = and_(_commands.c.id == claim.id, _commands.c.fence == claim.fence)
        with self.ledger.writing() as connection:
            connection.execute(
                update(_commands)
                .where(mine, _commands.c.status != Status.SENDING)
                .values(lease_owner=None, lease_until=None, due_at=from_now(due_in))
            )

    def recover(self, owner: str | None = None) -> list[str]:
        """Take back what a dead worker held: of `owner`, or whatever lease ran out. The ids that can go on.

        Its request may still act, so a close that was in flight is in doubt until its settle window has passed.
        """
        gone = _commands.c.lease_until <= now() if owner is None else _commands.c.lease_owner == owner
        with self.ledger.writing() as connection:
            rows = connection.execute(
                select(_commands).where(_commands.c.lease_owner.is_not(None), gone).with_for_update()
            ).all()
            for row in rows:
                self._take_back(connection, row)
            return [row.id for row in rows]

    def beat(self, version: str) -> None:
        """Say that this worker is alive."""
        workers = tables.workers
        with self.ledger.writing() as connection:
            known = connection.execute(
                update(workers).where(workers.c.name == self.owner).values(seen_at=now())
            )
            if not known.rowcount:
                row = {"name": self.owner, "version": version, "started_at": now(), "seen_at": now()}
                connection.execute(insert(workers).values(row))
            connection.execute(workers.delete().where(workers.c.seen_at < from_now(-3600)))

    def leave(self) -> None:
        """Say that this worker has ended."""
        with self.ledger.writing() as connection:
            connection.execute(tables.workers.delete().where(tables.workers.c.name == self.owner))

    def _one_at_a_time(self, connection: Connection) -> None:
        """Claims are made one after the other: the turn of a lane can't be told by two at once."""
        if not self.ledger.sqlite:  # SQLite's writers are alone already
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CLAIM_LOCK})

    def _expire(self, connection: Connection) -> None:
        """Settle what was never tried and is no longer wanted."""
        untried = and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at <= now())
        unsent = and_(_commands.c.gives_up_at <= now(), ~_commands.c.fixed)
        free = or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now())
        queued = and_(_commands.c.status == Status.QUEUED, free)
        for condition, status, attention, reason in (
            (untried, Status.EXPIRED, Attention.EXPIRED, "too old before its first attempt"),
            (unsent, Status.GAVE_UP, Attention.GAVE_UP, "no attempt left this machine before time ran out"),
        ):
            rows = connection.execute(
                update(_commands)
                .where(queued, condition)
                .values(status=status, attention=attention, reason=reason, settled_at=now(), due_at=None)
                .returning(_commands.c.id)
            )
            for row in rows.all():
                detail = {"from": Status.QUEUED, "to": status, "reason": reason}
                record(connection, row.id, "status", self.owner, detail)

    def _take(self, connection: Connection, row: Row[Any], started: float) -> Claim:
        connection.execute(
            update(_commands)
            .where(_commands.c.id == row.id)
            .values(fence=row.fence + 1, lease_owner=self.owner, lease_until=from_now(LEASE_SECONDS))
        )
        moment: datetime = connection.execute(select(now())).scalar_one()
        attempts = connection.execute(
            select(_attempts).where(_attempts.c.command == row.id).order_by(_attempts.c.number)
        ).all()
        first = row.first_attempt_at
        return Claim(
            id=row.id,
            command=command_of(row),
            status=Status(row.status),
            fence=row.fence + 1,
            owner=self.owner,
            held_until=started + LEASE_SECONDS,
            holdings=holdings_of(row.holdings),
            fixed=row.fixed,
            attention=Attention(row.attention) if row.attention else None,
            since_first_attempt=(moment - first).total_seconds() if first else None,
            closes=tuple(_past(attempt, moment) for attempt in attempts if attempt.kind == "close"),
            tries=len(attempts),
            cancelled_orders=any(a.kind == "cancel" and a.outcome == "reported" for a in attempts),
        )

    def _move(
        self, connection: Connection, claim: Claim, step: Step, answer: Answer | None, keep: bool
    ) -> None:
        check_transition(claim.status, step.status)
        values: dict[str, Any] = {
            "status": step.status,
            "reason": step.reason,
            "attention": step.attention,
            "due_at": None if step.due_in is None else from_now(step.due_in),
            "settled_at": now() if step.status.final else None,
        }
        if step.holdings is not None:
            values["holdings"] = [holding_json(holding) for holding in step.holdings]
        if step.fixed is not None:
            values["fixed"] = step.fixed
        if keep:
            values["lease_until"] = from_now(LEASE_SECONDS)
        else:
            values |= {"lease_owner": None, "lease_until": None}
        self._update(connection, claim, **values)
        if answer:
            self._write_answer(connection, claim, answer)
        self._write_reads(connection, claim)
        self._write_closed(connection, claim, step.closed)
        self._status_event(connection, claim, step.status, step)

    def _update(self, connection: Connection, claim: Claim, *conditions: Any, **values: Any) -> None:
        """Write to the claimed row, if the claim is still the newest and its lease has not run out."""
        done = connection.execute(
            update(_commands)
            .where(
                _commands.c.id == claim.id,
                _commands.c.fence == claim.fence,
                _commands.c.lease_until > now(),
                *conditions,
            )
            .values(**values)
        )
        if done.rowcount != 1:
            raise LeaseLost(claim.id)

    def _write_answer(self, connection: Connection, claim: Claim, answer: Answer) -> None:
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
        record(connection, claim.id, "answered", self.owner, detail)

    def _write_reads(self, connection: Connection, claim: Claim) -> None:
        for read in claim.reads:
            connection.execute(
                insert(_attempts).values(
                    command=claim.id,
                    number=self._next_number(connection, claim.id),
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
        claim.reads.clear()

    def _write_closed(self, connection: Connection, claim: Claim, closed: Sequence[ClosedPosition]) -> None:
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

    def _status_event(self, connection: Connection, claim: Claim, status: Status, step: Step | None) -> None:
        attention = step.attention if step else claim.attention
        if status == claim.status and attention == claim.attention:
            return
        detail: dict[str, Any] = {"from": claim.status, "to": status}
        if step and step.reason:
            detail["reason"] = step.reason
        if attention != claim.attention:
            detail["attention"] = attention
        record(connection, claim.id, "status", self.owner, detail)

    def _next_number(self, connection: Connection, command: str) -> int:
        highest = select(func.max(_attempts.c.number)).where(_attempts.c.command == command)
        return (connection.execute(highest).scalar() or 0) + 1

    def _keep_late(self, claim: Claim, answer: Answer) -> None:
        """An answer that came after the lease was lost changes nothing, but it is evidence."""
        with self.ledger.writing() as connection:
            detail = {"attempt": answer.number, "outcome": answer.outcome, "answer": answer.answer}
            record(connection, claim.id, "answered_late", self.owner, detail)

    def _take_back(self, connection: Connection, row: Row[Any]) -> None:
        values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "fence": row.fence + 1}
        detail: dict[str, Any] = {"worker": row.lease_owner}
        if row.status == Status.SENDING:
            in_flight = and_(_attempts.c.command == row.id, _attempts.c.outcome.is_(None))
            attempt = connection.execute(select(_attempts).where(in_flight)).one()
            connection.execute(
                update(_attempts)
                .where(_attempts.c.seq == attempt.seq)
                .values(outcome="outcome_unknown", detail="the worker ended before an answer came")
            )
            # Cancelling orders twice does no harm; closing twice might.
            repeatable = attempt.kind == "cancel"
            status = Status.QUEUED if repeatable else Status.IN_DOUBT
            values |= {"status": status, "due_at": attempt.settles_at, "reason": "the worker ended mid-call"}
            values |= {} if repeatable else {"fixed": True}
            detail |= {"from": row.status, "to": status}
        connection.execute(update(_commands).where(_commands.c.id == row.id).values(**values))
        record(connection, row.id, "taken_back", self.owner, detail)


def _past(row: Row[Any], moment: datetime) -> PastAttempt:
    report = None if row.report is None else report_of(row.report)
    return PastAttempt(row.number, row.sent_at, (moment - row.sent_at).total_seconds(), row.outcome, report)
