"""Carrying one claimed command on by one step: read, send, settle, verify (design, section 3).

A step makes each call once and writes what it learned. Waiting is left to the ledger: a command is put back
with the time at which it is due, and no worker sleeps on it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import structlog

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching
from app.domain.failures import REPORTED, BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.instruments import contract_of
from app.domain.positions import Holding, Position, Report
from app.domain.statuses import Attention, Status
from app.ledger.claims import Claim, Claims, LeaseLost, PastAttempt
from app.ledger.connection import Ledger
from app.ledger.journal import Answer, Journal, Step
from app.ledger.sightings import sightings_in, was_seen
from config.file import BrokerSettings
from workers import evidence
from workers.backoff import retry_delay
from workers.brokers.broker import Broker, Call
from workers.observation import Observation, guard
from workers.reconciliation import Reconciliation, gave_up, nothing_open

log = structlog.get_logger(__name__)

UNPROTECTED = (Status.REJECTED, Status.GAVE_UP, Status.IN_DOUBT)
"""Where a close may not end, once the orders that protected its position were cancelled for it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The close may be sent now."""

    holdings: tuple[Holding, ...] | None
    """Before and target; None where the close goes out without a read."""


class Execution:
    """Carries claims on, one step each, with the brokers of this process; `worker` is its name."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        brokers: Mapping[str, tuple[Broker, BrokerSettings]],
        today: Callable[[], date],
    ) -> None:
        self._ledger = ledger
        self._claims = Claims(ledger, worker)
        self._journal = Journal(ledger)
        self._brokers = brokers
        self._today = today

    def step(self) -> bool:
        """Take the most urgent due command and carry it on. False if there was none."""
        claim = self._claims.take(list(self._brokers))
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(command=claim.id, broker=claim.command.broker):
            try:
                self._carry_on(claim)
            except LeaseLost:
                # Somebody else goes on with it. Whatever was in flight here is theirs to find out.
                log.warning("lease_lost", fence=claim.fence)
                self._claims.release(claim)
        return True

    def _carry_on(self, claim: Claim) -> None:
        match claim.status:
            case Status.QUEUED:
                self._attempt(claim)
            case Status.WORKING:
                self._move(claim, self._reconciliation(claim).verify())
            case Status.IN_DOUBT:
                self._move(claim, self._reconciliation(claim).judge())
            case _:
                raise AssertionError(f"a {claim.status} command is never claimed")

    def _attempt(self, claim: Claim) -> None:
        """Read if the close needs it, cancel orders if that goes first, then close: each call once."""
        prepared = self._prepared(claim)
        if isinstance(prepared, Step):
            self._move(claim, prepared)
            return
        holdings = prepared.holdings
        if self._cancel_goes_first(claim):
            if self._cancel(claim, holdings or ()):
                self._attempt(claim)  # the position is read anew: an order may have filled meanwhile
            return
        self._close(claim, self._call(claim.command, holdings), holdings)

    def _prepared(self, claim: Claim) -> Ready | Step:
        """Whether the close may be sent now; else what becomes of the command instead."""
        if claim.fixed:
            step = self._reconciliation(claim).judge()
            return Ready(step.holdings) if step.status is Status.QUEUED else step
        if not self._needs_position(claim):
            return Ready(None)
        broker = self._broker(claim)
        try:
            positions = Observation(broker, claim).positions()
        except Refused as exc:
            return Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
        except BrokerError as exc:
            return self._again(claim, exc, claim.tries)
        mine = evidence.matching(claim.command, positions, self._today())
        if not mine:
            return nothing_open(claim.command, positions, self._today(), self._was_seen)
        if _ambiguous(claim.command, mine, self._today()):
            names = ", ".join(sorted({position.instrument for position in mine}))
            reason = f"more than one contract fits that name: {names}. Name one of them"
            return Step(Status.REJECTED, reason, attention=Attention.REJECTED)
        return Ready(evidence.plan(claim.command, mine, broker.venue.lot))

    def _needs_position(self, claim: Claim) -> bool:
        """Whether the position must be read to know what to send. Time counts: what needs no read goes out at once."""
        command, venue = claim.command, self._broker(claim).venue
        if isinstance(command, FlattenEverything):
            return False
        if command.instrument is not None and not venue.spells(command.instrument):
            return True  # the read tells the venue's own name of it, or that it has several
        if isinstance(command, FlattenMatching):
            return False
        return not (command.whole and command.cancel_orders) or venue.whole_close_needs_position

    def _cancel_goes_first(self, claim: Claim) -> bool:
        """A whole close cancels the orders by itself; before a partial one it takes a call."""
        command = claim.command
        if not isinstance(command, ClosePosition) or command.whole or claim.fixed:
            return False
        return command.cancel_orders and not claim.cancelled_orders

    def _call(self, command: Command, holdings: tuple[Holding, ...] | None) -> Call[Report]:
        broker = self._brokers[command.broker][0]
        match command:
            case FlattenEverything():
                return broker.flatten_everything(command)
            case FlattenMatching():
                # An alias was resolved by the read: the contract that was seen is the one that is sent.
                named = holdings[0].instrument if holdings and command.instrument else command.instrument
                return broker.flatten(replace(command, instrument=named))
            case ClosePosition():
                instrument = holdings[0].instrument if holdings else command.instrument
                if command.whole and command.cancel_orders:
                    return broker.close(command, instrument, None)
                assert holdings, "a close by quantity is planned on a read"
                return broker.close(command, instrument, evidence.to_close(holdings[0]))
        raise AssertionError(command)

    def _cancel(self, claim: Claim, holdings: tuple[Holding, ...]) -> bool:
        """Cancel the instrument's working orders. False if the command does not go on now."""
        call = self._broker(claim).cancel_orders(holdings[0].account, holdings[0].instrument)
        attempt = self._begin(claim, "cancel", call, None)
        try:
            answered = call.make(guard(claim))
        except Refused as exc:
            step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
            self._move(claim, step, _failed(attempt, exc))
            return False
        except BrokerError as exc:
            # Cancelling twice does no harm, so a lost answer is only a reason to repeat it.
            claim.unprotected = claim.unprotected or isinstance(exc, OutcomeUnknown)
            self._move(claim, self._again(claim, exc, claim.tries), _failed(attempt, exc))
            return False
        answer = Answer(attempt.number, REPORTED, answered.answer, report=answered.result)
        self._journal.move(claim, Step(Status.QUEUED, due_in=0), answer, keep=True)
        claim.cancelled_orders = claim.unprotected = True
        return True

    def _close(self, claim: Claim, call: Call[Report], holdings: tuple[Holding, ...] | None) -> None:
        """Send the close, once; then read it back at once if it was taken."""
        attempt = self._begin(claim, "close", call, holdings)
        started = time.monotonic()
        try:
            answered = call.make(guard(claim))
        except (NotSent, Throttled) as exc:
            self._move(claim, self._again(claim, exc, len(claim.closes)), _failed(attempt, exc))
            return
        except Refused as exc:
            step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
            self._move(claim, step, _failed(attempt, exc))
            return
        except OutcomeUnknown as exc:
            wait = self._settings(claim).settle_window - (time.monotonic() - started)
            step = Step(Status.IN_DOUBT, exc.detail, max(0.0, wait), fixed=True)
            self._move(claim, step, _failed(attempt, exc))
            return
        report = answered.result
        claim.seen |= sightings_in(report.positions)
        fixed = claim.fixed or not report.nothing_open
        taken = Step(
            Status.WORKING, due_in=0, holdings=holdings or self._reported(claim, report), fixed=fixed
        )
        answer = Answer(attempt.number, REPORTED, answered.answer, report=report)
        self._journal.move(claim, taken, answer, keep=True)
        age = claim.taken_at - started  # as of the claim, like the ages of the others
        claim.closes += (replace(attempt, outcome=REPORTED, report=report, age=age),)
        self._move(claim, self._reconciliation(claim).verify())

    def _reported(self, claim: Claim, report: Report) -> tuple[Holding, ...] | None:
        """Before and target of a close that went out at once, from the answer's snapshot."""
        mine = evidence.matching(claim.command, report.positions, self._today())
        return evidence.plan(claim.command, mine, self._broker(claim).venue.lot) or None

    def _begin(
        self, claim: Claim, kind: str, call: Call[Report], holdings: tuple[Holding, ...] | None
    ) -> PastAttempt:
        settings = self._settings(claim)
        return self._journal.begin(
            claim,
            kind,
            call.request,
            holdings=holdings,
            client_id=call.client_id,
            settle_window=settings.settle_window,
            retry_for=settings.retry_for,
        )

    def _again(self, claim: Claim, exc: BrokerError, tries: int) -> Step:
        """Nothing was done: try again after a wait, unless time would run out. Before a first attempt, the age counts."""
        delay = retry_delay(tries + 1, exc.retry_after)
        sent_now = claim.status is Status.SENDING or claim.cancelled_orders
        attempted = sent_now or claim.since_first_attempt is not None
        if attempted and (claim.since_first_attempt or 0) + delay >= self._settings(claim).retry_for:
            last = claim.closes[-1] if claim.closes else None
            return gave_up(f"{exc.detail}; no time is left to try again", claim.holdings, last, self._today())
        return Step(Status.QUEUED, exc.detail, delay)

    def _move(self, claim: Claim, step: Step, answer: Answer | None = None) -> None:
        if claim.unprotected and (step.status in UNPROTECTED or step.attention is Attention.STILL_OPEN):
            step = replace(step, attention=Attention.UNPROTECTED)
        self._journal.move(claim, step, answer)
        log.info("command_moved", status=step.status, reason=step.reason, attention=step.attention)

    def _reconciliation(self, claim: Claim) -> Reconciliation:
        broker, settings = self._broker(claim), self._settings(claim)
        return Reconciliation(broker, settings, claim, self._today(), self._was_seen)

    def _was_seen(self, command: Command) -> bool:
        return was_seen(self._ledger, command)

    def _broker(self, claim: Claim) -> Broker:
        return self._brokers[claim.command.broker][0]

    def _settings(self, claim: Claim) -> BrokerSettings:
        return self._brokers[claim.command.broker][1]


def _failed(attempt: PastAttempt, exc: BrokerError) -> Answer:
    return Answer(attempt.number, exc.outcome, exc.answer, exc.detail)


def _ambiguous(command: Command, mine: tuple[Position, ...], today: date) -> bool:
    """Whether a name without an expiry fits several contracts."""
    if isinstance(command, FlattenEverything) or command.instrument is None:
        return False
    return len({contract_of(position.instrument, today) for position in mine}) > 1
