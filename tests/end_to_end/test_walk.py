"""One alert, from its bytes to a position read back flat, on the running product."""

import pytest

from tests.conftest import on_both_databases
from tests.running import Product


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
    assert product.venue.book.quantity("Sim101", "MES 12-26") == 0


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("close 4 MES 12-26", 6),
        ("close 25% of MES 12-26", 7),  # 2.5 rounded up to 3
        ('{"action": "close", "ticker": "MES1!", "qty": "1", "id": "a-1"}', 9),
        ("action=close;instrument=MES;quantity=40;id=1", 0),  # more than is open closes what is open
    ],
)
def test_a_partial_close_leaves_the_rest(product: Product, text: str, left: int) -> None:
    command = product.settled(product.accepted(text))

    assert command["status"] == "closed"
    assert command["after"] == command["target"] == str(left)
    assert product.venue.book.quantity("Sim101", "MES 12-26") == left
