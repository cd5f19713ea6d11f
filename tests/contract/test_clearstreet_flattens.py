"""A flatten of several calls where a closing order can open the other side: each call sells only what still stands."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.domain.commands import FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, OutcomeUnknown, Throttled
from app.domain.positions import Side
from app.ledger import operators, pauses
from app.ledger.connection import Ledger
from app.ledger.pauses import Scope
from tests.contract.trading import AAPL, ACCOUNT, Trader, ended, trading_at_clear_street, whole
from tests.shop import came_to
from workers.brokers.broker import Guard

TSLA = "TSLA"
FLATTEN = FlattenMatching("desk", account=ACCOUNT, cancel_orders=False)


@pytest.fixture
def trader(ledger: Ledger) -> Iterator[Trader]:
    with trading_at_clear_street(ledger) as trading:
        trading.book.set_position(19816, TSLA, "long", 5, "50.00", "51.00")
        yield trading


def instead(
    trader: Trader, instrument: str, raised: BrokerError, *, before: Callable[[], Any] = lambda: None
) -> None:
    """The next close of an instrument does not go out, and fails so."""
    close, done = trader.market.broker.close, []

    def failing(command: Any, holding: Any, quantity: Any) -> Any:
        call = close(command, holding, quantity)
        if holding.instrument != instrument or done:
            return call

        def fail(_guard: Guard) -> Any:
            done.append(True)
            before()
            raise raised

        return replace(call, make=fail)

    trader.market.broker.close = failing


def sold_later(trader: Trader, quantity: int) -> Callable[[], None]:
    """A request that is still on its way arrives five seconds later."""

    def arrive() -> None:
        order = trader.book.work_order(
            19816, AAPL, "SELL", quantity, order_type="MARKET", time_in_force="DAY"
        )
        trader.book.fill_order(order.order_id)

    return lambda: trader.book.later(5, arrive)


def in_doubt_beside_one_that_waits(trader: Trader) -> str:
    """A flatten whose call for AAPL got no answer and is still on its way, and whose call for TSLA has to wait."""
    instead(trader, TSLA, Throttled("too fast", retry_after=20))
    instead(trader, AAPL, OutcomeUnknown("no whole answer came"), before=sold_later(trader, 10))
    (flatten,) = trader.take(FLATTEN)
    trader.work()
    assert trader.history(flatten).command.status == "queued"
    return str(flatten)


def test_a_leg_that_waited_for_the_traders_own_order_sells_only_the_rest(trader: Trader) -> None:
    own = trader.book.work_order(19816, AAPL, "SELL", 6, order_type="MARKET", time_in_force="DAY")
    trader.take(FLATTEN)
    trader.wait(3)
    trader.book.fill_order(own.order_id)
    trader.wait(30)

    assert (trader.held(), trader.lowest) == (0, 0)


def test_a_leg_that_was_throttled_sells_only_what_a_stop_left(trader: Trader) -> None:
    stop = trader.book.work_order(19816, AAPL, "SELL", 6, price="50.00")
    instead(trader, AAPL, Throttled("too fast", retry_after=5))
    (flatten,) = trader.take(FLATTEN)
    trader.work()
    trader.book.fill_order(stop.order_id)
    trader.wait(30)

    assert (trader.held(), trader.lowest) == (0, 0)
    assert came_to(trader.history(flatten)) == ("closed", None)


def test_no_close_goes_out_beside_a_leg_in_doubt_though_another_leg_waits(trader: Trader) -> None:
    in_doubt_beside_one_that_waits(trader)
    (rescue,) = trader.take(whole(side=Side.LONG), max_age=600)
    trader.wait(1)
    assert trader.history(rescue).command.status == "queued"
    trader.wait(90)

    assert (trader.held(), trader.lowest) == (0, 0)
    assert came_to(trader.history(rescue)) == ("queued", "still_open")  # the doubt is a person's to settle


def test_nor_though_the_other_leg_waits_for_the_traders_own_order(trader: Trader) -> None:
    trader.book.work_order(19816, TSLA, "SELL", 5, order_type="MARKET", time_in_force="DAY")
    trader.market.bad_day("cut_before_acting", part=True)
    trader.take(FLATTEN)
    trader.work()
    (rescue,) = trader.take(whole(side=Side.LONG), max_age=600)
    trader.wait(1)

    assert trader.history(rescue).command.status == "queued"


def test_of_two_flattens_under_way_the_earlier_goes_first(trader: Trader) -> None:
    """Each has a leg that waits: they must not wait for each other."""
    instead(trader, TSLA, Throttled("too fast", retry_after=3))
    (first,) = trader.take(FLATTEN)
    trader.work()
    (second,) = trader.take(FlattenMatching("desk", account=ACCOUNT))
    trader.wait(60)

    assert trader.held() == 0
    assert trader.book.position(19816, TSLA) == 0
    assert {status for status, _ in ended(trader, first, second)} <= {"closed", "nothing_open", "superseded"}


def test_a_flatten_said_to_be_done_waits_for_what_may_still_come(trader: Trader) -> None:
    flatten = in_doubt_beside_one_that_waits(trader)
    trader.by_hand(10)
    trader.book.fill_order(trader.book.work_order(19816, TSLA, "SELL", 5, price="50.00").order_id)
    operators.resolve(trader.ledger, flatten, True, "ada", "sold by hand")
    trader.work()
    assert trader.history(flatten).command.status != "closed"
    trader.wait(120)

    status, attention = came_to(trader.history(flatten))
    assert trader.held() == -10  # the late request came after what was sold by hand
    assert (status == "closed") is False or attention is not None


def test_a_flatten_said_not_to_be_done_tells_of_the_order_that_is_at_work(trader: Trader) -> None:
    trader.book.market_open = False
    instead(trader, TSLA, Throttled("too fast", retry_after=20))
    (flatten,) = trader.take(FLATTEN)
    trader.work()
    operators.resolve(trader.ledger, flatten, False, "ada", "not wanted any more")

    history = trader.history(flatten)
    assert came_to(history) == ("cancelled", "still_open")
    assert "may still fill" in history.command.reason


def test_orders_of_others_are_not_cancelled_while_it_is_paused(trader: Trader) -> None:
    trader.book.fill_order(trader.book.work_order(19816, TSLA, "SELL", 5, price="50.00").order_id)
    entry = trader.book.work_order(19817, TSLA, "BUY", 5, price="50.00")
    trader.book.fill_delay = 5
    (flatten,) = trader.take(FlattenEverything("desk"))
    trader.work()
    pauses.pause(trader.ledger, Scope.BROKER, "desk", "ada", "nothing more is to be sent")
    trader.wait(60)

    assert [it.order_id for it in trader.book.orders(19817, open_only=True)] == [entry.order_id]
    assert came_to(trader.history(flatten))[0] == "queued"
    pauses.resume(trader.ledger, Scope.BROKER, "desk", "ada", "go on")
    trader.wait(60)

    assert trader.book.orders(19817, open_only=True) == []
    assert came_to(trader.history(flatten)) == ("closed", None)
