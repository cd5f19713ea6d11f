"""Taking alerts in: each becomes one row, however often it is delivered, and is committed with its commands."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from app.domain.commands import Command
from app.ledger import arrivals, once, tables
from app.ledger.arrivals import Arrival
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Taken, Wish
from app.ledger.events import record, told_last
from app.ledger.once import Key, KeyReused
from app.ledger.waiting import one_deadline, seconds_left

OPERATORS_HOOK = "(operator)"
"""What stands for the hook of what an operator asks for: no hook can be named so."""
BY_SCHEDULE = "(schedule) "
"""What stands before a schedule's name where an alert says by which secret it came."""


@dataclass(slots=True, eq=False)
class _Offered:
    """An alert at the door, and what became of it."""

    arrival: Arrival
    key: Key
    became: Taken | Exception | None = None
    """None: it waits."""
    given_up: bool = False
    """Whoever brought it waits no more."""


class Intake:
    """Takes alerts in for a whole process: those that wait at the same moment are committed together.

    A transaction of ten takes hardly longer than one of one, and each of the ten waits for one instead of up to ten.
    Workers are rung for once they are committed, before the log is told: somebody waits for them.
    """

    def __init__(self, ledger: Ledger, ring: Callable[[Iterable[str]], object]) -> None:
        """`ring`: tells workers of these ids of commands; it never raises."""
        self._ledger = ledger
        self._ring = ring
        self._turn = threading.Lock()
        self._waiting: deque[_Offered] = deque()

    def accept(self, delivery: Delivery, wish: Wish) -> Taken:
        """The alert and its commands, committed; or the first one, if this is a repeat of it.

        Raises KeyReused, LedgerUnavailable.
        """
        outcome = "ignored" if wish.ignored else "accepted"
        arrival = Arrival(delivery, wish, outcome=outcome, reason=wish.ignored)
        mine = _Offered(arrival, once.key_of(delivery, wish))
        self._waiting.append(mine)
        with one_deadline(), told_last():
            if waiting := self._committed(mine):
                self._ring(waiting)
        if isinstance(mine.became, Taken):
            return mine.became
        assert mine.became is not None, "its turn has come, in this thread or in another"
        raise mine.became

    def _committed(self, mine: _Offered) -> list[str]:
        """See to it that this one is taken in: by this thread, with all that wait, unless another one did.

        The commands to ring for. Raises LedgerUnavailable if its turn does not come in time.
        """
        if not self._turn.acquire(timeout=seconds_left() or 0):
            mine.given_up = True
            raise LedgerUnavailable("the ledger is busy")
        try:
            if mine.became is not None:
                return []
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            batch = [it for it in batch if not it.given_up]
            self._take(batch)
        finally:
            self._turn.release()
        return [row for it in batch if isinstance(it.became, Taken) for row in it.became.to_ring_for]

    def _take(self, batch: Sequence[_Offered]) -> None:
        """All in one transaction; if one of them can't be written, which is a bug, each in one of its own."""
        try:
            taken = _commit(self._ledger, batch)
        except Exception as exc:
            if len(batch) > 1 and not isinstance(exc, LedgerUnavailable):
                for it in batch:
                    self._take([it])
                return
            taken = [exc] * len(batch)
        for it, became in zip(batch, taken, strict=True):
            it.became = became


def _commit(ledger: Ledger, batch: Sequence[_Offered]) -> list[Taken | Exception]:
    with ledger.writing(awaited=True) as connection:
        return _accepted(connection, batch)


def _accepted(connection: Connection, batch: Sequence[_Offered]) -> list[Taken | Exception]:
    """What became of each, once this is committed."""
    new = once.claim(connection, {it.arrival.alert: it.key for it in batch})
    found: dict[str, Taken | Exception] = {}
    first = [it.arrival for it in batch if it.arrival.alert in new]
    for taken in arrivals.write(connection, first):
        found[taken.alert] = taken
    # Locked in the order of their keys, as they are claimed.
    for it in sorted((it for it in batch if it.arrival.alert not in new), key=lambda it: it.key.key):
        found[it.arrival.alert] = _taken_again(connection, it)
    return [found[it.arrival.alert] for it in batch]


def _taken_again(connection: Connection, offered: _Offered) -> Taken | KeyReused:
    """What becomes of one that may be a repeat."""
    arrival = offered.arrival
    asks, shown_only = bool(arrival.wish.commands), arrival.wish.dry_run
    try:
        first = once.first_of(connection, arrival.alert, offered.key, asks=asks, dry_run=shown_only)
    except KeyReused as exc:
        return exc
    if first is None:
        (taken,) = arrivals.write(connection, [arrival])
        return taken
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
