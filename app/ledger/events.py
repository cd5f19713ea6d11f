"""The append-only record of what happened to a command, and of what operators did beside. The log follows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from sqlalchemy import Connection, insert

from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.transaction import Line, Transaction, transaction_of
from app.ledger.types import now

log = structlog.get_logger(__name__)

# What returns something is written in one statement, however many rows there are.
_EVENTS = insert(tables.events).values(at=now()).returning(tables.events.c.seq)
_ACT = insert(tables.acts).values(at=now())

_kept: ContextVar[list[Line] | None] = ContextVar("kept", default=None)
"""What is to be logged at the end of a block; None: at once."""


def record(
    connection: Connection,
    command: str,
    name: str,
    actor: str,
    detail: dict[str, Any] | None = None,
    *,
    alert: str | None = None,
) -> None:
    """Add one event, at the end of the transaction. `actor` is the hook, worker or user that did it.

    The log names `alert` beside the command.
    """
    transaction = transaction_of(connection)
    if transaction is None:
        raise ValueError(
            "events are of the ledger's own transactions: nobody else writes them down at the end"
        )
    detail = detail or {}
    transaction.events.append({"command": command, "name": name, "actor": actor, "detail": detail})
    if detail.get("to") != Status.SENDING:  # the attempt itself tells of that
        said = {key: value for key, value in detail.items() if key != "answer"}
        named = {"command": command, "actor": actor} | ({"alert": alert} if alert else {})
        transaction.to_log.append((f"command_{name}", said | named))


def write(connection: Connection, transaction: Transaction) -> None:
    """Write what was recorded, as the last of a transaction."""
    if transaction.events:
        connection.execute(_EVENTS, transaction.events)


def tell(transaction: Transaction) -> None:
    """Log the events of a transaction that is committed: a line tells only what is so."""
    kept = _kept.get()
    if kept is not None:
        kept += transaction.to_log
    else:
        _log(transaction.to_log)


@contextmanager
def told_last() -> Iterator[None]:
    """What is committed in the block is logged at its end: somebody waits for what else is done there."""
    kept: list[Line] = []
    before = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(before)
        _log(kept)


def _log(lines: Sequence[Line]) -> None:
    for name, said in lines:
        log.info(name, **said)


def record_act(connection: Connection, name: str, actor: str, detail: dict[str, Any]) -> None:
    """Add one act of an operator that is of no single command."""
    connection.execute(_ACT, {"name": name, "actor": actor, "detail": detail})
