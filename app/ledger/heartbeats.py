"""Which workers are alive: each says so every few seconds."""

from sqlalchemy import bindparam, delete, insert, update

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now, now

_workers = tables.workers
_FORGOTTEN = 3600  # seconds
_SEEN = update(_workers).where(_workers.c.name == bindparam("beating")).values(seen_at=now())
_FORGET = delete(_workers).where(_workers.c.seen_at < from_now(-_FORGOTTEN))


class Heartbeat:
    """The sign of life of one worker; `name` is the owner of its claims."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name

    def beat(self, version: str) -> None:
        """Say that this worker is alive."""
        with self._ledger.writing() as connection:
            if not connection.execute(_SEEN, {"beating": self._name}).rowcount:
                row = {"name": self._name, "version": version, "started_at": now(), "seen_at": now()}
                connection.execute(insert(_workers).values(row))
            connection.execute(_FORGET)

    def leave(self) -> None:
        """Say that this worker has ended."""
        with self._ledger.writing() as connection:
            connection.execute(delete(_workers).where(_workers.c.name == self._name))
