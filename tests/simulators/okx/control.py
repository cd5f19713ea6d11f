"""OKX's book as `/_simulator/book` shows and takes it."""

from typing import Any

from .book import Book
from .presentation import algo_json, fill_json, order_json, plain, position_json

BOOK_KEYS = frozenset(
    {
        "positions",
        "working_orders",
        "mode",
        "fill_delay",
        "fill_in_parts",
        "mark_prices",
        "account_level",
        "clock_offset",
        "suspended",
    }
)


class OkxFace:
    """Positions are shown in the words in which they are set, and as the venue shows them under `rows`."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def shown(self) -> dict[str, Any]:
        positions = self._book.positions()
        return {
            "mode": self._book.mode.value,
            "positions": [
                {
                    "inst_id": held.inst_id,
                    "side": held.direction,
                    "quantity": plain(abs(held.signed)),
                    "margin_mode": held.margin_mode,
                    "average_price": plain(held.average_price),
                    "mark_price": plain(held.mark_price),
                    "lever": plain(held.lever),
                }
                for held in positions
            ],
            "rows": [position_json(held) for held in positions],
            "working_orders": [order_json(order) for order in self._book.orders(active_only=True)],
            "algo_orders": [algo_json(algo) for algo in self._book.algo_orders()],
            "fills": [fill_json(fill) for fill in self._book.fills()],
        }

    def set(self, wanted: dict[str, Any]) -> None:
        """Replace the positions, and the working orders if there are any in what is wanted."""
        unknown = wanted.keys() - BOOK_KEYS
        if unknown:
            raise ValueError(f"a book has no {', '.join(sorted(unknown))}")
        with self._book.turn():
            self._set(wanted)

    def _set(self, wanted: dict[str, Any]) -> None:
        book = self._book
        if "positions" in wanted:
            book.clear_positions()
        book.mode = wanted.get("mode", book.mode)
        book.fill_delay = float(wanted.get("fill_delay", book.fill_delay))
        book.fill_in_parts = int(wanted.get("fill_in_parts", book.fill_in_parts))
        book.account_level = str(wanted.get("account_level", book.account_level))
        book.clock_offset = float(wanted.get("clock_offset", book.clock_offset))
        for inst_id, price in wanted.get("mark_prices", {}).items():
            book.set_mark_price(inst_id, str(price))
        for inst_id, suspended in wanted.get("suspended", {}).items():
            book.suspend(inst_id, suspended)
        for position in wanted.get("positions", []):
            book.set_position(**{name: _text(value) for name, value in position.items()})
        if "working_orders" in wanted:
            book.clear_working_orders()
            for order in wanted["working_orders"]:
                book.work_order(**{name: _text(value) for name, value in order.items()})


def _text(value: Any) -> Any:
    """A number as it was written, so that a Decimal of it is exact."""
    return value if isinstance(value, bool) else str(value)
