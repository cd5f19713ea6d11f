"""Bad days: what will go wrong, on which calls, how many times."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .exchange import Exchange
from .faults import Kind, Options
from .journal import Request

EVERY = "*"


@dataclass(slots=True)
class BadDay:
    """A fault, the calls it is for, and how many of them are left; None is without end."""

    fault: str
    kind: Kind
    on: str
    left: int | None
    options: Options

    def play(self, exchange: Exchange) -> None:
        """Let one call have this day."""
        self.kind.play(exchange, self.options)


class Forecast:
    """
    The bad days to come, in the order they were asked for; safe to use from several threads.

    `kinds` are the venue's faults by name, `operations` its kinds of calls, `sends_orders` those of them
    that send orders.
    """

    def __init__(
        self, kinds: Mapping[str, Kind], operations: Collection[str], sends_orders: Collection[str]
    ) -> None:
        self._kinds = kinds
        self._operations = operations
        self._sends_orders = sends_orders
        self._lock = threading.Lock()
        self._days: list[BadDay] = []

    def add(self, fault: str, on: str = EVERY, times: int | None = 1, **options: Any) -> None:
        """Raises ValueError for a fault, an operation, a count or an option that there is not."""
        name = str(fault).lower()
        if name not in self._kinds:
            raise ValueError(f"there is no fault {name}")
        kind = self._kinds[name]
        if on != EVERY and on not in self._operations:
            raise ValueError(f"there is no call {on}")
        if kind.sends_orders and on != EVERY and on not in self._sends_orders:
            raise ValueError(f"{name} is for calls that send orders")
        if times is not None and times < 1:
            raise ValueError("times is at least 1, or None for always")
        unknown = options.keys() - kind.options.keys()
        if unknown:
            raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}")
        with self._lock:
            self._days.append(BadDay(name, kind, on, times, kind.options | options))

    def take(self, operation: str) -> BadDay | None:
        """The first bad day for this call, used up by one."""
        with self._lock:
            day = next((day for day in self._days if self._is_for(day, operation)), None)
            if day is not None and day.left is not None:
                day.left -= 1
                if not day.left:
                    self._days.remove(day)
            return day

    def let_be(self, request: Request, exchange: Exchange) -> None:
        """Carry a call out, as its day goes."""
        day = self.take(request.operation or EVERY)
        if day is None:
            return exchange.answer(exchange.act())
        request.fault = day.fault
        return day.play(exchange)

    def clear(self) -> None:
        with self._lock:
            self._days.clear()

    def _is_for(self, day: BadDay, operation: str) -> bool:
        if day.kind.sends_orders and operation not in self._sends_orders:
            return False
        return day.on in (EVERY, operation)
