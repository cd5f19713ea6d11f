"""How long to wait: pure arithmetic, in seconds."""

import random

FIRST_RETRY = 0.5
LONGEST_RETRY = 15.0
LAST_TRY = 1.0
"""Before the time for tries ends the last one is made, whatever the wait for it should be."""
WHILE_PAUSED = 2.0
"""Until what may have left in part is read back again, while the rest is held."""
FIRST_READ_BACK = 0.3
LONGEST_READ_BACK_AT_FIRST = 30.0
LONGEST_READ_BACK = 600.0
"""An order may be held for a weekend; nobody waits then for the second at which it fills."""


def retry_delay(tries: int, asked: float | None = None, *, jitter: float | None = None) -> float:
    """The wait after so many tries: doubling, capped, spread by half; never shorter than the venue asked."""
    spread = random.random() if jitter is None else jitter  # noqa: S311 (not a secret)
    doubled = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(max(0, tries - 1), 10))
    return max(doubled * (0.5 + spread / 2), asked or 0.0)


def retry_within(delay: float, left: float) -> float | None:
    """The wait before the next try with so much time left for tries: at its very end there is one more. None: too late."""
    return min(delay, left - LAST_TRY) if left > 2 * LAST_TRY else None


def read_back_delay(age: float) -> float:
    """The wait until the next read-back, ever longer with the age of the attempt."""
    return min(LONGEST_READ_BACK, max(FIRST_READ_BACK, min(LONGEST_READ_BACK_AT_FIRST, age / 2), age / 50))
