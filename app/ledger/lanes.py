"""Which commands may be in flight together (design, section 7, Lanes), as SQL.

Two commands overlap when they could touch the same position. A contract without an expiry stands for its whole root.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, false, or_, select

from app.domain.statuses import UNSETTLED, Status
from app.ledger import tables
from app.ledger.types import now

PARTIAL = 2
"""The urgency of a partial close; see `app.domain.commands.urgency_of`."""

_mine = tables.commands.c
_others = tables.commands.alias("others")


def may_go(can_flip: Collection[str] = ()) -> ColumnElement[bool]:
    """Whether a queued command's turn has come, as a condition on `commands`.

    `can_flip` are the brokers where a second closing order could open the other side.
    """
    other = _others.c
    unsettled = other.settled_at.is_(None)  # all that counts below is; said so that the index is used
    overlapping = and_(unsettled, other.seq != _mine.seq, other.broker == _mine.broker, _overlaps())
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
    )
    return ~exists(
        select(other.seq).where(
            overlapping, or_(in_flight, ahead_of_a_partial, waiting_and_wider, _may_still_close(can_flip))
        )
    )


def blocked_by_a_close(can_flip: Collection[str]) -> ColumnElement[bool]:
    """Whether a command waits for what an earlier close may still do, as a condition on `commands`."""
    other = _others.c
    overlapping = and_(
        other.settled_at.is_(None), other.seq != _mine.seq, other.broker == _mine.broker, _overlaps()
    )
    return exists(select(other.seq).where(overlapping, _may_still_close(can_flip)))


def _may_still_close(can_flip: Collection[str]) -> ColumnElement[bool]:
    """Whether what the other sent may still act on a position that it could turn round.

    A whole close or a flatten goes on beside one that works: it cancels that one's order first.
    """
    if not can_flip:
        return false()
    other = _others.c
    return and_(
        _mine.broker.in_(can_flip),
        or_(
            other.status == Status.IN_DOUBT,
            and_(other.status == Status.WORKING, _mine.urgency == PARTIAL),
        ),
    )


def _overlaps() -> ColumnElement[bool]:
    other = _others.c
    same_account = or_(
        _mine.lane_account.is_(None),
        other.lane_account.is_(None),
        _mine.lane_account == other.lane_account,
    )
    same_instrument = or_(
        _mine.lane_root.is_(None),
        other.lane_root.is_(None),
        and_(
            _mine.lane_root == other.lane_root,
            or_(
                _mine.lane_expiry.is_(None),
                other.lane_expiry.is_(None),
                _mine.lane_expiry == other.lane_expiry,
            ),
        ),
    )
    return and_(same_account, same_instrument)
