"""Plots as SVG, drawn here: nothing to load, nothing to run, and the table behind each is made of the same numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil, floor, log10

WIDTH, HEIGHT = 480.0, 140.0
LEFT, TOP, BOTTOM = 52.0, 8.0, 18.0
"""Room for the axis."""
LETTER = 11.0
"""The height of its texts: two of them need so much between them."""


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """What a template draws: bars or lines, and the ticks of both axes."""

    bars: Sequence[Bar] = ()
    lines: Sequence[tuple[str, str]] = ()
    """The kind of each line, and its path."""
    across: Sequence[Tick] = ()
    up: Sequence[Tick] = ()
    zero: float | None = None
    """Where nought is, if it is in sight."""


def stacked(
    hours: Sequence[datetime], kinds: Sequence[str], counts: Mapping[datetime, Mapping[str, int]]
) -> Plot:
    """A bar an hour, of one piece a kind."""
    most = max((sum(of.values()) for of in counts.values()), default=0)
    top = nice(most)
    step = (WIDTH - LEFT) / len(hours)
    bars = []
    for at, hour in enumerate(hours):
        y = HEIGHT - BOTTOM
        for kind in kinds:
            height = _scaled(counts.get(hour, {}).get(kind, 0), top)
            y -= height
            if height:
                bars.append(
                    Bar(
                        round(LEFT + at * step + 1, 1),
                        round(y, 1),
                        round(step - 2, 1),
                        round(height, 1),
                        kind,
                    )
                )
    ups = [
        Tick(HEIGHT - BOTTOM - _scaled(value, top), f"{value:g}")
        for value in (0, top / 2, top)
        if value == int(value)
    ]
    return Plot(bars=bars, across=_hours(hours, step), up=ups)


def cumulated(hours: Sequence[datetime], series: Mapping[str, Sequence[tuple[datetime, Decimal]]]) -> Plot:
    """A line a currency: the sum so far, stepping at each close."""
    begin, end = hours[0], hours[-1] + timedelta(hours=1)
    sums: dict[str, list[tuple[float, float]]] = {}
    for name, closes in series.items():
        total, points = Decimal(0), [(LEFT, 0.0)]
        for moment, gained in closes:
            x = LEFT + (WIDTH - LEFT) * max(0.0, (moment - begin) / (end - begin))
            points.append((x, float(total)))
            total += gained
            points.append((x, float(total)))
        points.append((WIDTH, float(total)))
        sums[name] = points
    values = [value for points in sums.values() for _, value in points] or [0.0]
    low, high = min(0.0, *values), max(0.0, *values)
    low, high = -nice(-low), nice(high) if high or not low else 0.0
    span = high - low or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / span * (HEIGHT - BOTTOM - TOP), 1)

    lines = [
        (str(at), "M" + "L".join(f"{x:.1f} {y(value)}" for x, value in points))
        for at, points in enumerate(sums.values())
    ]
    edges = [it for it in (low, high) if abs(y(it) - y(0.0)) > LETTER]
    ups = [Tick(y(0.0), "0"), *(Tick(y(it), f"{it:,.0f}") for it in edges)]
    step = (WIDTH - LEFT) / len(hours)
    return Plot(lines=lines, across=_hours(hours, step), up=ups, zero=y(0.0))


def percentiles(values: Sequence[Sequence[float]], names: Sequence[str]) -> Plot:
    """A line a series on a logarithmic scale of seconds, each from its left to its right."""
    every = [value for series in values for value in series if value > 0] or [0.01, 1.0]
    low, high = floor(log10(min(every))), ceil(log10(max(every)))
    high = max(high, low + 1)

    def y(value: float) -> float:
        part = (log10(max(value, 10.0**low)) - low) / (high - low)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP), 1)

    lines = []
    for name, series in zip(names, values, strict=True):
        if len(series) > 1:
            step = (WIDTH - LEFT) / (len(series) - 1)
            path = "L".join(f"{LEFT + at * step:.1f} {y(value)}" for at, value in enumerate(series))
            lines.append((name, "M" + path))
    ups = [Tick(y(10.0**power), _seconds(10.0**power)) for power in range(low, high + 1)]
    return Plot(lines=lines, up=ups)


def nice(value: float) -> float:
    """The next round number above: the top of an axis."""
    if value <= 0:
        return 0.0 if value == 0 else -nice(-value)
    size = 10.0 ** floor(log10(value))
    return next(size * step for step in (1, 2, 4, 5, 10) if size * step >= value)


def _scaled(value: float, top: float) -> float:
    return (HEIGHT - BOTTOM - TOP) * value / top if top else 0.0


def _hours(hours: Sequence[datetime], step: float) -> list[Tick]:
    return [
        Tick(round(LEFT + at * step, 1), hour.isoformat())
        for at, hour in enumerate(hours)
        if hour.hour % 6 == 0
    ]


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
