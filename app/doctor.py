"""What is not as it should be, each finding with what to do: for the command line and the page System.

Nothing here changes anything, and nothing raises: what can't be asked is itself a finding.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from app import __version__
from app.ledger import condition
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.schema import SchemaMismatch, check_schema, head
from app.queueing import Doorbell
from config.file import Configuration

SKEW = 2.0
"""Seconds between two clocks that are more than a slow answer."""
SLOW_WRITE = 0.25
"""Seconds."""
LITTLE_ROOM = 500 * 1024 * 1024
"""Bytes left on a disk that fill up soon."""
MENDED_IN = {"Redis": (8, 6, 3), "Valkey": (8, 1, 4)}
"""The first versions without the holes that are known: CVE-2025-49844, CVE-2026-23479."""


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not under load, or on a bad day."""
    FAULT = "fault"
    """Something does not work."""


GRAVEST_FIRST = tuple(reversed(Grade))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    grade: Grade
    said: str
    do: str | None = None
    """What to do next; None: nothing."""


def fine(about: str, said: str) -> Finding:
    return Finding(about, Grade.OK, said)


def warning(about: str, said: str, do: str) -> Finding:
    return Finding(about, Grade.WARNING, said, do)


def fault(about: str, said: str, do: str) -> Finding:
    return Finding(about, Grade.FAULT, said, do)


def findings(
    ledger: Ledger, doorbell: Doorbell, configuration: Configuration, public_url: str | None
) -> list[Finding]:
    """Everything that both the web process and the workers may know."""
    found = [*of_configuration(configuration, public_url)]
    try:
        found += [*of_ledger(ledger), *of_workers(ledger), of_clock(ledger)]
    except SchemaMismatch as exc:
        found.append(fault("ledger", str(exc), "run `python -m app migrate`"))
    except LedgerUnavailable as exc:
        found.append(fault("ledger", str(exc), "look after the database, or mend DATABASE_URL"))
    return [*found, *of_disk(ledger), of_redis(doorbell)]


def of_configuration(configuration: Configuration, public_url: str | None) -> Iterator[Finding]:
    hooks, brokers = configuration.hooks, configuration.brokers
    yield fine("configuration", f"{len(brokers)} broker(s), {len(hooks)} hook(s)")
    if configuration.notify is None:
        yield warning(
            "notifications", "nobody is told when something needs a person", "add [notify] to the file"
        )
    elif public_url is None:
        yield warning("notifications", "their links have no host", "set PUBLIC_URL")
    for schedule in configuration.schedules.values():
        said = f'"{schedule.text}" to hook {schedule.hook.name}, next at {schedule.next_run()}'
        yield fine(f"schedule {schedule.name}", said)
    for hook in hooks.values():
        if hook.dry_run:
            do = "take dry_run out of the file when it shall close positions"
            yield warning(f"hook {hook.name}", "is in shadow mode: it sends nothing", do)


def of_ledger(ledger: Ledger) -> Iterator[Finding]:
    """Raises LedgerUnavailable and SchemaMismatch."""
    check_schema(ledger)
    began = time.monotonic()
    condition.check_writable(ledger)
    took = time.monotonic() - began
    kind = "SQLite" if ledger.sqlite else "PostgreSQL"
    said = f"{kind}, schema {head()}"
    if took > SLOW_WRITE:
        do = "an alert waits for several writes: look after the database's disk, or its distance"
        yield warning("ledger", f"{said}: one write took {took * 1000:.0f} ms", do)
    else:
        yield fine("ledger", said)
    if room := condition.connections(ledger):
        used, most = room
        if used > 0.8 * most:
            do = "lower WEB_THREADS, WEB_CONCURRENCY or WORKERS, or take a larger plan"
            yield warning("connections", f"{used} of {most} are in use", do)
        else:
            yield fine("connections", f"enough are free of the {most}")


def of_workers(ledger: Ledger) -> Iterator[Finding]:
    alive = condition.workers_alive(ledger)
    if not alive:
        yield fault(
            "workers",
            "none is alive: nothing is sent to a broker",
            "start `python -m workers`, or read its log",
        )
        return
    others = {row.version for row in alive} - {__version__}
    if others:
        said = f"{len(alive)} alive, some of version {', '.join(sorted(others))} (this is {__version__})"
        yield warning("workers", said, "end the old ones once the new ones run")
    else:
        yield fine("workers", f"{len(alive)} alive")
    health = condition.health(ledger)
    if health.oldest_unsettled is not None and health.oldest_unsettled > 600:
        said = f"the oldest of {health.unsettled} unsettled is {health.oldest_unsettled / 60:.0f} minutes old"
        yield warning("commands", said, "look at the page Attention")


def of_clock(ledger: Ledger) -> Finding:
    """The database's clock against this machine's: signatures and an alert's own time are held against the latter."""
    before = datetime.now(UTC)
    there = condition.moment(ledger)
    after = datetime.now(UTC)
    apart = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if apart > SKEW:
        said = f"this machine's clock and the database's are {apart:.0f} s apart"
        return warning("clock", said, "let both be set by NTP: an alert's age is told by them")
    return fine("clock", "this machine's and the database's agree")


def of_disk(ledger: Ledger) -> Iterator[Finding]:
    """Only a ledger in a file depends on a disk of ours."""
    if not ledger.sqlite or not ledger.url.database:
        return
    folder = Path(ledger.url.database).absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        yield fault("disk", f"{folder}: {exc.strerror}", "put the folder back, or mend DATABASE_URL")
        return
    said = f"{free / 1024**3:.1f} GB left at {folder}"
    if free < LITTLE_ROOM:
        yield warning("disk", said, "make room: on a full disk every alert gets a 503")
    else:
        yield fine("disk", said)


def of_redis(doorbell: Doorbell) -> Finding:
    vitals = doorbell.vitals()
    if vitals is None:
        do = "set REDIS_URL, if a second matters"
        return warning("redis", "none is configured: commands are found up to a second later", do)
    if not vitals["answers"]:
        do = "look after it, or mend REDIS_URL; meanwhile commands are found up to a second later"
        return fault("redis", f"it does not answer: {vitals['reason']}", do)
    kind, version = vitals["kind"], vitals["version"]
    said = f"{kind} {version}"
    if _numbers(version) < MENDED_IN[kind]:
        mended = ".".join(str(number) for number in MENDED_IN[kind])
        do = f"take {mended} or newer, or one that your platform has mended"
        return warning("redis", f"{said}: known holes were mended in {mended}", do)
    if vitals["eviction"] not in ("noeviction", None):
        do = "set maxmemory-policy to noeviction"
        return warning(
            "redis", f"{said} evicts keys when it is full ({vitals['eviction']}): rings get lost", do
        )
    return fine("redis", said)


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version or "")[:3])


def told(found: list[Finding], show: Callable[[str], None]) -> bool:
    """Print findings, one a line and what to do below. Whether none is a fault."""
    width = max((len(it.about) for it in found), default=0)
    for it in found:
        show(f"{it.grade:8} {it.about:{width}}  {it.said}")
        if it.do:
            show(f"{'':8} {'':{width}}  → {it.do}")
    return not any(it.grade is Grade.FAULT for it in found)
