"""A stop that comes by signal, however often and at whatever moment."""

import os
import signal
import subprocess
import sys
import threading
import time

from tests.running import ROOT
from workers.stopping import Stopping

WAITS = """
import os, signal, sys
from workers.stopping import Stopping
stopping = Stopping()
signal.signal(signal.SIGUSR1, lambda number, frame: stopping.set())
print("ready", flush=True)
while not stopping.wait(0.00001):
    pass
stopping.wait()
print("ended", flush=True)
sys.stdin.read()
"""


def test_it_ends_every_wait_and_stays() -> None:
    stopping, ended = Stopping(), []
    threads = [threading.Thread(target=lambda: ended.append(stopping.wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not stopping.wait(0.01)
    stopping.set()
    stopping.set()
    for thread in threads:
        thread.join(5)

    assert ended == [True] * 3
    assert stopping.is_set()
    assert stopping.wait()


def test_a_wait_that_is_over_says_no() -> None:
    started = time.monotonic()

    assert not Stopping().wait(0.05)
    assert time.monotonic() - started >= 0.05


def test_signals_that_come_all_the_time_never_lock_it_up() -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITS],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        for _ in range(300):
            process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"ended\n"
        process.stdin.close()
        assert process.wait(5) == 0
        process.stdout.close()
