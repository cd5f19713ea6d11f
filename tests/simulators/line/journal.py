"""What was asked of the venue, in the order it came, without what proves who asks."""

import json
import threading
import time
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(slots=True)
class Request:
    """One request. It is filled in as it is served: `acted` may turn true after the answer."""

    method: str
    path: str
    """With the query, exactly as it was sent: what some venues sign."""
    headers: dict[str, str]
    body: Any
    """The parsed JSON, else the text; None when there was none."""
    content: bytes = b""
    """The body exactly as it was sent."""
    received_at: float = field(default_factory=time.time)
    operation: str | None = None
    fault: str | None = None
    status: int | None = None
    """Of the answer; None while there is none."""
    acted: bool = False
    """Whether it changed the book."""

    @property
    def route(self) -> str:
        """The path without the query, still as it was sent."""
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        """The query's values, decoded; blank ones are left out, of a name that repeats the last counts."""
        return dict(parse_qsl(urlsplit(self.path).query))

    def as_json(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "content"}


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
        return [request.as_json() for request in self.read()]


def parsed(content: bytes) -> Any:
    """The JSON in a body, else its text; None only when there is no body."""
    text = content.decode("utf-8", "replace")
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None else value
