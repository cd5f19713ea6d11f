"""How long a transaction may wait for the ledger, and how the many learn what the first few waited for in vain.

A sender waits three seconds for its answer. A database that is gone says so at once; one that is frozen, locked or
behind a dead line says nothing, and then it is up to us to stop waiting.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TRANSACTION_SECONDS = 1.8
"""No transaction takes longer in all, from asking for a connection to the answer of its commit."""
STATEMENT_SECONDS = 1.5
"""No statement takes longer, nor its wait to write: the database itself ends it, and says why."""

SLOW = 0.5
"""A failure that took so long cost a thread more than asking anew costs."""
PAUSE = 0.5
"""Seconds until a ledger that was silent is asked again."""
FORGOTTEN = 2.0
"""Seconds more after which nobody knows: the many who come then must not be turned away for an hour-old silence."""


class _Transaction(threading.local):
    """Of this thread. Connecting and pinging are done by the pool, which passes no deadline on."""

    deadline: float | None = None


_transaction = _Transaction()


@contextmanager
def one_deadline() -> Iterator[None]:
    """All that this thread asks of the ledger in the block ends by one moment; by that of the outermost block."""
    before = _transaction.deadline
    _transaction.deadline = before or time.monotonic() + TRANSACTION_SECONDS
    try:
        yield
    finally:
        _transaction.deadline = before


def seconds_left() -> float | None:
    """Until this thread's transaction has to be over; None: it has all the time it needs (a migration)."""
    deadline = _transaction.deadline
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def statement_seconds() -> float:
    """How long a statement of this thread may take now, or wait to write."""
    left = seconds_left()
    return STATEMENT_SECONDS if left is None else min(left, STATEMENT_SECONDS)


class Breaker:
    """While the ledger is silent one transaction at a time asks it, and the others fail at once."""

    def __init__(self, beyond: "Breaker | None" = None) -> None:
        """`beyond`: of what is not to be had either while nothing at all is answered here."""
        self._beyond = beyond
        self._lock = threading.Lock()
        self._answered_at = 0.0
        self._silent = False
        self._asked_again_at = 0.0

    def lets_through(self) -> bool:
        """Whether to ask the ledger now. Who does must `learn` from it."""
        with self._lock:
            now = time.monotonic()
            if not self._silent or now >= self._asked_again_at + FORGOTTEN:
                return True
            if now < self._asked_again_at:
                return False
            self._asked_again_at = now + TRANSACTION_SECONDS  # this one asks, and knows by then
            return True

    def turns_away(self) -> bool:
        """Whether nobody is to ask the ledger now."""
        with self._lock:
            return self._silent and time.monotonic() < self._asked_again_at

    def learn(self, began: float, *, failed: bool) -> None:
        """What became of a transaction that began then, by the monotonic clock."""
        now = time.monotonic()
        with self._lock:
            if not failed:
                self._answered_at = now
            # If others were answered meanwhile, it was slow for a reason of its own: a row that is locked, say.
            self._silent = failed and now - began >= SLOW and self._answered_at < began
            self._asked_again_at = now + PAUSE
        if self._beyond and failed and now - began >= TRANSACTION_SECONDS:
            self._beyond.learn(began, failed=True)
