"""What an alert may ask of one account at one broker."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.domain.positions import Side


class Action(StrEnum):
    """The verbs of commands, as alerts and the API spell them."""

    CLOSE = "close"
    FLATTEN = "flatten"
    FLATTEN_EVERYTHING = "flatten_everything"


@dataclass(frozen=True, slots=True)
class Whole:
    """All of the position."""


class Unit(StrEnum):
    """What a quantity counts."""

    CONTRACTS = "contracts"
    """What the venue counts in: contracts, shares."""
    BASE = "base"
    """The base of the instrument: the coins of a swap whose contracts hold a part of one each."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """So many units of the position, or what is open if that is less."""

    amount: Decimal
    unit: Unit = Unit.CONTRACTS

    def __post_init__(self) -> None:
        if not self.amount > 0:
            raise ValueError(f"a quantity is above zero, not {self.amount}")


@dataclass(frozen=True, slots=True)
class Fraction:
    """A part of the position, above 0 and below 1; made a quantity once, rounded up to the venue's lot."""

    part: Decimal

    def __post_init__(self) -> None:
        if not 0 < self.part < 1:
            raise ValueError(f"a fraction is above 0 and below 1, not {self.part}")


Size = Whole | Quantity | Fraction


@dataclass(frozen=True, slots=True)
class ClosePosition:
    """Close one position, or part of it; with `side`, only if it is on that side."""

    broker: str
    account: str
    instrument: str
    size: Size = Whole()
    side: Side | None = None
    cancel_orders: bool = True

    @property
    def whole(self) -> bool:
        return isinstance(self.size, Whole)


@dataclass(frozen=True, slots=True)
class FlattenMatching:
    """Close every position that matches all the filters given. There is always at least one."""

    broker: str
    account: str | None = None
    instrument: str | None = None
    side: Side | None = None
    cancel_orders: bool = True
    max_positions: int | None = None
    """It closes nothing if more than so many match; None: any number."""

    def __post_init__(self) -> None:
        if not (self.account or self.instrument or self.side):
            raise ValueError("a flatten needs a filter; FlattenEverything is a command of its own")


@dataclass(frozen=True, slots=True)
class FlattenEverything:
    """Close every position of every account that the broker's credential reaches, and cancel every order."""

    broker: str
    max_positions: int | None = None
    """It closes nothing if more than so many are open; None: any number."""


Command = ClosePosition | FlattenMatching | FlattenEverything


def action_of(command: Command) -> Action:
    match command:
        case ClosePosition():
            return Action.CLOSE
        case FlattenMatching():
            return Action.FLATTEN
        case FlattenEverything():
            return Action.FLATTEN_EVERYTHING


def urgency_of(command: Command) -> int:
    """Lower goes first: flattens, then whole closes, then partial ones (design, section 3)."""
    match command:
        case FlattenEverything() | FlattenMatching():
            return 0
        case ClosePosition(size=Whole()):
            return 1
        case ClosePosition():
            return 2
