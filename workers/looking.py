"""What the dashboard asks of a worker: what is open, and what a command would send. Nothing here acts.

It reads with what room the closes leave, and under no command's lease.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import structlog

from app.domain.commands import ClosePosition, Command, FlattenEverything
from app.domain.failures import BrokerError
from app.domain.positions import Holding
from app.domain.statuses import Status
from app.ledger import questions
from app.ledger.claim import LEASE_SECONDS, Claim
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.encoding import command_of_json, holding_json, position_json
from app.ledger.questions import Kind, Question
from app.ledger.sightings import was_seen
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence, preparation
from workers.brokers.broker import Broker
from workers.legs import Legs
from workers.observation import NO_ROOM, Observation
from workers.planning import Ready, call_of, one_by_one, planned
from workers.stopping import Stopping

log = structlog.get_logger(__name__)

EVERY = 1.0
"""Seconds between two looks for questions."""


@dataclass(frozen=True, slots=True)
class Looking:
    """Answers the dashboard's questions about the brokers of this process."""

    ledger: Ledger
    brokers: Mapping[str, tuple[Broker, BrokerSettings]]
    today: Callable[[], date]
    may_call: Callable[[str, float], bool]
    """Whether this process may call a broker for so many seconds more."""

    def run(self, stopping: Stopping) -> None:
        """Answer until told to stop: in a thread of its own, so that no close waits for what people want to see."""
        while not stopping.is_set():
            for broker in self.brokers:
                try:
                    self.once(broker)
                except LedgerUnavailable as exc:
                    log.warning("ledger_unavailable", reason=str(exc))
                except Exception:
                    log.exception("looking_failed", broker=broker)
            stopping.wait(EVERY)

    def once(self, broker: str) -> None:
        """Answer one question about a broker, if there is one. Raises LedgerUnavailable."""
        if not self.may_call(broker, 0.0):
            return
        question = questions.take(self.ledger, broker)
        if question is None:
            return
        try:
            found = self._answer(question)
        except BrokerError as exc:
            if exc.detail == NO_ROOM:
                questions.put_back(self.ledger, question)
                return
            found = {"problem": exc.detail}
        except Exception:
            log.exception("question_failed", kind=question.kind, broker=broker)
            found = {"problem": "a fault in Flatwire: see the worker's log"}
        questions.answer(self.ledger, question, found)

    def _answer(self, question: Question) -> dict[str, Any]:
        if question.kind is Kind.POSITIONS:
            return self._positions(question.broker)
        return self._preview(command_of_json(question.detail))

    def _positions(self, name: str) -> dict[str, Any]:
        broker, _ = self.brokers[name]
        return reading(broker, name, partial(self.may_call, name))

    def _preview(self, command: Command) -> dict[str, Any]:
        """The requests that would go out now, in their order, and what they would leave."""
        broker, settings = self.brokers[command.broker]
        claim, today = _nobodys(command, partial(self.may_call, command.broker)), self.today()
        seen = partial(was_seen, self.ledger)
        if one_by_one(broker, command):
            return _by_legs(broker, Legs(broker, settings, claim, today, seen), claim, today)
        found = planned(broker, claim, today, seen)
        if isinstance(found, Step):
            return _ended(found)
        holdings = found.holdings
        if holdings is None:  # it would go out unread; what it would leave is read all the same
            mine = evidence.matching(command, Observation(broker, claim).positions(), today)
            holdings = evidence.plan(command, mine, evidence.NOTHING)
        steps = [found, Ready(found.holdings)] if found.cancel else [found]
        requests = [call_of(broker, command, step).request for step in steps]
        return _previewed(requests, holdings)


def reading(
    broker: Broker, name: str, may_call: Callable[[float], bool] = lambda seconds: True
) -> dict[str, Any]:
    """What is open at a broker now, what of it the venue does not show, and its slowest call. Raises BrokerError."""
    claim = _nobodys(FlattenEverything(name), may_call)
    observation = Observation(broker, claim)
    positions = observation.positions()
    return {
        "positions": [position_json(position) for position in positions],
        "unreadable": dict(observation.unreadable),
        "slowest": round(max((read.seconds for read in claim.reads), default=0.0), 1),
    }


def _nobodys(command: Command, may_call: Callable[[float], bool]) -> Claim:
    """A claim that is nobody's, and never written: what it reads under is this process's own time."""
    started = time.monotonic()
    claim = Claim(
        id="",
        command=command,
        status=Status.WORKING,  # patient: what is to go out comes first
        fence=0,
        owner="",
        taken_at=started,
        read_at=started,
        held_until=started + LEASE_SECONDS,
        holdings=None,
        fixed=False,
        attention=None,
        reason=None,
        since_first_attempt=None,
    )
    claim.may_call = may_call
    return claim


def _by_legs(broker: Broker, legs: Legs, claim: Claim, today: date) -> dict[str, Any]:
    command = claim.command
    assert not isinstance(command, ClosePosition)
    observation = Observation(broker, claim)
    mine = evidence.matching(command, observation.positions(), today)
    if stopped := preparation.too_many(command, mine):
        return _ended(stopped)
    holdings = evidence.plan(command, mine, evidence.NOTHING)
    requests, notes = [], []
    for leg in [legs.look(holding, observation) for holding in holdings]:
        if not leg.due:
            notes.append(f"{leg.holding.instrument}: {leg.step.reason or leg.step.status}")
            continue
        # Only built: neither sent nor counted against the venue's limits, which closes need.
        requests += [
            legs.call(kind, leg).request for kind in (("cancel", "close") if leg.cancel else ("close",))
        ]
    return _previewed(requests, holdings, notes)


def _ended(step: Step) -> dict[str, Any]:
    return {
        "requests": [],
        "positions": [],
        "notes": [],
        "ends": {"status": step.status, "reason": step.reason},
    }


def _previewed(
    requests: list[dict[str, Any]], holdings: tuple[Holding, ...], notes: Sequence[str] = ()
) -> dict[str, Any]:
    positions = [holding_json(holding) for holding in holdings]
    return {"requests": requests, "positions": positions, "notes": list(notes), "ends": None}
