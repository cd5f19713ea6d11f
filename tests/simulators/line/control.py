"""The control face under `/_simulator`, by which other processes set the book and ask for bad days."""

from collections.abc import Callable
from typing import Any, Protocol

from .forecast import EVERY, Forecast
from .journal import Journal
from .records import Answer

PREFIX = "/_simulator"


class Book(Protocol):
    """What the line needs of a venue's book."""

    def later(self, seconds: float, act: Callable[[], object], /) -> None:
        """Let something happen after a time, as if a request had been held up on its way."""

    def advance(self) -> None:
        """Let everything happen that is due by now."""


class BookFace(Protocol):
    """A venue's book as `/_simulator/book` shows and takes it."""

    def shown(self) -> dict[str, Any]: ...

    def set(self, wanted: dict[str, Any]) -> None:
        """Set what is named. What it raises is told to whoever asked."""


class Control:
    """`advance` lets everything happen to the book that is due by now."""

    def __init__(
        self, face: BookFace, advance: Callable[[], None], forecast: Forecast, journal: Journal
    ) -> None:
        self._face = face
        self._advance = advance
        self._forecast = forecast
        self._journal = journal

    def answer(self, method: str, path: str, body: Any) -> Answer:
        try:
            return self._answer(method, path.removeprefix(PREFIX), body)
        except Exception as exc:
            # Whatever it is, the test that asked for the impossible should read why.
            return Answer(400, {"error": f"{type(exc).__name__}: {exc}"})

    def _answer(self, method: str, path: str, body: Any) -> Answer:
        match method, path:
            case "GET", "/book":
                return Answer(200, self._face.shown())
            case "PUT", "/book":
                self._face.set(body if isinstance(body, dict) else {"positions": body})
                return Answer(200, self._face.shown())
            case "POST", "/faults":
                self._add_fault(**body)
                return Answer(200, {"success": True})
            case "DELETE", "/faults":
                self._forecast.clear()
                return Answer(200, {"success": True})
            case "GET", "/requests":
                self._advance()
                return Answer(200, {"requests": self._journal.as_json()})
            case _:
                return Answer(404, {"error": f"The simulator has no {method} {PREFIX}{path}"})

    def _add_fault(
        self,
        fault: str,
        on: str = EVERY,
        times: int | None = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._forecast.add(fault, on, times, **(options or {}))
