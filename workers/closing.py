"""A command that the venue takes as one call: it is sent once, when it may be (design, section 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from app.domain.commands import Command
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Holding, Report
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim
from app.ledger.journal import Journal
from app.ledger.sightings import sightings_in
from app.ledger.step import Answer, Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.backoff import FIRST_READ_BACK
from workers.brokers.broker import Broker, Call
from workers.observation import NO_ROOM, wait_for_room
from workers.planning import Ready, call_of, planned
from workers.reconciliation import Reconciliation
from workers.retrying import again
from workers.sending import Departure, Outcome, send


@dataclass(frozen=True, slots=True)
class Decided:
    """What the command becomes, and the answer that made it so."""

    step: Step
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """One claim of such a command, for one step."""

    broker: Broker
    settings: BrokerSettings
    journal: Journal
    claim: Claim
    today: date
    was_seen: Callable[[Command], bool]

    def step(self) -> Decided | None:
        """Read if the close needs it, cancel orders if that goes first, then close: each call once. Raises LeaseLost.

        None: the venue took it, which is written, and the claim goes on: it is to be read back.
        """
        prepared = self._prepared()
        if isinstance(prepared, Step):
            return Decided(prepared)
        try:
            call = call_of(self.broker, self.claim.command, prepared)
        except ValueError as exc:
            return _rejected(f"no request can be made of it: {exc}")
        if wait := wait_for_room(self.claim, call):
            return Decided(Step(Status.QUEUED, NO_ROOM, wait))
        if prepared.cancel is None:
            return self._close(call, prepared.holdings)
        # Once they are cancelled the position is read anew: an order may have filled meanwhile.
        return self._cancel_first(call, prepared.cancel) or self.step()

    def _prepared(self) -> Ready | Step:
        """Whether the close may be sent now; else what becomes of the command instead."""
        if self.claim.fixed:
            step = Reconciliation(self.broker, self.settings, self.claim, self.today, self.was_seen).judge()
            return Ready(step.holdings) if step.status is Status.QUEUED else step
        try:
            return planned(self.broker, self.claim, self.today, self.was_seen)
        except Refused as exc:
            return Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
        except BrokerError as exc:
            return self._again(exc, self.claim.tries)

    def _cancel_first(self, call: Call[Report], hurdle: preparation.Hurdle) -> Decided | None:
        """Cancel the orders that are in the way. None: they are, and the command goes on now."""
        claim, departure = self.claim, Departure(call, hurdle.holding.place)
        (outcome,) = send(self.journal, claim, self.settings, "cancel", [departure], None)
        match outcome.failure:
            case None:
                self.journal.move(claim, Step(Status.QUEUED, due_in=0), outcome.answer, keep=True)
                claim.cancels += (outcome.attempt,)
                claim.unprotected = True
                return None
            case Refused() as exc:
                return _rejected(exc.detail, outcome.answer)
            case exc:
                # Cancelling twice does no harm, so a lost answer is only a reason to repeat it.
                claim.unprotected = claim.unprotected or isinstance(exc, OutcomeUnknown)
                return Decided(self._again(exc, claim.tries), (outcome.answer,))

    def _close(self, call: Call[Report], holdings: tuple[Holding, ...] | None) -> Decided | None:
        (outcome,) = send(self.journal, self.claim, self.settings, "close", [Departure(call)], holdings)
        match outcome.failure:
            case None:
                self._taken(outcome, holdings)
                return None
            case NotSent() | Throttled() as exc:
                return Decided(self._again(exc, len(self.claim.closes)), (outcome.answer,))
            case OutcomeUnknown() as exc:
                wait = max(0.0, self.settings.settle_window - outcome.seconds)
                due_in = min(wait, FIRST_READ_BACK) if call.client_id else wait
                return Decided(Step(Status.IN_DOUBT, exc.detail, due_in, fixed=True), (outcome.answer,))
            case exc:
                return _rejected(exc.detail, outcome.answer)

    def _taken(self, outcome: Outcome, holdings: tuple[Holding, ...] | None) -> None:
        claim, report = self.claim, outcome.report
        assert report is not None
        claim.seen |= sightings_in(report.positions)
        fixed = claim.fixed or not report.nothing_open
        holdings = holdings or self._reported(report)
        taken = Step(Status.WORKING, due_in=0, holdings=holdings, fixed=fixed)
        self.journal.move(claim, taken, outcome.answer, keep=True)
        claim.closes += (outcome.attempt,)

    def _reported(self, report: Report) -> tuple[Holding, ...] | None:
        """Before and target of a close that went out at once, from the answer's snapshot."""
        mine = evidence.matching(self.claim.command, report.positions, self.today)
        return evidence.plan(self.claim.command, mine, evidence.NOTHING) or None

    def _again(self, exc: BrokerError, tries: int) -> Step:
        return again(self.claim, self.settings, exc, tries, self.today)


def _rejected(reason: str, *answers: Answer) -> Decided:
    return Decided(Step(Status.REJECTED, reason, attention=Attention.REJECTED), answers)
