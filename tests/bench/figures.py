"""What was measured, and how it is told: the median of some runs, their spread, and the same runs of a ceiling."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDEST_NAME = 58


@dataclass(frozen=True, slots=True)
class Spread:
    """Several runs of one figure."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{told(self.median)} [{told(self.least)} … {told(self.most)}]"


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure, or its ratio to a ceiling, should come to. It is told, and nothing fails for it."""

    limit: float
    least: bool = False
    """Whether the limit is to be reached, and not to be kept below."""
    to: str | None = None
    """The ceiling whose ratio is meant; None: the figure itself."""

    def __str__(self) -> str:
        return f"{'at least' if self.least else 'at most'} {told(self.limit)}"

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once a run; the same run of each ceiling; and what was aimed at."""

    name: str
    unit: str
    runs: Sequence[float]
    ceilings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By name; each has as many runs, taken in turns with those of the figure."""
    aim: Aim | None = None

    @property
    def spread(self) -> Spread:
        return spread(self.runs)

    def ratio(self, ceiling: str) -> Spread:
        """Of each run to the run of the ceiling beside it: what slows both is not seen in it."""
        pairs = zip(self.runs, self.ceilings[ceiling], strict=True)
        return spread([run / beside for run, beside in pairs if beside])

    @property
    def verdict(self) -> str:
        if self.aim is None:
            return ""
        value = (self.spread if self.aim.to is None else self.ratio(self.aim.to)).median
        return f"{self.aim}: {'met' if self.aim.met(value) else 'MISSED'}"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.spread.median,
            "runs": list(self.runs),
            "ceilings": {
                name: {"median": spread(runs).median, "runs": list(runs), "ratio": self.ratio(name).median}
                for name, runs in self.ceilings.items()
            },
            "aim": self.verdict or None,
        }


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader must know beside the figures."""

    text: str


Finding = Figure | Note


def spread(runs: Sequence[float]) -> Spread:
    """Of no run, nothing is known."""
    if not runs:
        return Spread(float("nan"), float("nan"), float("nan"))
    return Spread(statistics.median(runs), min(runs), max(runs))


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of them does not exceed: one that was measured, not one between two."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(part * 1000) // 1000) - 1)]


def told(value: float) -> str:
    """With three digits that mean something, or all of a large number."""
    if value != value:
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def line(finding: Finding) -> str:
    """For a terminal."""
    if isinstance(finding, Note):
        return f"  {finding.text}"
    told_ceilings = "; ".join(_beside(finding, name) for name in finding.ceilings)
    parts = [f"{finding.spread} {finding.unit}".rstrip(), told_ceilings, finding.verdict]
    return f"{finding.name:{WIDEST_NAME}} " + "   ".join(part for part in parts if part)


def page(findings: Sequence[Finding]) -> Iterator[str]:
    """The lines of a table in Markdown, and the notes below it."""
    figures = [it for it in findings if isinstance(it, Figure)]
    if figures:
        yield "| | unit | median | least … most | beside it | aim |"
        yield "|---|---|---|---|---|---|"
    for it in figures:
        beside = "; ".join(_beside(it, name) for name in it.ceilings)
        low, high = told(it.spread.least), told(it.spread.most)
        cells = (it.name, it.unit, told(it.spread.median), f"{low} … {high}", beside, it.verdict)
        escaped = [cell.replace("|", "\\|") for cell in cells]
        yield f"| {' | '.join(escaped)} |"
    for note in findings:
        if isinstance(note, Note):
            yield ""
            yield note.text


def _beside(figure: Figure, name: str) -> str:
    return f"× {figure.ratio(name)} of {name} ({told(spread(figure.ceilings[name]).median)})"
