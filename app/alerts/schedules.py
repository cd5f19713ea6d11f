"""Alerts that the clock sends: be flat before the session ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from math import inf
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.alerts.authentication import secret_in
from app.alerts.errors import NoExit, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.strict import Fault

LOOKED_AHEAD = 200
"""Runs that are looked at for how close together they come."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """When something is to happen: the five fields of cron, told by the clocks of a place.

    Where those are put forward or back it is Debian's cron: what a skipped hour would have had happens right after it,
    what an hour has that comes twice happens the first time; `*` as the minute or hour goes by time that passes.
    """

    cron: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        """Raises ValueError, with what is wrong."""
        if len(self.cron.split()) != 5:
            raise ValueError("has not five fields")
        try:
            if next(self.runs(datetime.now(UTC)), None) is None:
                raise ValueError("never happens")
        except CronSimError as exc:
            raise ValueError(f"is no time of cron: {exc}") from exc

    def __str__(self) -> str:
        return f"{self.cron} {self.zone.key}"

    def runs(self, after: datetime) -> Iterator[datetime]:
        """The moments after that one, in UTC."""
        for local in CronSim(self.cron, after.astimezone(self.zone)):
            run = local.astimezone(UTC)
            if run > after:  # in the hour that comes twice, cron's own beginning may lie in its first
                yield run

    def shortest_gap(self) -> float:
        """The least time between two of the next runs, in seconds."""
        coming = list(islice(self.runs(datetime.now(UTC)), LOOKED_AHEAD))
        return min(((later - run).total_seconds() for run, later in pairwise(coming)), default=inf)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A text that is taken as an alert to a hook at certain times."""

    name: str
    hook: Hook
    timetable: Timetable
    text: str
    asked: Request
    """What the text asks for, mapped once: nothing can be found wrong with it when its time has come."""
    late: float
    """Seconds after which a run that nobody saw to is skipped, and told."""

    def next_run(self) -> str:
        """The next time, by the clocks of its place: `Mon 2026-11-23 15:55 America/New_York`."""
        zone = self.timetable.zone
        run = next(self.timetable.runs(datetime.now(UTC)))
        return f"{run.astimezone(zone):%a %Y-%m-%d %H:%M} {zone.key}"


def asked_by(text: str, hook: Hook) -> Request:
    """What a scheduled text asks of a hook. Raises AlertRefused as an alert would be, and for what has no sense here."""
    fields = fields_of(text.encode(), hook.known_accounts)
    if secret_in(fields):
        raise WrongAlert(Fault("", "carries a secret", "take it out: nobody has to be authenticated here"))
    try:
        asked = request_of(fields, hook, datetime.now(UTC))
    except NoExit as exc:
        raise WrongAlert(Fault("", f"asks for nothing: {exc}", 'like "flatten Sim101"')) from exc
    if asked.fired_at or asked.sender_id:
        raise WrongAlert(Fault("", "carries a time or an id", "take it out: each run has its own"))
    return asked
