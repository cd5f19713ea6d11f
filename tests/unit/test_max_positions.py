"""A flatten that would close more positions than its hook lets it: nothing is sent, and somebody is asked."""

import pytest

from app.domain.commands import FlattenEverything, FlattenMatching
from app.domain.failures import NotSent
from app.ledger import operators
from app.ledger.connection import Ledger
from tests.conftest import on_both_databases
from tests.desk import Desk, raises
from tests.shop import MES, SIM, Shop, came_to, whole
from tests.unit.test_one_by_one import MNQ, OneByOne


@pytest.fixture(params=[Desk, OneByOne], ids=["one call", "several calls"])
def shop(request: pytest.FixtureRequest, ledger: Ledger) -> Shop:
    desk: Desk = request.param()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    return Shop(ledger, desk)


FLATTENS = [
    lambda most: FlattenMatching("nt8", account=SIM, max_positions=most),
    lambda most: FlattenEverything("nt8", max_positions=most),
]


@on_both_databases
@pytest.mark.parametrize("flatten", FLATTENS, ids=["account", "everything"])
def test_more_than_it_may_close_stops_it_before_anything_is_sent(shop: Shop, flatten: object) -> None:
    (command_id,) = shop.take(flatten(1))  # type: ignore[operator]
    shop.wait(60)

    history = shop.history(command_id)
    assert came_to(history) == ("gave_up", "too_many_positions")
    assert "2 positions" in history.command.reason
    assert MNQ in history.command.reason
    assert shop.desk.sent == []


@pytest.mark.parametrize("flatten", FLATTENS, ids=["account", "everything"])
def test_as_many_as_it_may_close_are_closed(shop: Shop, flatten: object) -> None:
    (command_id,) = shop.take(flatten(2))  # type: ignore[operator]
    shop.wait(60)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert shop.desk.book == {}


def test_it_is_counted_anew_while_nothing_was_sent(shop: Shop) -> None:
    shop.desk.script("close", *[raises(NotSent("refused"))] * 2)
    (command_id,) = shop.take(FlattenMatching("nt8", account=SIM, max_positions=2))
    shop.work()
    shop.desk.hold(SIM, "ES 12-26", 1)
    shop.wait(60)

    assert came_to(shop.history(command_id)) == ("gave_up", "too_many_positions")


def test_who_retries_it_means_all_of_them(shop: Shop) -> None:
    (command_id,) = shop.take(FlattenMatching("nt8", account=SIM, max_positions=1))
    shop.work()
    again = operators.retry(shop.ledger, command_id, "ada", "all of them", 300)
    shop.wait(60)

    assert came_to(shop.history(again)) == ("closed", None)
    assert shop.desk.book == {}


def test_a_close_of_one_position_is_not_limited(shop: Shop) -> None:
    (command_id,) = shop.take(whole())
    shop.wait(30)

    assert came_to(shop.history(command_id)) == ("closed", None)


def test_a_retry_of_what_ended_otherwise_keeps_the_limit(shop: Shop) -> None:
    (command_id,) = shop.take(FlattenMatching("nt8", account=SIM, max_positions=1))
    operators.cancel(shop.ledger, command_id, "ada", "too early")
    again = operators.retry(shop.ledger, command_id, "ada", "now", 300)
    shop.wait(60)

    assert came_to(shop.history(again)) == ("gave_up", "too_many_positions")
    assert shop.desk.sent == []
