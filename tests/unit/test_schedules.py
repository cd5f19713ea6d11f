"""Schedules: each run once, over any number of workers, over clocks that change, and late as it was configured."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from app.alerts.schedules import Schedule, Timetable
from app.domain.commands import ClosePosition
from app.ledger import readers, schedules, tables
from app.ledger.connection import Ledger
from app.ledger.operators import retry
from config.file import ConfigurationFault, Role, read
from tests.conftest import on_both_databases
from workers.scheduling import AGAIN, EVERY, Scheduling

NEW_YORK = ZoneInfo("America/New_York")
FILE = """
[brokers.nt8]
kind = "crosstrade"
token = "${TOKEN}"

[hooks.futures]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
secrets = { main = "${SECRET}" }
symbols = { "MES1!" = "MES 12-26" }

[schedules.session-end]
hook = "futures"
cron = "55 15 * * 1-5"
timezone = "America/New_York"
text = "flatten Sim101"
"""
AT = datetime(2026, 3, 10, 19, 55, tzinfo=UTC)
"""A Tuesday's 15:55 in New York, two days after its clocks were put forward."""


def schedule(file: str = FILE, name: str = "session-end") -> Schedule:
    return read(file, Role.CHECK, {"TOKEN": "t" * 20, "SECRET": "s" * 20}).schedules[name]


class Worker:
    """One worker's scheduling, whose clock says what it is told."""

    def __init__(self, ledger: Ledger, *of: Schedule) -> None:
        self.rung: list[str] = []
        self.now = AT
        self.scheduling = Scheduling(ledger, of or (schedule(),), self.rung.extend, lambda: self.now)

    def look(self, at: datetime) -> float:
        self.now = at
        return self.scheduling.once()


def known_since(ledger: Ledger, at: datetime, of: Schedule | None = None) -> None:
    of = of or schedule()
    schedules.known_until(ledger, of.name, str(of.timetable), at)


def commands(ledger: Ledger) -> list[tuple[str, str, str | None]]:
    with ledger.reading() as connection:
        rows = connection.execute(select(tables.commands).order_by(tables.commands.c.seq)).all()
    return [(row.action, row.status, row.attention) for row in rows]


def before(seconds: float) -> datetime:
    return AT - timedelta(seconds=seconds)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


@on_both_databases
def test_a_run_becomes_an_alert_to_its_hook_when_its_time_has_come(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    worker = Worker(ledger)

    assert worker.look(before(600)) == EVERY
    assert 2.9 < worker.look(before(3)) <= 3
    assert commands(ledger) == []
    worker.look(after(0.01))
    assert commands(ledger) == [("flatten", "queued", None)]
    with ledger.reading() as connection:
        (command,) = connection.execute(select(tables.commands)).all()
        (alert,) = connection.execute(select(tables.alerts)).all()
        (event,) = connection.execute(select(tables.events)).all()
    assert worker.rung == [command.id]
    assert (command.hook, command.account) == ("futures", "Sim101")
    assert (command.expires_at - command.accepted_at).total_seconds() == 300
    assert (alert.text, alert.secret_label) == ("flatten Sim101", "(schedule) session-end")
    assert (event.name, event.actor) == ("accepted", "schedule session-end")


@on_both_databases
def test_many_workers_that_see_it_at_once_make_one_alert(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    workers = [Worker(ledger) for _ in range(8)]
    threads = [threading.Thread(target=worker.look, args=(after(0.1),)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in [*workers, Worker(ledger)]:
        worker.look(after(5))

    assert commands(ledger) == [("flatten", "queued", None)]
    assert sum(len(worker.rung) for worker in workers) == 1


def test_a_schedule_that_is_new_has_missed_nothing(ledger: Ledger) -> None:
    worker = Worker(ledger)
    worker.look(after(1))
    worker.look(after(60))

    assert commands(ledger) == []


@pytest.mark.parametrize(("waited", "status"), [(119.0, "queued"), (121.0, "expired")])
def test_a_run_that_nobody_saw_to_is_made_up_for_until_it_is_late(
    ledger: Ledger, waited: float, status: str
) -> None:
    known_since(ledger, before(60))
    worker = Worker(ledger)
    worker.look(after(waited))

    ((action, found, attention),) = commands(ledger)
    assert (action, found, attention) == ("flatten", status, "expired" if status == "expired" else None)
    assert bool(worker.rung) == (status == "queued")


def test_a_run_that_is_late_says_why_and_an_operator_can_retry_it(ledger: Ledger) -> None:
    known_since(ledger, before(60))
    Worker(ledger).look(after(3600))

    with ledger.reading() as connection:
        (row,) = connection.execute(select(tables.commands)).all()
    assert "fired at 2026-03-10T19:55:00Z" in row.reason
    assert "no worker saw to this run of schedule session-end within 120 s" in row.reason
    retry(ledger, row.id, "ada", "still wanted", max_age=300)
    assert commands(ledger)[1] == ("flatten", "queued", None)


def each_minute() -> Schedule:
    return schedule(FILE.replace("55 15 * * 1-5", "* * * * *").replace('text = "', 'late = 60\ntext = "'))


def test_of_many_late_runs_the_last_tells_of_all_and_what_is_not_late_is_done(ledger: Ledger) -> None:
    known_since(ledger, before(7 * 86400), each_minute())
    worker = Worker(ledger, each_minute())
    worker.look(after(130))  # 19:57:10: 19:56 is late, 19:57 is not

    assert [status for _, status, _ in commands(ledger)] == ["expired", "queued"]
    with ledger.reading() as connection:
        reason = connection.execute(select(tables.commands.c.reason)).scalars().first()
    assert "fired at 2026-03-10T19:56:00Z" in reason


def test_a_change_of_its_times_begins_it_anew(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    changed = schedule(FILE.replace("55 15", "50 15"))
    worker = Worker(ledger, changed)
    worker.look(after(1))

    assert commands(ledger) == []


@pytest.mark.parametrize("others", [(), ("noon",)])
def test_what_is_taken_out_of_the_file_and_put_back_has_missed_nothing(
    ledger: Ledger, others: tuple[str, ...]
) -> None:
    known_since(ledger, before(3600))
    without = Worker(ledger)
    without.scheduling._schedules = tuple(
        schedule(FILE.replace("session-end", name), name) for name in others
    )
    without.look(before(1800))
    Worker(ledger).look(after(1))
    Worker(ledger).look(after(2))

    assert commands(ledger) == []


def test_an_old_worker_does_not_bring_back_what_a_newer_file_has_no_more(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    old, changed = Worker(ledger), schedule(FILE.replace("55 15", "0 20"))
    old.look(before(1800))
    Worker(ledger, changed).look(before(1700))
    old.look(before(1600))
    back = Worker(ledger)
    back.look(after(1))  # the old times again, after they were gone

    assert commands(ledger) == []


def test_a_bug_with_one_schedule_does_not_stop_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = schedule(FILE.replace("session-end", "noon"), "noon")
    known_since(ledger, before(3600))
    known_since(ledger, before(3600), noon)
    worker = Worker(ledger, schedule(), noon)
    send = Scheduling._send

    def bug(self: Scheduling, of: Schedule, run: datetime, *, late: bool) -> None:
        if of.name == "session-end":
            raise RuntimeError("nobody thought of this")
        send(self, of, run, late=late)

    monkeypatch.setattr(Scheduling, "_send", bug)
    assert worker.look(after(1)) == AGAIN
    monkeypatch.undo()
    assert len(commands(ledger)) == 1
    worker.look(after(2))
    assert len(commands(ledger)) == 2


def test_a_ledger_whose_clock_is_ahead_hides_no_run_of_a_new_schedule(ledger: Ledger) -> None:
    worker = Worker(ledger)  # its clock says March, the ledger's November
    worker.look(before(60))
    worker.look(after(1))

    assert commands(ledger) == [("flatten", "queued", None)]


def test_a_new_worker_that_knows_it_no_more_takes_no_run_from_those_who_do(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    old = Worker(ledger)
    old.look(before(60))
    other = schedule(FILE.replace("session-end", "noon"), "noon")
    Worker(ledger, other).look(before(30))
    old.look(after(1))

    assert commands(ledger) == [("flatten", "queued", None)]


def test_while_the_ledger_is_away_it_is_tried_again(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    worker = Worker(ledger)
    worker.look(before(60))
    with ledger.writing() as connection:
        connection.execute(text("ALTER TABLE alert_keys RENAME TO away"))
    assert worker.look(after(1)) == AGAIN
    with ledger.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO alert_keys"))
    worker.look(after(3))

    assert commands(ledger) == [("flatten", "queued", None)]


def test_a_machine_whose_clock_is_ahead_flattens_nothing_early(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    known_since(ledger, now.replace(second=0, microsecond=0) + timedelta(minutes=2), each_minute())
    worker = Worker(ledger, each_minute())
    worker.look(now + timedelta(days=2))

    assert commands(ledger) == []


def test_a_schedule_of_a_hook_in_shadow_mode_shows_and_sends_nothing(ledger: Ledger) -> None:
    shadow = schedule(FILE.replace("[schedules", "dry_run = true\n[schedules"))
    known_since(ledger, before(3600))
    worker = Worker(ledger, shadow)
    worker.look(after(1))

    assert commands(ledger) == [("flatten", "cancelled", None)]
    assert worker.rung == []


def test_a_hook_hears_nothing_from_its_schedules(ledger: Ledger) -> None:
    known_since(ledger, before(3600))
    Worker(ledger).look(after(1))
    assert readers.last_heard(ledger, "futures") is None

    with ledger.writing() as connection:
        connection.execute(update(tables.alerts).values(secret_label="main"))
    assert readers.last_heard(ledger, "futures") is not None


def runs(cron: str, begin: datetime, days: float, zone: ZoneInfo = NEW_YORK) -> list[datetime]:
    end = begin + timedelta(days=days)
    return list(takewhile(lambda run: run <= end, Timetable(cron, zone).runs(begin)))


FORWARD = datetime(2026, 3, 8, 5, tzinfo=UTC)
"""Midnight in New York of the day whose hour from two to three does not exist."""
BACK = datetime(2026, 11, 1, 4, tzinfo=UTC)
"""Midnight in New York of the day whose hour from one to two comes twice."""


@pytest.mark.parametrize(
    ("cron", "begin", "times"),
    [
        ("55 15 * * *", FORWARD - timedelta(days=1), ["20:55", "19:55"]),
        ("30 2 * * *", FORWARD, ["07:00", "06:30"]),  # right after the hour that is skipped
        ("0,30 2 * * *", FORWARD, ["07:00", "06:00", "06:30"]),
        ("30 1 * * *", BACK, ["05:30", "06:30"]),  # the first time only
        ("*/30 1 * * *", BACK, ["05:00", "05:30", "06:00", "06:30", "06:00", "06:30"]),
        ("15 * * * *", BACK, [f"{hour % 24:02}:15" for hour in range(4, 4 + 48)]),
    ],
)
def test_over_changes_of_the_clocks_it_runs_as_cron_does(
    cron: str, begin: datetime, times: list[str]
) -> None:
    found = runs(cron, begin - timedelta(seconds=1), 2)

    assert [f"{run:%H:%M}" for run in found] == times


CRONS = ("55 15 * * 1-5", "30 2 * * *", "30 1 * * *", "*/30 * * * *", "0,30 1-3 * * *", "0 0 * * *")
ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    st.sampled_from((FORWARD, BACK, datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 4, tzinfo=UTC))),
    st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_however_often_somebody_looks_each_run_is_seen_once(
    cron: str, zone: str, day: datetime, looks: list[int]
) -> None:
    begin, place = day - timedelta(days=1), ZoneInfo(zone)
    moments = [begin + timedelta(seconds=second) for second in looks]
    seen: list[datetime] = []
    for start, end in zip([begin, *moments], moments, strict=False):
        seen += takewhile(lambda run, end=end: run <= end, Timetable(cron, place).runs(start))

    assert seen == [run for run in runs(cron, begin, 4, place) if run <= moments[-1]]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@daily", "x * * * *"]
)
def test_a_time_that_can_not_be_is_no_timetable(cron: str) -> None:
    with pytest.raises(ValueError, match=r"five fields|no time of cron|never happens"):
        Timetable(cron, NEW_YORK)


def test_workers_that_start_in_the_very_second_of_a_run_see_to_it_once(ledger: Ledger) -> None:
    known_since(ledger, before(1))
    Worker(ledger).look(AT)
    Worker(ledger).look(after(1))

    assert commands(ledger) == [("flatten", "queued", None)]


def test_its_text_is_mapped_as_an_alert_to_its_hook_is() -> None:
    found = schedule(FILE.replace("flatten Sim101", "close long MES1! in sim102"))

    (command,) = found.asked.commands
    assert isinstance(command, ClosePosition)
    assert (command.account, command.instrument, command.side) == ("Sim102", "MES 12-26", "long")
    assert found.asked.symbol == "MES1!"


HOOKS, SCHEDULE = FILE.split("[schedules")


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ('"futures"', '"futurs"', "hook", 'names a hook that is not in the file did you mean "futures"?'),
        ('hook = "futures"\n', "", "hook", "is missing it is required: write it"),
        ("55 15 * * 1-5", "55 15 * *", "cron", "has not five fields minute, hour, day, month, weekday;"),
        ("55 15 * * 1-5", "55 25 * * *", "cron", "is no time of cron: Bad hour minute, hour,"),
        ("55 15 * * 1-5", "0 0 31 2 *", "cron", "is no time of cron: Bad day-of-month"),
        ("America/New_York", "America/New_Yrok", "timezone", "is no time zone"),
        ("America/New_York", "EST5", "timezone", "is no time zone"),
        ("America/New_York", "../UTC", "timezone", "is no time zone"),
        ("America/New_York", "America", "timezone", "is no time zone"),
        ("flatten Sim101", "flatten", "text", "account: a flatten needs an account, an instrument or a side"),
        ("flatten Sim101", "flatten Sim103", "text", "account"),
        ("flatten Sim101", "heartbeat", "text", 'asks for nothing: a sign of life like "flatten Sim101"'),
        ("flatten Sim101", "flatten everything", "text", "action: this hook may not flatten_everything"),
        (
            "flatten Sim101",
            "action=flatten;account=Sim101;id=1",
            "text",
            "carries a time or an id take it out",
        ),
        ("flatten Sim101", "action=flatten;account=Sim101;key=x", "text", "carries a secret take it out"),
        ("flatten Sim101", "action=flatten;account=Sim101;time={{timenow}}", "text", "time"),
        ('text = "', 'late = 5\ntext = "', "late", "must be from 10 to 86400 seconds"),
        ('text = "', 'late = 86401\ntext = "', "late", "must be from 10 to 86400 seconds"),
        ("55 15 * * 1-5", "*/1 * * * *", "late", "is longer than the 60 s between two runs lower it"),
        ('text = "', 'lat = 5\ntext = "', "lat", 'is not known here did you mean "late"?'),
    ],
)
def test_what_is_wrong_with_a_schedule_is_told_when_a_process_starts(
    old: str, new: str, place: str, told: str
) -> None:
    assert old in SCHEDULE
    with pytest.raises(ConfigurationFault) as raised:
        schedule(f"{HOOKS}[schedules{SCHEDULE.replace(old, new)}")

    fault = raised.value.faults[0]
    assert fault.field == f"schedules.session-end.{place}"
    assert told in f"{fault.message} {fault.hint}"


def test_the_faults_of_schedules_and_hooks_are_told_at_once() -> None:
    with pytest.raises(ConfigurationFault) as raised:
        schedule(FILE.replace('"Sim101", ', '"Sim101", "sim101", ').replace("* 1-5", "* mon-"))

    assert [it.field for it in raised.value.faults] == [
        "hooks.futures.accounts",
        "schedules.session-end.cron",
    ]
