"""What the workers decide at OKX: its position modes, margin modes, units, clocks and codes, over real sockets."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching, Fraction, Quantity, Unit
from app.domain.positions import Side
from app.ledger.connection import Ledger
from tests.contract.markets import SECRETS, OkxMarket
from tests.shop import Shop, came_to, closed, numbers
from tests.simulators.okx import Book, OkxSimulator, PositionMode
from workers.brokers.metered import Metered
from workers.rates import Rates

SWAP, ETH, FUTURE, PAIR = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT-270326", "BTC-USDT"


class Trader(Shop):
    """One worker at the simulated venue."""

    def __init__(self, ledger: Ledger, market: OkxMarket) -> None:
        super().__init__(ledger, market, market.settings)
        self.market = market
        self.book: Book = market.venue.book

    @property
    def sent(self) -> list[Any]:
        return self.market.sent


@pytest.fixture
def venue() -> Iterator[OkxSimulator]:
    with OkxSimulator(SECRETS["api_key"], SECRETS["api_secret"], SECRETS["passphrase"]) as venue:
        yield venue


@pytest.fixture
def trader(ledger: Ledger, venue: OkxSimulator) -> Trader:
    return Trader(ledger, OkxMarket(venue))


def whole(instrument: str = SWAP, **changes: Any) -> ClosePosition:
    return ClosePosition("desk", "desk", instrument, **changes)


def part(quantity: str, instrument: str = SWAP, unit: Unit = Unit.CONTRACTS, **changes: Any) -> ClosePosition:
    size = Quantity(Decimal(quantity), unit)
    return whole(instrument, **{"size": size, "cancel_orders": False} | changes)


# Which position


@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
@pytest.mark.parametrize("mode", list(PositionMode))
@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("command", [whole(), part("4")], ids=["whole", "part"])
def test_the_position_that_is_open_decides_how_it_is_asked_for(
    trader: Trader, command: ClosePosition, side: str, mode: PositionMode, margin_mode: str
) -> None:
    trader.book.mode = mode
    trader.book.set_position(SWAP, side, 10, margin_mode=margin_mode)

    history = trader.carried_out(command)

    (body,) = trader.sent
    assert came_to(history) == ("closed", None)
    assert body.get("mgnMode", body.get("tdMode")) == margin_mode
    assert body.get("posSide") == (side if mode is PositionMode.LONG_SHORT else None)
    assert abs(trader.book.quantity(SWAP)) == (0 if command.whole else 6)


@pytest.mark.parametrize("command", [whole(), part("1")], ids=["whole", "part"])
def test_two_positions_that_fit_are_ambiguous(trader: Trader, command: ClosePosition) -> None:
    trader.book.mode = PositionMode.LONG_SHORT
    trader.book.set_position(SWAP, "long", 3)
    trader.book.set_position(SWAP, "short", 2)

    history = trader.carried_out(command)

    assert came_to(history) == ("rejected", "rejected")
    assert "more than one position fits" in (history.command.reason or "")
    assert trader.sent == []


def test_a_side_tells_which_of_two_is_meant(trader: Trader) -> None:
    trader.book.mode = PositionMode.LONG_SHORT
    trader.book.set_position(SWAP, "long", 3)
    trader.book.set_position(SWAP, "short", 2)

    assert came_to(trader.carried_out(whole(side=Side.SHORT))) == ("closed", None)

    assert [held.quantity for held in trader.book.positions()] == [3]


def test_cross_and_isolated_positions_of_one_side_are_ambiguous_and_a_flatten_closes_both(
    trader: Trader,
) -> None:
    trader.book.set_position(SWAP, "long", 3)
    trader.book.set_position(SWAP, "long", 2, margin_mode="isolated")

    assert came_to(trader.carried_out(whole(side=Side.LONG))) == ("rejected", "rejected")
    history = trader.carried_out(FlattenMatching("desk", instrument=SWAP))

    assert came_to(history) == ("closed", None)
    assert trader.book.positions() == []
    assert sorted(quantity for _, quantity, _ in closed(history)) == [2, 3]


def test_a_broker_of_one_margin_mode_leaves_the_other_alone(ledger: Ledger, venue: OkxSimulator) -> None:
    trader = Trader(ledger, OkxMarket(venue, margin_mode="isolated"))
    trader.book.set_position(SWAP, "long", 3)
    trader.book.set_position(SWAP, "long", 2, margin_mode="isolated")

    assert came_to(trader.carried_out(whole())) == ("closed", None)
    assert came_to(trader.carried_out(FlattenEverything("desk")))[0] == "nothing_open"

    assert [held.margin_mode for held in trader.book.positions()] == ["cross"]


@pytest.mark.parametrize("account_level", ["2", "3"])
@pytest.mark.parametrize("margin_mode", ["cross", "isolated"])
def test_a_margin_position_is_told_by_its_currency_where_the_venue_wants_it(
    trader: Trader, account_level: str, margin_mode: str
) -> None:
    trader.book.account_level = account_level
    trader.book.set_position(PAIR, "long", "0.5", margin_mode=margin_mode)

    assert came_to(trader.carried_out(whole(PAIR))) == ("closed", None)
    assert trader.book.positions() == []


# How much


@pytest.mark.parametrize(
    ("instrument", "held", "command", "left"),
    [
        (SWAP, "10", part("0.05", unit=Unit.BASE), "5"),  # a contract is 0.01 BTC
        (SWAP, "10", part("0.0137", unit=Unit.BASE), "8.63"),
        (ETH, "10", part("0.4", ETH, Unit.BASE), "6"),  # a contract is 0.1 ETH
        (FUTURE, "3", part("0.02", FUTURE, Unit.BASE), "1"),
        (SWAP, "10", part("0.01"), "9.99"),
        (SWAP, "10", part("5", unit=Unit.BASE), "0"),
        (SWAP, "10", whole(size=Fraction(Decimal("0.333")), cancel_orders=False), "6.67"),
        (SWAP, "0.05", whole(size=Fraction(Decimal("0.5")), cancel_orders=False), "0.02"),
        (FUTURE, "3", whole(FUTURE, size=Fraction(Decimal("0.5")), cancel_orders=False), "1"),
    ],
    ids=str,
)
def test_quantities_count_contracts_or_the_base_and_fractions_are_rounded_up_to_the_lot(
    trader: Trader, instrument: str, held: str, command: ClosePosition, left: str
) -> None:
    trader.book.set_position(instrument, "long", held)

    history = trader.carried_out(command)

    assert came_to(history) == ("closed", None)
    assert trader.book.quantity(instrument) == Decimal(left)


@pytest.mark.parametrize(
    "command",
    [part("0.005"), part("0.00001", unit=Unit.BASE), part("1.5", FUTURE), part("0.015", FUTURE, Unit.BASE)],
    ids=str,
)
def test_what_is_no_multiple_of_the_lot_is_refused_and_not_rounded(
    trader: Trader, command: ClosePosition
) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.book.set_position(FUTURE, "long", 10)

    history = trader.carried_out(command)

    assert came_to(history) == ("rejected", "rejected")
    assert "lot" in (history.command.reason or "")
    assert trader.sent == []


def test_more_than_one_market_order_may_close_is_refused_with_the_limit(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 20_000)

    history = trader.carried_out(part("13000"))

    assert came_to(history) == ("rejected", "rejected")
    assert "12000" in (history.command.reason or "")
    assert trader.sent == []


def test_a_whole_position_above_the_limit_is_refused_by_the_venue_and_told(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 20_000)

    history = trader.carried_out(whole(), seconds=30)

    assert came_to(history) == ("rejected", "rejected")
    assert trader.book.quantity(SWAP) == 20_000


# Orders in the way


def test_a_whole_close_takes_pending_orders_along_unless_told_not_to(trader: Trader) -> None:
    trader.book.set_position(ETH, "short", 40)
    trader.book.work_order(ETH, "short", 10, 3000)

    kept = trader.carried_out(whole(ETH, cancel_orders=False), seconds=200)
    assert came_to(kept) == ("rejected", "rejected")
    assert "51115" in (kept.command.reason or "")
    assert (len(trader.sent), len(trader.book.orders(active_only=True))) == (1, 1)

    assert came_to(trader.carried_out(whole(ETH))) == ("closed", None)
    assert trader.book.orders(active_only=True) == []


def test_a_part_that_cancels_orders_first_cancels_them_all_twenty_at_a_time(trader: Trader) -> None:
    trader.book.set_position(ETH, "short", 100)
    trader.book.set_position(SWAP, "long", 5)
    for _ in range(45):
        trader.book.work_order(ETH, "short", 1, 3000)
    trader.book.work_order(SWAP, "long", 1, 200_000)

    history = trader.carried_out(part("90", ETH, cancel_orders=True))

    assert came_to(history) == ("closed", None)
    assert [order.key.inst_id for order in trader.book.orders(active_only=True)] == [SWAP]
    assert abs(trader.book.quantity(ETH)) == 10


def test_a_part_that_pending_orders_leave_no_room_for_is_refused_not_trimmed(trader: Trader) -> None:
    trader.book.set_position(ETH, "short", 40)
    trader.book.work_order(ETH, "short", 30, 3000)

    history = trader.carried_out(part("20", ETH), seconds=60)

    assert came_to(history) == ("rejected", "rejected")
    assert "51112" in (history.command.reason or "")
    assert abs(trader.book.quantity(ETH)) == 40


# Time


@pytest.mark.parametrize("ahead", [-40_000.0, -31.0, 31.0, 40_000.0])
@pytest.mark.parametrize("command", [whole(), part("4")], ids=["whole", "part"])
def test_a_clock_that_is_wrong_is_corrected_from_the_venues(
    trader: Trader, ahead: float, command: ClosePosition
) -> None:
    trader.book.clock_offset = ahead
    trader.book.set_position(SWAP, "long", 10)

    assert came_to(trader.carried_out(command)) == ("closed", None)


def test_a_clock_that_goes_wrong_meanwhile_is_read_again(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.book.set_position(ETH, "long", 10)
    assert came_to(trader.carried_out(whole())) == ("closed", None)
    trader.book.clock_offset = 100.0

    assert came_to(trader.carried_out(whole(ETH), seconds=20)) == ("closed", None)


@pytest.mark.parametrize("seconds", [20, 500])
def test_a_part_that_comes_too_late_lapses_and_is_sent_again_once(trader: Trader, seconds: int) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.market.bad_day("late_action", part=True, seconds=seconds)

    history = trader.carried_out(part("4"), seconds=600)

    assert came_to(history) == ("closed", None)
    assert (trader.book.quantity(SWAP), len(trader.sent)) == (6, 2)
    assert len({body["clOrdId"] for body in trader.sent}) == 2


@pytest.mark.parametrize("keeps", [True, False])
def test_a_lost_whole_close_is_found_whether_or_not_the_venue_keeps_our_id_of_it(
    trader: Trader, keeps: bool
) -> None:
    trader.book.closes_keep_client_id = keeps
    trader.book.set_position(SWAP, "long", 10, average_price=100_000, mark_price=103_500)
    trader.market.bad_day("cut_after_acting")

    history = trader.carried_out(whole(), seconds=60)

    assert came_to(history) == ("closed", None)
    (row,) = history.closed_positions
    assert (row.quantity, row.close_price, row.profit_loss, row.currency) == (10, 103_500, 350, "USDT")
    assert row.source == "fills"


# Several


def test_a_flatten_reads_one_list_and_closes_in_parallel(trader: Trader) -> None:
    for name, side, quantity in (
        (SWAP, "long", 5),
        (ETH, "short", 40),
        (FUTURE, "long", 3),
        (PAIR, "long", 1),
    ):
        trader.book.set_position(name, side, quantity)

    history = trader.carried_out(FlattenEverything("desk"))

    asked = [it.operation for it in trader.market.venue.requests if it.operation != "time"]
    first_close = asked.index("close")
    assert came_to(history) == ("closed", None)
    assert asked[:first_close].count("positions") == 1
    assert asked.count("close") == 4
    assert trader.book.positions() == []
    assert len(history.closed_positions) == 4


def test_the_closes_of_a_flatten_are_in_flight_together(trader: Trader) -> None:
    for name in (SWAP, ETH, FUTURE):
        trader.book.set_position(name, "long", 5)
    slow = 0.4
    trader.market.venue.bad_day("hang_then_act", on="close", times=None, seconds=slow)

    assert came_to(trader.carried_out(FlattenEverything("desk"), seconds=30)) == ("closed", None)

    came = [request.received_at for request in trader.market.requests()]
    assert len(came) == 3
    assert max(came) - min(came) < slow  # each came before any was answered


def test_a_flatten_keeps_within_the_limits_of_the_venue(ledger: Ledger) -> None:
    credential = SECRETS["api_key"], SECRETS["api_secret"], SECRETS["passphrase"]
    with OkxSimulator(*credential, rate_limit=True) as venue:
        market = OkxMarket(venue)
        market.broker = Metered(market.broker, market.settings, Rates())
        trader = Trader(ledger, market)
        for name in (SWAP, ETH, FUTURE, PAIR):
            trader.book.set_position(name, "long", 5)

        assert came_to(trader.carried_out(FlattenEverything("desk"), seconds=60)) == ("closed", None)
        assert {request.status for request in venue.requests} == {200}


@pytest.mark.parametrize(
    ("mishap", "options", "status", "attention"),
    [
        ("refuse", {"code": "51024", "message": "blocked"}, "gave_up", "rejected"),
        ("cut_after_acting", {}, "closed", None),
        ("cut_before_acting", {}, "closed", None),
        ("throttle", {}, "closed", None),
        ("slow_fill", {"seconds": 20, "parts": 2}, "closed", None),
    ],
)
def test_one_that_fails_of_several_is_settled_by_itself(
    trader: Trader, mishap: str, options: dict[str, Any], status: str, attention: str | None
) -> None:
    trader.book.set_position(SWAP, "long", 5)
    trader.book.set_position(ETH, "short", 40)
    trader.market.bad_day(mishap, **options)

    history = trader.carried_out(FlattenEverything("desk"), seconds=200)

    assert came_to(history) == (status, attention)
    assert len(trader.book.positions()) == (1 if status == "gave_up" else 0)
    assert len(history.closed_positions) == (1 if status == "gave_up" else 2)


def test_a_doubt_that_was_found_and_can_not_be_looked_up_any_more_stays_in_view(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.book.fill_delay = 4000
    trader.market.bad_day("cut_after_acting")
    (command_id,) = trader.take(FlattenMatching("desk", instrument=SWAP))
    trader.wait(2)
    trader.market.venue.bad_day("throttle", on="lookup", times=None)
    trader.wait(900)

    assert trader.history(command_id).command.attention in ("in_doubt", "still_open")


def test_an_entry_that_fills_while_everything_is_cancelled_is_closed_too(trader: Trader) -> None:
    entry = trader.book.work_order(SWAP, "buy", 1, 90_000, reduce_only=False)
    cancel = trader.market.broker.cancel_orders

    def filled_first(*args: Any) -> Any:
        call = cancel(*args)
        if not trader.book.positions():
            trader.book.fill_order(entry.order_id)
        return call

    trader.market.broker.cancel_orders = filled_first  # type: ignore[method-assign]
    history = trader.carried_out(FlattenEverything("desk"), seconds=60)

    assert came_to(history) == ("closed", None)
    assert trader.book.positions() == []


def test_an_order_that_can_not_be_cancelled_is_named_in_the_end(trader: Trader) -> None:
    trader.book.set_position(ETH, "long", 10)
    entry = trader.book.work_order(SWAP, "buy", 1, 90_000, reduce_only=False)
    trader.market.venue.bad_day("refuse", on="cancel", times=None)

    history = trader.carried_out(FlattenEverything("desk"), seconds=300)

    assert came_to(history) == ("gave_up", "still_open")
    assert entry.order_id in (history.command.reason or "")
    assert len([it for it in trader.market.venue.requests if it.operation == "cancel"]) < 30
    assert sum(row.quantity for row in history.closed_positions) == 10


# Codes


@pytest.mark.parametrize("as_scode", [False, True])
@pytest.mark.parametrize(
    ("code", "acts", "status", "held"),
    [
        ("50001", False, "closed", 6),  # the service is down for now
        ("50004", True, "closed", 6),
        ("50011", False, "closed", 6),
        ("50013", False, "closed", 6),
        ("50026", True, "closed", 6),
        ("50061", False, "closed", 6),
        ("50101", False, "rejected", 10),
        ("50105", False, "rejected", 10),
        ("50113", False, "rejected", 10),
        ("51000", False, "rejected", 10),
        ("51010", False, "rejected", 10),
        ("51020", False, "rejected", 10),
        ("59999", True, "closed", 6),  # one that nobody ever saw proves nothing
    ],
)
def test_each_code_comes_to_what_it_proves(
    trader: Trader, code: str, acts: bool, status: str, held: int, as_scode: bool
) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.market.bad_day("code", part=True, code=code, acts=acts, as_scode=as_scode)

    history = trader.carried_out(part("4"), seconds=120)

    assert history.command.status == status
    assert trader.book.quantity(SWAP) == held
    assert numbers(history)


def test_a_suspended_instrument_is_told(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.book.suspend(SWAP)

    history = trader.carried_out(whole(), seconds=300)

    assert history.command.attention is not None
    assert trader.book.quantity(SWAP) == 10


def test_every_request_is_for_the_demo_environment(trader: Trader) -> None:
    trader.book.set_position(SWAP, "long", 10)
    trader.carried_out(part("4"))

    asked = trader.market.venue.requests
    assert {it.headers.get("x-simulated-trading") for it in asked} == {"1"}
