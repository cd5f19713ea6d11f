"""CrossTrade's book as `/_simulator/book` shows and takes it."""

from dataclasses import asdict
from typing import Any

from .book import Book

BOOK_KEYS = frozenset({"positions", "working_orders", "front_months", "fill_delay", "fill_in_parts"})


class CrossTradeFace:
    def __init__(self, book: Book) -> None:
        self._book = book

    def shown(self) -> dict[str, Any]:
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

    def set(self, wanted: dict[str, Any]) -> None:
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
