"""Clear Street's book as `/_simulator/book` shows and takes it. Amounts are texts."""

from typing import Any

from .book import Book
from .presentation import Json, Timestamps, execution_json, money, order_json, units
from .records import OrderStatus, Position

# The book's own attributes, by the type that their values are read as.
SETTINGS: dict[str, type] = {
    "fill_delay": float,
    "fill_in_parts": int,
    "cancel_delay": float,
    "held_status": OrderStatus,
    "nothing_open": str,
    "unknown_instrument": str,
    "duplicate_ids": str,
    "refuses_self_match": bool,
    "timestamps": Timestamps,
}
BOOK_KEYS = {"positions", "working_orders", "market_open", *SETTINGS}
DERIVED = {"instrument_id", "available_quantity", "unrealized_pnl"}
"""What is shown of a position and not set."""


class ClearStreetFace:
    def __init__(self, book: Book) -> None:
        self._book = book

    def shown(self) -> dict[str, Any]:
        with self._book.turn():
            accounts = self._book.accounts()
            return {
                "accounts": accounts,
                "market_open": self._book.market_open,
                "positions": [
                    position_shown(position)
                    for account in accounts
                    for position in self._book.positions(account)
                ],
                "working_orders": [
                    order_json(order, self._book.timestamps) for order in self._book.orders(open_only=True)
                ],
                "orders": [order_json(order, self._book.timestamps) for order in self._book.orders()],
                "executions": [
                    execution_json(fill, self._book.timestamps) | {"account_id": fill.account}
                    for fill in self._book.executions()
                ],
            }

    def set(self, wanted: dict[str, Any]) -> None:
        """Replace the positions, and the open orders if there are any in what is wanted."""
        unknown = wanted.keys() - BOOK_KEYS
        if unknown:
            raise ValueError(f"a book has no {', '.join(sorted(unknown))}")
        with self._book.turn():
            self._set(wanted)

    def _set(self, wanted: dict[str, Any]) -> None:
        for name, read in SETTINGS.items():
            if name in wanted:
                setattr(self._book, name, read(wanted[name]))
        if "positions" in wanted:
            self._book.clear_positions()
            for position in wanted["positions"]:
                self._book.set_position(**{k: v for k, v in position.items() if k not in DERIVED})
        if "working_orders" in wanted:
            self._book.clear_open_orders()
            for order in wanted["working_orders"]:
                self._book.work_order(**order)
        if wanted.get("market_open") is True:
            self._book.open_market()
        elif "market_open" in wanted:
            self._book.market_open = False


def position_shown(position: Position) -> Json:
    return {
        "account": position.account,
        "symbol": position.instrument.symbol,
        "instrument_id": position.instrument.instrument_id,
        "side": "long" if position.quantity > 0 else "short",
        "quantity": units(abs(position.quantity)),
        "available_quantity": units(position.available),
        "average_price": money(position.average_price),
        "market_price": money(position.market_price),
        "unrealized_pnl": money(position.market_value - position.cost_basis),
    }
