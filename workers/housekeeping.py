"""What every worker does beside carrying commands on: says that it is alive, takes back what dead ones held, and ends
what is no longer wanted."""

import os
import time
from collections.abc import Callable

import structlog

from app import __version__
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.heartbeats import Heartbeat
from workers.stopping import Stopping, supervisor

log = structlog.get_logger(__name__)

EVERY = 1.0
HEARTBEAT = 5.0


class Housekeeping:
    """A round every second, in a thread of its own: no call, however slow, delays it."""

    def __init__(
        self, ledger: Ledger, claims: Claims, worker: str, stopping: Stopping, orphaned: Callable[[], None]
    ) -> None:
        self._claims = claims
        self._heartbeat = Heartbeat(ledger, worker)
        self._stopping = stopping
        self._orphaned = orphaned
        self._supervisor = supervisor()
        self._last_beat = float("-inf")

    def run(self) -> None:
        while not self._stopping.is_set():
            self.once()
            self._stopping.wait(EVERY)
            if os.getppid() != self._supervisor:
                # The supervisor was killed: nobody would restart or stop this worker any more.
                self._orphaned()

    def once(self) -> None:
        try:
            if time.monotonic() - self._last_beat >= HEARTBEAT:
                self._heartbeat.beat(__version__)
                self._last_beat = time.monotonic()
            self._claims.recover()
            self._claims.expire()
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
        except Exception:
            log.exception("housekeeping_failed")
