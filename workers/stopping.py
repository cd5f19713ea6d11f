"""A stop that a signal handler may ask for."""

import multiprocessing
import os
import select
import signal
from types import FrameType


class Stopping:
    """
    Like `threading.Event`, whose lock the very thread that a signal interrupts may hold: a handler that set one would
    wait for itself for ever. Here setting takes no lock. It is never cleared.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._asked = False

    def set(self) -> None:
        if not self._asked:
            self._asked = True
            os.write(self._writer, b".")

    def is_set(self) -> bool:
        return self._asked

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until a stop is asked for, or for so long. Whether it was. Any number of threads may wait."""
        if not self._asked:
            select.select([self._reader], [], [], seconds)
        return self._asked


def supervisor() -> int:
    """The process that this one was forked by, even if it has died since."""
    parent = multiprocessing.parent_process()
    return os.getppid() if parent is None or parent.pid is None else parent.pid


def stop_on_signals(stopping: Stopping) -> None:
    """Let SIGTERM and SIGINT ask for it."""

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
