"""CrossTrade passes the cards, over REST."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.domain.positions import Side
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from tests.contract.cards import TOKEN, BrokerCards
from tests.simulators.crosstrade import CrossTradeSimulator, Fault
from workers.brokers.broker import Broker
from workers.brokers.registry import broker_of


@dataclass
class CrossTradeMarket:
    venue: CrossTradeSimulator
    broker: Broker
    accounts: tuple[str, str] = ("Sim101", "Sim102")
    instruments: tuple[str, str] = ("MES 12-26", "MNQ 12-26")
    refusal: str = "Command blocked: managed by another strategy"

    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None:
        self.venue.book.set_position(account, instrument, side, quantity, 5779.8125, 5797.0, 5)

    def held(self, account: str, instrument: str) -> int:
        held = self.venue.book.position(account, instrument)
        return -held.quantity if held.side == "Short" else held.quantity

    def rest(self, account: str, instrument: str) -> None:
        self.venue.book.work_order(account, instrument, 1, 5000.0)

    def resting(self, account: str, instrument: str) -> int:
        orders = self.venue.book.orders(account, active_only=True)
        return sum(order.instrument == instrument for order in orders)

    def bad_day(self, name: str, **options: Any) -> None:
        self.venue.bad_day(Fault(name), on="close", **options)

    def sent(self) -> list[Any]:
        return [request.body for request in self.venue.requests if request.method == "POST"]

    def refuse_connections(self) -> None:
        self.venue.stop_listening()


@pytest.fixture
def market() -> Iterator[CrossTradeMarket]:
    with CrossTradeSimulator(token=TOKEN) as venue:
        times = {"connect_timeout": 0.5, "read_timeout": 0.5, "deadline": 0.8}
        settings = BrokerSettings("nt8", VENUES["crosstrade"], Secret(TOKEN), venue.url, **times)
        yield CrossTradeMarket(venue, broker_of(settings))


class TestCrossTrade(BrokerCards):
    """Every card of `tests/contract/cards.py`."""
