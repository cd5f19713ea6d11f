"""What was asked of the venue, in the order it came, without the token."""

import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Request:
    """One request. It is filled in as it is served: `acted` may turn true after the answer."""

    method: str
    path: str
    """With the query, as it was sent."""
    headers: dict[str, str]
    body: Any
    """The parsed JSON, else the text; None when there was none."""
    received_at: float = field(default_factory=time.time)
    operation: str | None = None
    fault: str | None = None
    status: int | None = None
    """Of the answer; None while there is none."""
    acted: bool = False
    """Whether it changed the book."""


class Journal:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def write(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def read(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(request) for request in self.read()]
