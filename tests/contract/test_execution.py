"""What the workers decide over real sockets, with the venue's simulator and its bad days."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.venues import VENUES
from app.ledger.connection import Ledger
from config.file import BrokerSettings
from config.secrets import Secret
from tests.shop import MES, SIM, Shop, came_to, part
from tests.simulators.crosstrade import Book, CrossTradeSimulator, Fault
from workers.brokers.registry import broker_of

TOKEN = "a-token-for-the-simulator"


class SimulatedDesk:
    """The simulator, as `Shop` needs it."""

    def __init__(self, venue: CrossTradeSimulator, **times: float) -> None:
        self.venue = venue
        self.book = venue.book = Book()
        self.book.set_position(SIM, MES, "long", 10, 5000.0, 5100.0, 5.0)
        self.settings = BrokerSettings(
            "nt8", VENUES["crosstrade"], {"token": Secret(TOKEN)}, venue.url, **times
        )
        self.broker = broker_of(self.settings)
        self._asked_before = len(venue.requests)

    def later(self, seconds: float) -> None:
        self.book.let_pass(seconds)

    def held(self) -> int:
        return self.book.quantity(SIM, MES)

    @property
    def sent(self) -> list[Any]:
        """What was asked of the venue that could close."""
        asked = self.venue.requests[self._asked_before :]
        return [request.body for request in asked if request.operation in ("close", "flatten")]

    def closed_by_us(self) -> int:
        return sum(fill.quantity for fill in self.book.executions() if fill.name == "Exit")

    def stopped_out(self, quantity: int) -> None:
        """The trader's own stop is hit."""
        self.book.fill_order(self.book.work_order(SIM, MES, quantity, 4990.0).order_id)


@pytest.fixture(scope="module")
def venue() -> Iterator[CrossTradeSimulator]:
    with CrossTradeSimulator(TOKEN) as venue:
        yield venue


@pytest.fixture
def simulated(ledger: Ledger, venue: CrossTradeSimulator) -> Shop:
    venue.good_days()
    desk = SimulatedDesk(venue)
    return Shop(ledger, desk, desk.settings)


@pytest.mark.parametrize(
    ("fault", "options", "status", "attention", "left", "sent"),
    [
        (Fault.REFUSE, {}, "rejected", "rejected", 10, 1),
        (Fault.INVALID_ACCOUNT, {}, "rejected", "rejected", 10, 1),
        (Fault.SUCCESS_FALSE, {}, "rejected", "rejected", 10, 1),
        (Fault.THROTTLE, {"retry_after": 30}, "closed", None, 6, 2),
        (Fault.SLOW_FILL, {"seconds": 50, "parts": 4}, "closed", None, 6, 1),
        (Fault.NO_EFFECT, {}, "working", "still_open", 10, 1),
        (Fault.SLOW_DRIP, {"acts": False, "milliseconds": 0}, "closed", None, 6, 2),
        (Fault.LATE_ACTION, {"seconds": 30}, "closed", None, 6, 1),
        (Fault.LATE_ACTION, {"seconds": 110}, "in_doubt", "in_doubt", 6, 1),
    ],
)
def test_each_answer_to_a_part_comes_to_what_it_proves(
    simulated: Shop,
    fault: Fault,
    options: dict[str, Any],
    status: str,
    attention: str | None,
    left: int,
    sent: int,
) -> None:
    simulated.desk.venue.bad_day(fault, on="close", **options)

    history = simulated.carried_out(part(4), seconds=120)

    assert came_to(history) == (status, attention)
    assert (simulated.desk.held(), len(simulated.desk.sent)) == (left, sent)
