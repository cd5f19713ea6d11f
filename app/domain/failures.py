"""
What can go wrong between us and a broker:

* BrokerError
  - NotSent         it never left this machine: try again
  - Throttled       refused for now, unprocessed: try again after a wait
  - Refused         a definite no: never try again
  - OutcomeUnknown  it left, and nothing says what became of it: read back, then decide

Only definite evidence makes a NotSent, a Throttled or a Refused. What is not proved is an OutcomeUnknown.
"""

from typing import Any


class BrokerError(Exception):
    """A call that did not end in a report. Carries the venue's answer where there was one."""

    outcome: str

    def __init__(self, detail: str, *, answer: Any = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.answer = answer
        self.retry_after = retry_after
        """Seconds that the venue asked us to wait."""


class NotSent(BrokerError):
    """Raised when it is proved that no byte of the request left this machine."""

    outcome = "not_sent"


class Throttled(BrokerError):
    """Raised when the venue says that it refused the request for now, without acting on it."""

    outcome = "throttled"

    def __init__(
        self, detail: str, *, answer: Any = None, retry_after: float | None = None, others_too: bool = True
    ) -> None:
        super().__init__(detail, answer=answer, retry_after=retry_after)
        self.others_too = others_too
        """Whether it is about how fast we call, so that other calls must wait as well; else about what this one asks."""


class Refused(BrokerError):
    """Raised when the venue says a definite no."""

    outcome = "refused"


class OutcomeUnknown(BrokerError):
    """Raised when the request left and nothing says what became of it."""

    outcome = "outcome_unknown"


REPORTED = "reported"
"""The outcome of a call that ended in a report."""
