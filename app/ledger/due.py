"""What is due, asked without claiming it."""

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.lanes import LANE, is_free, waited_for
from app.ledger.types import now

_commands = tables.commands.c

# Statements are made once: to make one takes longer than to carry it out.
_WAITED = (
    select(_commands.id)
    .where(waited_for())
    .order_by(_commands.urgency, _commands.seq)
    .limit(bindparam("most"))
)
_DUE = (
    select(_commands.seq)
    .where(
        _commands.settled_at.is_(None),
        _commands.broker == bindparam("at"),
        _commands.due_at <= now(),
        is_free(_commands),
    )
    .limit(1)
)


def next_in_lanes(ledger: Ledger, command_id: str, limit: int) -> list[str]:
    """Due commands that may have waited for one that is settled now: the most urgent first."""
    with ledger.reading() as connection:
        lane = connection.execute(LANE, {"command": command_id}).mappings().one()
        return list(connection.execute(_WAITED, {**lane, "most": limit}).scalars())


def something_is_due(ledger: Ledger, broker: str) -> bool:
    """Whether a command of this broker may be anybody's to take."""
    with ledger.reading() as connection:
        return connection.execute(_DUE, {"at": broker}).first() is not None


def seconds_to_next_due(ledger: Ledger, brokers: Collection[str] | None = None) -> float | None:
    """The time until the next command (of these brokers) falls due that is not due yet; None if there is none."""
    later = _later(None if brokers is None else frozenset(brokers))
    with ledger.reading() as connection:
        due_at, moment = connection.execute(later).one()
    return None if due_at is None else (due_at - moment).total_seconds()


@cache
def _later(brokers: frozenset[str] | None) -> Select[Any, Any]:
    commands = tables.commands.c
    later = select(func.min(commands.due_at), now()).where(commands.due_at > now())
    return later if brokers is None else later.where(commands.broker.in_(brokers))
