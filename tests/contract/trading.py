"""A worker and a trader at the simulated Clear Street, whose closing orders can open the other side."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from app.domain.commands import ClosePosition, Quantity
from app.ledger.connection import Ledger
from tests.contract.markets import SECRETS, ClearStreetMarket
from tests.shop import Shop, came_to
from tests.simulators.clearstreet import Book, ClearStreetSimulator

ACCOUNT, AAPL = "19816", "AAPL"


class Trader(Shop):
    """One worker at the simulated venue, long 10 AAPL."""

    def __init__(self, ledger: Ledger, market: ClearStreetMarket) -> None:
        super().__init__(ledger, market, market.settings)
        self.market = market
        self.book: Book = market.venue.book
        self.book.set_position(19816, AAPL, "long", 10, "50.00", "51.00")
        self.lowest = Decimal(10)

    def let_pass(self, seconds: float) -> None:
        super().let_pass(seconds)
        self.lowest = min(self.lowest, self.held())

    def held(self) -> Decimal:
        return self.book.position(19816, AAPL)

    def by_hand(self, quantity: int) -> None:
        """The trader sells so many himself, at once."""
        self.book.fill_order(self.book.work_order(19816, AAPL, "SELL", quantity, price="50.00").order_id)


@contextmanager
def trading_at_clear_street(ledger: Ledger) -> Iterator[Trader]:
    with ClearStreetSimulator(SECRETS["api_key"]) as venue:
        yield Trader(ledger, ClearStreetMarket(venue))


def whole(instrument: str = AAPL, **changes: Any) -> ClosePosition:
    return ClosePosition("desk", ACCOUNT, instrument, **changes)


def part(quantity: int = 4, **changes: Any) -> ClosePosition:
    return whole(size=Quantity(Decimal(quantity)), **{"cancel_orders": False} | changes)


def ended(trader: Trader, *ids: str) -> list[tuple[str, str | None]]:
    return [came_to(trader.history(it)) for it in ids]
