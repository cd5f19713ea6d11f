"""From what a venue said to what it means: where the one becomes the record and the other the result."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from app.domain.failures import OutcomeUnknown
from workers.brokers.broker import Answered
from workers.brokers.fields import Unreadable

T = TypeVar("T")


class Recorded(Protocol):
    """Whatever way an answer came: nothing of our credential is in it any more."""

    def for_the_record(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Recorded)


def answered(title: str, answer: R, parse: Callable[[R], T]) -> Answered[T]:
    """An answer and what it means; `title` is the venue's name. Raises a BrokerError unless it is a definite success.

    A success whose shape is not the documented one settles nothing either: OutcomeUnknown, with the answer.
    """
    try:
        return Answered(answer.for_the_record(), parse(answer))
    except Unreadable as exc:
        reason = f"{title}'s answer can't be read: {exc}"
        raise OutcomeUnknown(reason, answer=answer.for_the_record()) from exc
