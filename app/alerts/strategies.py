"""`action: strategy`: a strategy's one alert for all its orders. Only its exits act (design, section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import Any

from app.alerts.errors import NoExit, WrongAlert
from app.domain.positions import Side
from app.strict import Fault

_FINEST_PART = Decimal("1e-20")


class Stance(StrEnum):
    """Where a strategy stands, as TradingView's `{{strategy.market_position}}` spells it."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


class Scale(StrEnum):
    """What the size of a strategy's partial exit means for the position that is really open."""

    QUANTITY = "quantity"
    """Close as much as the strategy did."""
    PROPORTION = "proportion"
    """Close the part of what is open that the strategy closed of its own."""


@dataclass(frozen=True, slots=True)
class Exit:
    """What a strategy closed: all of a side, or so much of it."""

    side: Side
    quantity: Decimal | None = None
    part: Decimal | None = None
    """Of what is open: above 0 and below 1."""


def exit_of(values: Mapping[str, Any], scale: Scale) -> Exit:
    """The exit in a strategy's alert. Raises NoExit if it is none, WrongAlert if the alert contradicts itself."""
    now, before = values["market_position"], values["prev_market_position"]
    _check_sizes(values, now, before)
    if before is Stance.FLAT:
        what = "stays flat" if now is Stance.FLAT else f"enters {now}"
        raise NoExit(f"the strategy {what}: nothing of it is to be closed")
    side = Side(before)
    if now is not before:
        return Exit(side)
    size, size_before = _sizes(values)
    if size >= size_before:
        did = "adds to" if size > size_before else "keeps"
        raise NoExit(f"the strategy {did} its {side} position: nothing of it is to be closed")
    if scale is Scale.QUANTITY:
        return Exit(side, quantity=size_before - size)
    # Cut, not rounded: two thirds of 3 lots, a hair too large, would be rounded up to all 3.
    part = ((size_before - size) / size_before).quantize(_FINEST_PART, ROUND_DOWN)
    return Exit(side, part=Decimal(f"{max(part, _FINEST_PART).normalize():f}"))


def _sizes(values: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """How much the strategy holds now, and held before, without their signs."""
    missing = [name for name in ("position_size", "prev_position_size") if name not in values]
    if missing:
        hint = 'add "{{strategy.market_position_size}}" and "{{strategy.prev_market_position_size}}"'
        why = "is missing: an exit can't be told from an addition"
        raise WrongAlert(*(Fault(name, why, hint) for name in missing))
    return abs(values["position_size"]), abs(values["prev_position_size"])


def _check_sizes(values: Mapping[str, Any], now: Stance, before: Stance) -> None:
    """A size that contradicts its side is a template gone wrong, not an exit."""
    faults = []
    for name, stance in (("position_size", now), ("prev_position_size", before)):
        size: Decimal | None = values.get(name)
        if size is None:
            continue
        # {{strategy.position_size}} is below zero for a short, {{strategy.market_position_size}} never is.
        fits = size == 0 if stance is Stance.FLAT else size > 0 or (size < 0 and stance is Stance.SHORT)
        if not fits:
            hint = "fill both from the same strategy: {{strategy.market_position}} and its size"
            faults.append(Fault(name, f"is {size:f}, and the position is said to be {stance}", hint))
    if faults:
        raise WrongAlert(*faults)
