"""The supervisor where the machine has no room for another process."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.context import ForkProcess

import pytest
from structlog.testing import capture_logs

from app.ledger.connection import Ledger
from app.queueing import Doorbell
from workers.supervisor import STOPPED_BY, Supervisor


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = {asked: signal.getsignal(asked) for asked in STOPPED_BY}
    yield
    for asked, handler in before.items():
        signal.signal(asked, handler)


def test_a_worker_that_can_not_be_started_is_told_and_tried_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def no_room(process: ForkProcess) -> None:
        tried.append(process)
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(ForkProcess, "start", no_room)
    stop = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()
    with capture_logs() as logs:
        Supervisor(ledger, Doorbell(None), [lambda name: None]).run()
    stop.join()

    died = [entry for entry in logs if entry["event"] == "worker_died"]
    assert died[0]["how"] == "could not be started: Resource temporarily unavailable"
    assert len(tried) == len(died) == 2  # at once, and then not before a second
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_bug_with_one_worker_leaves_none_without_a_supervisor(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def bug(process: ForkProcess) -> None:
        tried.append(process)
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(ForkProcess, "start", bug)
    stop = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()
    with capture_logs() as logs:
        Supervisor(ledger, Doorbell(None), [lambda name: None, lambda name: None]).run()
    stop.join()

    assert {entry["event"] for entry in logs} >= {"supervisor_failed", "workers_stopped"}
    assert len(tried) == 4  # each place at once, and again after half a second
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
