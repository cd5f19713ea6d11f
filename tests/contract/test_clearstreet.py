"""Clear Street passes the cards."""

from collections.abc import Iterator

import pytest

from tests.contract.cards import BrokerCards
from tests.contract.markets import SECRETS, ClearStreetMarket
from tests.simulators.clearstreet import ClearStreetSimulator


@pytest.fixture
def venue() -> Iterator[ClearStreetSimulator]:
    with ClearStreetSimulator(SECRETS["api_key"]) as venue:
        yield venue


class TestClearStreet(BrokerCards):
    """Every card of `tests/contract/cards.py`."""

    @pytest.fixture
    def market(self, venue: ClearStreetSimulator) -> ClearStreetMarket:
        return ClearStreetMarket(venue)
