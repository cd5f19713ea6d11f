"""The legs of a flatten that is made of several calls: each is judged as a whole close of its position alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching
from app.domain.failures import NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.instruments import account_key
from app.domain.positions import Holding, Report
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim, PastAttempt
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.backoff import FIRST_READ_BACK, read_back_delay, retry_delay
from workers.brokers.broker import Broker, Call
from workers.findings import that_may_have_acted
from workers.observation import NO_ROOM, Observation, wait_for_room
from workers.reconciliation import Reconciliation
from workers.sending import Departure, Outcome


@dataclass(slots=True)
class Leg:
    """One position of a flatten."""

    holding: Holding
    closes: tuple[PastAttempt, ...]
    step: Step
    """What becomes of it; the close is to be sent now where that is `queued` with nothing to wait for."""
    cancel: preparation.Hurdle | None = None
    """What is to be cancelled before its close."""
    now: Holding | None = None
    """The holding as the last read showed it: what a call may still close."""

    @property
    def acted(self) -> bool:
        return bool(that_may_have_acted(self.closes))

    @property
    def due(self) -> bool:
        return self.step.status is Status.QUEUED and self.step.due_in == 0


@dataclass(frozen=True, slots=True)
class Legs:
    """Decides what becomes of each leg of one claim, and makes its calls."""

    broker: Broker
    settings: BrokerSettings
    claim: Claim
    today: date
    was_seen: Callable[[Command], bool]

    @property
    def command(self) -> FlattenMatching | FlattenEverything:
        assert not isinstance(self.claim.command, ClosePosition)
        return self.claim.command

    def look(self, holding: Holding, observation: Observation) -> Leg:
        """A leg as it stands: what becomes of it, and what is to be cancelled before its close. Raises BrokerError."""
        closes = tuple(it for it in self.claim.closes if it.place == holding.place)
        leg = Leg(holding, closes, Step(Status.QUEUED, due_in=0))
        leg.step = self.decided(leg, observation)
        if leg.due and not leg.acted:
            leg.cancel = self._hurdle(leg, observation)
        return leg

    def decided(self, leg: Leg, observation: Observation) -> Step:
        """What becomes of a leg, by what there is to see of it. Raises BrokerError."""
        if evidence.reached(leg.holding):
            return Step(Status.CLOSED, holdings=(leg.holding,))  # and written, when it was
        positions = observation.positions()  # tells whose can't be read
        if unseen := self._unseen_yet(leg, observation):
            return unseen
        if leg.acted:
            return self._reconciled(leg, observation)
        now = evidence.with_after((leg.holding,), positions, self.today)
        if not now[0].after:
            return Step(Status.NOTHING_OPEN, holdings=now)
        if leg.closes and leg.closes[-1].outcome == Refused.outcome:
            return Step(Status.REJECTED, leg.closes[-1].detail, attention=Attention.REJECTED)
        if (self.claim.since_first_attempt or 0) >= self.settings.retry_for:
            return Step(Status.GAVE_UP, "no time is left to try again", attention=Attention.GAVE_UP)
        (leg.now,) = now
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
        age = self.claim.since_first_attempt or 0
        reason = f"account {leg.holding.account} can't be read: {said}"
        return Step(Status.WORKING, reason, read_back_delay(age), Attention.STILL_OPEN)

    def _reconciled(self, leg: Leg, observation: Observation) -> Step:
        """As of a whole close of this position alone."""
        holding = leg.holding
        alone = replace(
            self.claim,
            command=self._close_of(holding),
            holdings=(holding,),
            closes=leg.closes,
            fixed=True,
        )
        judged = Reconciliation(self.broker, self.settings, alone, self.today, self.was_seen, observation)
        last = that_may_have_acted(leg.closes)[
            -1
        ]  # what was proved unsent or refused since then changes no doubt
        in_doubt = last.outcome in (None, OutcomeUnknown.outcome)
        step = judged.judge() if in_doubt else judged.verify()
        if step.status is Status.QUEUED and leg.closes[-1].outcome == Refused.outcome:
            step = Step(Status.REJECTED, leg.closes[-1].detail, None, Attention.REJECTED, step.holdings)
        if step.status in (Status.REJECTED, Status.GAVE_UP) and preparation.takes_orders(self.command):
            return replace(step, attention=Attention.UNPROTECTED)
        if step.status is not Status.QUEUED:
            return step
        (leg.now,) = step.holdings or (None,)
        return replace(step, due_in=0)  # the wait for the next try is over: this is the next look

    def _hurdle(self, leg: Leg, observation: Observation) -> preparation.Hurdle | None:
        hurdle = preparation.hurdle(
            self.command, leg.holding, self.claim, observation, self.broker.venue, self.today
        )
        if hurdle and hurdle.cancel is None:
            leg.step = preparation.blocked(self.claim, hurdle)
        return hurdle

    def _close_of(self, holding: Holding) -> ClosePosition:
        keep = isinstance(self.command, FlattenMatching) and not self.command.cancel_orders
        return ClosePosition(
            self.command.broker,
            holding.account,
            holding.instrument,
            side=holding.side,
            cancel_orders=not keep,
        )

    def departure(self, kind: str, leg: Leg) -> Departure | None:
        """The call of a leg; None, and the leg says why, if it can't go now."""
        try:
            call = self.call(kind, leg)
        except ValueError as exc:
            leg.step = Step(Status.REJECTED, f"no request can be made of it: {exc}", None, Attention.REJECTED)
            return None
        if wait := wait_for_room(self.claim, call):
            leg.step = Step(Status.QUEUED, NO_ROOM, wait)
            return None
        return Departure(call, leg.holding.place)

    def call(self, kind: str, leg: Leg) -> Call[Report]:
        """The request of a leg, not sent. Raises ValueError if none can be made of it."""
        return self._cancel(leg) if kind == "cancel" else self._close(leg)

    def _cancel(self, leg: Leg) -> Call[Report]:
        assert leg.cancel is not None
        orders = leg.cancel.cancel or ()
        return self.broker.cancel_orders(leg.holding.account, leg.holding.instrument, orders)

    def _close(self, leg: Leg) -> Call[Report]:
        """What still stands of it: since the list was read first, some of it may have been closed by others."""
        command, holding = self._close_of(leg.holding), leg.now or leg.holding
        by_quantity = preparation.by_quantity(command, self.broker.venue)
        return self.broker.close(command, holding, evidence.to_close(holding) if by_quantity else None)

    def note(self, kind: str, leg: Leg, outcome: Outcome) -> None:
        """What becomes of a leg by the answer to its call."""
        tries = len(leg.closes) + 1
        match outcome.failure:
            case None if kind == "cancel":
                leg.step = Step(Status.QUEUED, "its orders were cancelled first", FIRST_READ_BACK)
                self.claim.cancels += (outcome.attempt,)
                self.claim.unprotected = True
            case None:
                leg.step = Step(Status.WORKING, due_in=FIRST_READ_BACK)
            case NotSent() | Throttled() as exc:
                leg.step = Step(Status.QUEUED, exc.detail, retry_delay(tries, exc.retry_after))
            case OutcomeUnknown() as exc if kind == "cancel":
                leg.step = Step(Status.QUEUED, exc.detail, retry_delay(tries))
                self.claim.unprotected = True
            case OutcomeUnknown() as exc:
                leg.step = Step(Status.IN_DOUBT, exc.detail, FIRST_READ_BACK)
            case exc:
                leg.step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
        if kind == "close":
            leg.closes += (outcome.attempt,)
            self.claim.closes += (outcome.attempt,)
