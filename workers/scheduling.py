"""Scheduled alerts: each run is given to the ledger once, however many workers see that its time has come."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import structlog

from app.alerts.schedules import Schedule
from app.ledger import condition, schedules
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Wish
from app.ledger.intake import BY_SCHEDULE, accept_of_schedule
from workers.stopping import Stopping

log = structlog.get_logger(__name__)

EVERY = 20.0
"""Seconds between two looks at most: what is noted down of when somebody looked is no older."""
AGAIN = 1.0
"""Seconds until the next try, if the ledger can't be reached."""
SHORTEST = 0.02


class Scheduling:
    """Sees to the runs of all schedules, in a thread of its own.

    A run's time has come when it has by the ledger's clock and by this machine's: one that is ahead flattens nothing
    early, and calls nothing late.
    """

    def __init__(
        self,
        ledger: Ledger,
        scheduled: Iterable[Schedule],
        ring: Callable[[Iterable[str]], object],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._schedules = tuple(scheduled)
        self._ring = ring
        self._clock = clock
        self._seen_to: dict[str, datetime] | None = None

    def run(self, stopping: Stopping) -> None:
        while not stopping.is_set():
            stopping.wait(self.once())

    def once(self) -> float:
        """See to what has come due. The seconds until the next look."""
        try:
            moment = min(condition.moment(self._ledger), self._clock())
            if self._seen_to is None:
                self._seen_to = self._begin(moment)
            return min([EVERY, *(self._see_to(schedule, moment) for schedule in self._schedules)])
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
        except Exception:
            log.exception("scheduling_failed")
        return AGAIN

    def _begin(self, moment: datetime) -> dict[str, datetime]:
        """Forget what the file has no more, and learn what others have seen to before this process was there."""
        timetables = [(it.name, str(it.timetable)) for it in self._schedules]
        schedules.forget_others(self._ledger, timetables)
        return {
            name: schedules.known_until(self._ledger, name, timetable, moment)
            for name, timetable in timetables
        }

    def _see_to(self, schedule: Schedule, moment: datetime) -> float:
        """Send what has come due of one schedule; a bug in it must not stop the others. Raises LedgerUnavailable."""
        try:
            return self._sent(schedule, moment)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("scheduling_failed", schedule=schedule.name)
            return AGAIN

    def _sent(self, schedule: Schedule, moment: datetime) -> float:
        assert self._seen_to is not None
        for run in self._due(schedule, self._seen_to[schedule.name], moment):
            self._send(schedule, run, late=_late(schedule, run, moment))
        if moment > self._seen_to[schedule.name]:
            schedules.looked(self._ledger, schedule.name, str(schedule.timetable), moment)
            self._seen_to[schedule.name] = moment
        following = next(schedule.timetable.runs(moment), None)
        return EVERY if following is None else max(SHORTEST, (following - moment).total_seconds())

    def _due(self, schedule: Schedule, since: datetime, moment: datetime) -> list[datetime]:
        """The runs whose time has come since then. Of those that are late only the last: it tells of all."""
        found: list[datetime] = []
        for run in takewhile(lambda run: run <= moment, schedule.timetable.runs(since)):
            if found and _late(schedule, run, moment):
                found.pop()
            found.append(run)
        return found

    def _send(self, schedule: Schedule, run: datetime, *, late: bool) -> None:
        wish = _late_wish(schedule, run) if late else _wish(schedule)
        taken = accept_of_schedule(self._ledger, _delivery(schedule), wish, schedule.name, run)
        if taken is None:
            return  # another worker was faster
        log.info(
            "schedule_ran",
            schedule=schedule.name,
            hook=schedule.hook.name,
            run=run.isoformat(),
            late=late,
            alert=taken.alert,
            commands=len(taken.commands),
        )
        self._ring(taken.to_ring_for)


def _late(schedule: Schedule, run: datetime, moment: datetime) -> bool:
    return moment > run + timedelta(seconds=schedule.late)


def _delivery(schedule: Schedule) -> Delivery:
    body = schedule.text.encode()
    return Delivery(schedule.hook.name, body, schedule.text, secret_label=f"{BY_SCHEDULE}{schedule.name}")


def _wish(schedule: Schedule) -> Wish:
    asked, hook = schedule.asked, schedule.hook
    return Wish(
        asked.commands,
        warnings=[it.as_dict() for it in asked.warnings],
        max_age=hook.max_age,
        symbol=asked.symbol,
        dry_run=hook.dry_run,
    )


def _late_wish(schedule: Schedule, run: datetime) -> Wish:
    """It is committed as expired: it asks for a person, who may retry it."""
    hint = f"no worker saw to this run of schedule {schedule.name} within {schedule.late:g} s (its late)"
    return replace(_wish(schedule), fired_at=run, max_lag=schedule.late, stale_hint=hint)
