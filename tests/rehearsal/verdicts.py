"""What a case of the rehearsal came to, judged by the venue's own book and never by the ledger alone."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Verdict(StrEnum):
    """The four ways to lose somebody's money; the other two are fine."""

    DONE = "done"
    """The book shows what was asked, and the ledger says so."""
    TOLD = "told"
    """It was not done, or can't be known: the ledger says why, and asks for a person where one must look."""
    LOST = "LOST"
    """Not done, and nobody is told."""
    DOUBLED = "DOUBLED"
    """More was closed than was asked, or the other side was opened."""
    WIDENED = "WIDENED"
    """Something that the alert did not name was touched."""
    WRONGLY_CLOSED = "WRONGLY CLOSED"
    """The ledger says `closed`, and the book does not."""

    @property
    def fine(self) -> bool:
        return self in (Verdict.DONE, Verdict.TOLD)


@dataclass(frozen=True, slots=True)
class Case:
    """One bad day of one command."""

    series: str
    """What kind of day: a fault of the venue, a cut line, a kill, a dead Redis, …"""
    venue: str
    size: str
    """`whole`, `part` or `flatten`."""
    day: str
    """What happened, in a few words."""
    before: Decimal
    """What was open, below zero for a short; in what the venue counts, like all that follows."""
    target: Decimal
    """What should be left."""
    after: Decimal
    """What the venue's book says is left."""
    bystanders: bool
    """Whether everything else in the book is as it was."""
    status: str
    """What the ledger says."""
    attention: str | None
    told: Decimal | None = None
    """What the ledger says was closed; None where it gives no number."""

    @property
    def verdict(self) -> Verdict:
        if not self.bystanders:
            return Verdict.WIDENED
        side = 1 if self.before > 0 else -1
        if self.after * side < self.target * side:
            return Verdict.DOUBLED
        done = self.after == self.target
        if self.status == "closed" and not done:
            return Verdict.WRONGLY_CLOSED
        if self.status == "closed":
            return Verdict.DONE
        # What was done all the same, and is called something else, is for a person to see too.
        harmless = done and self.status in ("nothing_open", "superseded")
        return Verdict.TOLD if self.attention or harmless else Verdict.LOST
