"""Brokers that only one process may call: this one serves them while it holds their lease, and keeps their socket."""

import threading
from collections.abc import Mapping

import structlog

from app.ledger.broker_leases import BrokerLease
from app.ledger.connection import Ledger, LedgerUnavailable
from config.file import BrokerSettings
from workers.brokers.broker import Broker

log = structlog.get_logger(__name__)

RENEWED_EVERY = 5.0
"""Seconds; a sixth of a lease, so that a ledger that is away for a while costs nobody theirs."""


class Tenure:
    """The leases of one process, renewed in a thread of its own: no call, however slow, delays it."""

    def __init__(
        self, ledger: Ledger, worker: str, brokers: Mapping[str, tuple[Broker, BrokerSettings]]
    ) -> None:
        self._brokers = {name: broker for name, (broker, settings) in brokers.items() if settings.exclusive}
        self._leases = {name: BrokerLease(ledger, name, worker) for name in self._brokers}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tenure", daemon=True)

    def start(self) -> None:
        """Ask for the leases, and go on asking and renewing."""
        if self._leases:
            self._thread.start()

    def stop(self) -> None:
        """Close the sockets, then let others have the leases. Nothing may be in flight any more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for name, lease in self._leases.items():
            if lease.holds():
                self._brokers[name].release()
                _given_up(lease)

    def may_call(self, broker: str, seconds: float = 0.0) -> bool:
        """Whether this process may call a broker for that much longer."""
        lease = self._leases.get(broker)
        return lease is None or lease.holds(seconds)

    def serves(self, broker: str) -> bool:
        """Whether this process alone may call a broker, and does."""
        return broker in self._leases and self._leases[broker].holds()

    def renew(self) -> None:
        """Ask once for each lease; close the socket of one that is lost."""
        for name, lease in self._leases.items():
            held = lease.holds()
            try:
                holds = lease.renew()
            except LedgerUnavailable as exc:
                log.warning("broker_lease_not_renewed", broker=name, reason=str(exc))
                holds = lease.holds()
            if held and not holds:
                log.error("broker_lease_lost", broker=name)
            elif holds and not held:
                log.info("broker_lease_taken", broker=name)
            if not holds:
                self._brokers[name].release()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.renew()
            except Exception:
                # Leases that are not renewed run out: nothing is called then, and another process takes over.
                log.exception("tenure_failed")
            self._stopping.wait(RENEWED_EVERY)


def _given_up(lease: BrokerLease) -> None:
    try:
        lease.give_up()
    except LedgerUnavailable as exc:
        log.warning("ledger_unavailable", reason=str(exc), then="the lease runs out by itself")
