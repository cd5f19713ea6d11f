"""A claim: one worker's right to carry out one command, with all that is known of the command so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from app.domain.commands import Command
from app.domain.failures import REPORTED, OutcomeUnknown
from app.domain.positions import Holding, Place, Report
from app.domain.statuses import Attention, Status
from app.ledger import tables
from app.ledger.encoding import command_of, holdings_of, place_of, report_of
from app.ledger.sightings import Sighting
from app.ledger.superseding import Overtaken, overtaken
from app.ledger.transaction import moment_of

LEASE_SECONDS = 30.0
_ATTEMPTS = (
    select(tables.attempts)
    .where(tables.attempts.c.command == bindparam("command"))
    .order_by(tables.attempts.c.number)
)
MAY_HAVE_ACTED = (REPORTED, OutcomeUnknown.outcome)
"""Outcomes of an attempt after which its effect may be there."""


class LeaseLost(Exception):
    """Raised when a write comes from a worker whose claim is no longer the newest, or when time ran out."""


@dataclass(slots=True)
class Claim:
    """One worker's right to carry out one command, until the lease runs out."""

    id: str
    command: Command
    status: Status
    fence: int
    owner: str
    taken_at: float
    """By this process's monotonic clock, read before the ledger's: never later than the claim."""
    read_at: float
    """By the same clock, read after the ledger's moment: never earlier than it."""
    held_until: float
    """By the same clock: never later than the ledger's."""
    holdings: tuple[Holding, ...] | None
    fixed: bool
    """An attempt may have left: before and target stay as they are."""
    attention: Attention | None
    reason: str | None
    since_first_attempt: float | None
    """Seconds, by the database's clock; None: no attempt yet."""
    age: float = 0.0
    """Seconds since it was accepted, by the same clock."""
    closes: tuple["PastAttempt", ...] = ()
    """The attempts that close, oldest first."""
    overtaken: Overtaken | None = None
    """Of one in doubt: a close of all of the position that was sent after it."""
    resolution: str | None = None
    """An operator says that it was done, and who and why; a fresh read decides whether that is so."""
    tries: int = 0
    """Calls made so far, of any kind."""
    cancels: tuple["PastAttempt", ...] = ()
    """The cancels of working orders that were reported."""
    unprotected: bool = False
    """A cancel was reported, or its answer was lost: the position may have no stop any more."""
    reads: list["Read"] = field(default_factory=list)
    """Made under this claim and not written yet."""
    seen: set[Sighting] = field(default_factory=set)
    """What was seen open under this claim."""
    calls: int = 0
    """Made under this claim so far."""
    paused: float = 0.0
    """Seconds that were waited between them."""
    may_call: Callable[[float], bool] = lambda seconds: True
    """Whether this process may call the broker for so many seconds more."""

    def holds(self, seconds: float) -> bool:
        """Whether the lease lasts that much longer, and the broker's, where only one may call it."""
        return time.monotonic() + seconds < self.held_until and self.may_call(seconds)


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An earlier attempt, as the evidence needs it."""

    number: int
    sent_at: datetime
    age: float
    """Seconds since it was sent, by the database's clock."""
    settles_in: float
    """Seconds until its effect can be read back, by the same clock, as of `Claim.read_at`."""
    outcome: str | None
    report: Report | None
    client_id: str | None = None
    """Our id of the order, where the venue keeps one."""
    lapses: bool = False
    """The venue refuses it after the settle window: not to be found then, it was never placed."""
    place: Place | None = None
    """The one position that it closes; None: all that the command is about."""
    detail: str | None = None
    """What went wrong."""


@dataclass(frozen=True, slots=True)
class Read:
    """A call that only reads."""

    request: dict[str, Any]
    outcome: str
    seconds: float
    """How long it took."""
    answer: Any = None
    detail: str | None = None
    ago: float = 0.0
    """Seconds since it was answered, where it was made for another command."""


def claim_of(connection: Connection, row: Row[Any], started: float) -> Claim:
    """The claim on a row of `commands`, as it was taken in this transaction, which this process asked for then."""
    # Who is the first to claim it finds nothing that others left.
    attempts = connection.execute(_ATTEMPTS, {"command": row.id}).all() if row.fence > 1 else ()
    moment = moment_of(connection)
    first = row.first_attempt_at
    return Claim(
        id=row.id,
        command=command_of(row),
        status=Status(row.status),
        fence=row.fence,
        owner=row.lease_owner,
        taken_at=started,
        read_at=time.monotonic(),
        held_until=started + LEASE_SECONDS,
        holdings=holdings_of(row.holdings),
        fixed=row.fixed,
        attention=Attention(row.attention) if row.attention else None,
        reason=row.reason,
        since_first_attempt=(moment - first).total_seconds() if first else None,
        age=(moment - row.accepted_at).total_seconds(),
        closes=tuple(_past(attempt, moment) for attempt in attempts if attempt.kind == "close"),
        overtaken=overtaken(connection, row.id) if row.status == Status.IN_DOUBT else None,
        resolution=row.resolution,
        tries=len(attempts),
        cancels=tuple(_past(a, moment) for a in attempts if a.kind == "cancel" and a.outcome == REPORTED),
        unprotected=any(a.kind == "cancel" and a.outcome in MAY_HAVE_ACTED for a in attempts),
    )


def _past(row: Row[Any], moment: datetime) -> PastAttempt:
    report = None if row.report is None else report_of(row.report)
    age = (moment - row.sent_at).total_seconds()
    place = None if row.place is None else place_of(row.place)
    settles_in = (row.settles_at - moment).total_seconds()
    return PastAttempt(
        row.number, row.sent_at, age, settles_in, row.outcome, report, row.client_id, row.lapses, place
    )
