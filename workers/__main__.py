"""`python -m workers`: starts WORKERS worker processes, and starts again what dies."""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

import structlog

from app.ledger.broker_leases import give_up_all
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.heartbeats import Heartbeat
from app.ledger.schema import SchemaMismatch, check_schema
from app.queueing import Doorbell
from config.environment import load
from config.file import ConfigurationFault, Role
from config.logging import configure_logging
from workers.stopping import Stopping

log = structlog.get_logger("workers")

LONG_ENOUGH = 30.0
"""Seconds after which a worker that dies is restarted at once again."""
LONGEST_WAIT = 30.0


@dataclass(slots=True)
class Place:
    """One worker of many: who holds it now, and when it may be taken again."""

    number: int
    name: str = ""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


class Supervisor:
    """Keeps the places filled until told to stop, and gives back at once what a dead worker held."""

    def __init__(self, ledger: Ledger, doorbell: Doorbell, workers: int) -> None:
        self._ledger = ledger
        self._doorbell = doorbell
        self._places = [Place(number) for number in range(1, workers + 1)]
        self._stopping = Stopping()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        while not self._stopping.is_set():
            for place in self._places:
                self._tend(place)
            self._stopping.wait(0.2)
        self._end()

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _tend(self, place: Place) -> None:
        if place.process is not None and place.process.poll() is not None:
            self._bury(place)
        if place.process is None and time.monotonic() >= place.not_before:
            self._start(place)

    def _start(self, place: Place) -> None:
        # A new name each time: what the one before it held must not look like this one's.
        place.name = f"{socket.gethostname()}-{os.getpid()}-{place.number}-{secrets.token_hex(3)}"
        place.process = subprocess.Popen([sys.executable, "-m", "workers.process", place.name])
        place.started_at = time.monotonic()

    def _bury(self, place: Place) -> None:
        assert place.process is not None
        lived = time.monotonic() - place.started_at
        place.deaths = 1 if lived > LONG_ENOUGH else place.deaths + 1
        wait = 0.0 if place.deaths == 1 else min(LONGEST_WAIT, 0.5 * 2**place.deaths)
        log.error("worker_died", worker=place.name, exit_code=place.process.returncode, restart_in=wait)
        place.process, place.not_before = None, time.monotonic() + wait
        self._give_back(place.name)

    def _give_back(self, name: str) -> None:
        try:
            taken_back = Claims(self._ledger, name).recover(owner=name)
            give_up_all(self._ledger, name)
            Heartbeat(self._ledger, name).leave()
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc), then="the leases run out by themselves")
        else:
            log.info("leases_released", worker=name, commands=taken_back)
            self._doorbell.ring(taken_back)

    def _end(self) -> None:
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        log.info("workers_stopped")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.parse_args()
    try:
        settings = load(Role.WORKER)
        configure_logging(settings.log_level, settings.log_format)
        ledger = Ledger(settings.database_url)
        check_schema(ledger)
    except (ConfigurationFault, SchemaMismatch, LedgerUnavailable) as exc:
        print(f"workers: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    if settings.redis_url is None:
        log.warning(
            "no_doorbell", hint="REDIS_URL is not set: commands are found by the sweep, up to a second later"
        )
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    Supervisor(ledger, doorbell, settings.workers).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
