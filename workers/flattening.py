"""A flatten where the venue has no call for it: each position is closed by a call of its own (design, section 7).

One list of positions serves all. What became of each position is judged as that of a whole close of it alone, and what
becomes of the command is put together from those.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from app.domain.commands import Command, FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, Refused
from app.domain.positions import Holding, Position
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim
from app.ledger.journal import Journal, Paused
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.backoff import FIRST_READ_BACK, WHILE_PAUSED, read_back_delay
from workers.brokers.broker import Broker
from workers.conclusions import nothing_open
from workers.legs import Leg, Legs
from workers.observation import NO_ROOM, Observation
from workers.retrying import again
from workers.sending import AT_ONCE, send

GRAVEST_FIRST = (
    Attention.UNPROTECTED,
    Attention.POSITION_CHANGED,
    Attention.IN_DOUBT,
    Attention.STILL_OPEN,
    Attention.GAVE_UP,
    Attention.REJECTED,
)


class Flattening:
    """One claim of such a flatten, for one step."""

    def __init__(
        self,
        broker: Broker,
        settings: BrokerSettings,
        journal: Journal,
        claim: Claim,
        today: date,
        was_seen: Callable[[Command], bool],
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._journal = journal
        self._claim = claim
        self._today = today
        self._was_seen = was_seen
        self._legs = Legs(broker, settings, claim, today, was_seen)
        self._unreadable: Mapping[str, str] = {}

    @property
    def _command(self) -> FlattenMatching | FlattenEverything:
        return self._legs.command

    def step(self) -> Step:
        """Read the list, send what is due, read back what was taken. Raises LeaseLost."""
        try:
            return self._stepped()
        except BrokerError as exc:
            return self._unread(exc)

    def _stepped(self) -> Step:
        observation = Observation(self._broker, self._claim)
        if self._broker.venue.closing_can_flip and self._claim.status is Status.QUEUED:
            observation.orders_first()
        positions = observation.positions()
        if not self._claim.fixed and (step := preparation.too_many(self._command, self._matching(positions))):
            return step
        legs = [self._legs.look(holding, observation) for holding in self._holdings(positions)]
        self._unreadable = observation.unreadable
        if not legs:
            return self._left_over(legs) or self._nothing_open(positions)
        due = [leg for leg in legs if leg.due]
        # What was found to be sent again asks for its turn like all else: by the next claim.
        if not due or self._claim.status is not Status.QUEUED:
            return self._together(legs, positions)
        try:
            self._send(legs, due)
        except Paused:
            return self._held(legs, due, positions)
        return self._after_sending(legs, positions)

    def _held(self, legs: Sequence[Leg], due: Sequence[Leg], positions: Sequence[Position]) -> Step:
        """An operator stopped what was due; what left before is read back all the same."""
        attention = Attention.UNPROTECTED if self._claim.unprotected else None
        for leg in due:
            if leg.due:
                leg.step = Step(Status.QUEUED, "paused by an operator", WHILE_PAUSED, attention)
        return self._together(legs, positions)

    def _holdings(self, positions: Sequence[Position]) -> tuple[Holding, ...]:
        """What is to be closed: as it stands, until the first call that may have acted."""
        if self._claim.fixed:
            return self._claim.holdings or ()
        return evidence.plan(self._command, self._matching(positions), evidence.NOTHING)

    def _matching(self, positions: Sequence[Position]) -> Sequence[Position]:
        return evidence.matching(self._command, positions, self._today)

    def _send(self, legs: Sequence[Leg], due: Sequence[Leg]) -> None:
        """Send what is due and has room in the venue's limits, so many at once; the lease is renewed with each lot."""
        holdings = tuple(leg.holding for leg in legs)
        for kind, chosen in (
            ("cancel", [leg for leg in due if leg.cancel]),
            ("close", [leg for leg in due if not leg.cancel]),
        ):
            for lot in _lots(chosen):
                leaving = [(leg, it) for leg in lot if (it := self._legs.departure(kind, leg))]
                if not leaving:
                    continue
                calls = [departure for _, departure in leaving]
                outcomes = send(self._journal, self._claim, self._settings, kind, calls, holdings)
                for (leg, _), outcome in zip(leaving, outcomes, strict=True):
                    self._legs.note(kind, leg, outcome)
                fixed = self._claim.fixed or any(leg.acted for leg in lot)
                sent = Step(Status.QUEUED, due_in=0, holdings=holdings, fixed=fixed)
                self._journal.move(self._claim, sent, *(it.answer for it in outcomes), keep=True)

    def _after_sending(self, legs: Sequence[Leg], positions: Sequence[Position]) -> Step:
        """Read back at once what was taken; one list serves all."""
        try:
            observation = Observation(self._broker, self._claim)
            positions = observation.positions()
            self._unreadable = {**self._unreadable, **observation.unreadable}
            for leg in legs:
                # What waits to be tried again was looked at just now.
                if leg.acted and leg.step.status in (Status.WORKING, Status.IN_DOUBT):
                    leg.step = self._legs.decided(leg, observation)
        except BrokerError:
            pass  # the steps are those of the answers, and the next look is due soon
        return self._together(legs, positions)

    def _together(self, legs: Sequence[Leg], positions: Sequence[Position]) -> Step:
        """What becomes of the command."""
        holdings = tuple(_as_left(leg) for leg in legs)
        # What is not closed yet, or never will be, is told when the command ends: each position is written once.
        done = [leg for leg in legs if leg.step.status is Status.CLOSED]
        closed = tuple(position for leg in done for position in leg.step.closed)
        waiting = [leg.step for leg in legs if not leg.step.status.final]
        attention = next((it for it in GRAVEST_FIRST if it in {leg.step.attention for leg in legs}), None)
        common = Step(Status.WORKING, _reasons(legs), None, attention, holdings, closed=closed)
        if waiting:
            found = {step.status for step in waiting}
            status = next(it for it in (Status.QUEUED, Status.IN_DOUBT, Status.WORKING) if it in found)
            return replace(
                common,
                status=status,
                due_in=min((step.due_in for step in waiting if step.due_in is not None), default=None),
                fixed=any(leg.acted for leg in legs),
                cancel=tuple(order for step in waiting for order in step.cancel),
            )
        if strangers := self._strangers(legs, positions):
            return self._watch(common, strangers)
        step = self._left_over(legs) or self._ended(common, legs)
        if step.status.final:
            closed = tuple(position for leg in legs for position in leg.step.closed)
        return replace(step, holdings=holdings, closed=closed)

    def _left_over(self, legs: Sequence[Leg]) -> Step | None:
        """Of everything, orders where nothing is open go too: they would open something. Raises BrokerError.

        Orders are read before positions: one that fills between the two reads must not escape both.
        """
        if not isinstance(self._command, FlattenEverything):
            return None
        observation = Observation(self._broker, self._claim)
        readable = [account for account in observation.accounts() if account not in self._unreadable]
        orders = observation.orders(readable)
        age = self._claim.since_first_attempt or 0
        if not orders:
            opened = self._strangers(legs, observation.positions())
            return Step(Status.QUEUED, "something was opened meanwhile", FIRST_READ_BACK) if opened else None
        named = ", ".join(
            f"{it.instrument} {it.order_id} in {it.account}" for it in orders[: preparation.NAMED]
        )
        if age >= self._settings.retry_for:
            reason = f"{len(orders)} orders could not be cancelled: {named}"
            return Step(Status.GAVE_UP, reason, None, Attention.STILL_OPEN)
        reason = f"{len(orders)} orders are cancelled that are at work where nothing is open: {named}"
        return Step(Status.QUEUED, reason, read_back_delay(age), cancel=tuple(orders[:AT_ONCE]), ours=False)

    def _strangers(self, legs: Sequence[Leg], positions: Sequence[Position]) -> list[Position]:
        """What matches and is open, and was not when the flatten began."""
        return [
            position
            for position in self._matching(positions)
            if not any(
                evidence.same_position(leg.holding, position, self._today)
                and leg.holding.side is position.side
                for leg in legs
            )
        ]

    def _watch(self, common: Step, strangers: Sequence[Position]) -> Step:
        """A flatten is closed when the list shows nothing that matches."""
        age = self._claim.since_first_attempt or 0
        named = ", ".join(
            f"{it.side} {it.instrument} in {it.account}" for it in strangers[: preparation.NAMED]
        )
        attention = Attention.STILL_OPEN if age > self._settings.verify_for else common.attention
        return replace(
            common,
            reason=f"opened since the flatten began: {named}",
            due_in=read_back_delay(age),
            attention=attention,
            fixed=True,
        )

    def _nothing_open(self, positions: Sequence[Position]) -> Step:
        if self._unreadable:
            return Step(Status.REJECTED, self._unseen(), attention=Attention.REJECTED)
        return nothing_open(self._command, positions, self._today, self._was_seen)

    def _ended(self, common: Step, legs: Sequence[Leg]) -> Step:
        if not self._unreadable:
            return replace(common, status=self._ended_as(legs))
        reason = "; ".join(filter(None, (self._unseen(), common.reason)))
        attention = common.attention or Attention.GAVE_UP
        return replace(common, status=Status.GAVE_UP, reason=reason, attention=attention)

    def _unseen(self) -> str:
        """A flatten is no more than what could be seen of it."""
        return "; ".join(f"account {name} can't be read: {said}" for name, said in self._unreadable.items())

    def _ended_as(self, legs: Sequence[Leg]) -> Status:
        ends = {leg.step.status for leg in legs}
        if ends <= {Status.CLOSED, Status.NOTHING_OPEN, Status.SUPERSEDED}:
            done = (Status.CLOSED, Status.SUPERSEDED, Status.NOTHING_OPEN)
            return next(status for status in done if status in ends)
        return Status.REJECTED if ends <= {Status.REJECTED, Status.NOTHING_OPEN} else Status.GAVE_UP

    def _unread(self, exc: BrokerError) -> Step:
        """The list can't be read now."""
        if not self._claim.fixed:
            if isinstance(exc, Refused):
                return Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
            return again(self._claim, self._settings, exc, self._claim.tries, self._today)
        attention = self._claim.attention
        if exc.detail == NO_ROOM:
            return Step(self._claim.status, self._claim.reason, exc.retry_after, attention)
        age = self._claim.since_first_attempt or 0
        if age > self._settings.settle_window + self._settings.verify_for:
            attention = attention or Attention.STILL_OPEN
        due_in = max(read_back_delay(age), exc.retry_after or 0)
        return Step(self._claim.status, f"can't be read back now: {exc.detail}", due_in, attention)


def _as_left(leg: Leg) -> Holding:
    """A leg's holding as it is written: at its target only when that is settled."""
    holding = leg.step.holdings[0] if leg.step.holdings else leg.holding
    if evidence.reached(holding) and not leg.step.status.final:
        return replace(holding, after=None)
    return holding


def _reasons(legs: Sequence[Leg]) -> str | None:
    told = [f"{leg.holding.instrument}: {leg.step.reason}" for leg in legs if leg.step.reason]
    more = f" (and {len(told) - preparation.NAMED} more)" if len(told) > preparation.NAMED else ""
    return "; ".join(told[: preparation.NAMED]) + more if told else None


def _lots(legs: Sequence[Leg]) -> Iterator[Sequence[Leg]]:
    for start in range(0, len(legs), AT_ONCE):
        yield legs[start : start + AT_ONCE]
