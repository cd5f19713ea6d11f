"""Noticing that the ledger's clock jumped. Leases, due times and settle windows are told by that clock alone.

A jump forward would let a lost answer be judged before its request can no longer act; a jump back would leave
commands waiting for a time that is far away.
"""

import time
from datetime import datetime

import structlog

log = structlog.get_logger(__name__)

A_JUMP = 3.0
"""Seconds between two clocks' ways of passing: more than a slow answer of the database explains."""


class Clock:
    """The ledger's clock held against this process's monotonic one. Safe to use from several threads."""

    def __init__(self, hold: float) -> None:
        """For `hold` seconds after a jump nothing is to be concluded from the ledger's clock."""
        self._hold = hold
        self._ahead: float | None = None
        self._jumped_at: float | None = None

    @property
    def trusted(self) -> bool:
        """Whether its times can be believed."""
        return self._jumped_at is None or time.monotonic() - self._jumped_at >= self._hold

    def look(self, moment: datetime) -> float:
        """Take note of what the ledger's clock says now. The seconds by which it jumped since the last look; mostly 0."""
        ahead = moment.timestamp() - time.monotonic()
        jumped = 0.0 if self._ahead is None else ahead - self._ahead
        self._ahead = ahead
        if abs(jumped) < A_JUMP:
            return 0.0
        self._jumped_at = time.monotonic()
        log.error("ledger_clock_jumped", seconds=round(jumped, 1), nothing_judged_for=self._hold)
        return jumped
