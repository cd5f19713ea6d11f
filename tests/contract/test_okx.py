"""OKX passes the cards, in both position modes."""

from collections.abc import Iterator

import pytest

from tests.contract.cards import BrokerCards, ClosingCards
from tests.contract.markets import SECRETS, OkxMarket
from tests.simulators.okx import OkxSimulator


@pytest.fixture
def venue() -> Iterator[OkxSimulator]:
    with OkxSimulator(SECRETS["api_key"], SECRETS["api_secret"], SECRETS["passphrase"]) as venue:
        yield venue


class TestNetMode(BrokerCards):
    """Every card of `tests/contract/cards.py`."""

    @pytest.fixture
    def market(self, venue: OkxSimulator) -> OkxMarket:
        return OkxMarket(venue)


class TestLongShortMode(ClosingCards):
    """The same closes, where long and short of one instrument are two positions."""

    @pytest.fixture
    def market(self, venue: OkxSimulator) -> OkxMarket:
        return OkxMarket(venue, mode="long_short_mode")
