"""A flatten where the venue has no call for it: each position is closed by a call of its own (design, section 7).

One list of positions serves all. What became of each position is judged as that of a whole close of it alone, and what
becomes of the command is put together from those.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.instruments import account_key
from app.domain.positions import Holding, Position, Report
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim, PastAttempt
from app.ledger.journal import Journal, Paused
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.backoff import FIRST_READ_BACK, WHILE_PAUSED, read_back_delay, retry_delay
from workers.brokers.broker import Broker, Call
from workers.findings import that_may_have_acted
from workers.observation import NO_ROOM, Observation, wait_for_room
from workers.reconciliation import Reconciliation, nothing_open
from workers.sending import AT_ONCE, Departure, Outcome, send

GRAVEST_FIRST = (
    Attention.UNPROTECTED,
    Attention.POSITION_CHANGED,
    Attention.IN_DOUBT,
    Attention.STILL_OPEN,
    Attention.GAVE_UP,
    Attention.REJECTED,
)
NAMED = 5
"""Positions whose reasons are told in the command's own; the attempts tell the others'."""


@dataclass(slots=True)
class Leg:
    """One position of a flatten."""

    holding: Holding
    closes: tuple[PastAttempt, ...]
    step: Step
    """What becomes of it; the close is to be sent now where that is `queued` with nothing to wait for."""
    cancel: preparation.Hurdle | None = None
    """What is to be cancelled before its close."""

    @property
    def acted(self) -> bool:
        return bool(that_may_have_acted(self.closes))

    @property
    def due(self) -> bool:
        return self.step.status is Status.QUEUED and self.step.due_in == 0


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
        again: Callable[[BrokerError], Step],
    ) -> None:
        """`again` says what becomes of a command of which nothing was sent yet, and could not be now."""
        self._broker = broker
        self._settings = settings
        self._journal = journal
        self._claim = claim
        self._today = today
        self._was_seen = was_seen
        self._again = again
        self._unreadable: Mapping[str, str] = {}

    @property
    def _command(self) -> FlattenMatching | FlattenEverything:
        assert not isinstance(self._claim.command, ClosePosition)
        return self._claim.command

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
        legs = [self._leg(holding, observation) for holding in self._holdings(positions)]
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
        mine = evidence.matching(self._command, positions, self._today)
        return evidence.plan(self._command, mine, evidence.NOTHING)

    def _leg(self, holding: Holding, observation: Observation) -> Leg:
        closes = tuple(it for it in self._claim.closes if it.place == holding.place)
        leg = Leg(holding, closes, Step(Status.QUEUED, due_in=0))
        leg.step = self._decided(leg, observation)
        if leg.due and not leg.acted:
            leg.cancel = self._hurdle(leg, observation)
        return leg

    def _decided(self, leg: Leg, observation: Observation) -> Step:
        """What becomes of a leg, by what there is to see of it. Raises BrokerError."""
        if evidence.reached(leg.holding):
            return Step(Status.CLOSED, holdings=(leg.holding,))  # and written, when it was
        if leg.acted:
            observation.positions()  # tells whose can't be read
            return self._unseen_yet(leg, observation) or self._reconciled(leg, observation)
        now = evidence.with_after((leg.holding,), observation.positions(), self._today)
        if not now[0].after:
            return Step(Status.NOTHING_OPEN, holdings=now)
        if leg.closes and leg.closes[-1].outcome == Refused.outcome:
            return Step(Status.REJECTED, leg.closes[-1].detail, attention=Attention.REJECTED)
        if (self._claim.since_first_attempt or 0) >= self._settings.retry_for:
            return Step(Status.GAVE_UP, "no time is left to try again", attention=Attention.GAVE_UP)
        return Step(Status.QUEUED, due_in=0)

    def _unseen_yet(self, leg: Leg, observation: Observation) -> Step | None:
        """What the venue refuses to show is not gone."""
        said = next(
            (
                words
                for account, words in observation.unreadable.items()
                if account_key(account) == account_key(leg.holding.account)
            ),
            None,
        )
        if said is None:
            return None
        age = self._claim.since_first_attempt or 0
        reason = f"account {leg.holding.account} can't be read: {said}"
        return Step(Status.WORKING, reason, read_back_delay(age), Attention.STILL_OPEN)

    def _reconciled(self, leg: Leg, observation: Observation) -> Step:
        """As of a whole close of this position alone."""
        holding = leg.holding
        alone = replace(
            self._claim,
            command=self._close_of(holding),
            holdings=(holding,),
            closes=leg.closes,
            fixed=True,
        )
        judged = Reconciliation(self._broker, self._settings, alone, self._today, self._was_seen, observation)
        in_doubt = any(it.outcome in (None, OutcomeUnknown.outcome) for it in leg.closes[-1:])
        step = judged.judge() if in_doubt else judged.verify()
        if step.status in (Status.REJECTED, Status.GAVE_UP) and preparation.takes_orders(self._command):
            return replace(step, attention=Attention.UNPROTECTED)
        # Where it may be tried again, the wait for that is over: this is the next look.
        return replace(step, due_in=0) if step.status is Status.QUEUED else step

    def _hurdle(self, leg: Leg, observation: Observation) -> preparation.Hurdle | None:
        hurdle = preparation.hurdle(
            self._command, leg.holding, self._claim, observation, self._broker.venue, self._today
        )
        if hurdle and hurdle.cancel is None:
            leg.step = preparation.blocked(self._claim, hurdle)
        return hurdle

    def _close_of(self, holding: Holding) -> ClosePosition:
        keep = isinstance(self._command, FlattenMatching) and not self._command.cancel_orders
        return ClosePosition(
            self._command.broker,
            holding.account,
            holding.instrument,
            side=holding.side,
            cancel_orders=not keep,
        )

    def _send(self, legs: Sequence[Leg], due: Sequence[Leg]) -> None:
        """Send what is due and has room in the venue's limits, so many at once; the lease is renewed with each lot."""
        holdings = tuple(leg.holding for leg in legs)
        for kind, chosen in (
            ("cancel", [leg for leg in due if leg.cancel]),
            ("close", [leg for leg in due if not leg.cancel]),
        ):
            for lot in _lots(chosen):
                leaving = [(leg, it) for leg in lot if (it := self._departure(kind, leg))]
                if not leaving:
                    continue
                calls = [departure for _, departure in leaving]
                outcomes = send(self._journal, self._claim, self._settings, kind, calls, holdings)
                for (leg, _), outcome in zip(leaving, outcomes, strict=True):
                    self._note(kind, leg, outcome)
                fixed = self._claim.fixed or any(leg.acted for leg in lot)
                sent = Step(Status.QUEUED, due_in=0, holdings=holdings, fixed=fixed)
                self._journal.move(self._claim, sent, *(it.answer for it in outcomes), keep=True)

    def _departure(self, kind: str, leg: Leg) -> Departure | None:
        """The call of a leg; None, and the leg says why, if it can't go now."""
        try:
            call = self._cancel(leg) if kind == "cancel" else self._close(leg.holding)
        except ValueError as exc:
            leg.step = Step(Status.REJECTED, f"no request can be made of it: {exc}", None, Attention.REJECTED)
            return None
        if wait := wait_for_room(self._claim, call):
            leg.step = Step(Status.QUEUED, NO_ROOM, wait)
            return None
        return Departure(call, leg.holding.place)

    def _cancel(self, leg: Leg) -> Call[Report]:
        assert leg.cancel is not None
        orders = leg.cancel.cancel or ()
        return self._broker.cancel_orders(leg.holding.account, leg.holding.instrument, orders)

    def _close(self, holding: Holding) -> Call[Report]:
        command = self._close_of(holding)
        quantity = holding.before if preparation.by_quantity(command, self._broker.venue) else None
        return self._broker.close(command, holding, quantity)

    def _note(self, kind: str, leg: Leg, outcome: Outcome) -> None:
        """What becomes of a leg by the answer to its call."""
        tries = len(leg.closes) + 1
        match outcome.failure:
            case None if kind == "cancel":
                leg.step = Step(Status.QUEUED, "its orders were cancelled first", FIRST_READ_BACK)
                self._claim.cancels += (outcome.attempt,)
                self._claim.unprotected = True
            case None:
                leg.step = Step(Status.WORKING, due_in=FIRST_READ_BACK)
            case NotSent() | Throttled() as exc:
                leg.step = Step(Status.QUEUED, exc.detail, retry_delay(tries, exc.retry_after))
            case OutcomeUnknown() as exc if kind == "cancel":
                leg.step = Step(Status.QUEUED, exc.detail, retry_delay(tries))
                self._claim.unprotected = True
            case OutcomeUnknown() as exc:
                leg.step = Step(Status.IN_DOUBT, exc.detail, FIRST_READ_BACK)
            case exc:
                leg.step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
        if kind == "close":
            leg.closes += (outcome.attempt,)
            self._claim.closes += (outcome.attempt,)

    def _after_sending(self, legs: Sequence[Leg], positions: Sequence[Position]) -> Step:
        """Read back at once what was taken; one list serves all."""
        try:
            observation = Observation(self._broker, self._claim)
            positions = observation.positions()
            self._unreadable = {**self._unreadable, **observation.unreadable}
            for leg in legs:
                if leg.acted:
                    leg.step = self._decided(leg, observation)
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
        named = ", ".join(f"{it.instrument} {it.order_id} in {it.account}" for it in orders[:NAMED])
        if age >= self._settings.retry_for:
            reason = f"{len(orders)} orders could not be cancelled: {named}"
            return Step(Status.GAVE_UP, reason, None, Attention.STILL_OPEN)
        reason = f"{len(orders)} orders are cancelled that are at work where nothing is open: {named}"
        return Step(Status.QUEUED, reason, read_back_delay(age), cancel=tuple(orders[:AT_ONCE]))

    def _strangers(self, legs: Sequence[Leg], positions: Sequence[Position]) -> list[Position]:
        """What matches and is open, and was not when the flatten began."""
        return [
            position
            for position in evidence.matching(self._command, positions, self._today)
            if not any(
                evidence.same_position(leg.holding, position, self._today)
                and leg.holding.side is position.side
                for leg in legs
            )
        ]

    def _watch(self, common: Step, strangers: Sequence[Position]) -> Step:
        """A flatten is closed when the list shows nothing that matches."""
        age = self._claim.since_first_attempt or 0
        named = ", ".join(f"{it.side} {it.instrument} in {it.account}" for it in strangers[:NAMED])
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
            return self._again(exc)
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
    more = f" (and {len(told) - NAMED} more)" if len(told) > NAMED else ""
    return "; ".join(told[:NAMED]) + more if told else None


def _lots(legs: Sequence[Leg]) -> Iterator[Sequence[Leg]]:
    for start in range(0, len(legs), AT_ONCE):
        yield legs[start : start + AT_ONCE]
