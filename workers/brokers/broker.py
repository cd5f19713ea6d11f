"""What every venue's adapter offers: calls that are built first and made later, each exactly once."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.positions import Fill, Position, Report, WorkingOrder
from app.domain.venues import Venue

Result = TypeVar("Result", covariant=True)

Guard = Callable[[float], None]
"""Asked right before the first byte leaves, with the seconds the call may still take; raises to keep it here."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[Result]):
    """A definite answer: the venue's own words for the record, and what they mean."""

    answer: Any
    result: Result


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request, built and not sent. `make` sends it once and raises a BrokerError unless it was answered."""

    request: dict[str, Any]
    """For the record: no credential in it."""
    make: Callable[[Guard], Answered[Result]]
    client_id: str | None = None
    """Our id of the order, where the venue keeps one."""


class Broker(Protocol):
    """A configured account at a venue. No method sends anything: each builds a Call."""

    @property
    def name(self) -> str: ...
    @property
    def venue(self) -> Venue: ...

    def positions(self) -> Call[tuple[Position, ...]]:
        """All open positions that the credential reaches."""
        ...

    def working_orders(self, account: str) -> Call[tuple[WorkingOrder, ...]]:
        """The orders of an account that may still be filled."""
        ...

    def fills(self, account: str, seconds: float) -> Call[tuple[Fill, ...]]:
        """The executions of an account in the last so many seconds by the venue's own clock, which may differ from ours.

        Raises Refused where the venue does not reach back so far.
        """
        ...

    def close(self, command: ClosePosition, instrument: str, quantity: Decimal | None) -> Call[Report]:
        """Close this much of a position; None is all of it, with its working orders."""
        ...

    def flatten(self, command: FlattenMatching) -> Call[Report]:
        """Close all that matches the command's filters."""
        ...

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        """Close all that the credential reaches."""
        ...

    def cancel_orders(self, account: str, instrument: str) -> Call[Report]:
        """Cancel the working orders of one instrument."""
        ...
