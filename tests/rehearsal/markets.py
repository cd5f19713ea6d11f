"""What a case closes at each venue, and how the venue's book is set and read: all of them in one shape."""

import uuid
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar

from tests.simulators.clearstreet import Book as ClearStreetBook
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import Book as CrossTradeBook
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.okx import Book as OkxBook
from tests.simulators.okx import OkxSimulator

Place = tuple[str, str]
"""An account and an instrument, as the venue names them."""


class Market(ABC):
    """One venue: a position that is closed, and bystanders that nobody may touch."""

    hook: ClassVar[str]
    instrument: ClassVar[str]
    """As the alert names it."""
    part: ClassVar[str]
    """A quantity of it, as the alert counts."""
    place: ClassVar[Place]
    before: ClassVar[Decimal]
    left: ClassVar[Decimal]
    """After the part is closed."""
    closing_one: ClassVar[frozenset[str]]
    """The venue's calls that close one position, or a part of it."""
    closing_more: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, venue: Any) -> None:
        self.venue = venue

    @abstractmethod
    def open(self, *, with_order: bool = False) -> None:
        """Give the venue a new book, with the positions that a case begins with; and an order that would close the one.

        In an old one are the fills of the case before, which prove nothing and disprove much.
        """

    @abstractmethod
    def positions(self) -> dict[Place, Decimal]:
        """What is open, below zero for a short."""

    def alert(self, size: str, *, cancel_orders: bool = False) -> str:
        """The text of an alert that closes all of the position, or a part."""
        part = f";quantity={self.part}" if size == "part" else ""
        cancel = ";cancel_orders=true" if cancel_orders else ""
        return f"action=close;instrument={self.instrument}{part}{cancel};id={uuid.uuid4()}"

    def held(self) -> Decimal:
        return self.positions().get(self.place, Decimal())

    def bystanders(self) -> dict[Place, Decimal]:
        return {place: held for place, held in self.positions().items() if place != self.place}

    def closes(self, seen: int) -> int:
        """How many calls closed something, of those after the first so many requests."""
        closing = self.closing_one | self.closing_more
        return sum(it.operation in closing and it.acted for it in self.venue.requests[seen:])


class Futures(Market):
    """CrossTrade."""

    venue: CrossTradeSimulator
    hook = "futures"
    instrument, part = "MES 12-26", "4"
    place, before, left = ("Sim101", "MES 12-26"), Decimal(10), Decimal(6)
    closing_one, closing_more = frozenset({"close"}), frozenset({"flatten"})

    def open(self, *, with_order: bool = False) -> None:
        book = self.venue.book = CrossTradeBook()
        book.set_position("Sim101", "MES 12-26", "Long", 10, 5779.8125, 5797.0, 5)
        book.set_position("Sim101", "MNQ 12-26", "Short", 4, 5779.8125, 5797.0, 5)
        book.set_position("Sim102", "MES 12-26", "Long", 2, 5779.8125, 5797.0, 5)
        if with_order:
            book.work_order("Sim101", "MES 12-26", 10, 5700.0)

    def positions(self) -> dict[Place, Decimal]:
        return {
            (held.account, held.instrument): Decimal(
                -held.quantity if held.side == "Short" else held.quantity
            )
            for held in self.venue.book.positions()
        }


class Stocks(Market):
    """Clear Street."""

    venue: ClearStreetSimulator
    hook = "stocks"
    instrument, part = "AAPL", "30"
    place, before, left = ("19816", "AAPL"), Decimal(100), Decimal(70)
    closing_one, closing_more = frozenset({"close", "submit"}), frozenset({"close_all"})

    def open(self, *, with_order: bool = False) -> None:
        book = self.venue.book = ClearStreetBook()
        book.set_position(19816, "AAPL", "long", 100, "145.00", "151.00")
        book.set_position(19816, "TSLA", "short", 50, "180.00", "178.50")
        book.set_position(19817, "AAPL", "long", 25, "145.00")
        if with_order:
            book.work_order(19816, "AAPL", "SELL", 100, price="140.00")

    def positions(self) -> dict[Place, Decimal]:
        book = self.venue.book
        return {
            (str(account), held.instrument.symbol): held.quantity
            for account in book.accounts()
            for held in book.positions(account)
        }


class Coins(Market):
    """OKX. The part is told in coins, and the book counts contracts."""

    venue: OkxSimulator
    hook = "crypto"
    instrument, part = "BTCUSDT.P", "0.05"
    place, before, left = ("okx", "BTC-USDT-SWAP"), Decimal("12.5"), Decimal("7.5")
    closing_one = frozenset({"close", "order"})

    def open(self, *, with_order: bool = False) -> None:
        book = self.venue.book = OkxBook()
        book.set_position("BTC-USDT-SWAP", "long", "12.5", average_price="102840.5", mark_price="103500")
        book.set_position("ETH-USDT-SWAP", "short", 40, average_price="3498.2", mark_price="3450")
        if with_order:
            book.work_order("BTC-USDT-SWAP", "long", "12.5", "120000")

    def positions(self) -> dict[Place, Decimal]:
        return {("okx", held.instrument.inst_id): held.signed for held in self.venue.book.positions()}
