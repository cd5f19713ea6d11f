"""The append-only record of what happened to a command, and of what operators did beside. The log follows it."""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, insert

from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.types import now

log = structlog.get_logger(__name__)

TO_LOG = "flatwire_to_log"
"""The option of a connection under which its transaction keeps what is to be logged."""

_EVENT = insert(tables.events).values(at=now())
_ACT = insert(tables.acts).values(at=now())


def record(
    connection: Connection,
    command: str,
    name: str,
    actor: str,
    detail: dict[str, Any] | None = None,
    *,
    alert: str | None = None,
) -> None:
    """Add one event. `actor` is the hook, worker or user that did it; the log names `alert` beside the command."""
    connection.execute(_EVENT, {"command": command, "name": name, "actor": actor, "detail": detail or {}})
    to_log = connection.get_execution_options().get(TO_LOG)
    if to_log is not None and (detail or {}).get("to") != Status.SENDING:  # the attempt itself tells of that
        said = {key: value for key, value in (detail or {}).items() if key != "answer"}
        named = {"command": command, "actor": actor} | ({"alert": alert} if alert else {})
        to_log.append((f"command_{name}", said | named))


def tell(committed: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Log the events of a transaction that is committed: a line tells only what is so."""
    for name, said in committed:
        log.info(name, **said)


def record_act(connection: Connection, name: str, actor: str, detail: dict[str, Any]) -> None:
    """Add one act of an operator that is of no single command."""
    connection.execute(_ACT, {"name": name, "actor": actor, "detail": detail})
