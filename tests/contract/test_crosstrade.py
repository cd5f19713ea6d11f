"""CrossTrade passes the cards, over both transports."""

from collections.abc import Iterator

import pytest

from tests.contract.cards import BrokerCards
from tests.contract.markets import SECRETS, CrossTradeMarket
from tests.simulators.crosstrade import Book, CrossTradeSimulator


@pytest.fixture
def venue() -> Iterator[CrossTradeSimulator]:
    book = Book(CrossTradeMarket.accounts)
    with CrossTradeSimulator(token=SECRETS["token"], book=book) as venue:
        yield venue


class TestRest(BrokerCards):
    """Every card of `tests/contract/cards.py`."""

    @pytest.fixture
    def market(self, venue: CrossTradeSimulator) -> CrossTradeMarket:
        return CrossTradeMarket(venue)


class TestWebSocket(BrokerCards):
    """The same; `transport = "websocket"` is all that a user changes."""

    @pytest.fixture
    def market(self, venue: CrossTradeSimulator) -> Iterator[CrossTradeMarket]:
        market = CrossTradeMarket(venue, transport="websocket")
        yield market
        market.broker.release()
