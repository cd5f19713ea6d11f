"""What CrossTrade's answers settle, over REST and over its WebSocket: success, definite noes, waits. Pure.

Page: https://crosstrade.io/docs, errors: success is `success` true; errors are `{"error": …}` or
`{"success": false, "error": …}`.
"""

import re
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from app.domain.failures import OutcomeUnknown, Refused, Throttled
from workers.brokers.http import HttpAnswer

_NOTHING_OPEN = re.compile(r"No positions? found for instrument", re.IGNORECASE)


class Settles(Flag):
    """What an answer may settle, if its body says so too."""

    NOTHING = 0
    SUCCESS = auto()
    REFUSAL = auto()
    NOTHING_OPEN = auto()
    """Its refusal may be the add-on's word that there is nothing to close."""
    LIMIT = auto()


# https://crosstrade.io/docs, errors. 408 covers both "never reached NinjaTrader" and "no reply in time", and no page
# says what a 5xx leaves behind: neither settles anything.
_BY_STATUS = {
    200: Settles.SUCCESS | Settles.REFUSAL,
    400: Settles.REFUSAL | Settles.NOTHING_OPEN,
    401: Settles.REFUSAL,
    403: Settles.REFUSAL,
    404: Settles.REFUSAL,
    429: Settles.LIMIT,  # refused by the limiter, before the add-on sees it
}


class NothingOpen(Refused):
    """Raised when the add-on refuses to close because it finds no position."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whichever way it came."""

    body: Any
    """JSON, parsed; None where it is not."""
    settles: Settles
    record: dict[str, Any]
    """All of it, for the record."""
    status: int | None = None
    """The HTTP status; None where it came over the WebSocket."""
    wait: float | None = None
    """Seconds that the venue asked us to wait."""


def of_http(answer: HttpAnswer) -> Answer:
    return Answer(
        answer.body,
        _BY_STATUS.get(answer.status, Settles.NOTHING),
        answer.for_the_record(),
        status=answer.status,
        wait=answer.retry_after,
    )


def body_of(answer: Answer) -> Any:
    """The body of a definite success. Raises NothingOpen, Refused, Throttled or OutcomeUnknown."""
    if Settles.SUCCESS in answer.settles and _succeeded(answer.body):
        return answer.body
    error = error_in(answer.body)
    if error and Settles.LIMIT in answer.settles:
        raise Throttled(f"CrossTrade: {error}", answer=answer.record, retry_after=answer.wait)
    if error and Settles.NOTHING_OPEN in answer.settles and _NOTHING_OPEN.match(error):
        raise NothingOpen(f"CrossTrade: {error}", answer=answer.record)
    if error and Settles.REFUSAL in answer.settles:
        detail = answer.body.get("detail")
        said = f"{error}: {detail}" if isinstance(detail, str) and detail else error
        raise Refused(f"CrossTrade: {said}", answer=answer.record)
    status = "" if answer.status is None else f" {answer.status}"
    raise OutcomeUnknown(f"CrossTrade answered{status} in a form that settles nothing", answer=answer.record)


def error_in(body: Any) -> str | None:
    """The words of an error; None where there are none."""
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, str) and error else None


def _succeeded(body: Any) -> bool:
    if isinstance(body, list):
        return True
    if not isinstance(body, dict) or body.get("error"):
        return False
    lists = ("closedPositions", "positions", "orders", "executions", "orderIds")
    return body.get("success") is True or ("success" not in body and any(name in body for name in lists))
