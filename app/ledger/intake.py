"""Taking alerts in: each becomes one row, however often it is delivered, and is committed with its commands."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, update

from app.domain.commands import Command
from app.ledger import arrivals, once, tables
from app.ledger.arrivals import Arrival
from app.ledger.connection import Ledger, LedgerLocked, LedgerUnavailable
from app.ledger.delivery import Delivery, Taken, Wish
from app.ledger.events import record, told_last
from app.ledger.once import Key, KeyReused
from app.ledger.waiting import one_deadline, seconds_left

log = structlog.get_logger(__name__)

OPERATORS_HOOK = "(operator)"
"""What stands for the hook of what an operator asks for: no hook can be named so."""
BY_SCHEDULE = "(schedule) "
"""What stands before a schedule's name where an alert says by which secret it came."""


_ROW_LOCK_SECONDS = 0.2
"""How long one alert's lock may hold up those that are committed with it. A deadlock is only seen after a second."""
_BESIDE_SECONDS = 0.2
"""How long one commit may hold up those who come after it, where a ledger commits several side by side."""
_HEAR_SECONDS = 0.5
"""How long one whose own time is up waits to hear of a commit that has begun with it: its sender waits three in all."""


@dataclass(slots=True, eq=False)
class _Offered:
    """An alert at the door, and what became of it."""

    arrival: Arrival
    key: Key
    became: Taken | Exception | None = None
    """None: nothing yet."""
    spoilt: bool = False
    """What it was to be committed with can't be: it is to be tried alone."""

    @property
    def told(self) -> bool:
        return self.became is not None or self.spoilt


class Intake:
    """Takes alerts in for a whole process: those that wait at the same moment are committed together.

    A transaction of ten takes hardly longer than one of one, and each of the ten waits for one instead of up to ten.
    Workers are rung for once they are committed, before the log is told: somebody waits for them.
    """

    def __init__(self, ledger: Ledger, ring: Callable[[Iterable[str]], object]) -> None:
        """`ring`: tells workers of these ids of commands; it never raises."""
        self._ledger = ledger
        self._ring = ring
        self._changed = threading.Condition()
        self._waiting: list[_Offered] = []
        self._commits = 0
        """How many are under way."""
        self._began_at = 0.0
        """The newest of them, by the monotonic clock."""

    def accept(self, delivery: Delivery, wish: Wish) -> Taken:
        """The alert and its commands, committed; or the first one, if this is a repeat of it.

        Raises KeyReused, LedgerUnavailable.
        """
        outcome = "ignored" if wish.ignored else "accepted"
        arrival = Arrival(delivery, wish, outcome=outcome, reason=wish.ignored)
        mine = _Offered(arrival, once.key_of(delivery, wish))
        with one_deadline(), told_last():
            self._ledger.refuse_while_silent()
            if batch := self._turn_of(mine):
                self._take_together(batch)
            if mine.spoilt:
                self._take_alone(mine)
        assert mine.became is not None, "who is not told in time has heard so"
        if isinstance(mine.became, Exception):
            raise mine.became
        return mine.became

    def _turn_of(self, mine: _Offered) -> list[_Offered]:
        """Wait until another thread has taken it in, or none does; then all that wait, for this thread to do.

        The newest of them does it, as it has the most time left. Raises LedgerUnavailable if its time is up: whether
        a thread that has begun will still commit it is not known.
        """
        deadline = time.monotonic() + (seconds_left() or 0.0)
        with self._changed:
            self._waiting.append(mine)
            while not mine.told:
                if self._may_commit(mine):
                    return self._begin()
                waits = mine in self._waiting
                left = deadline + (0.0 if waits else _HEAR_SECONDS) - time.monotonic()
                if left <= 0:
                    if waits:
                        self._waiting.remove(mine)
                    raise LedgerUnavailable("the ledger is busy")
                self._changed.wait(min(left, _BESIDE_SECONDS))
            return []

    def _may_commit(self, mine: _Offered) -> bool:
        if not self._waiting or self._waiting[-1] is not mine:
            return False
        if self._commits == 0:
            return True
        # SQLite has one writer at a time.
        return not self._ledger.sqlite and time.monotonic() - self._began_at >= _BESIDE_SECONDS

    def _begin(self) -> list[_Offered]:
        self._commits += 1
        self._began_at = time.monotonic()
        batch, self._waiting = self._waiting, []
        return batch

    def _take_together(self, batch: Sequence[_Offered]) -> None:
        became: Sequence[Taken | Exception | None] = [None] * len(batch)
        try:
            became = _commit(self._ledger, batch, _ROW_LOCK_SECONDS)
        except LedgerLocked:
            pass  # the lock is of one of them, and the others need not wait for it
        except LedgerUnavailable as exc:
            became = [exc] * len(batch)
        except Exception:
            log.exception(
                "intake_spoilt", alerts=len(batch)
            )  # a bug, of one of them or of their being together
        finally:
            with self._changed:
                for it, result in zip(batch, became, strict=True):
                    it.became, it.spoilt = result, result is None
                self._commits -= 1
                self._changed.notify_all()
        self._ring_for(became)

    def _take_alone(self, offered: _Offered) -> None:
        try:
            (offered.became,) = _commit(self._ledger, [offered], None)
        except Exception as exc:
            offered.became = exc
        self._ring_for([offered.became])

    def _ring_for(self, became: Iterable[Taken | Exception | None]) -> None:
        taken = [it for it in became if isinstance(it, Taken)]
        if waiting := [command for it in taken for command in it.to_ring_for]:
            self._ring(waiting)


def _commit(
    ledger: Ledger, batch: Sequence[_Offered], row_lock_seconds: float | None
) -> list[Taken | Exception]:
    with ledger.writing(awaited=True, row_lock_seconds=row_lock_seconds) as connection:
        return _accepted(connection, batch)


def _accepted(connection: Connection, batch: Sequence[_Offered]) -> list[Taken | Exception]:
    """What became of each, once this is committed. What is new is written in the order of its coming."""
    new = once.claim(connection, {it.arrival.alert: it.key for it in batch})
    firsts: dict[str, str | KeyReused | None] = dict.fromkeys(new)
    # Locked in the order of their keys, as they are claimed.
    for it in sorted(batch, key=lambda it: it.key.key):
        if it.arrival.alert not in new:
            firsts[it.arrival.alert] = _first_of(connection, it)
    to_write = [it.arrival for it in batch if firsts[it.arrival.alert] is None]
    taken: dict[str, Taken | Exception] = {it.alert: it for it in arrivals.write(connection, to_write)}
    for alert, first in firsts.items():
        if first is not None:
            taken[alert] = _taken_again(connection, first) if isinstance(first, str) else first
    return [taken[it.arrival.alert] for it in batch]


def _first_of(connection: Connection, offered: _Offered) -> str | KeyReused | None:
    """The alert that this one repeats; None: it is to be carried out."""
    arrival = offered.arrival
    asks, shown_only = bool(arrival.wish.commands), arrival.wish.dry_run
    try:
        return once.first_of(connection, arrival.alert, offered.key, asks=asks, dry_run=shown_only)
    except KeyReused as exc:
        return exc


def _taken_again(connection: Connection, first: str) -> Taken:
    alerts = tables.alerts
    connection.execute(update(alerts).where(alerts.c.id == first).values(deliveries=alerts.c.deliveries + 1))
    rows = once.commands_of(connection, first)
    for row in rows:
        record(connection, row.id, "delivered_again", row.hook, alert=first)
    return Taken(first, rows, duplicate=True)


def accept_of_operator(
    ledger: Ledger, command: Command, actor: str, reason: str, text: str, max_age: float
) -> Taken:
    """An operator's own command, through the same ledger: an alert of its own at no hook."""
    delivery = Delivery(OPERATORS_HOOK, text.encode(), text, secret_label=actor, source_address=None)
    arrival = Arrival(delivery, Wish([command], max_age=max_age), reason=reason, actor=actor)
    with ledger.writing() as connection:
        (taken,) = arrivals.write(connection, [arrival])
        return taken


def accept_of_schedule(
    ledger: Ledger, delivery: Delivery, wish: Wish, name: str, run: datetime
) -> Taken | None:
    """A run of a schedule as an alert to its hook; None: somebody has seen to this run already."""
    arrival = Arrival(delivery, wish, actor=f"schedule {name}")
    key = Key(f"{BY_SCHEDULE}{name} {run.isoformat()}", delivery.digest, None)
    with ledger.writing() as connection:
        if not once.claim(connection, {arrival.alert: key}):
            return None
        (taken,) = arrivals.write(connection, [arrival])
        return taken


def refuse(ledger: Ledger, delivery: Delivery, reason: str, errors: Sequence[dict[str, Any]]) -> str:
    """Keep an alert that was authenticated and not taken, with the reason. Its id."""
    arrival = Arrival(delivery, Wish(()), outcome="refused", reason=reason, errors=errors)
    with ledger.writing(awaited=True) as connection:
        arrivals.write(connection, [arrival])
    return arrival.alert
