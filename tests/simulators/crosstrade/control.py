"""The control face under `/_simulator`, by which other processes set the book and ask for bad days."""

from dataclasses import asdict
from typing import Any

from .book import Book
from .calls import Answer
from .errors import Refusal
from .faults import EVERY, Fault, Forecast
from .journal import Journal

PREFIX = "/_simulator"
BOOK_KEYS = frozenset({"positions", "working_orders", "front_months", "fill_delay", "fill_in_parts"})


class Control:
    def __init__(self, book: Book, forecast: Forecast, journal: Journal) -> None:
        self._book = book
        self._forecast = forecast
        self._journal = journal

    def answer(self, method: str, path: str, body: Any) -> Answer:
        try:
            return self._answer(method, path.removeprefix(PREFIX), body)
        except (Refusal, ValueError, TypeError, KeyError, AttributeError) as exc:
            return Answer(400, {"error": f"{type(exc).__name__}: {exc}"})

    def _answer(self, method: str, path: str, body: Any) -> Answer:
        match method, path:
            case "GET", "/book":
                return Answer(200, self._book_json())
            case "PUT", "/book":
                self._set_book(body if isinstance(body, dict) else {"positions": body})
                return Answer(200, self._book_json())
            case "POST", "/faults":
                self._add_fault(**body)
                return Answer(200, {"success": True})
            case "DELETE", "/faults":
                self._forecast.clear()
                return Answer(200, {"success": True})
            case "GET", "/requests":
                self._book.advance()
                return Answer(200, {"requests": self._journal.as_json()})
            case _:
                return Answer(404, {"error": f"The simulator has no {method} {PREFIX}{path}"})

    def _book_json(self) -> dict[str, Any]:
        positions = [
            {name: value for name, value in asdict(position).items() if name != "instrument_type"}
            | {"side": position.side.lower(), "profit_loss": position.profit_loss}
            for position in self._book.positions()
        ]
        return {
            "accounts": self._book.accounts(),
            "positions": positions,
            "working_orders": [asdict(order) for order in self._book.orders(active_only=True)],
            "executions": [asdict(fill) for fill in self._book.executions()],
        }

    def _set_book(self, wanted: dict[str, Any]) -> None:
        """Replace the positions, and the working orders if there are any in what is wanted."""
        unknown = wanted.keys() - BOOK_KEYS
        if unknown:
            raise ValueError(f"a book has no {', '.join(sorted(unknown))}")
        with self._book.turn():
            self._set(wanted)

    def _set(self, wanted: dict[str, Any]) -> None:
        for root, month in wanted.get("front_months", {}).items():
            self._book.set_front_month(root, month)
        self._book.fill_delay = float(wanted.get("fill_delay", self._book.fill_delay))
        self._book.fill_in_parts = int(wanted.get("fill_in_parts", self._book.fill_in_parts))
        if "positions" in wanted:
            self._book.clear_positions()
            for position in wanted["positions"]:
                self._book.set_position(**{k: v for k, v in position.items() if k != "profit_loss"})
        if "working_orders" in wanted:
            self._book.clear_working_orders()
            for order in wanted["working_orders"]:
                self._book.work_order(**order)

    def _add_fault(
        self,
        fault: str,
        on: str = EVERY,
        times: int | None = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._forecast.add(Fault(fault.lower()), on, times, **(options or {}))
