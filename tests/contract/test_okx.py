"""OKX passes the cards, in both position modes."""

from collections.abc import Iterator

import pytest

from app.domain.failures import NotSent
from tests.contract.cards import BrokerCards, ClosingCards, made
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


def test_a_clock_that_can_not_be_read_gives_no_key_away(venue: OkxSimulator) -> None:
    own = [SECRETS[name] for name in ("api_key", "api_secret", "passphrase")]
    venue.bad_day("refuse", on="time", times=None, message=f"no such key: {' '.join(own)}")

    with pytest.raises(NotSent, match="clock could not be read") as told:
        made(OkxMarket(venue).broker.positions())

    said = f"{told.value.detail} {told.value.answer}"
    assert not any(secret in said for secret in own)
