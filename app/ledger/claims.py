"""Who may carry out a command: claims under a lease with a fence, and taking back what a dead worker held."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    exists,
    literal,
    null,
    or_,
    select,
    text,
    update,
)

from app.domain.commands import Command
from app.domain.failures import REPORTED, OutcomeUnknown
from app.domain.positions import Holding, Place, Report
from app.domain.statuses import Attention, Status
from app.ledger import tables
from app.ledger.clock import A_JUMP, Clock
from app.ledger.connection import Ledger
from app.ledger.encoding import command_of, holdings_of, place_of, report_of
from app.ledger.events import record
from app.ledger.lanes import blocked_by_a_close, may_go
from app.ledger.pauses import is_paused
from app.ledger.sightings import Sighting
from app.ledger.superseding import Overtaken, overtaken
from app.ledger.types import from_now, now

LEASE_SECONDS = 30.0
LATE = 2.0
"""Seconds after its time at which a read-back has waited for long."""
ONE_IN = 4
"""One claim in so many goes to such a read-back first."""
ASKED_AT_FIRST = 16
MOST_AT_ONCE = 1000
"""Of the waiting, in one statement."""
_CLAIM_LOCK = 0x636C61696D  # "claim": any fixed number that is ours

_MAY_HAVE_ACTED = (REPORTED, OutcomeUnknown.outcome)

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
    taken_at: float
    """By this process's monotonic clock, read before the ledger's: never later than the claim."""
    held_until: float
    """By the same clock: never later than the ledger's."""
    holdings: tuple[Holding, ...] | None
    fixed: bool
    """An attempt may have left: before and target stay as they are."""
    attention: Attention | None
    reason: str | None
    since_first_attempt: float | None
    """Seconds, by the database's clock; None: no attempt yet."""
    age: float = 0.0
    """Seconds since it was accepted, by the same clock."""
    closes: tuple["PastAttempt", ...] = ()
    """The attempts that close, oldest first."""
    overtaken: Overtaken | None = None
    """Of one in doubt: a close of all of the position that was sent after it."""
    resolution: str | None = None
    """An operator says that it was done, and who and why; a fresh read decides whether that is so."""
    tries: int = 0
    """Calls made so far, of any kind."""
    cancels: tuple["PastAttempt", ...] = ()
    """The cancels of working orders that were reported."""
    unprotected: bool = False
    """A cancel was reported, or its answer was lost: the position may have no stop any more."""
    reads: list["Read"] = field(default_factory=list)
    """Made under this claim and not written yet."""
    seen: set[Sighting] = field(default_factory=set)
    """What was seen open under this claim."""
    calls: int = 0
    """Made under this claim so far."""
    paused: float = 0.0
    """Seconds that were waited between them."""
    may_call: Callable[[float], bool] = lambda seconds: True
    """Whether this process may call the broker for so many seconds more."""

    def holds(self, seconds: float) -> bool:
        """Whether the lease lasts that much longer, and the broker's, where only one may call it."""
        return time.monotonic() + seconds < self.held_until and self.may_call(seconds)


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An earlier attempt, as the evidence needs it."""

    number: int
    sent_at: datetime
    age: float
    """Seconds since it was sent, by the database's clock."""
    settles_in: float
    """Seconds until its effect can be read back, by the same clock."""
    outcome: str | None
    report: Report | None
    client_id: str | None = None
    """Our id of the order, where the venue keeps one."""
    lapses: bool = False
    """The venue refuses it after the settle window: not to be found then, it was never placed."""
    place: Place | None = None
    """The one position that it closes; None: all that the command is about."""
    detail: str | None = None
    """What went wrong."""


@dataclass(frozen=True, slots=True)
class Read:
    """A call that only reads."""

    request: dict[str, Any]
    outcome: str
    seconds: float
    """How long it took."""
    answer: Any = None
    detail: str | None = None


class Claims:
    """The claims of one worker; `owner` is its name."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = Clock(hold=LEASE_SECONDS)
        self._taken = 0

    def take(self, brokers: Collection[str], can_flip: Collection[str] = ()) -> Claim | None:
        """Take the most urgent due command of these brokers whose turn it is, or None; `can_flip` as in `may_go`."""
        started = time.monotonic()
        with self._ledger.writing() as connection:
            one_at_a_time(connection)
            self._look_at_the_clock(connection)
            self._expire(connection)
            # What may still act is read back only while the ledger's clock can be believed.
            past_sending = (Status.WORKING, Status.IN_DOUBT) if self._clock.trusted else (Status.WORKING,)
            due = and_(
                _commands.c.settled_at.is_(None),
                _commands.c.broker.in_(brokers),
                _commands.c.due_at <= now(),
                or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now()),
                or_(
                    and_(_commands.c.status == Status.QUEUED, _may_be_looked_at()),
                    _commands.c.status.in_(past_sending),
                ),
            )
            row = self._most_urgent(connection, due, can_flip)
            return self._take(connection, row, started) if row else None

    def _most_urgent(
        self, connection: Connection, due: ColumnElement[bool], can_flip: Collection[str]
    ) -> Row[Any] | None:
        """The first, in the order of urgency, whose turn it is.

        To ask of each whose turn it is takes as long as there are others, so few are asked at first.
        """
        self._taken += 1
        # Closes before read-backs; but one that has waited for long is no longer left to the end of all closes.
        late = and_(_commands.c.due_at <= from_now(-LATE), literal(self._taken % ONE_IN == 0))
        read_back = case((_commands.c.status == Status.QUEUED, 1), (late, 0), else_=2)
        order = (read_back, _commands.c.urgency, _commands.c.seq)
        waiting = connection.execute(select(_commands.c.seq).where(due).order_by(*order)).scalars().all()
        turn = or_(_commands.c.status != Status.QUEUED, may_go(can_flip))
        for chosen in _ever_more(waiting):
            # A row that somebody writes just now is not read as it was before.
            wanted = select(_commands).where(_commands.c.seq.in_(chosen), due, turn).order_by(*order).limit(1)
            unlocked = wanted.with_for_update(of=_commands, key_share=True, skip_locked=True)
            if row := connection.execute(unlocked).first():
                return row
        return None

    def release(self, claim: Claim, due_in: float = 0) -> None:
        """Give a claim back unchanged. Somebody else may have it already: that is fine."""
        mine = and_(
            _commands.c.id == claim.id,
            _commands.c.fence == claim.fence,
            _commands.c.lease_owner == claim.owner,
        )
        with self._ledger.writing() as connection:
            connection.execute(
                update(_commands)
                .where(mine, _commands.c.status != Status.SENDING)
                .values(lease_owner=None, lease_until=None, due_at=from_now(due_in))
            )

    def set_aside(self, claim: Claim, due_in: float, reason: str, attention: Attention | None) -> None:
        """Give a claim back for a while, and say why. What is in flight is left to `recover`."""
        mine = and_(
            _commands.c.id == claim.id,
            _commands.c.fence == claim.fence,
            _commands.c.lease_owner == claim.owner,
            _commands.c.settled_at.is_(None),
        )
        with self._ledger.writing() as connection:
            done = connection.execute(
                update(_commands)
                .where(mine, _commands.c.status != Status.SENDING)
                .values(
                    lease_owner=None,
                    lease_until=None,
                    due_at=from_now(due_in),
                    attention=unless_acknowledged(attention),
                    reason=reason,
                )
            )
            if done.rowcount:
                detail = {"from": claim.status, "to": claim.status, "reason": reason, "attention": attention}
                record(connection, claim.id, "status", claim.owner, detail)

    def tell_of_blocked(self, can_flip: Collection[str], seconds: float) -> None:
        """Ask for attention to what waits longer than that for an earlier close that may still act; `can_flip` as above."""
        if not can_flip:
            return
        waits = and_(
            _commands.c.settled_at.is_(None),
            _commands.c.status == Status.QUEUED,
            _commands.c.attention.is_(None),
            _commands.c.acknowledged.is_(None),
            _commands.c.accepted_at <= from_now(-seconds),
            or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now()),
            blocked_by_a_close(can_flip),
        )
        reason = "waits for an earlier close of the position, which may still act"
        with self._ledger.writing() as connection:
            one_at_a_time(connection)
            blocked = connection.execute(
                update(_commands)
                .where(waits)
                .values(attention=unless_acknowledged(Attention.STILL_OPEN), reason=reason)
                .returning(_commands.c.id)
            )
            for row in blocked.all():
                detail = {
                    "from": Status.QUEUED,
                    "to": Status.QUEUED,
                    "reason": reason,
                    "attention": Attention.STILL_OPEN,
                }
                record(connection, row.id, "status", self._owner, detail)

    def recover(self, owner: str | None = None) -> list[str]:
        """Take back what a dead worker held: of `owner`, or whatever lease ran out. The ids that can go on.

        Its request may still act, so a close that was in flight is in doubt until its settle window has passed. Of an
        owner that is known to be dead the window counts from the sending; else from now, whatever the clock did.
        """
        # A lease that ends later than any was given for is of before a jump of the clock.
        ran_out = or_(
            _commands.c.lease_until <= now(), _commands.c.lease_until > from_now(LEASE_SECONDS + A_JUMP)
        )
        gone = ran_out if owner is None else _commands.c.lease_owner == owner
        held = select(_commands).where(_commands.c.lease_owner.is_not(None), gone)
        with self._ledger.writing() as connection:
            one_at_a_time(connection)
            self._look_at_the_clock(connection)
            if owner is None and not self._clock.trusted:
                return []
            rows = connection.execute(held.with_for_update(key_share=True)).all()
            for row in rows:
                self._take_back(connection, row, anew=owner is None)
            return [row.id for row in rows]

    def _look_at_the_clock(self, connection: Connection) -> None:
        moment: datetime = connection.execute(select(now())).scalar_one()
        if self._clock.look(moment) < 0:
            # What is due at a time that is far away now is due: to look too early does no harm.
            waiting = and_(_commands.c.settled_at.is_(None), _commands.c.due_at > now())
            connection.execute(update(_commands).where(waiting).values(due_at=now()))

    def _expire(self, connection: Connection) -> None:
        """Settle what was never tried and is no longer wanted."""
        untried = and_(_commands.c.first_attempt_at.is_(None), _commands.c.expires_at <= now())
        unsent = and_(_commands.c.gives_up_at <= now(), ~_commands.c.fixed)
        free = or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now())
        queued = and_(_commands.c.status == Status.QUEUED, free)
        naked = case((_unprotected(), Attention.UNPROTECTED), else_=Attention.GAVE_UP)
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
                record(connection, row.id, "status", self._owner, detail)

    def _take(self, connection: Connection, row: Row[Any], started: float) -> Claim:
        connection.execute(
            update(_commands)
            .where(_commands.c.id == row.id)
            .values(fence=row.fence + 1, lease_owner=self._owner, lease_until=from_now(LEASE_SECONDS))
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
            owner=self._owner,
            taken_at=started,
            held_until=started + LEASE_SECONDS,
            holdings=holdings_of(row.holdings),
            fixed=row.fixed,
            attention=Attention(row.attention) if row.attention else None,
            reason=row.reason,
            since_first_attempt=(moment - first).total_seconds() if first else None,
            age=(moment - row.accepted_at).total_seconds(),
            closes=tuple(_past(attempt, moment) for attempt in attempts if attempt.kind == "close"),
            overtaken=overtaken(connection, row.id) if row.status == Status.IN_DOUBT else None,
            resolution=row.resolution,
            tries=len(attempts),
            cancels=tuple(_past(a, moment) for a in attempts if a.kind == "cancel" and a.outcome == REPORTED),
            unprotected=any(a.kind == "cancel" and a.outcome in _MAY_HAVE_ACTED for a in attempts),
        )

    def _take_back(self, connection: Connection, row: Row[Any], *, anew: bool) -> None:
        values: dict[str, Any] = {"lease_owner": None, "lease_until": None, "fence": row.fence + 1}
        detail: dict[str, Any] = {"worker": row.lease_owner}
        if row.status == Status.SENDING:
            attempts = _end_unanswered(connection, row.id, anew)
            # Cancelling orders twice does no harm; closing twice might.
            repeatable = all(attempt.kind == "cancel" for attempt in attempts)
            status = Status.QUEUED if repeatable else Status.IN_DOUBT
            values |= {"status": status, "due_at": now(), "reason": "the worker ended mid-call"}
            values |= {} if repeatable else {"fixed": True}
            detail |= {"from": row.status, "to": status}
        connection.execute(update(_commands).where(_commands.c.id == row.id).values(**values))
        record(connection, row.id, "taken_back", self._owner, detail)


def _ever_more(waiting: Sequence[int]) -> Iterator[Sequence[int]]:
    """A few, then more at a time."""
    start, many = 0, ASKED_AT_FIRST
    while start < len(waiting):
        yield waiting[start : start + many]
        start, many = start + many, min(many * 4, MOST_AT_ONCE)


def unless_acknowledged(attention: Attention | None) -> ColumnElement[str | None] | None:
    """What somebody took note of does not ask for a person again."""
    if attention is None:
        return None
    return case((_commands.c.acknowledged == attention, null()), else_=literal(attention))


def _may_be_looked_at() -> ColumnElement[bool]:
    """A pause stops what is sent. What may have left is read back all the same."""
    return or_(_commands.c.fixed, ~is_paused(_commands.c))


def one_at_a_time(connection: Connection) -> None:
    """What claims, begins and takes back goes one after the other: two at once can't tell the turn of a lane."""
    if connection.dialect.name != "sqlite":  # SQLite's writers are alone already
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CLAIM_LOCK})


def _unprotected() -> ColumnElement[bool]:
    """Whether the working orders that protect the position may be gone."""
    return exists().where(
        _attempts.c.command == _commands.c.id,
        _attempts.c.kind == "cancel",
        _attempts.c.outcome.in_(_MAY_HAVE_ACTED),
    )


def _end_unanswered(connection: Connection, command_id: str, anew: bool) -> Sequence[Row[Any]]:
    """The attempts of a command that were in flight: what became of them is not known."""
    in_flight = and_(_attempts.c.command == command_id, _attempts.c.outcome.is_(None))
    attempts = connection.execute(select(_attempts).where(in_flight)).all()
    for attempt in attempts:
        window = (attempt.settles_at - attempt.sent_at).total_seconds()
        connection.execute(
            update(_attempts)
            .where(_attempts.c.seq == attempt.seq)
            .values(
                outcome=OutcomeUnknown.outcome,
                detail="the worker ended before an answer came",
                settles_at=from_now(window) if anew else attempt.settles_at,
            )
        )
    return attempts


def _past(row: Row[Any], moment: datetime) -> PastAttempt:
    report = None if row.report is None else report_of(row.report)
    age = (moment - row.sent_at).total_seconds()
    place = None if row.place is None else place_of(row.place)
    settles_in = (row.settles_at - moment).total_seconds()
    return PastAttempt(
        row.number, row.sent_at, age, settles_in, row.outcome, report, row.client_id, row.lapses, place
    )
