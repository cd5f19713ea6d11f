"""What a venue and the line tell each other: calls, answers, and how an order is to go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .talk import Talk
from .throttle import TokenBucket

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the venue says, and whether it did something to the book."""

    status: int
    body: Any
    """What is sent as JSON."""
    acted: bool = False
    headers: Headers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FillPlan:
    """How a market order goes: when it fills, in how many parts, or that it is rejected after being taken."""

    delay: float = 0.0
    parts: int = 1
    rejected: bool = False
    cancels_orders: bool = True
    """Whether a whole close cancels the instrument's working orders, where the venue does that."""


Act = Callable[[FillPlan | None], Answer]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the venue has let in and understood: what would be done, if the day is a good one."""

    operation: str
    """The kind of call, as bad days name it."""
    act: Act
    bucket: TokenBucket | None = None
    """Whose token the call takes; None where nothing is limited."""
    about: str = ""
    """The account or instrument, for faults that speak of it."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request that makes a WebSocket of its connection; `take` opens it and serves it until it ends."""

    take: Callable[[Talk], None]
