"""What comes before a close: how much of which position, and what is in its way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from app.domain.commands import (
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Quantity,
    Unit,
    Whole,
)
from app.domain.instruments import contract_of
from app.domain.positions import Holding, Order, Position
from app.domain.statuses import Attention, Status
from app.domain.venues import Venue
from app.ledger.claim import Claim
from app.ledger.step import Step
from workers import evidence
from workers.backoff import retry_delay
from workers.brokers.broker import Terms
from workers.observation import Observation

MOST_CANCELS = 10
"""Calls before a close that cancel orders by their ids. Who has more orders is adding them as we cancel."""

NAMED = 5
"""Positions that a reason names; of more it tells how many."""

BLOCKED = 10.0
"""Seconds that something may stand in a close's way before a person is told."""


class CannotBeDone(Exception):
    """Raised when what is open does not let the command be carried out as asked. Its message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Hurdle:
    """What keeps a close from going out now: orders to cancel first, or something to wait for."""

    holding: Holding
    cancel: tuple[Order, ...] | None = None
    """Which; empty is all of the instrument's. None: nothing is to be cancelled, only waited for."""
    reason: str = ""


def plan(
    command: Command, mine: Sequence[Position], observation: Observation, venue: Venue
) -> tuple[Holding, ...]:
    """Before and target of each position. Raises CannotBeDone, and BrokerError where the venue's terms can't be read."""
    if not isinstance(command, ClosePosition) or isinstance(command.size, Whole):
        return evidence.plan(command, mine, evidence.NOTHING)
    (position,) = mine
    terms = observation.terms(position)
    if isinstance(command.size, Quantity):
        _check_quantity(command.size, terms, position, venue)
    (holding,) = evidence.plan(command, mine, terms.lot, terms.unit)
    closing = evidence.to_close(holding)
    if terms.largest is not None and closing > terms.largest:
        raise CannotBeDone(
            f"{closing:f} {position.instrument} is above the most that {venue.title} closes in one market order, "
            f"{terms.largest:f}: close it in smaller parts, or close the whole position"
        )
    return (holding,)


def _check_quantity(asked: Quantity, terms: Terms, position: Position, venue: Venue) -> None:
    if asked.unit is Unit.BASE and terms.unit is None:
        raise CannotBeDone(
            f"{venue.title} counts {position.instrument} in contracts, whose size in the base is not fixed: "
            'give the quantity in contracts (quantity_unit = "contracts")'
        )
    counted = evidence.counted(asked, terms.unit)
    if counted % terms.lot:
        raise CannotBeDone(
            f"{asked.amount:f} is not a multiple of {position.instrument}'s lot "
            f"({terms.lot * (terms.unit if asked.unit is Unit.BASE and terms.unit else 1):f}); nothing is rounded"
        )


def ambiguous(command: Command, mine: Sequence[Position], today: date) -> str | None:
    """Why it is not known which position is meant; None if it is. A close is of one position, an alias of one contract."""
    if isinstance(command, FlattenEverything) or command.instrument is None:
        return None
    if len({contract_of(position.instrument, today) for position in mine}) > 1:
        names = ", ".join(sorted({position.instrument for position in mine}))
        return f"more than one contract fits that name: {names}. Name one of them"
    if isinstance(command, ClosePosition) and len(mine) > 1:
        shown = ", ".join(sorted(_shown(position) for position in mine))
        one_each = len({position.side for position in mine}) == len(mine)
        advice = "Say which side, or flatten the instrument" if one_each else "Flatten the instrument"
        return f"more than one position fits: {shown}. {advice}"
    return None


def _shown(position: Position) -> str:
    words = "/".join(position.handle.values())
    return f"{position.side} {position.quantity:f} {position.instrument}" + (f" ({words})" if words else "")


def too_many(command: Command, mine: Sequence[Position]) -> Step | None:
    """The end of a flatten that would close more positions than its hook lets it; None if it may go on."""
    if (
        isinstance(command, ClosePosition)
        or command.max_positions is None
        or len(mine) <= command.max_positions
    ):
        return None
    named = ", ".join(f"{it.side} {it.instrument} in {it.account}" for it in mine[:NAMED])
    more = f" and {len(mine) - NAMED} more" if len(mine) > NAMED else ""
    reason = (
        f"it would close {len(mine)} positions, and its hook's max_positions is {command.max_positions}: "
        f"{named}{more}. Nothing was sent; retry it if all of them are meant"
    )
    return Step(Status.GAVE_UP, reason, attention=Attention.TOO_MANY_POSITIONS)


def by_quantity(command: ClosePosition, venue: Venue) -> bool:
    """Whether a close names a quantity: a part does, and all of it where a whole close would take orders along."""
    return not command.whole or not (command.cancel_orders or venue.whole_close_can_keep_orders)


def takes_orders(command: Command) -> bool:
    """Whether the close itself cancels the working orders of what it closes."""
    match command:
        case ClosePosition():
            return command.whole and command.cancel_orders
        case FlattenMatching():
            return command.cancel_orders
        case FlattenEverything():
            return True


def hurdle(
    command: ClosePosition | FlattenMatching | FlattenEverything,
    holding: Holding,
    claim: Claim,
    observation: Observation,
    venue: Venue,
    today: date,
) -> Hurdle | None:
    """What is in the way of closing a holding. Raises BrokerError where its orders can't be read."""
    cancels = isinstance(command, FlattenEverything) or command.cancel_orders
    calls = sum(it.place == holding.place for it in claim.cancels)
    cancelled = calls >= (MOST_CANCELS if venue.cancels_at_once else 1)
    first = isinstance(command, ClosePosition) and not command.whole and cancels and not cancelled
    if not venue.closing_can_flip and not (first and venue.cancels_at_once):
        return Hurdle(holding, ()) if first else None
    orders = observation.orders([holding.account])
    if first and venue.cancels_at_once:
        working = [order for order in orders if evidence.could_be_of(holding, order, today)]
        return Hurdle(holding, tuple(working[: venue.cancels_at_once])) if working else None
    if first:
        return Hurdle(holding, ())
    closing = evidence.closing_already(holding, orders, today)
    if not closing:
        return None
    # A second order would open the other side, where the venue has no order that only reduces.
    if cancels and not cancelled:
        return Hurdle(holding, ())
    ids = ", ".join(order.order_id for order in closing)
    return Hurdle(holding, None, f"{holding.instrument} is being closed already, by order {ids}")


def blocked(claim: Claim, hurdle: Hurdle) -> Step:
    """Wait for what is in the way; a person is told when it does not go away."""
    attention = Attention.STILL_OPEN if claim.age > BLOCKED else None
    return Step(Status.QUEUED, hurdle.reason, retry_delay(1), attention)
