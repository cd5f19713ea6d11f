"""The venue's clock, carried on by ours."""

import time

LASTS = 300.0
"""Seconds after which it is read anew: long before two clocks drift apart by the 30 s that the venue allows."""


class VenueClock:
    """The venue's time, kept against the monotonic clock: setting the machine's own clock changes nothing.

    It is never ahead of the venue's true time: an answer was on its way for a while when it is kept. Threads may
    share one; at worst two read it at once.
    """

    def __init__(self) -> None:
        self._reading: tuple[int, float] | None = None

    def keep(self, moment: int) -> None:
        """Take the venue's time, in milliseconds since 1970, as of now."""
        self._reading = (moment, time.monotonic())

    def forget(self) -> None:
        self._reading = None

    @property
    def now(self) -> int | None:
        """Milliseconds since 1970; None while it was not read, or too long ago."""
        if self._reading is None:
            return None
        moment, read_at = self._reading
        passed = time.monotonic() - read_at
        return moment + int(passed * 1000) if passed < LASTS else None
