"""What a command that is sent as one call would send now: by a read of the position where the request needs one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching
from app.domain.positions import Holding, Report
from app.domain.statuses import Attention, Status
from app.domain.venues import Venue
from app.ledger.claim import Claim
from app.ledger.step import Step
from workers import evidence, preparation
from workers.brokers.broker import Broker, Call
from workers.conclusions import nothing_open
from workers.observation import Observation


@dataclass(frozen=True, slots=True)
class Ready:
    """The close may be sent now, or what is in its way may be cancelled."""

    holdings: tuple[Holding, ...] | None
    """Before and target; None where the close goes out without a read."""
    cancel: preparation.Hurdle | None = None


def planned(broker: Broker, claim: Claim, today: date, was_seen: Callable[[Command], bool]) -> Ready | Step:
    """Whether a command may be sent now, else what becomes of it. Raises BrokerError where something can't be read."""
    observation = Observation(broker, claim)
    if needs_position(claim.command, broker.venue):
        return by_the_position(broker, claim, observation, today, was_seen)
    command = claim.command
    if isinstance(command, ClosePosition) or command.max_positions is None:
        return Ready(None)
    matching = evidence.matching(command, observation.positions(), today)
    return preparation.too_many(command, matching) or Ready(None)


def needs_position(command: Command, venue: Venue) -> bool:
    """Whether the position must be read to know what to send. Time counts: what needs no read goes out at once."""
    if venue.whole_close_needs_position:
        return True
    if isinstance(command, FlattenEverything):
        return False
    if command.instrument is not None and not venue.spells(command.instrument):
        return True  # the read tells the venue's own name of it, or that it has several
    return isinstance(command, ClosePosition) and preparation.by_quantity(command, venue)


def by_the_position(
    broker: Broker,
    claim: Claim,
    observation: Observation,
    today: date,
    was_seen: Callable[[Command], bool],
) -> Ready | Step:
    """Before and target by a fresh read, and what is in the way. Raises BrokerError."""
    command, venue = claim.command, broker.venue
    if venue.closing_can_flip:
        observation.orders_first()
    positions = observation.positions()
    mine = evidence.matching(command, positions, today)
    if not mine:
        return nothing_open(command, positions, today, was_seen)
    if step := preparation.too_many(command, mine):
        return step
    if unclear := preparation.ambiguous(command, mine, today):
        return Step(Status.REJECTED, unclear, attention=Attention.REJECTED)
    try:
        holdings = preparation.plan(command, mine, observation, venue)
    except preparation.CannotBeDone as exc:
        return Step(Status.REJECTED, str(exc), attention=Attention.REJECTED)
    for holding in holdings:
        hurdle = preparation.hurdle(command, holding, claim, observation, venue, today)
        if hurdle:
            return preparation.blocked(claim, hurdle) if hurdle.cancel is None else Ready(holdings, hurdle)
    return Ready(holdings)


def call_of(broker: Broker, command: Command, ready: Ready) -> Call[Report]:
    """What is to be sent now. Raises ValueError if no request can be made of it."""
    holdings = ready.holdings
    if ready.cancel is not None:
        place = ready.cancel.holding.place
        return broker.cancel_orders(place.account, place.instrument, ready.cancel.cancel or ())
    match command:
        case FlattenEverything():
            call = broker.flatten_everything(command)
        case FlattenMatching():
            # An alias was resolved by the read: the contract that was seen is the one that is sent.
            named = holdings[0].instrument if holdings and command.instrument else command.instrument
            call = broker.flatten(replace(command, instrument=named))
        case ClosePosition():
            holding = holdings[0] if holdings else None
            if not preparation.by_quantity(command, broker.venue):
                return broker.close(command, holding, None)
            assert holding, "a close by quantity is planned on a read"
            return broker.close(command, holding, evidence.to_close(holding))
    assert call is not None, "what the venue has no call for is closed one by one"
    return call


def one_by_one(broker: Broker, command: Command) -> bool:
    """Whether the venue has no call for a flatten: each position is closed by itself then."""
    match command:
        case FlattenMatching():
            return broker.flatten(command) is None
        case FlattenEverything():
            return broker.flatten_everything(command) is None
        case ClosePosition():
            return False
