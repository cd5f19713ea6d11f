"""Making calls that act: each is committed before its first byte leaves, and made once."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial

from app.domain.failures import REPORTED, BrokerError
from app.domain.positions import Holding, Place, Report
from app.ledger.claim import Claim, PastAttempt
from app.ledger.journal import Journal
from app.ledger.step import Answer, Outgoing
from config.file import BrokerSettings
from workers.brokers.broker import Call
from workers.observation import guard

AT_ONCE = 16
"""Calls of one command that are in flight together, at most."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A call that is to leave, and the one position that it is for; None: all that the command is about."""

    call: Call[Report]
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call that left: the attempt, and its failure if it was not answered."""

    attempt: PastAttempt
    answer: Answer
    failure: BrokerError | None
    seconds: float
    """How long it took."""

    @property
    def report(self) -> Report | None:
        return self.answer.report


def send(
    journal: Journal,
    claim: Claim,
    settings: BrokerSettings,
    kind: str,
    departures: Sequence[Departure],
    holdings: tuple[Holding, ...] | None,
    *,
    late: bool = False,
) -> tuple[Outcome, ...]:
    """Commit these attempts, then make their calls, side by side if there are several. Raises LeaseLost."""
    started = time.monotonic()
    attempts = journal.begin(
        claim,
        [Outgoing(kind, it.call.request, it.call.client_id, it.call.lapses, it.place) for it in departures],
        holdings=holdings,
        settle_window=settings.settle_window,
        retry_for=settings.retry_for,
        late=late,
    )
    jobs = [
        partial(_made, claim, it.call, attempt, started)
        for it, attempt in zip(departures, attempts, strict=True)
    ]
    if len(jobs) == 1:
        return (jobs[0](),)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # What is logged in these threads names the command too.
        return tuple(made.result() for made in [pool.submit(copy_context().run, job) for job in jobs])


def _made(claim: Claim, call: Call[Report], attempt: PastAttempt, started: float) -> Outcome:
    sent = time.monotonic()
    failure: BrokerError | None = None
    try:
        answered = call.make(guard(claim))
        answer = Answer(attempt.number, REPORTED, answered.answer, report=answered.result)
    except BrokerError as exc:
        failure = exc
        answer = Answer(attempt.number, exc.outcome, exc.answer, exc.detail)
    done = replace(
        attempt,
        outcome=answer.outcome,
        report=answer.report,
        detail=answer.detail,
        # As of the claim, like those of the others: it is no younger than it may be, and no sooner settled.
        age=claim.taken_at - started,
        settles_in=attempt.settles_in + sent - claim.read_at,
    )
    return Outcome(done, answer, failure, time.monotonic() - sent)
