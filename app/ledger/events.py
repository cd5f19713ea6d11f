"""The append-only record of what happened to a command, and of what operators did beside."""

from typing import Any

from sqlalchemy import Connection, insert

from app.ledger import tables
from app.ledger.types import now

_EVENT = insert(tables.events).values(at=now())
_ACT = insert(tables.acts).values(at=now())


def record(
    connection: Connection, command: str, name: str, actor: str, detail: dict[str, Any] | None = None
) -> None:
    """Add one event. `actor` is the hook, worker or user that did it."""
    connection.execute(_EVENT, {"command": command, "name": name, "actor": actor, "detail": detail or {}})


def record_act(connection: Connection, name: str, actor: str, detail: dict[str, Any]) -> None:
    """Add one act of an operator that is of no single command."""
    connection.execute(_ACT, {"name": name, "actor": actor, "detail": detail})
