"""What the workers decide over real sockets, with the venue's simulator and its bad days."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.commands import Command
from app.domain.venues import VENUES
from app.ledger import tables
from app.ledger.connection import Ledger
from config.file import BrokerSettings
from config.secrets import Secret
from tests.running import eventually
from tests.shop import MES, SIM, Shop, came_to, numbers, part, whole
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


DONE = [
    (Fault.TIMEOUT_408_AFTER_ACTING, {}),
    (Fault.ERROR_500_AFTER_ACTING, {}),
    (Fault.ERROR_502_AFTER_ACTING, {}),
    (Fault.CUT_AFTER_ACTING, {}),
    (Fault.CUT_MID_ANSWER, {}),
    (Fault.NOT_JSON, {"acts": True}),
    (Fault.HTML_PAGE, {"acts": True}),
    (Fault.TRUNCATED_JSON, {"acts": True}),
    (Fault.WRONG_SHAPE, {"acts": True}),
    (Fault.REDIRECT, {"acts": True}),
    (Fault.HUGE_BODY, {"acts": True, "mebibytes": 2}),
    (Fault.LATE_ACTION, {"seconds": 5}),
]
UNDONE = [
    (Fault.TIMEOUT_408, {}),
    (Fault.ERROR_500, {}),
    (Fault.ERROR_502, {}),
    (Fault.CUT_BEFORE_ACTING, {}),
    (Fault.NOT_JSON, {"acts": False}),
    (Fault.HTML_PAGE, {"acts": False}),
    (Fault.TRUNCATED_JSON, {"acts": False}),
    (Fault.WRONG_SHAPE, {"acts": False}),
    (Fault.REDIRECT, {"acts": False}),
]
SOMETIMES: list[tuple[Fault, dict[str, Any]]] = [
    (Fault.REFUSE, {}),
    (Fault.INVALID_ACCOUNT, {}),
    (Fault.SUCCESS_FALSE, {}),
    (Fault.THROTTLE, {"retry_after": 1}),
    (Fault.THROTTLE, {"retry_after": 40}),
    (Fault.LATE_ACTION, {"seconds": 25}),
    (Fault.LATE_ACTION, {"seconds": 200}),
    (Fault.SLOW_DRIP, {"acts": False, "milliseconds": 0}),  # "nothing was closed"
    (Fault.SLOW_FILL, {"seconds": 20, "parts": 4}),
    (Fault.SLOW_FILL, {"seconds": 100, "parts": 2}),
    (Fault.NO_EFFECT, {}),
]


@pytest.mark.parametrize(("fault", "options"), DONE)
@pytest.mark.parametrize("command", [whole(), part(4)], ids=["whole", "part"])
def test_a_close_that_was_done_is_found_and_not_repeated(
    simulated: Shop, command: Command, fault: Fault, options: dict[str, Any]
) -> None:
    simulated.desk.venue.bad_day(fault, on="close", **options)

    history = simulated.carried_out(command, seconds=40)

    left = 6 if command == part(4) else 0
    assert came_to(history) == ("closed", None)
    assert (simulated.desk.held(), len(simulated.desk.sent)) == (left, 1)
    assert sum(row.quantity or 0 for row in history.closed_positions) == 10 - left


@pytest.mark.parametrize(("fault", "options"), UNDONE)
@pytest.mark.parametrize("command", [whole(), part(4)], ids=["whole", "part"])
def test_a_close_that_was_not_done_is_repeated_only_if_it_is_whole(
    simulated: Shop, command: Command, fault: Fault, options: dict[str, Any]
) -> None:
    simulated.desk.venue.bad_day(fault, on="close", **options)

    history = simulated.carried_out(command, seconds=120)

    if command == part(4):
        assert came_to(history) == ("in_doubt", "in_doubt")
        assert (simulated.desk.held(), len(simulated.desk.sent)) == (10, 1)
        assert numbers(history) == [("10", "6", "10")]
    else:
        assert came_to(history) == ("closed", None)
        assert (simulated.desk.held(), len(simulated.desk.sent)) == (0, 2)
        assert numbers(history) == [("10", "0", "0")]


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


def test_a_venue_that_can_not_be_reached_is_tried_until_it_can(simulated: Shop) -> None:
    simulated.desk.venue.stop_listening()
    try:
        (command_id,) = simulated.take(whole())
        simulated.wait(20)
        assert came_to(simulated.history(command_id)) == ("queued", None)
    finally:
        simulated.desk.venue.listen_again()
    simulated.wait(20)

    assert came_to(simulated.history(command_id)) == ("closed", None)
    assert len(simulated.desk.sent) == 1


@pytest.mark.parametrize("fault", [Fault.HANG_THEN_ACT, Fault.ACT_THEN_HANG])
def test_silence_is_waited_out_and_a_part_not_repeated(
    ledger: Ledger, venue: CrossTradeSimulator, fault: Fault
) -> None:
    venue.good_days()
    desk = SimulatedDesk(venue, read_timeout=0.2)
    shop = Shop(ledger, desk, desk.settings)
    venue.bad_day(fault, on="close", seconds=0.4)
    (command_id,) = shop.take(part(4))
    shop.work()
    assert came_to(shop.history(command_id)) == ("in_doubt", None)
    eventually(lambda: desk.held() == 6, what="the venue acts")
    shop.wait(30)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(desk.sent) == 1


bad_closes = st.sampled_from([*DONE, *UNDONE, *SOMETIMES]).filter(lambda day: day[0] is not Fault.HUGE_BODY)
bad_reads = st.sampled_from(
    [
        (Fault.CUT_BEFORE_ACTING, {}),
        (Fault.ERROR_500, {}),
        (Fault.NOT_JSON, {"acts": False}),
        (Fault.THROTTLE, {"retry_after": 3}),
    ]
)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=2),
    closes=st.lists(bad_closes, max_size=3),
    reads=st.lists(st.tuples(st.sampled_from(["positions", "executions", "orders"]), bad_reads), max_size=4),
    stop=st.none() | st.tuples(st.integers(0, 30), st.integers(1, 10)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_whatever_goes_wrong_parts_close_no_more_than_their_sum(
    ledger: Ledger,
    venue: CrossTradeSimulator,
    sizes: list[int],
    closes: list[tuple[Fault, dict[str, Any]]],
    reads: list[tuple[str, tuple[Fault, dict[str, Any]]]],
    stop: tuple[int, int] | None,
) -> None:
    venue.good_days()
    desk = SimulatedDesk(venue)
    shop = Shop(ledger, desk, desk.settings)
    for fault, options in closes:
        venue.bad_day(fault, on="close", **options)
    for kind, (fault, options) in reads:
        venue.bad_day(fault, on=kind, **options)

    ids = shop.take(*(part(size) for size in sizes))
    if stop is not None:
        shop.wait(stop[0])
        desk.stopped_out(stop[1])
    shop.wait(320)

    histories = [shop.history(command_id) for command_id in ids]
    assert desk.closed_by_us() <= sum(sizes)
    told = sum(row.quantity or 0 for history in histories for row in history.closed_positions)
    assert told <= 10 - desk.held()
    for history in histories:
        if history.command.status == "closed":
            assert desk.held() <= Decimal(numbers(history)[0][1])
    with ledger.writing() as connection:  # the next example must not wait behind this one
        connection.execute(tables.commands.update().values(status="cancelled", due_at=None))
