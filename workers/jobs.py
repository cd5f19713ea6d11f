"""What RQ calls: one function, by name, with one string."""

from collections.abc import Callable

STEPS = 10
"""At most so many steps a ring: the next in a lane follows at once, and no ring holds a worker for long."""

_step: Callable[[], bool] | None = None


def bind(step: Callable[[], bool]) -> None:
    """Give this process's jobs what carries a command on. RQ finds its function by import, so it can't be passed."""
    global _step
    _step = step


def carry_on(command_id: str) -> None:
    """Carry due commands on, the most urgent first. The id only says that something is due: the ledger says what."""
    assert _step is not None, "a worker binds its jobs before it listens"
    for _ in range(STEPS):
        if not _step():
            return
