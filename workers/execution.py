"""Carrying one claimed command on by one step: read, send, settle, verify (design, section 3).

A step makes each call once and writes what it learned. Waiting is left to the ledger: a command is put back
with the time at which it is due. A worker waits only for room in the venue's limits, and only between two calls.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import structlog

from app.domain.commands import Command, FlattenEverything
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Holding, Report
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim, LeaseLost
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.due import next_in_lanes
from app.ledger.journal import Journal, Paused
from app.ledger.sightings import sightings_in, was_seen
from app.ledger.step import Answer, Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.backoff import FIRST_READ_BACK, WHILE_PAUSED, retry_delay, retry_within
from workers.brokers.broker import Broker, Call
from workers.flattening import Flattening
from workers.observation import NO_ROOM, Observation, wait_for_room
from workers.planning import Ready, call_of, one_by_one, planned
from workers.rates import LONGEST_HOLD
from workers.reconciliation import Reconciliation, gave_up
from workers.sending import Departure, Outcome, send
from workers.tenure import Tenure

log = structlog.get_logger(__name__)

ENDED_OPEN = (Status.REJECTED, Status.GAVE_UP)
"""Where a close may not end that took the working orders with it."""
AFTER_A_FAULT = 60.0
"""Seconds until a command is tried again in whose step we failed."""
READ_BACK_AT_ONCE = 20
"""Commands that one list of positions reads back, at most."""
READ_BACK_FOR = 1.0
"""Seconds after a list in which others are read back by it: neither a new close nor a stop is to wait for all of them."""
RUNG = 8
"""Commands that are rung for when one has settled, at most: each ring wakes a worker, who goes on with the rest."""
LONG_WITHOUT_A_TRY = 30.0
"""Seconds without a first attempt after which a person is told."""
UNPROTECTED = (Status.REJECTED, Status.GAVE_UP, Status.IN_DOUBT)
"""Where a close may not end, once the orders that protected its position were cancelled for it."""


class Execution:
    """Carries claims on, one step each, with the brokers of this process; `worker` is its name."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        brokers: Mapping[str, tuple[Broker, BrokerSettings]],
        today: Callable[[], date],
        tenure: Tenure | None = None,
        ring: Callable[[Sequence[str]], object] = lambda command_ids: None,
    ) -> None:
        """`tenure` says which brokers this process may call; None: any. `ring` wakes others for what is due now."""
        self._ledger = ledger
        self._tenure = tenure
        self._ring = ring
        windows = [settings.settle_window for _, settings in brokers.values()]
        self.claims = Claims(ledger, worker, max(windows, default=0.0))
        self._journal = Journal(ledger)
        self._brokers = brokers
        self._today = today
        self._can_flip = {name for name, (broker, _) in brokers.items() if broker.venue.closing_can_flip}

    def step(self, brokers: Collection[str] | None = None) -> bool:
        """Take the most urgent due command (of these brokers) and carry it on. False if there was none."""
        mine = [name for name in brokers or self._brokers if self._may_call(name)]
        claim = self.claims.take(mine, self._can_flip.intersection(mine)) if mine else None
        if claim is None:
            return False
        if self._is_read_back(claim):
            self._read_back([claim, *self._others_of_its_list(claim)])
        else:
            self._do(claim, self._carry_on)
        return True

    def tell_of_blocked(self) -> None:
        """Ask for attention to what has waited for long for an earlier close that could still turn its position round."""
        self.claims.tell_of_blocked(self._can_flip, preparation.BLOCKED)

    def _is_read_back(self, claim: Claim) -> bool:
        alone = claim.resolution is not None or one_by_one(self._broker(claim), claim.command)
        return claim.status is Status.WORKING and not alone

    def _others_of_its_list(self, claim: Claim) -> Sequence[Claim]:
        command = claim.command
        by_account = self._broker(claim).accounts() is not None
        if isinstance(command, FlattenEverything) or (by_account and command.account is None):
            return ()
        return self.claims.take_read_backs(claim, command.account if by_account else None, READ_BACK_AT_ONCE)

    def _read_back(self, claims: Sequence[Claim]) -> None:
        """One list of positions serves all: it is read after they were claimed, and so after they were taken."""
        first = Observation(self._broker(claims[0]), claims[0])
        self._do(claims[0], partial(self._verify, observation=first))
        ends_at = time.monotonic() + READ_BACK_FOR
        for claim in claims[1:]:
            if time.monotonic() < ends_at:
                observation = Observation(self._broker(claim), claim, earlier=first)
                self._do(claim, partial(self._verify, observation=observation))
            else:
                self.claims.release(claim)

    def _verify(self, claim: Claim, observation: Observation | None = None) -> None:
        self._follow(claim, self._reconciliation(claim, observation).verify())

    def _do(self, claim: Claim, carry_on: Callable[[Claim], None]) -> None:
        """Whatever comes of it, the claim ends, or runs out by itself."""
        claim.may_call = partial(self._may_call, claim.command.broker)
        with structlog.contextvars.bound_contextvars(command=claim.id, broker=claim.command.broker):
            try:
                carry_on(claim)
            except LeaseLost:
                # Somebody else goes on with it. Whatever was in flight here is theirs to find out.
                log.warning("lease_lost", fence=claim.fence)
                self.claims.release(claim)
            except Paused:
                naked = Attention.UNPROTECTED if claim.unprotected else None
                self.claims.set_aside(claim, WHILE_PAUSED, "paused by an operator", naked)
            except LedgerUnavailable:
                raise  # the lease runs out by itself
            except Exception:
                # A fault of ours must neither stop the other commands nor go on unseen.
                log.exception("step_failed")
                reason = "a fault in Flatwire stopped it: see the worker's log"
                attention = Attention.IN_DOUBT if claim.closes else Attention.STILL_OPEN
                self.claims.set_aside(claim, AFTER_A_FAULT, reason, attention)
            if claim.status.final:
                self._ring_for_next(claim)

    def _ring_for_next(self, claim: Claim) -> None:
        """Wake others for what waited for this one; the first of them is taken here, in the next step."""
        if others := next_in_lanes(self._ledger, claim.id, RUNG + 1)[1:]:
            self._ring(others)

    def _may_call(self, broker: str, seconds: float = 0.0) -> bool:
        return self._tenure is None or self._tenure.may_call(broker, seconds)

    def _carry_on(self, claim: Claim) -> None:
        if claim.resolution is not None:
            self._follow(claim, self._reconciliation(claim).resolved(claim.resolution))
            return
        if one_by_one(self._broker(claim), claim.command):
            self._follow(claim, self._flattening(claim).step())
            return
        match claim.status:
            case Status.QUEUED:
                self._attempt(claim)
            case Status.IN_DOUBT:
                self._follow(claim, self._reconciliation(claim).judge())
            case _:
                raise AssertionError(f"a {claim.status} command is never claimed")

    def _attempt(self, claim: Claim) -> None:
        """Read if the close needs it, cancel orders if that goes first, then close: each call once."""
        prepared = self._prepared(claim)
        if isinstance(prepared, Step):
            self._follow(claim, prepared)
            return
        try:
            call = call_of(self._broker(claim), claim.command, prepared)
        except ValueError as exc:
            reason = f"no request can be made of it: {exc}"
            self._move(claim, Step(Status.REJECTED, reason, attention=Attention.REJECTED))
            return
        if wait := wait_for_room(claim, call):
            self._move(claim, Step(Status.QUEUED, NO_ROOM, wait))
        elif prepared.cancel is None:
            self._close(claim, call, prepared.holdings)
        elif self._cancel_first(claim, call, prepared.cancel):
            self._attempt(claim)  # the position is read anew: an order may have filled meanwhile

    def _prepared(self, claim: Claim) -> Ready | Step:
        """Whether the close may be sent now; else what becomes of the command instead."""
        if claim.fixed:
            step = self._reconciliation(claim).judge()
            return Ready(step.holdings) if step.status is Status.QUEUED else step
        try:
            return planned(self._broker(claim), claim, self._today(), self._was_seen)
        except Refused as exc:
            return Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
        except BrokerError as exc:
            return self._again(claim, exc, claim.tries)

    def _cancel_first(self, claim: Claim, call: Call[Report], hurdle: preparation.Hurdle) -> bool:
        """Cancel the orders that are in the way. False if the command does not go on now."""
        departure = Departure(call, hurdle.holding.place)
        (outcome,) = send(self._journal, claim, self._settings(claim), "cancel", [departure], None)
        match outcome.failure:
            case None:
                self._journal.move(claim, Step(Status.QUEUED, due_in=0), outcome.answer, keep=True)
                claim.cancels += (outcome.attempt,)
                claim.unprotected = True
                return True
            case Refused() as exc:
                step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
                self._move(claim, step, outcome.answer)
            case exc:
                # Cancelling twice does no harm, so a lost answer is only a reason to repeat it.
                claim.unprotected = claim.unprotected or isinstance(exc, OutcomeUnknown)
                self._move(claim, self._again(claim, exc, claim.tries), outcome.answer)
        return False

    def _close(self, claim: Claim, call: Call[Report], holdings: tuple[Holding, ...] | None) -> None:
        """Send the close, once; then read it back at once if it was taken."""
        (outcome,) = send(self._journal, claim, self._settings(claim), "close", [Departure(call)], holdings)
        match outcome.failure:
            case None:
                self._taken(claim, outcome, holdings)
            case NotSent() | Throttled() as exc:
                self._move(claim, self._again(claim, exc, len(claim.closes)), outcome.answer)
            case OutcomeUnknown() as exc:
                wait = max(0.0, self._settings(claim).settle_window - outcome.seconds)
                due_in = min(wait, FIRST_READ_BACK) if call.client_id else wait
                step = Step(Status.IN_DOUBT, exc.detail, due_in, fixed=True)
                self._move(claim, step, outcome.answer)
            case exc:
                step = Step(Status.REJECTED, exc.detail, attention=Attention.REJECTED)
                self._move(claim, step, outcome.answer)

    def _taken(self, claim: Claim, outcome: Outcome, holdings: tuple[Holding, ...] | None) -> None:
        report = outcome.report
        assert report is not None
        claim.seen |= sightings_in(report.positions)
        fixed = claim.fixed or not report.nothing_open
        holdings = holdings or self._reported(claim, report)
        taken = Step(Status.WORKING, due_in=0, holdings=holdings, fixed=fixed)
        self._journal.move(claim, taken, outcome.answer, keep=True)
        claim.closes += (outcome.attempt,)
        if self.claims.others_wait(claim.command.broker):
            # What is to go out comes first, and one list reads the others back too.
            self.claims.release(claim)
        else:
            self._verify(claim)

    def _reported(self, claim: Claim, report: Report) -> tuple[Holding, ...] | None:
        """Before and target of a close that went out at once, from the answer's snapshot."""
        mine = evidence.matching(claim.command, report.positions, self._today())
        return evidence.plan(claim.command, mine, evidence.NOTHING) or None

    def _again(self, claim: Claim, exc: BrokerError, tries: int) -> Step:
        """Nothing was done: try again after a wait, unless time would run out. Before a first attempt, the age counts."""
        # For a day's wait nobody waits: by then the close is too old, and one more call a while later does no harm.
        asked = None if exc.retry_after is None else min(exc.retry_after, LONGEST_HOLD)
        delay = retry_delay(tries + 1, asked)
        sent_now = claim.status is Status.SENDING or bool(claim.cancels)
        attempted = sent_now or claim.since_first_attempt is not None
        if attempted:
            left = self._settings(claim).retry_for - (claim.since_first_attempt or 0)
            # Who is told to wait for longer than there is time does not try again before that.
            within = retry_within(delay, left) if (asked or 0) < left else None
            if within is None:
                last = claim.closes[-1] if claim.closes else None
                why = f"{exc.detail}; no time is left to try again"
                return gave_up(why, claim.holdings, last, self._today())
            delay = max(within, asked or 0)
        # A person is told that nothing goes out; with NO_ROOM it is only a matter of time.
        stuck = not attempted and claim.age > LONG_WITHOUT_A_TRY and exc.detail != NO_ROOM
        return Step(Status.QUEUED, exc.detail, delay, Attention.STILL_OPEN if stuck else None)

    def _follow(self, claim: Claim, step: Step) -> None:
        """Do what was decided: write it, having cancelled the orders that go first."""
        broker, settings = self._broker(claim), self._settings(claim)
        if step.cancel and not step.ours and claim.status is not Status.QUEUED:
            step = replace(step, cancel=(), due_in=0)  # what is not its own is cancelled in its turn
        calls = [broker.cancel_orders(order.account, order.instrument, (order,)) for order in step.cancel]
        # Those that have no room are left to the next look.
        departures = [Departure(call) for call in calls if not call.room(False)]
        answers: tuple[Answer, ...] = ()
        if departures:
            holdings = claim.holdings if step.holdings is None else step.holdings
            outcomes = send(self._journal, claim, settings, "cancel", departures, holdings, late=step.ours)
            answers = tuple(it.answer for it in outcomes)
        self._move(claim, replace(step, cancel=()), *answers)

    def _move(self, claim: Claim, step: Step, *answers: Answer) -> None:
        if _may_be_naked(claim, step):
            step = replace(step, attention=Attention.UNPROTECTED)
        before = claim.status, claim.attention
        self._journal.move(claim, step, *answers)
        if before == (claim.status, claim.attention):
            log.info("command_waits", status=step.status, reason=step.reason, due_in=step.due_in)

    def _reconciliation(self, claim: Claim, observation: Observation | None = None) -> Reconciliation:
        broker, settings = self._broker(claim), self._settings(claim)
        return Reconciliation(broker, settings, claim, self._today(), self._was_seen, observation)

    def _flattening(self, claim: Claim) -> Flattening:
        broker, settings = self._broker(claim), self._settings(claim)
        return Flattening(
            broker,
            settings,
            self._journal,
            claim,
            self._today(),
            self._was_seen,
            again=lambda exc: self._again(claim, exc, claim.tries),
        )

    def _was_seen(self, command: Command) -> bool:
        return was_seen(self._ledger, command)

    def _broker(self, claim: Claim) -> Broker:
        return self._brokers[claim.command.broker][0]

    def _settings(self, claim: Claim) -> BrokerSettings:
        return self._brokers[claim.command.broker][1]


def _may_be_naked(claim: Claim, step: Step) -> bool:
    """Whether the orders that protected the position are gone, and it may still be open."""
    if claim.unprotected:
        return step.status in UNPROTECTED or step.attention is Attention.STILL_OPEN
    # Of a flatten that is made of several calls, each position is judged by itself.
    taken = any(it.place is None and it.report and not it.report.nothing_open for it in claim.closes)
    return taken and preparation.takes_orders(claim.command) and step.status in ENDED_OPEN
