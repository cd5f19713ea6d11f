"""What every venue's adapter offers: calls that are built first and made later, each exactly once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.positions import Fill, Holding, Order, Position, Report
from app.domain.venues import Venue

Item = TypeVar("Item")
Result = TypeVar("Result", covariant=True)

Guard = Callable[[float], None]
"""Asked right before the first byte leaves, with the seconds the call may still take; raises to keep it here."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[Result]):
    """A definite answer: the venue's own words for the record, and what they mean."""

    answer: Any
    result: Result


@dataclass(frozen=True, slots=True)
class Limit:
    """A venue's own limit that a call counts against: so many calls in so many seconds, for one credential."""

    name: str
    """What it is counted by; calls with the same name share it."""
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request, built and not sent. `make` sends it once and raises a BrokerError unless it was answered."""

    request: dict[str, Any]
    """For the record: no credential in it."""
    make: Callable[[Guard], Answered[Result]]
    client_id: str | None = None
    """Our id of the order, where the venue keeps one."""
    lapses: bool = False
    """Whether the venue itself refuses it when it comes later than the settle window: an order that can't be found by
    its id after that was surely not placed."""
    limits: tuple[Limit, ...] = ()
    room: Callable[[bool], float] = lambda patient: 0.0
    """Seconds until the limits have room for it; 0: it may be made now, and was counted. The patient leave some room."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Part of a list; `next` asks for the one after it, and is None on the last."""

    items: tuple[Item, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a venue counts an instrument."""

    lot: Decimal
    """The step of quantities."""
    largest: Decimal | None = None
    """The most that one market order may close."""
    unit: Decimal | None = None
    """Units of the base in one of what quantities count (coins in a contract); None where they count the base itself."""


class Broker(Protocol):
    """A configured account at a venue. No method sends anything: each builds a Call.

    Where a method may give None, the venue has no such call, or it needs none.
    """

    @property
    def name(self) -> str: ...
    @property
    def venue(self) -> Venue: ...

    def release(self) -> None:
        """Give up what it keeps open between calls."""
        ...

    def accounts(self, page: str | None = None) -> Call[Page[str]] | None:
        """The accounts that the credential reaches; None where one list of positions holds them all."""
        ...

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        """The open positions: of an account where `accounts` lists them, else all that the credential reaches."""
        ...

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        """The orders of an account that may still be filled."""
        ...

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> Call[Order | None] | None:
        """One order, by the venue's id or else by ours; the call's result is None where the venue knows none such."""
        ...

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        """The executions of an account in the last so many seconds by the venue's own clock, which may differ from ours.

        Raises Refused where the venue does not reach back so far.
        """
        ...

    def terms(self, position: Position) -> Call[Terms] | None:
        """How the instrument of a position is counted; None where all are alike (`Venue.lot`)."""
        ...

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        """Close this much of a position; None is all of it, with its working orders if the command says so.

        There is a holding unless the venue needs nothing of the position (`Venue.whole_close_needs_position`).
        """
        ...

    def flatten(self, command: FlattenMatching) -> Call[Report] | None:
        """Close all that matches the command's filters; None: each position by a close of its own."""
        ...

    def flatten_everything(self, command: FlattenEverything) -> Call[Report] | None:
        """Close all that the credential reaches; None: each position by a close of its own."""
        ...

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        """Cancel these working orders of an instrument; where none are given all of it, if the venue has a call for that."""
        ...
