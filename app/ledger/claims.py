"""Who may carry out a command: claims under a lease with a fence."""

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, literal, or_, select, true, update

from app.domain.statuses import Attention, Status
from app.ledger import overdue, tables
from app.ledger.claim import LEASE_SECONDS, Claim, claim_of
from app.ledger.clock import Clock
from app.ledger.connection import Ledger
from app.ledger.events import record
from app.ledger.lanes import may_go
from app.ledger.overdue import unless_acknowledged
from app.ledger.pauses import is_paused
from app.ledger.recovery import begin_windows_anew, ran_out, take_back
from app.ledger.turns import one_at_a_time
from app.ledger.types import from_now, now

LATE = 2.0
"""Seconds after its time at which a read-back has waited for long."""
ONE_IN = 4
"""One claim in so many goes to such a read-back first."""
ASKED_AT_FIRST = 16
MOST_AT_ONCE = 1000
"""Of the waiting, in one statement."""

_commands = tables.commands


class Claims:
    """The claims of one worker; `owner` is its name. Safe to use from several threads."""

    def __init__(self, ledger: Ledger, owner: str, longest_window: float = 0.0) -> None:
        """`longest_window` is the longest settle window that there is, in seconds."""
        self._ledger = ledger
        self._owner = owner
        self._clock = Clock(hold=max(LEASE_SECONDS, longest_window))
        self._taken = 0

    def take(self, brokers: Collection[str], can_flip: Collection[str] = ()) -> Claim | None:
        """Take the most urgent due command of these brokers whose turn it is, or None; `can_flip` as in `may_go`."""
        started = time.monotonic()
        with self._ledger.writing() as connection:
            one_at_a_time(connection)
            moment = self._look_at_the_clock(connection)
            overdue.expire(connection, self._owner)
            row = self._most_urgent(connection, self._due(brokers), can_flip)
            return self._take(connection, row, started, moment) if row else None

    def release(self, claim: Claim, due_in: float = 0) -> None:
        """Give a claim back unchanged. Somebody else may have it already: that is fine."""
        with self._ledger.writing() as connection:
            connection.execute(update(_commands).where(_is_held_by(claim)).values(**_free(due_in)))

    def set_aside(self, claim: Claim, due_in: float, reason: str, attention: Attention | None) -> None:
        """Give a claim back for a while, and say why. What is in flight is left to `recover`."""
        told = {"attention": unless_acknowledged(attention), "reason": reason}
        with self._ledger.writing() as connection:
            done = connection.execute(
                update(_commands)
                .where(_is_held_by(claim), _commands.c.settled_at.is_(None))
                .values(**_free(due_in), **told)
            )
            if done.rowcount:
                detail = {"from": claim.status, "to": claim.status, "reason": reason, "attention": attention}
                record(connection, claim.id, "status", claim.owner, detail)

    def tell_of_blocked(self, can_flip: Collection[str], seconds: float) -> None:
        """Ask for attention to what waits longer than that for an earlier close that may still act; `can_flip` as above."""
        if can_flip:
            with self._ledger.writing() as connection:
                one_at_a_time(connection)
                overdue.tell_of_blocked(connection, can_flip, seconds, self._owner)

    def recover(self, owner: str | None = None) -> list[str]:
        """Take back what a dead worker held: of `owner`, or whatever lease ran out. The ids that can go on.

        Of an owner that is known to be dead a doubt's settle window counts from the sending; else it counts anew,
        whatever the clock did.
        """
        with self._ledger.writing() as connection:
            one_at_a_time(connection)
            self._look_at_the_clock(connection)
            if owner is not None:
                return take_back(connection, _commands.c.lease_owner == owner, self._owner, anew=False)
            # Just after a jump nobody knows whose lease ran out.
            return take_back(connection, ran_out(), self._owner, anew=True) if self._clock.trusted else []

    def _look_at_the_clock(self, connection: Connection) -> datetime:
        moment: datetime = connection.execute(select(now())).scalar_one()
        if self._clock.look(moment) < 0:
            # What is due at a time that is far away now is due: to look too early does no harm.
            waiting = and_(_commands.c.settled_at.is_(None), _commands.c.due_at > now())
            connection.execute(update(_commands).where(waiting).values(due_at=now()))
            begin_windows_anew(connection)
        return moment

    def _due(self, brokers: Collection[str]) -> ColumnElement[bool]:
        """What is due and nobody holds, its turn apart."""
        # A pause stops what is sent. What may have left is read back all the same.
        queued = and_(_commands.c.status == Status.QUEUED, or_(_commands.c.fixed, ~is_paused(_commands.c)))
        read_back = _commands.c.status.in_((Status.WORKING, Status.IN_DOUBT))
        return and_(
            _commands.c.settled_at.is_(None),
            _commands.c.broker.in_(brokers),
            _commands.c.due_at <= now(),
            or_(_commands.c.lease_until.is_(None), _commands.c.lease_until <= now()),
            or_(queued, read_back),
            # What may still act is judged only while the ledger's clock can be believed.
            true() if self._clock.trusted else and_(queued, ~_commands.c.fixed),
        )

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

    def _take(self, connection: Connection, row: Row[Any], started: float, moment: datetime) -> Claim:
        connection.execute(
            update(_commands)
            .where(_commands.c.id == row.id)
            .values(fence=row.fence + 1, lease_owner=self._owner, lease_until=from_now(LEASE_SECONDS))
        )
        return claim_of(connection, row, self._owner, started, moment)


def _is_held_by(claim: Claim) -> ColumnElement[bool]:
    """Whether a claim is still the newest, and nothing of it is in flight."""
    return and_(
        _commands.c.id == claim.id,
        _commands.c.fence == claim.fence,
        _commands.c.lease_owner == claim.owner,
        _commands.c.status != Status.SENDING,
    )


def _free(due_in: float) -> dict[str, Any]:
    return {"lease_owner": None, "lease_until": None, "due_at": from_now(due_in)}


def _ever_more(waiting: Sequence[int]) -> Iterator[Sequence[int]]:
    """A few, then more at a time."""
    start, many = 0, ASKED_AT_FIRST
    while start < len(waiting):
        yield waiting[start : start + many]
        start, many = start + many, min(many * 4, MOST_AT_ONCE)
