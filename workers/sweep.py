"""The sweep: finds what is due and was not rung for, in every worker, safe in any number at once."""

import os
import time
from collections.abc import Callable

import structlog

from app import __version__
from app.ledger import readers
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.heartbeats import Heartbeat
from workers.execution import Execution
from workers.stopping import Stopping
from workers.tenure import Tenure

log = structlog.get_logger(__name__)

EVERY = 1.0
ALONE = 0.2
SHORTEST = 0.05
HEARTBEAT = 5.0


class Sweep:
    """Looks into the ledger every second, or when the next command falls due, until it is told to stop."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        execution: Execution,
        stopping: Stopping,
        orphaned: Callable[[], None],
        tenure: Tenure | None = None,
    ) -> None:
        self._ledger = ledger
        self._claims = Claims(ledger, worker)
        self._heartbeat = Heartbeat(ledger, worker)
        self._execution = execution
        self._stopping = stopping
        self._orphaned = orphaned
        self._tenure = tenure
        self._parent = os.getppid()
        self._last_beat = 0.0

    def run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.once())
            if os.getppid() != self._parent:
                # The supervisor was killed: nobody would restart or stop this worker any more.
                self._orphaned()

    def once(self) -> float:
        """One round. The seconds until the next."""
        try:
            self._beat()
            self._claims.recover()
            while not self._stopping.is_set() and self._execution.step():
                self._beat()
            wait = readers.seconds_to_next_due(self._ledger)
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
            return EVERY
        except Exception:
            # A bug in one command's step must not stop the others': its lease runs out, and the evidence decides.
            log.exception("sweep_failed")
            return EVERY
        # A ring for a broker that only this process may call is mostly heard by another.
        every = ALONE if self._tenure and self._tenure.holds_any else EVERY
        return every if wait is None else min(every, max(SHORTEST, wait))

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat >= HEARTBEAT:
            self._heartbeat.beat(__version__)
            self._last_beat = time.monotonic()
