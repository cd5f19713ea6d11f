"""What a worker has to write of a command: a call that leaves, its answer, and what the command becomes."""

from dataclasses import dataclass
from typing import Any

from app.domain.positions import ClosedPosition, Holding, Order, Place, Report
from app.domain.statuses import Attention, Status


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call that is about to leave."""

    kind: str
    """`close` or `cancel`."""
    request: dict[str, Any]
    client_id: str | None = None
    lapses: bool = False
    place: Place | None = None
    """See `PastAttempt`, for these."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt."""

    number: int
    outcome: str
    answer: Any = None
    detail: str | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a command becomes next."""

    status: Status
    reason: str | None = None
    due_in: float | None = None
    """Seconds until it goes on by itself; None: it does not."""
    attention: Attention | None = None
    holdings: tuple[Holding, ...] | None = None
    """None: as they were."""
    fixed: bool | None = None
    """None: as it was."""
    closed: tuple[ClosedPosition, ...] = ()
    cancel: tuple[Order, ...] = ()
    """Orders that are to be cancelled before anything else."""
    ours: bool = True
    """Whether those orders are the command's own, which have nothing left to close: that is never too late. Others are
    cancelled like everything that is sent: in time, and not while it is paused."""
