"""`make rehearse`: the product through a series of bad days. Exits with 1 if anything was lost, doubled or wrongly told.

The judge is the venue's own book. All cases are written to var/rehearsal.csv; what is printed is their sum.
"""

import argparse
import csv
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from app.ledger.connection import Ledger
from app.ledger.migration import migrate
from config.logging import configure_logging
from tests.postgres import PostgresServer
from tests.rehearsal import acceptance, commits, cutting, doorbell, faults, kills
from tests.rehearsal.kills import KilledCase, Unreached
from tests.rehearsal.storm import StormResult, storm
from tests.rehearsal.verdicts import Case, Verdict

T = TypeVar("T")

LISTED = Path("var/rehearsal.csv")
SHOWN_EVERY = 5.0
"""Seconds between two signs of life."""


@dataclass
class Rehearsal:
    """What was seen so far."""

    short: bool
    cases: list[Case] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Figures for the end."""

    def faults(self) -> None:
        """Each fault × each venue × whole, part and flatten; outages."""
        self._take(faults.cases(one_in=5 if self.short else 1))

    def cuts(self) -> None:
        """Lines cut at every byte, between worker and venue."""
        self._take(cutting.cases(sample=8, stalls=2, others=4) if self.short else cutting.cases())

    def rings(self) -> None:
        """Lines cut at every byte, between the product and Redis."""
        sample = 10 if self.short else None
        self._take(doorbell.cases(10 if self.short else 60))
        rings = list(_shown(doorbell.rings(sample, stalls=5 if self.short else 100)))
        self.bad += [f"a ring was late, or rang twice: {ring}" for ring in rings if not ring.fine]
        self.notes.append(f"{len(rings)} rings and questions for room on cut lines, all in time")

    def commits(self) -> None:
        """Lines cut at every byte, between the door and PostgreSQL."""
        server = PostgresServer().start()
        ledger = Ledger(server.url, threads=commits.AT_ONCE)
        try:
            migrate(ledger)
            whole = commits.fate(server, ledger, None).watched
            cuts = [*commits.of_the_commit(whole), *commits.of_all(whole, 60 if self.short else None)]
            fates = list(_shown(commits.fates(server, ledger, cuts)))
        finally:
            ledger.dispose()
            server.end()
        self.bad += [f"an alert on a cut line: {it}" for it in fates if not it.fine]
        unheard = sum(it.kept for it in fates if not it.taken)
        self.notes.append(
            f"{len(fates)} alerts on lines to PostgreSQL that were cut: {unheard} kept though the door said 503, "
            "each once after a resend"
        )

    def kills(self) -> None:
        """A process killed before and after each commit, and around each send."""
        found = list(_shown(kills.cases(12 if self.short else None)))
        unreached = [it for it in found if isinstance(it, Unreached)]
        killed = [it for it in found if isinstance(it, KilledCase)]
        self._take(killed)
        times = [it.carried_on_after for it in killed if it.carried_on_after is not None]
        self.notes.append(
            f"{len(killed)} processes killed; {len(unreached)} points are not on the way of a close there"
        )
        if times:
            median, worst = statistics.median(times), max(times)
            self.notes.append(f"carried on after a SIGKILL: median {median:.2f} s, worst {worst:.2f} s")

    def storm(self) -> None:
        """Many alerts from many clients, with kills of everything."""
        alerts = 120 if self.short else 1000
        with tempfile.TemporaryDirectory(prefix="flatwire-storm-") as name:
            folder = Path(name)
            (folder / "sqlite").mkdir()
            self._weather("SQLite", storm(folder / "sqlite", f"sqlite:///{folder / 'flatwire.db'}", alerts))
            if not self.short:
                (folder / "postgresql").mkdir()
                server = PostgresServer().start()
                try:
                    self._weather("PostgreSQL", storm(folder / "postgresql", server.url, alerts))
                finally:
                    server.end()

    def _weather(self, database: str, result: StormResult) -> None:
        for name in ("lost", "doubled", "wrongly_closed", "wrongly_answered"):
            self.bad += [f"storm on {database}: {name}: {what}" for what in getattr(result, name)]
        self.notes.append(
            f"storm on {database}: {result.alerts} alerts in {result.sent} deliveries, {result.accepted} accepted, "
            f"{result.duplicates} duplicates, {result.refused} refused, {result.unavailable} answered 503; "
            f"killed: {result.kills}; {result.seconds:.0f} s; lost {len(result.lost)}, doubled {len(result.doubled)}, "
            f"wrongly closed {len(result.wrongly_closed)}; for a person: {sum(result.attention.values())}"
        )

    def acceptance(self) -> None:
        """How fast the door answers while what it depends on is silent, full or gone."""
        for day in _shown(acceptance.acceptances(20 if self.short else 100)):
            answered = "/".join(map(str, day.statuses))
            self.notes.append(
                f"accepting with {day.day}: {answered}, median {day.median:.0f} ms, worst {day.worst:.0f} ms"
            )
            if not day.fine:
                self.bad.append(f"accepting with {day.day}: expected {day.expected} within 2.5 s: {day}")

    def _take(self, cases: Iterable[Case]) -> None:
        for case in _shown(cases):
            self.cases.append(case)
            if not case.verdict.fine:
                self.bad.append(f"{case.verdict}: {case}")


SERIES: dict[str, Callable[[Rehearsal], None]] = {
    "faults": Rehearsal.faults,
    "cuts": Rehearsal.cuts,
    "rings": Rehearsal.rings,
    "commits": Rehearsal.commits,
    "kills": Rehearsal.kills,
    "acceptance": Rehearsal.acceptance,
    "storm": Rehearsal.storm,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=__doc__)
    parser.add_argument("series", nargs="*", help=f"some of: {', '.join(SERIES)}; all of them without")
    parser.add_argument("--short", action="store_true", help="a sample of each, in about three minutes")
    options = parser.parse_args()
    configure_logging("ERROR", "text")  # of this process: it would fill the report
    if strange := set(options.series) - set(SERIES):
        parser.error(f"there is no series {', '.join(sorted(strange))}; there are {', '.join(SERIES)}")
    cutting.be_quiet()
    rehearsal = Rehearsal(options.short)
    for name in options.series or SERIES:
        began = time.monotonic()
        print(f"{name}: {SERIES[name].__doc__}", flush=True)
        SERIES[name](rehearsal)
        rehearsal.notes.append(f"{name} took {time.monotonic() - began:.0f} s")
    print_all(rehearsal)
    return 1 if rehearsal.bad else 0


def print_all(rehearsal: Rehearsal) -> None:
    write(rehearsal.cases)
    for line in what_happened(rehearsal.cases):
        print(line)
    print()
    for line in summary(rehearsal.cases):
        print(line)
    print()
    print("\n".join(rehearsal.notes))
    print()
    for line in rehearsal.bad:
        print(line)
    print(
        f"{len(rehearsal.bad)} of {len(rehearsal.cases)} went wrong"
        if rehearsal.bad
        else "nothing went wrong"
    )


def what_happened(cases: Iterable[Case]) -> Iterator[str]:
    """What happened, what the ledger said, what the venue's book said; places within a line are summed up."""
    rows: Counter[tuple[str, ...]] = Counter()
    for case in cases:
        ledger = f"{case.status} ({case.attention})" if case.attention else case.status
        book = f"{case.before:f} → {case.after:f} (wanted {case.target:f})"
        rows[_kind(case.day), case.venue, case.size, ledger, book, case.verdict] += 1
    yield f"{'cases':>6}  {'venue':<12}{'size':<9}{'the ledger':<28}{'the book':<26}{'':<8} what happened"
    for (day, venue, size, ledger, book, verdict), many in sorted(rows.items()):
        yield f"{many:>6}  {venue:<12}{size:<9}{ledger:<28}{book:<26}{verdict:<8} {day}"


def summary(cases: Iterable[Case]) -> Iterator[str]:
    """How many cases of each series came to what."""
    counted: Counter[tuple[str, str]] = Counter()
    for case in cases:
        counted[case.series, case.verdict] += 1
        counted[case.series, "all"] += 1
    columns = ["all", *Verdict]
    yield f"{'series':<16}" + "".join(f"{name:>16}" for name in columns)
    for series in sorted({series for series, _ in counted}):
        yield f"{series:<16}" + "".join(f"{counted[series, name]:>16}" for name in columns)


def write(cases: Iterable[Case]) -> None:
    LISTED.parent.mkdir(exist_ok=True)
    columns = (
        "series",
        "venue",
        "size",
        "day",
        "before",
        "target",
        "after",
        "status",
        "attention",
        "verdict",
    )
    with LISTED.open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(columns)
        sheet.writerows([getattr(case, name) for name in columns] for case in cases)


def _kind(day: str) -> str:
    """A cut line's day without the place of the cut."""
    return re.sub(r"\d+ of \d+|\d+ bytes|byte \d+", "some byte", day)


def _shown(cases: Iterable[T]) -> Iterator[T]:
    """The same, with a sign of life."""
    told = time.monotonic()
    for number, case in enumerate(cases, 1):
        if time.monotonic() - told > SHOWN_EVERY:
            print(f"  {number}", flush=True)
            told = time.monotonic()
        yield case


if __name__ == "__main__":
    sys.exit(main())
