"""Which commands may be in flight together, and which leaves another nothing to do (design, section 7, Lanes), as SQL.

Two commands overlap when they could touch the same position. A contract without an expiry stands for its whole root.
One contains another when there is nothing left of that one's position after it.
"""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from app.domain.commands import Action
from app.domain.statuses import UNSETTLED, Status
from app.ledger import tables
from app.ledger.pauses import is_paused
from app.ledger.types import now

PARTIAL = 2
"""The urgency of a partial close; see `app.domain.commands.urgency_of`."""

_mine = tables.commands.c
_others = tables.commands.alias("others")
_thirds = tables.commands.alias("thirds")

ANY_NAME = ""
"""In the index of lanes: none is named, and so it may be any."""
_ANY: ColumnElement[str] = literal_column("''")

Columns = Any
"""Of `commands`, or of an alias of it."""


def is_free(command: Columns) -> ColumnElement[bool]:
    """Whether no worker holds a claim on it, as a condition on `commands` or an alias of it."""
    return or_(command.lease_until.is_(None), command.lease_until <= now())


def may_go(can_flip: Collection[str] = ()) -> ColumnElement[bool]:
    """Whether a queued command's turn has come, as a condition on `commands`.

    `can_flip` are the brokers where a second closing order could open the other side.
    """
    other = _others.c
    earlier = other.seq < _mine.seq
    in_flight = or_(
        other.status == Status.SENDING,
        and_(other.status == Status.QUEUED, other.lease_until > now()),
    )
    ahead_of_a_partial = and_(_mine.urgency == PARTIAL, earlier, other.status.in_(UNSETTLED))
    # A wide close that waits for calls in flight would starve if later ones went on around it.
    waiting_and_wider = and_(
        earlier,
        other.urgency < PARTIAL,
        other.urgency <= _mine.urgency,
        other.status == Status.QUEUED,
        other.due_at <= now(),
        ~is_paused(other),
        # What waits for a doubt may wait for days, and would hold up positions that are in none.
        ~_blocked(other, _thirds, can_flip),
    )
    holds_up = or_(in_flight, ahead_of_a_partial, waiting_and_wider, _may_still_close(_mine, other, can_flip))
    return ~_any_overlapping(_mine, _others, holds_up)


def blocked_by_a_close(can_flip: Collection[str]) -> ColumnElement[bool]:
    """Whether a command waits for what an earlier close may still do, as a condition on `commands`."""
    return _blocked(_mine, _others, can_flip)


def _blocked(mine: Columns, others: FromClause, can_flip: Collection[str]) -> ColumnElement[bool]:
    if not can_flip:
        return false()
    return _any_overlapping(mine, others, _may_still_close(mine, others.c, can_flip))


def _any_overlapping(
    mine: Columns, others: FromClause, condition: ColumnElement[bool]
) -> ColumnElement[bool]:
    return or_(*(exists(others_of_it) for others_of_it in _overlapping(mine, others, condition)))


def _overlapping(
    mine: Columns, others: FromClause, condition: ColumnElement[bool]
) -> tuple[Select[Any], Select[Any]]:
    """The `seq` of the unsettled others that overlap with one, and are so: of one of the two nothing is to be found.

    Who names its account and its root finds the others by an index. Who may touch many looks through all of the broker.
    """
    other: Columns = others.c
    named = and_(mine.lane_account.is_not(None), mine.lane_root.is_not(None))
    of_its_name = and_(
        or_any(other.lane_account).in_((_ANY, mine.lane_account)),
        or_any(other.lane_root).in_((_ANY, mine.lane_root)),
    )
    unsettled = and_(other.settled_at.is_(None), other.broker == mine.broker, other.seq != mine.seq)
    found = select(other.seq).where(unsettled, overlaps(mine, other), condition)
    return found.where(named, of_its_name), found.where(~named)


def _may_still_close(mine: Columns, other: Columns, can_flip: Collection[str]) -> ColumnElement[bool]:
    """Whether what the other sent may still act on a position that it could turn round.

    A whole close or a flatten goes on beside one that works: it cancels that one's order first. A flatten that is made of
    several calls may wait with one of them, and have another in doubt.
    """
    if not can_flip:
        return false()
    return and_(
        mine.broker.in_(can_flip),
        or_(
            other.status == Status.IN_DOUBT,
            and_(_under_way(other), or_(~_under_way(mine), other.seq < mine.seq)),
            and_(other.status == Status.WORKING, mine.urgency == PARTIAL),
        ),
    )


def _under_way(flatten: Columns) -> ColumnElement[bool]:
    """Whether it is a flatten of several calls that waits with one of them, and may have others in doubt or at work.

    Of two of those the earlier goes first: else each would wait for the other.
    """
    return and_(flatten.status == Status.QUEUED, flatten.fixed, flatten.action != Action.CLOSE)


_LANE = ("seq", "broker", "lane_account", "lane_root", "lane_expiry")
_its = SimpleNamespace(**{name: bindparam(name, type_=_mine[name].type) for name in _LANE})

LANE = select(*(_mine[name] for name in _LANE)).where(_mine.id == bindparam("command"))
"""The lane of a command, as `waited_for` is given it."""


def waited_for() -> ColumnElement[bool]:
    """Whether a command may have waited for one of that `LANE` that is settled now, as a condition on `commands`.

    The lane is given by its values: PostgreSQL finds nothing by the names of a row that it has yet to read.
    """
    waits = and_(_others.c.status == Status.QUEUED, _others.c.due_at <= now())
    return _mine.seq.in_(union_all(*_overlapping(_its, _others, waits)))


def or_any(name: ColumnElement[str | None]) -> ColumnElement[str]:
    """The account or root of a lane as the index of lanes has it."""
    return func.coalesce(name, _ANY)


def contains(wide: Columns, narrow: Columns, *, as_resolved: bool = False) -> ColumnElement[bool]:
    """Whether a close of all that `wide` names closes all that `narrow` is about.

    `as_resolved`: or that is of the `resolved_root` and `resolved_expiry` that the statement is given, the contract that
    a name without an expiry turned out to mean.
    """
    same_account = or_(wide.lane_account.is_(None), wide.lane_account == narrow.lane_account)
    same_contract = and_(
        wide.lane_root == narrow.lane_root,
        or_(
            wide.lane_expiry == narrow.lane_expiry,
            and_(wide.lane_expiry.is_(None), narrow.lane_expiry.is_(None)),
        ),
    )
    # A name that tells no contract means what the very same name means.
    same_instrument = or_(wide.instrument.is_(None), wide.instrument == narrow.instrument, same_contract)
    if as_resolved:
        resolved = and_(
            narrow.lane_root == bindparam("resolved_root"), narrow.lane_expiry == bindparam("resolved_expiry")
        )
        same_instrument = or_(same_instrument, resolved)
    same_side = or_(wide.position.is_(None), wide.position == narrow.position)
    return and_(wide.broker == narrow.broker, same_account, same_instrument, same_side)


def overlaps(mine: Columns, other: Columns) -> ColumnElement[bool]:
    same_account = or_(
        mine.lane_account.is_(None),
        other.lane_account.is_(None),
        mine.lane_account == other.lane_account,
    )
    same_instrument = or_(
        mine.lane_root.is_(None),
        other.lane_root.is_(None),
        and_(
            mine.lane_root == other.lane_root,
            or_(
                mine.lane_expiry.is_(None),
                other.lane_expiry.is_(None),
                mine.lane_expiry == other.lane_expiry,
            ),
        ),
    )
    return and_(same_account, same_instrument)
