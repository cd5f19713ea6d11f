"""One alert, from its bytes to a position read back flat, on the running product."""

import uuid

import pytest

from tests.conftest import on_both_databases
from tests.running import Product
from tests.simulators.crosstrade import Fault


@on_both_databases
def test_a_whole_close_ends_closed_with_the_numbers_of_the_venue(product: Product) -> None:
    command = product.settled(product.accepted("close MES 12-26"))

    assert command["status"] == "closed"
    assert (command["before"], command["target"], command["after"]) == ("10", "0", "0")
    (closed,) = command["closed_positions"]
    assert closed["quantity"] == "10"
    assert closed["average_price"] == "5779.8125"
    assert closed["close_price"] == "5797.0"
    assert closed["profit_loss"] == "859.375"
    assert closed["source"] == "snapshot"
    assert product.held() == 0


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("close 4 MES 12-26", 6),
        ("close 25% of MES 12-26", 7),  # 2.5 rounded up to 3
        ('{"action": "close", "ticker": "MES1!", "qty": "1", "note": ""}', 9),
        ("action=close;instrument=MES;quantity=40", 0),  # more than is open closes what is open
    ],
)
def test_a_partial_close_leaves_the_rest(venue_day: Product, text: str, left: int) -> None:
    command = venue_day.settled(venue_day.accepted(text))

    assert command["status"] == "closed"
    assert command["after"] == command["target"] == str(left)
    assert venue_day.held() == left


def test_a_flatten_of_an_account_shows_each_position(venue_day: Product) -> None:
    command = venue_day.settled(venue_day.accepted("flatten Sim101"))

    assert command["status"] == "closed"
    assert [(p["instrument"], p["before"], p["after"]) for p in command["positions"]] == [
        ("MES 12-26", "10", "0"),
        ("MNQ 12-26", "4", "0"),
    ]
    assert venue_day.held("Sim102", "ES 12-26") == 2


def test_everything_is_closed_only_by_its_own_command(venue_day: Product) -> None:
    refused = venue_day.send("flatten everything")
    command = venue_day.settled(venue_day.accepted("flatten everything", hook="everything"))

    assert refused.status_code == 403
    assert command["status"] == "closed"
    assert not venue_day.venue.book.positions()


def test_the_same_alert_twice_is_carried_out_once(venue_day: Product) -> None:
    text = f'{{"action": "close", "instrument": "MES 12-26", "quantity": 2, "id": "{uuid.uuid4()}"}}'
    first = venue_day.send(text).json()["commands"][0]["id"]
    venue_day.settled(first)
    again = venue_day.send(text)

    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert again.json()["commands"][0]["id"] == first
    assert venue_day.held() == 8


def test_nothing_open_is_said_as_such(venue_day: Product) -> None:
    command = venue_day.settled(venue_day.accepted("close NQ 12-26"))

    assert command["status"] == "nothing_open"


def test_a_lost_answer_to_a_whole_close_ends_closed_and_is_not_sent_again(venue_day: Product) -> None:
    venue_day.venue.bad_day(Fault.CUT_AFTER_ACTING, on="close")
    command = venue_day.settled(venue_day.accepted("close MES  12-26"))

    assert command["status"] == "closed"
    assert [a["outcome"] for a in command["attempts"] if a["kind"] == "close"] == ["outcome_unknown"]
    assert venue_day.held() == 0


def test_a_partial_close_that_may_have_happened_is_never_sent_again(venue_day: Product) -> None:
    venue_day.venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")
    command_id = venue_day.accepted(f"action=close;instrument=MES 12-26;quantity=3;id={uuid.uuid4()}")
    command = venue_day.attended(command_id)

    assert (command["status"], command["attention"]) == ("in_doubt", "in_doubt")
    assert len([a for a in command["attempts"] if a["kind"] == "close"]) == 1
    assert venue_day.held() == 10
