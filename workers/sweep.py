"""The sweep: finds what is due and was not rung for, in every worker, safe in any number at once."""

from collections.abc import Callable

import structlog

from app.ledger import due
from app.ledger.connection import Ledger, LedgerUnavailable
from workers.execution import Execution
from workers.stopping import Stopping

log = structlog.get_logger(__name__)

EVERY = 1.0
ALONE = 0.2
SHORTEST = 0.05


class Sweep:
    """Carries the due commands of one broker on, every second, or when the next falls due, until it is told to stop.

    Each broker has its own in a thread of its own: one that is stuck holds up no other's commands.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: str,
        execution: Execution,
        stopping: Stopping,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:
        """`alone` says whether only this process may call the broker: a ring for it is mostly heard by another."""
        self._ledger = ledger
        self._broker = broker
        self._execution = execution
        self._stopping = stopping
        self._alone = alone

    def run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.once())

    def once(self) -> float:
        """One round. The seconds until the next."""
        try:
            # To look keeps nobody from writing; to take does.
            if due.something_is_due(self._ledger, self._broker):
                while not self._stopping.is_set() and self._execution.step([self._broker]):
                    pass
                self._execution.tell_of_blocked()
            wait = due.seconds_to_next_due(self._ledger, [self._broker])
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
            return EVERY
        except Exception:
            # A bug in one command's step must not stop the others': its lease runs out, and the evidence decides.
            log.exception("sweep_failed", broker=self._broker)
            return EVERY
        every = ALONE if self._alone() else EVERY
        return every if wait is None else min(every, max(SHORTEST, wait))
