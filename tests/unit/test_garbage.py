"""Nobody looks for garbage while a process is loaded, and everybody does once it is at work."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.ledger.connection import Ledger
from app.queueing import Doorbell
from config import gunicorn
from workers.supervisor import STOPPED_BY, Supervisor


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    handlers = {asked: signal.getsignal(asked) for asked in STOPPED_BY}
    yield
    for asked, handler in handlers.items():
        signal.signal(asked, handler)
    gc.unfreeze()
    gc.enable()


def test_a_web_process_looks_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_is_notified = SimpleNamespace(configuration=SimpleNamespace(notify=None))
    monkeypatch.setattr(gunicorn, "load", lambda role: nobody_is_notified)

    gunicorn.post_fork(None, None)
    assert not gc.isenabled()
    gunicorn.post_worker_init(None)
    assert gc.isenabled()


def test_so_does_the_process_that_forks_them() -> None:
    gc.disable()
    gunicorn.when_ready(None)
    assert gc.isenabled()


def test_so_do_workers(ledger: Ledger, tmp_path: Path) -> None:
    def work(name: str) -> None:
        (tmp_path / "told").write_text(str(gc.isenabled()))

    gc.disable()
    stop = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()
    Supervisor(ledger, Doorbell(None), [work]).run()
    stop.join()

    assert (tmp_path / "told").read_text() == "True"
