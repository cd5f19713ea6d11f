"""What RQ calls: one function, by name, with one string."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STEPS = 10
"""At most so many steps a ring: the next in a lane follows at once, and no ring holds a worker for long."""
LONGEST = 60.0
"""Seconds after which a ring begins no further step."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What this process does about a ring."""

    step: Callable[[], bool]
    """Carry the most urgent due command on by one step; False: there was none."""
    stopped: Callable[[], bool]
    """Whether this process was told to stop: it takes nothing new then."""
    ring: Callable[[Sequence[str]], object]
    """Let somebody go on with what is left."""


_hands: Hands | None = None


def bind(hands: Hands) -> None:
    """Give this process's jobs what carries a command on. RQ finds its function by import, so it can't be passed."""
    global _hands
    _hands = hands


def carry_on(command_id: str) -> None:
    """Carry due commands on, the most urgent first. The id only says that something is due: the ledger says what."""
    assert _hands is not None, "a worker binds its jobs before it listens"
    ends_at = time.monotonic() + LONGEST
    for _ in range(STEPS):
        if _hands.stopped() or not _hands.step():
            return
        if time.monotonic() > ends_at:
            break
    _hands.ring([command_id])
