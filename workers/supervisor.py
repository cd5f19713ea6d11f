"""Keeps the worker processes alive, and gives back at once what a dead one held."""

import gc
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from types import FrameType

import structlog

from app.ledger.broker_leases import give_up_all
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.heartbeats import Heartbeat
from app.queueing import Doorbell
from workers.stopping import Stopping

log = structlog.get_logger("workers")

STOPPED_BY = (signal.SIGTERM, signal.SIGINT)
LONG_ENOUGH = 30.0
"""Seconds after which a worker that dies is restarted at once again."""
LONGEST_WAIT = 30.0

_processes = multiprocessing.get_context("fork")
"""A worker that is forked is at work at once, and shares the memory of all that was imported."""


@dataclass(slots=True)
class Place:
    """One process of several: who holds it now, and when it may be taken again."""

    work: Callable[[str], None]
    name: str = ""
    process: ForkProcess | None = None
    started_at: float = 0.0
    deaths: int = 0
    not_before: float = 0.0


class Supervisor:
    """Keeps the places filled until told to stop, and gives back at once what a dead worker held."""

    def __init__(self, ledger: Ledger, doorbell: Doorbell, works: Iterable[Callable[[str], None]]) -> None:
        """`works`: what each of the processes does, told its name."""
        self._ledger = ledger
        self._doorbell = doorbell
        self._places = [Place(work) for work in works]
        self._stopping = Stopping()

    def run(self) -> None:
        for asked in STOPPED_BY:
            signal.signal(asked, self._stop)
        gc.freeze()  # what is here by now stays, and a collection would copy it into each worker
        gc.enable()
        try:
            while not self._stopping.is_set():
                for place in self._places:
                    self._tend(place)
                self._stopping.wait(0.2)
        finally:
            self._end()  # children that are left would keep this process, and nobody would tend them

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _tend(self, place: Place) -> None:
        try:
            self._fill(place)
        except Exception:
            # A bug with one worker must not leave the others without a supervisor.
            log.exception("supervisor_failed", worker=place.name)
            place.not_before = max(place.not_before, time.monotonic() + 0.5)

    def _fill(self, place: Place) -> None:
        if place.process is not None and not place.process.is_alive():
            self._bury(place, f"exit code {place.process.exitcode}")
        if place.process is None and time.monotonic() >= place.not_before and not self._stopping.is_set():
            self._start(place)

    def _start(self, place: Place) -> None:
        # A process's number comes again, and what an earlier one held must not look like this one's.
        unique = secrets.token_hex(3)
        place.started_at = time.monotonic()
        self._ledger.dispose()  # no connection is to be shared; SQLite's locks would be lost with one
        worker = _processes.Process(target=_begin, args=(place.work, unique))
        # A signal that comes before the worker hears it itself would reach our handler, and our pipe, in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPED_BY)
        try:
            worker.start()
            place.name, place.process = _name(worker.pid, unique), worker
        except OSError as exc:
            self._bury(place, f"could not be started: {exc.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPED_BY)

    def _bury(self, place: Place, how: str) -> None:
        lived = time.monotonic() - place.started_at
        place.deaths = 1 if lived > LONG_ENOUGH else place.deaths + 1
        wait = 0.0 if place.deaths == 1 else min(LONGEST_WAIT, 0.5 * 2**place.deaths)
        log.error("worker_died", worker=place.name, how=how, restart_in=wait)
        name, place.name = place.name, ""
        place.process, place.not_before = None, time.monotonic() + wait
        if name:
            self._give_back(name)

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
            process.join()
        log.info("workers_stopped")


def _name(pid: int | None, unique: str) -> str:
    return f"{socket.gethostname()}-{pid}-{unique}"


def _begin(work: Callable[[str], None], unique: str) -> None:
    """The first steps of a worker process, which was forked with the supervisor's handlers."""
    for asked in STOPPED_BY:
        signal.signal(asked, signal.SIG_DFL)  # until it has its own there is nothing that must be ended
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPED_BY)
    name = _name(os.getpid(), unique)
    try:
        work(name)
    except Exception:
        log.exception("worker_failed", worker=name)  # multiprocessing would print it past the log
        sys.exit(1)
