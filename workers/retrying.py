"""What becomes of a command of which nothing was done, and could not be now."""

from datetime import date

from app.domain.failures import BrokerError
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim
from app.ledger.step import Step
from config.file import BrokerSettings
from workers.backoff import retry_delay, retry_within
from workers.conclusions import gave_up
from workers.observation import NO_ROOM
from workers.rates import LONGEST_HOLD

LONG_WITHOUT_A_TRY = 30.0
"""Seconds without a first attempt after which a person is told."""


def again(claim: Claim, settings: BrokerSettings, exc: BrokerError, tries: int, today: date) -> Step:
    """Try again after a wait, unless time would run out. Before a first attempt, the age counts."""
    # For a day's wait nobody waits: by then the close is too old, and one more call a while later does no harm.
    asked = None if exc.retry_after is None else min(exc.retry_after, LONGEST_HOLD)
    delay = retry_delay(tries + 1, asked)
    sent_now = claim.status is Status.SENDING or bool(claim.cancels)
    attempted = sent_now or claim.since_first_attempt is not None
    if attempted:
        left = settings.retry_for - (claim.since_first_attempt or 0)
        # Who is told to wait for longer than there is time does not try again before that.
        within = retry_within(delay, left) if (asked or 0) < left else None
        if within is None:
            last = claim.closes[-1] if claim.closes else None
            return gave_up(f"{exc.detail}; no time is left to try again", claim.holdings, last, today)
        delay = max(within, asked or 0)
    # A person is told that nothing goes out; with NO_ROOM it is only a matter of time.
    stuck = not attempted and claim.age > LONG_WITHOUT_A_TRY and exc.detail != NO_ROOM
    return Step(Status.QUEUED, exc.detail, delay, Attention.STILL_OPEN if stuck else None)
