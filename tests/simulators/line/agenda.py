"""What is still to happen in the book, done in order of its time by whoever looks next."""

import heapq
import itertools
from collections.abc import Callable

Clock = Callable[[], float]


class Agenda:
    """
    Things due at a time of the clock.

    Nothing runs by itself: whoever uses the book catches up first. Nobody can tell the difference,
    and there is no timer to outlive a test. Not thread-safe: the book's lock guards it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = itertools.count()
        self._moment: float | None = None

    def now(self) -> float:
        """The time of what is being caught up with, else the clock's."""
        return self._clock() if self._moment is None else self._moment

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        if seconds <= 0:
            act()
        else:
            heapq.heappush(self._due, (self.now() + seconds, next(self._sequence), act))

    def let_pass(self, seconds: float) -> None:
        """Everything is due that much sooner, as if the time had passed."""
        self._due = [(due - seconds, number, act) for due, number, act in self._due]

    def catch_up(self) -> None:
        if self._moment is not None:
            return
        until = self._clock()
        try:
            while self._due and self._due[0][0] <= until:
                self._moment, _, act = heapq.heappop(self._due)
                act()
        finally:
            self._moment = None
