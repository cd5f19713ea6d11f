"""A wider close takes over: what it leaves nothing to do is not done any more (design, section 7, Lanes)."""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, true, update

from app.domain.commands import Action, Command, FlattenEverything, urgency_of
from app.domain.failures import REPORTED, OutcomeUnknown
from app.domain.instruments import Contract, contract_of
from app.domain.positions import Holding
from app.domain.statuses import UNSETTLED, Attention, Status
from app.ledger import tables
from app.ledger.encoding import columns_of
from app.ledger.events import record
from app.ledger.lanes import ANY_NAME, PARTIAL, contains, is_free, or_any
from app.ledger.transaction import moment_of
from app.ledger.types import now

_commands = tables.commands
_attempts = tables.attempts
_wide = tables.commands.alias("wide")


_LAST_CLOSE = select(func.max(_attempts.c.seq), func.max(_attempts.c.settles_at)).where(
    _attempts.c.command == bindparam("of"), _attempts.c.kind == "close"
)
_sent_after = exists(
    select(_attempts.c.seq).where(
        _attempts.c.command == _wide.c.id,
        _attempts.c.kind == "close",
        _attempts.c.seq > bindparam("last"),
        or_(_attempts.c.outcome.is_(None), _attempts.c.outcome.in_((REPORTED, OutcomeUnknown.outcome))),
    )
)
_SENT_AFTER = (
    select(_wide.c.id, _wide.c.status, _wide.c.settled_at)
    .where(
        _commands.c.id == bindparam("of"),
        _wide.c.id != bindparam("of"),
        _wide.c.urgency < PARTIAL,
        _wide.c.status.in_((*UNSETTLED, Status.CLOSED)),
        contains(_wide.c, _commands.c),
        _sent_after,
    )
    .order_by(_wide.c.settled_at.desc())
)
_DOUBTS = (
    update(_commands)
    .where(
        _commands.c.status == Status.IN_DOUBT,
        _commands.c.settled_at.is_(None),
        exists(select(_wide.c.seq).where(_wide.c.id == bindparam("by"), contains(_wide.c, _commands.c))),
        _commands.c.id != bindparam("by"),
    )
    .values(due_at=now())
)


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A close of all of the position, sent after a command whose own answer was lost."""

    by: str
    """Its id."""
    under_way: bool
    """It is not settled yet."""
    after_the_doubt: bool
    """It was seen done when nothing of the doubtful one could come any more."""


def supersede(
    connection: Connection, claim_id: str, command: Command, holdings: tuple[Holding, ...] | None, actor: str
) -> list[str]:
    """End what was not sent yet and has nothing left to do, now that a close of all of it leaves. Their ids."""
    if urgency_of(command) >= PARTIAL:
        return []
    resolved = _resolved(connection, command, holdings)
    reason = f"a wider close took over: {claim_id}"
    lane = columns_of(command, date.min)  # of its account and root the day tells nothing
    account, root = lane.get("lane_account"), lane.get("lane_root") or ANY_NAME
    given: dict[str, Any] = {
        "by": claim_id,
        "at": command.broker,
        "of_account": account,
        "of_roots": [root, resolved.root] if resolved else [root],
        "superseded_by": claim_id,
        "reason": reason,
    }
    if resolved is not None:
        given |= {"resolved_root": resolved.root, "resolved_expiry": resolved.expiry}
    ending = _superseding(account is not None, lane.get("instrument") is not None, resolved is not None)
    ids = list(connection.execute(ending, given).scalars())
    for it in ids:
        record(
            connection,
            it,
            "status",
            actor,
            {"from": Status.QUEUED, "to": Status.SUPERSEDED, "reason": reason},
        )
    return ids


@cache
def _superseding(of_one_account: bool, of_one_instrument: bool, as_resolved: bool) -> Any:
    """The end of what has nothing left to do after `by`; what is of one account and instrument is looked up by them."""
    # Of a flatten that is made of several calls some may have left, though it waits for the others.
    unsent = and_(
        _commands.c.status == Status.QUEUED,
        or_(_commands.c.action == Action.CLOSE, ~_commands.c.fixed),
        is_free(_commands.c),
    )
    # Orders that only the narrower one would cancel may still be there at a position that is flat.
    orders_too = or_(_wide.c.cancel_orders, ~_commands.c.cancel_orders)
    wider = and_(
        _wide.c.id == bindparam("by"), orders_too, contains(_wide.c, _commands.c, as_resolved=as_resolved)
    )
    ending = update(_commands).where(
        _commands.c.broker == bindparam("at"),
        or_any(_commands.c.lane_root).in_(bindparam("of_roots", expanding=True))
        if of_one_instrument
        else true(),
        or_any(_commands.c.lane_account) == bindparam("of_account") if of_one_account else true(),
        _commands.c.settled_at.is_(None),
        _commands.c.id != bindparam("by"),
        unsent,
        exists(select(_wide.c.seq).where(wider)),
    )
    return ending.values(
        status=Status.SUPERSEDED,
        attention=None,
        settled_at=now(),
        due_at=None,
        lease_owner=None,
        lease_until=None,
        fence=_commands.c.fence + 1,
    ).returning(_commands.c.id)


def tell_of_superseded(connection: Connection, wide_id: str, actor: str) -> None:
    """Who took over was ended and is not done: a person must look at what it took over."""
    reason = f"superseded by {wide_id}, which an operator ended"
    told = connection.execute(
        update(_commands)
        .where(_commands.c.superseded_by == wide_id, _commands.c.status == Status.SUPERSEDED)
        .values(attention=Attention.GAVE_UP, reason=reason)
        .returning(_commands.c.id)
    )
    for it in list(told.scalars()):
        detail = {"from": Status.SUPERSEDED, "to": Status.SUPERSEDED, "reason": reason}
        record(connection, it, "status", actor, detail | {"attention": Attention.GAVE_UP})


def overtaken(connection: Connection, command_id: str) -> Overtaken | None:
    """Whether a close of all of the position was sent after the last close of a command that is in doubt."""
    last, settles_at = connection.execute(_LAST_CLOSE, {"of": command_id}).one()
    if last is None:
        return None
    found = connection.execute(_SENT_AFTER, {"of": command_id, "last": last}).all()
    takers = [
        Overtaken(row.id, row.settled_at is None, row.settled_at is not None and row.settled_at >= settles_at)
        for row in found
    ]
    return max(takers, key=lambda it: (it.after_the_doubt, it.under_way), default=None)


def look_into_doubts(connection: Connection, claim_id: str) -> None:
    """Let what is in doubt about a position be looked at, now that a close of all of it is done."""
    connection.execute(_DOUBTS, {"by": claim_id})


def _resolved(
    connection: Connection, command: Command, holdings: tuple[Holding, ...] | None
) -> Contract | None:
    """The one contract that a name without an expiry turned out to mean."""
    if isinstance(command, FlattenEverything) or command.instrument is None or not holdings:
        return None
    moment = moment_of(connection)
    contract = contract_of(holdings[0].instrument, moment.date())
    return contract if contract.expiry else None
