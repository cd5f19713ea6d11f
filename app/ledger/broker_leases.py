"""The sole right to call a broker, where a venue lets only one of us be connected (design, section 7, Workers).

It is one row a broker, held for a while and renewed: whoever dies loses it, and nobody needs to be told.
"""

import time

from sqlalchemy import insert, or_, update
from sqlalchemy.exc import IntegrityError

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now, now

LEASE_SECONDS = 30.0
"""Longer than the longest call: what was begun under a lease ends under it."""

_leases = tables.broker_leases


class BrokerLease:
    """One process's lease of one broker; `owner` is the process's name. Safe to ask from several threads."""

    def __init__(self, ledger: Ledger, broker: str, owner: str) -> None:
        self._ledger = ledger
        self._broker = broker
        self._owner = owner
        self._held_until = 0.0  # by this process's monotonic clock: never later than the ledger's

    def holds(self, seconds: float = 0.0) -> bool:
        """Whether it is ours for that much longer."""
        return time.monotonic() + seconds < self._held_until

    def renew(self) -> bool:
        """Take it if it is free or ours. False, and it is not ours any more, if somebody else has it."""
        started = time.monotonic()
        with self._ledger.writing() as connection:
            free = or_(_leases.c.owner == self._owner, _leases.c.until <= now())
            ours = connection.execute(
                update(_leases)
                .where(_leases.c.broker == self._broker, free)
                .values(owner=self._owner, until=from_now(LEASE_SECONDS))
            ).rowcount
        if not ours:
            ours = self._first()
        self._held_until = started + LEASE_SECONDS if ours else 0.0
        return bool(ours)

    def give_up(self) -> None:
        """Let another have it at once. Nothing may be called any more before this."""
        self._held_until = 0.0
        give_up_all(self._ledger, self._owner, self._broker)

    def _first(self) -> bool:
        """Nobody ever had it, or somebody has it now: the row's key decides between two who ask at once."""
        row = {"broker": self._broker, "owner": self._owner, "until": from_now(LEASE_SECONDS)}
        try:
            with self._ledger.writing() as connection:
                connection.execute(insert(_leases).values(row))
        except IntegrityError:
            return False
        return True


def give_up_all(ledger: Ledger, owner: str, broker: str | None = None) -> None:
    """End what a process held, of one broker or of all: when it stops, and when it is known to be dead."""
    mine = _leases.c.owner == owner
    with ledger.writing() as connection:
        connection.execute(
            _leases.delete().where(mine if broker is None else mine & (_leases.c.broker == broker))
        )
