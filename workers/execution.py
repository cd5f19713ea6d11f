"""Carrying one claimed command on by one step: read, send, settle, verify (design, section 3).

A step makes each call once and writes what it learned. Waiting is left to the ledger: a command is put back
with the time at which it is due. A worker waits only for room in the venue's limits, and only between two calls.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial

import structlog

from app.domain.commands import Command, FlattenEverything
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim, LeaseLost
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.due import next_in_lanes
from app.ledger.journal import Journal, Paused
from app.ledger.sightings import was_seen
from app.ledger.step import Answer, Step
from config.file import BrokerSettings
from workers import preparation
from workers.backoff import WHILE_PAUSED
from workers.brokers.broker import Broker
from workers.closing import Closing
from workers.flattening import Flattening
from workers.observation import Observation
from workers.planning import one_by_one
from workers.reconciliation import Reconciliation
from workers.sending import Departure, send
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
        if claim.status is not Status.WORKING or claim.resolution is not None:
            return False
        try:
            return not one_by_one(self._broker(claim), claim.command)
        except ValueError:
            return False  # no request can be made of it: that is told where it is carried on

    def _others_of_its_list(self, claim: Claim) -> Sequence[Claim]:
        command, broker = claim.command, self._broker(claim)
        by_account = broker.accounts() is not None
        if isinstance(command, FlattenEverything) or (by_account and command.account is None):
            return ()
        # An order that could turn a position round is held against a list that is as new as can be.
        if broker.venue.closing_can_flip:
            return ()
        try:
            return self.claims.take_read_backs(
                claim, command.account if by_account else None, READ_BACK_AT_ONCE
            )
        except LedgerUnavailable:
            return ()  # they wait for a list of their own; this one has been claimed

    def _read_back(self, claims: Sequence[Claim]) -> None:
        """One list of positions serves all: it is read after they were claimed, and so after they were taken."""
        first = Observation(self._broker(claims[0]), claims[0])
        others = list(claims[1:])
        try:
            self._do(claims[0], partial(self._verify, observation=first))
            while others and first.list_age < READ_BACK_FOR:
                claim = others.pop(0)
                if self._is_read_back(claim):
                    observation = Observation(self._broker(claim), claim, earlier=first)
                    self._do(claim, partial(self._verify, observation=observation))
                else:
                    self._do(claim, self._carry_on)
        finally:
            with suppress(LedgerUnavailable):  # their leases run out
                for claim in others:
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
        try:
            others = next_in_lanes(self._ledger, claim.id, RUNG + 1)[1:]
        except LedgerUnavailable:
            return  # the sweep finds them
        if others:
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
        broker, settings = self._broker(claim), self._settings(claim)
        closing = Closing(broker, settings, self._journal, claim, self._today(), self._was_seen)
        if decided := closing.step():
            self._follow(claim, decided.step, *decided.answers)
        elif self._can_wait(claim):
            # What is to go out comes first, and one list reads the others back too.
            self.claims.release(claim)
        else:
            self._verify(claim)

    def _can_wait(self, claim: Claim) -> bool:
        """Whether others are due, and go before the read-back of what was taken just now."""
        report = claim.closes[-1].report
        if report is not None and report.nothing_open:
            return False  # what is opened from now on is not what was to be closed
        try:
            return self.claims.others_wait(claim.command.broker)
        except LedgerUnavailable:
            return False

    def _follow(self, claim: Claim, step: Step, *answers: Answer) -> None:
        """Do what was decided: write it, having cancelled the orders that go first."""
        broker, settings = self._broker(claim), self._settings(claim)
        if step.cancel and not step.ours and claim.status is not Status.QUEUED:
            step = replace(step, cancel=(), due_in=0)  # what is not its own is cancelled in its turn
        calls = [broker.cancel_orders(order.account, order.instrument, (order,)) for order in step.cancel]
        # Those that have no room are left to the next look.
        departures = [Departure(call) for call in calls if not call.room(False)]
        if departures:
            holdings = claim.holdings if step.holdings is None else step.holdings
            outcomes = send(self._journal, claim, settings, "cancel", departures, holdings, late=step.ours)
            answers += tuple(it.answer for it in outcomes)
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
        return Flattening(broker, settings, self._journal, claim, self._today(), self._was_seen)

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
