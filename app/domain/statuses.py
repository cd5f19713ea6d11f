"""The statuses of a command, and the one table of what may follow what."""

from enum import StrEnum


class Status(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    WORKING = "working"
    IN_DOUBT = "in_doubt"
    CLOSED = "closed"
    NOTHING_OPEN = "nothing_open"
    REJECTED = "rejected"
    GAVE_UP = "gave_up"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        return not NEXT[self]


class Attention(StrEnum):
    """Why a person must look at a command."""

    IN_DOUBT = "in_doubt"
    GAVE_UP = "gave_up"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STILL_OPEN = "still_open"
    POSITION_CHANGED = "position_changed"
    NOTHING_OPEN_SUSPECT = "nothing_open_suspect"
    UNPROTECTED = "unprotected"
    TOO_MANY_POSITIONS = "too_many_positions"


GRAVEST_FIRST = (
    Attention.UNPROTECTED,
    Attention.IN_DOUBT,
    Attention.STILL_OPEN,
    Attention.POSITION_CHANGED,
    Attention.GAVE_UP,
    Attention.REJECTED,
    Attention.EXPIRED,
    Attention.TOO_MANY_POSITIONS,
    Attention.NOTHING_OPEN_SUSPECT,
)
"""The causes, by how much a minute may cost."""


class IllegalTransition(Exception):
    """Raised when a command would go where the table does not let it: a bug, never the user's doing."""

    def __init__(self, before: Status, after: Status) -> None:
        super().__init__(f"a command that is {before} can't become {after}")
        self.before, self.after = before, after


_FINAL: frozenset[Status] = frozenset()

NEXT: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {
            Status.SENDING,
            Status.CLOSED,  # tried before, and the fresh read shows that the earlier try did it
            Status.NOTHING_OPEN,  # the read before the close shows nothing to close
            Status.REJECTED,  # the read shows that it can't be done as asked (two expiries fit, say)
            Status.WORKING,  # tried before, and its order is found at work; or the last of a flatten's calls were sent
            Status.IN_DOUBT,  # tried before, and the fresh read shows somebody else trading
            Status.GAVE_UP,
            Status.EXPIRED,  # only before its first attempt
            Status.CANCELLED,
            Status.SUPERSEDED,
        }
    ),
    Status.SENDING: frozenset(
        {
            Status.QUEUED,  # proved unsent, throttled, or a cancel of orders went before the close
            Status.WORKING,
            Status.IN_DOUBT,
            Status.REJECTED,
            Status.GAVE_UP,
        }
    ),
    Status.WORKING: frozenset(
        {
            Status.SENDING,  # an order of its own that has nothing left to close is cancelled
            Status.QUEUED,  # "nothing open" was said, and a read shows the position: nothing was done
            Status.IN_DOUBT,  # one of a flatten's calls is in doubt again
            Status.CLOSED,
            Status.NOTHING_OPEN,
            Status.REJECTED,  # its orders ended unfilled
            Status.GAVE_UP,
            Status.CANCELLED,
            Status.SUPERSEDED,
        }
    ),
    Status.IN_DOUBT: frozenset(
        {
            Status.SENDING,  # an order of its own is cancelled
            Status.QUEUED,  # only on evidence that trying again is safe
            Status.WORKING,  # its order was found
            Status.REJECTED,  # its order was found, and ended unfilled
            Status.CLOSED,
            Status.NOTHING_OPEN,
            Status.GAVE_UP,
            Status.CANCELLED,
            Status.SUPERSEDED,
        }
    ),
    Status.CLOSED: _FINAL,
    Status.NOTHING_OPEN: _FINAL,
    Status.REJECTED: _FINAL,
    Status.GAVE_UP: _FINAL,
    Status.EXPIRED: _FINAL,
    Status.CANCELLED: _FINAL,
    Status.SUPERSEDED: _FINAL,
}


def check_transition(before: Status, after: Status) -> None:
    """Raises IllegalTransition unless the table lets `after` follow `before`. Staying is always allowed, if not final."""
    if after not in NEXT[before] and not (before == after and not before.final):
        raise IllegalTransition(before, after)


UNSETTLED = tuple(status for status in Status if NEXT[status])
