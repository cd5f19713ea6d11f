"""Who may carry out a command: claims under a lease with a fence."""

import time
from collections.abc import Collection, Sequence
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
    true,
    update,
)

from app.domain.commands import action_of
from app.domain.statuses import Attention, Status
from app.ledger import overdue, tables
from app.ledger.claim import LEASE_SECONDS, Claim, claim_of
from app.ledger.clock import Clock
from app.ledger.connection import Ledger
from app.ledger.events import record
from app.ledger.lanes import is_free, may_go
from app.ledger.overdue import unless_acknowledged
from app.ledger.pauses import is_paused
from app.ledger.recovery import begin_windows_anew, take_back_of, take_back_what_ran_out
from app.ledger.transaction import moment_of
from app.ledger.types import from_now, now, seconds
from app.ledger.waiting import TRANSACTION_SECONDS

LATE = 2.0
"""Seconds after its time at which a read-back has waited for long."""
ONE_IN = 4
"""One claim in so many goes to such a read-back first: else one would be left to the end of all closes each time."""
SOON = 1.0
"""Seconds before its time at which a command is read back with others."""
ASKED_AT_FIRST = 4
MOST_AT_ONCE = 1000
"""Of the waiting, in one statement."""

_commands = tables.commands

# Statements are made once: to make one takes longer than to carry it out.
_OTHERS = (
    select(_commands.c.seq)
    .where(
        _commands.c.settled_at.is_(None),
        _commands.c.broker == bindparam("at"),
        _commands.c.due_at <= now(),
        is_free(_commands.c),
        or_(
            and_(_commands.c.status == Status.QUEUED, ~is_paused(_commands.c)),
            _commands.c.status == Status.WORKING,
        ),
    )
    .limit(1)
)
# No column: what is due is to be found by its status, in the order of urgency, and not by its broker.
_at = _commands.c.broker.concat(literal_column("''"))
_BY_URGENCY = (_commands.c.urgency, _commands.c.seq)
_other = _commands.alias("other").c
_ALONE = ~exists(
    select(_other.seq).where(
        _other.settled_at.is_(None), _other.broker == _commands.c.broker, _other.seq != _commands.c.seq
    )
)
_claimed = {"lease_until": from_now(LEASE_SECONDS), "fence": _commands.c.fence + 1}
_READ_BACKS = select(_commands.c.seq).where(
    _commands.c.settled_at.is_(None),
    _commands.c.broker == bindparam("at"),
    _commands.c.status == Status.WORKING,
    _commands.c.action == bindparam("alike"),
    _commands.c.resolution.is_(None),
    _commands.c.due_at <= from_now(SOON),
    is_free(_commands.c),
)
# Only while the claim is the newest, and nothing of it is in flight.
_RELEASE = (
    update(_commands)
    .where(
        _commands.c.id == bindparam("claimed"),
        _commands.c.fence == bindparam("claimed_fence"),
        _commands.c.lease_owner == bindparam("claimed_by"),
        _commands.c.status != Status.SENDING,
    )
    .values(lease_owner=None, lease_until=None, due_at=from_now(seconds("due_in")))
)


class Claims:
    """The claims of one worker; `owner` is its name. Safe to use from several threads."""

    def __init__(self, ledger: Ledger, owner: str, longest_window: float = 0.0) -> None:
        """`longest_window` is the longest settle window that there is, in seconds; an attempt may have a commit more."""
        self._ledger = ledger
        self._owner = owner
        self._clock = Clock(hold=max(LEASE_SECONDS, longest_window + TRANSACTION_SECONDS))
        self._taken = 0

    def take(self, brokers: Collection[str], can_flip: Collection[str] = ()) -> Claim | None:
        """Take the most urgent due command of these brokers whose turn it is, or None; `can_flip` as in `may_go`."""
        started = time.monotonic()
        with self._ledger.writing(in_turn=True) as connection:
            self._look_at_the_clock(connection)
            row = self._take_most_urgent(connection, frozenset(brokers), frozenset(can_flip))
            return claim_of(connection, row, started) if row else None

    def take_read_backs(self, like: Claim, account: str | None, most: int) -> list[Claim]:
        """Take others that wait to be read back at the same broker, of that account or of any: one list serves all."""
        started = time.monotonic()
        given = {"at": like.command.broker, "alike": action_of(like.command), "most": most, "of": account}
        with self._ledger.reading() as connection:  # mostly there are none: to look holds nobody up
            if connection.execute(_read_backs(account is None).limit(1), given).first() is None:
                return []
        with self._ledger.writing(in_turn=True) as connection:
            self._look_at_the_clock(connection)
            if not self._clock.trusted:
                return []
            rows = connection.execute(
                _take_read_backs(account is None), given | {"lease_owner": self._owner}
            ).all()
            return [claim_of(connection, row, started) for row in rows]

    def others_wait(self, broker: str) -> bool:
        """Whether a command of this broker that nobody holds is due to be sent or to be read back."""
        with self._ledger.reading() as connection:
            return connection.execute(_OTHERS, {"at": broker}).first() is not None

    def release(self, claim: Claim, due_in: float = 0) -> None:
        """Give a claim back unchanged. Somebody else may have it already: that is fine."""
        with self._ledger.writing() as connection:
            connection.execute(_RELEASE, _held(claim) | {"due_in": due_in})

    def set_aside(self, claim: Claim, due_in: float, reason: str, attention: Attention | None) -> None:
        """Give a claim back for a while, and say why. What is in flight is left to `recover`."""
        told = {"attention": unless_acknowledged(attention), "reason": reason}
        aside = _RELEASE.where(_commands.c.settled_at.is_(None)).values(**told)
        with self._ledger.writing() as connection:
            if connection.execute(aside, _held(claim) | {"due_in": due_in}).rowcount:
                detail = {"from": claim.status, "to": claim.status, "reason": reason, "attention": attention}
                record(connection, claim.id, "status", claim.owner, detail)

    def expire(self) -> None:
        """Settle what was never tried, or never left, and is no longer wanted."""
        with self._ledger.writing(in_turn=True) as connection:
            overdue.expire(connection, self._owner)

    def tell_of_blocked(self, can_flip: Collection[str], seconds: float) -> None:
        """Ask for attention to what waits longer than that for an earlier close that may still act; `can_flip` as above."""
        if can_flip:
            with self._ledger.writing(in_turn=True) as connection:
                overdue.tell_of_blocked(connection, frozenset(can_flip), seconds, self._owner)

    def recover(self, owner: str | None = None) -> list[str]:
        """Take back what a dead worker held: of `owner`, or whatever lease ran out. The ids that can go on.

        Of an owner that is known to be dead a doubt's settle window counts from the sending; else it counts anew,
        whatever the clock did.
        """
        with self._ledger.writing(in_turn=True) as connection:
            self._look_at_the_clock(connection)
            if owner is not None:
                return take_back_of(connection, owner, self._owner)
            # Just after a jump nobody knows whose lease ran out.
            return take_back_what_ran_out(connection, self._owner) if self._clock.trusted else []

    def _look_at_the_clock(self, connection: Connection) -> None:
        if self._clock.look(moment_of(connection)) < 0:
            # What is due at a time that is far away now is due: to look too early does no harm.
            waiting = and_(_commands.c.settled_at.is_(None), _commands.c.due_at > now())
            connection.execute(update(_commands).where(waiting).values(due_at=now()))
            begin_windows_anew(connection)

    def _take_most_urgent(
        self, connection: Connection, brokers: frozenset[str], can_flip: frozenset[str]
    ) -> Row[Any] | None:
        """The first, in the order of urgency, whose turn it is.

        To ask of each whose turn it is takes as long as there are others, so few are asked at first.
        """
        for kind in self._kinds():
            which = (kind, brokers, self._clock.trusted)
            start, many = 0, ASKED_AT_FIRST
            while waiting := connection.execute(_waiting(*which), {"start": start, "many": many}).all():
                given = {"chosen": [it.seq for it in waiting], "lease_owner": self._owner}
                alone = all(it.alone for it in waiting)
                if row := connection.execute(_take_next_in_turn(*which, can_flip, alone), given).first():
                    return row
                start, many = start + many, min(many * 4, MOST_AT_ONCE)
        return None

    def _kinds(self) -> Sequence["_Kind"]:
        """What is taken, in its order."""
        self._taken += 1
        if not self._clock.trusted:
            return (_Kind.CLOSE,)
        in_order = (_Kind.CLOSE, _Kind.READ_BACK)
        return in_order if self._taken % ONE_IN else (_Kind.LATE_READ_BACK, *in_order)


class _Kind(Enum):
    CLOSE = 1
    READ_BACK = 2
    LATE_READ_BACK = 3


@cache
def _waiting(kind: _Kind, brokers: frozenset[str], trusted: bool) -> Select[Any]:
    """Some of what is due at these brokers and nobody holds, the most urgent first, whosever turn it is.

    And whether each is alone at its broker, where nothing else is unsettled.
    """
    due = select(_commands.c.seq, _ALONE.label("alone")).where(_due(kind, brokers, trusted))
    return due.order_by(*_BY_URGENCY).offset(bindparam("start")).limit(bindparam("many"))


@cache
def _read_backs(any_account: bool) -> Select[Any]:
    return _READ_BACKS if any_account else _READ_BACKS.where(_commands.c.account == bindparam("of"))


@cache
def _take_read_backs(any_account: bool) -> Any:
    """The claim on what waits to be read back."""
    some = _read_backs(any_account).order_by(_commands.c.seq).limit(bindparam("most"))
    free = some.with_for_update(key_share=True, skip_locked=True).correlate(None)
    taking = update(_commands).where(_commands.c.seq.in_(free.scalar_subquery()))
    return taking.values(**_claimed, lease_owner=bindparam("lease_owner")).returning(_commands)


@cache
def _take_next_in_turn(
    kind: _Kind, brokers: frozenset[str], trusted: bool, can_flip: frozenset[str], alone: bool
) -> Any:
    """The claim on the first of some of those whose turn it is; `alone`: if it is so still, it is surely its turn."""
    turn = true() if kind is not _Kind.CLOSE else _ALONE if alone else may_go(can_flip)
    # A row that somebody writes just now is not read as it was before.
    chosen = _commands.c.seq.in_(bindparam("chosen", expanding=True))
    wanted = select(_commands.c.seq).where(chosen, _due(kind, brokers, trusted), turn)
    first = wanted.order_by(*_BY_URGENCY).limit(1)
    free = first.with_for_update(of=_commands, key_share=True, skip_locked=True).correlate(None)
    taking = update(_commands).where(_commands.c.seq == free.scalar_subquery())
    return taking.values(**_claimed, lease_owner=bindparam("lease_owner")).returning(_commands)


def _due(kind: _Kind, brokers: frozenset[str], trusted: bool) -> ColumnElement[bool]:
    """What is due and nobody holds, its turn apart. `trusted`: whether the ledger's clock can be believed."""
    due = and_(
        _commands.c.settled_at.is_(None),
        _at.in_(brokers),
        _commands.c.due_at <= (from_now(-LATE) if kind is _Kind.LATE_READ_BACK else now()),
        is_free(_commands.c),
    )
    if kind is not _Kind.CLOSE:
        return and_(due, _commands.c.status.in_((Status.WORKING, Status.IN_DOUBT)))
    # A pause stops what is sent. What may have left is read back all the same.
    not_stopped = or_(_commands.c.fixed, ~is_paused(_commands.c))
    # What may still act is judged only by a clock that can be believed.
    judged = true() if trusted else ~_commands.c.fixed
    return and_(due, _commands.c.status == Status.QUEUED, ~overdue.has_run_out(), not_stopped, judged)


def _held(claim: Claim) -> dict[str, Any]:
    return {"claimed": claim.id, "claimed_fence": claim.fence, "claimed_by": claim.owner}
