"""What the workers decide at a venue whose closing orders can open the other side, over real sockets.

Every way to a flip that we know of is here: none may turn a position round, and what can't be prevented is told.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Quantity
from app.domain.failures import Refused
from app.domain.positions import Side
from app.ledger import operators
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.journal import Journal
from tests.contract.markets import SECRETS, ClearStreetMarket
from tests.contract.trading import AAPL, ACCOUNT, Trader, ended, part, trading_at_clear_street, whole
from tests.shop import came_to, numbers
from tests.simulators.clearstreet import ClearStreetSimulator, OrderStatus
from workers import execution
from workers.brokers.broker import Guard

PUT = "AAPL260320P00180000"


@pytest.fixture
def trader(ledger: Ledger) -> Iterator[Trader]:
    with trading_at_clear_street(ledger) as trading:
        yield trading


# Ways to a flip


@pytest.mark.parametrize(
    ("commands", "left"),
    [
        ((part(4), part(4)), 2),
        ((part(6), part(6)), 0),
        ((part(7), part(7), part(7)), 0),
        ((whole(), part(4)), 0),
        ((part(4), whole()), 0),
        ((whole(), whole()), 0),
        ((whole(cancel_orders=False), whole(cancel_orders=False)), 0),
        ((part(4), FlattenMatching("desk", account=ACCOUNT)), 0),
        ((whole(), FlattenMatching("desk", account=ACCOUNT, cancel_orders=False)), 0),
        ((FlattenMatching("desk", account=ACCOUNT), whole()), 0),
        ((FlattenMatching("desk", instrument=AAPL), part(4), whole()), 0),
    ],
    ids=str,
)
def test_a_second_close_while_the_first_is_pending_turns_nothing_round(
    trader: Trader, commands: tuple[Command, ...], left: int
) -> None:
    trader.book.fill_delay, trader.book.fill_in_parts = 8, 4
    ids = []
    for command in commands:
        ids += trader.take(command)
        trader.wait(3 if len(commands) == 2 else 0)
    trader.wait(40)

    assert trader.held() == left
    assert trader.lowest >= 0
    ends = {"closed", "nothing_open", "gave_up", "rejected", "superseded"}
    assert {status for status, _ in ended(trader, *ids)} <= ends
    told = sum(row.quantity for it in ids for row in trader.history(it).closed_positions)
    assert told == 10 - left


def test_an_order_that_is_held_overnight_is_told_and_closes_in_the_morning(trader: Trader) -> None:
    trader.book.market_open = False
    (command_id,) = trader.take(part(4))
    trader.wait(600)
    history = trader.history(command_id)
    assert came_to(history) == ("working", "still_open")
    assert "held" in (history.command.reason or "")
    trader.wait(1200)
    trader.book.open_market()
    trader.wait(700)

    assert came_to(trader.history(command_id)) == ("closed", None)
    assert trader.held() == 6


@pytest.mark.parametrize("held_as", [OrderStatus.PENDING_NEW, OrderStatus.QUEUED])
def test_a_second_part_waits_for_the_one_that_is_held_and_says_so(
    trader: Trader, held_as: OrderStatus
) -> None:
    trader.book.market_open, trader.book.held_status = False, held_as
    first, second = trader.take(part(6)) + trader.take(part(6), max_age=86_400)
    trader.wait(30)

    assert ended(trader, second) == [("queued", "still_open")]
    assert "earlier close" in (trader.history(second).command.reason or "")
    assert len(trader.market.sent) == 1
    trader.book.open_market()
    trader.wait(700)

    assert ended(trader, first, second) == [("closed", None), ("closed", None)]
    assert (trader.held(), trader.lowest >= 0) == (0, True)


def test_a_whole_close_takes_the_place_of_the_part_that_is_held(trader: Trader) -> None:
    trader.book.market_open = False
    trader.take(part(6))
    trader.wait(5)
    (second,) = trader.take(whole())
    trader.wait(5)
    assert [order.quantity for order in trader.book.orders(19816, open_only=True)] == [10]
    trader.book.open_market()
    trader.wait(700)

    assert ended(trader, second) == [("closed", None)]
    assert (trader.held(), trader.lowest) == (0, 0)


@pytest.mark.parametrize("by_hand", [10, 8])
def test_a_held_order_is_cancelled_when_less_is_open_than_it_would_close(
    trader: Trader, by_hand: int
) -> None:
    trader.book.market_open = False
    (command_id,) = trader.take(part(6))
    trader.wait(30)
    trader.by_hand(by_hand)
    trader.wait(1200)
    trader.book.open_market()
    trader.wait(700)

    assert trader.held() == 10 - by_hand
    assert trader.lowest >= 0
    assert ended(trader, command_id)[0][0] in ("closed", "rejected", "gave_up")


def test_a_part_that_comes_late_after_the_position_is_flat_is_told(trader: Trader) -> None:
    """What nobody can prevent: the request was on its way. It is seen, and nothing follows it."""
    trader.market.bad_day("late_action", part=True, seconds=30)
    (command_id,) = trader.take(part(4))
    trader.wait(5)
    (second,) = trader.take(part(4, side=Side.LONG), max_age=86_400)
    trader.by_hand(10)
    trader.wait(20)
    assert ended(trader, command_id) == [("in_doubt", "in_doubt")]
    trader.wait(900)

    assert trader.held() == -4
    assert ended(trader, command_id) == [("closed", "position_changed")]
    assert ended(trader, second)[0] in [("nothing_open", None), ("nothing_open", "nothing_open_suspect")]
    assert len(trader.market.sent) == 1


def test_while_a_part_is_in_doubt_nothing_else_closes_its_position(trader: Trader) -> None:
    trader.market.bad_day("cut_before_acting", part=True)
    (first,) = trader.take(part(4))
    trader.wait(1)
    second, third = trader.take(part(4), max_age=86_400) + trader.take(whole(), max_age=86_400)
    trader.wait(300)

    assert ended(trader, first) == [("in_doubt", "in_doubt")]
    assert ended(trader, second, third) == [("queued", "still_open")] * 2
    assert (trader.held(), len(trader.market.sent)) == (10, 1)


def test_an_order_of_the_traders_own_that_closes_already_is_not_doubled(trader: Trader) -> None:
    trader.book.market_open = False
    trader.book.work_order(19816, AAPL, "SELL", 10, order_type="MARKET", time_in_force="DAY")
    (command_id,) = trader.take(part(4))
    trader.wait(30)

    assert ended(trader, command_id) == [("queued", "still_open")]
    assert trader.market.sent == []


def test_a_position_that_was_turned_round_by_others_is_left_alone(trader: Trader) -> None:
    trader.by_hand(15)

    history = trader.carried_out(part(4, side=Side.LONG))

    assert history.command.status == "nothing_open"
    assert trader.held() == -5


class Between:
    """A broker beside whose calls something happens at the venue: a call of this name is prepared, and then it does."""

    def __init__(self, market: ClearStreetMarket, **happenings: Callable[[], Any]) -> None:
        self._broker = market.broker
        self._happenings = happenings
        market.broker = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._broker, name)
        if name not in self._happenings:
            return method

        def prepared(*args: Any, **kwargs: Any) -> Any:
            call = method(*args, **kwargs)
            happens = self._happenings.pop(name, None)
            if happens and call is not None:
                happens()
            return call

        return prepared


@pytest.mark.parametrize("command", [whole(cancel_orders=False), part(4)], ids=["whole", "part"])
def test_an_order_that_fills_between_two_reads_is_not_closed_twice(
    ledger: Ledger, command: ClosePosition
) -> None:
    with ClearStreetSimulator(SECRETS["api_key"]) as venue:
        market = ClearStreetMarket(venue)
        pending = venue.book.work_order(19816, AAPL, "SELL", 10, order_type="MARKET", time_in_force="DAY")
        Between(market, orders=lambda: venue.book.fill_order(pending.order_id))
        trader = Trader(ledger, market)

        trader.carried_out(command, seconds=30)

        assert trader.held() == 0


def test_what_waits_for_a_doubt_holds_up_no_position_that_is_in_none(trader: Trader) -> None:
    trader.book.set_position(19816, "TSLA", "long", 5, "50.00", "51.00")
    trader.market.bad_day("cut_before_acting", part=True)
    trader.take(whole("TSLA", size=Quantity(Decimal(2)), cancel_orders=False))
    trader.wait(5)
    (flatten,) = trader.take(FlattenMatching("desk", account=ACCOUNT), max_age=86_400)
    trader.wait(5)
    (other,) = trader.take(whole())
    trader.wait(20)

    assert ended(trader, flatten, other) == [("queued", "still_open"), ("closed", None)]
    assert trader.held() == 0


# A flatten is as good as each of its positions


def test_fills_of_one_position_do_not_stand_for_another(ledger: Ledger) -> None:
    with ClearStreetSimulator(SECRETS["api_key"]) as venue:
        market, book = ClearStreetMarket(venue), venue.book
        Between(market, close=lambda: None)
        trader = Trader(ledger, market)
        book.set_position(19816, "TSLA", "long", 2, "50.00", "51.00")
        book.fill_delay = 3
        (command_id,) = trader.take(FlattenMatching("desk", account=ACCOUNT))
        trader.work()
        (tsla,) = (it for it in book.orders(19816, open_only=True) if it.instrument.symbol == "TSLA")
        book.end_order(tsla.order_id, "REJECTED")
        trader.wait(60)

        assert ended(trader, command_id) == [("gave_up", "unprotected")]
        assert numbers(trader.history(command_id)) == [("10", "0", "0"), ("2", "0", "2")]


def test_what_a_flatten_closed_in_part_is_on_record_once(trader: Trader) -> None:
    trader.book.set_position(19816, "TSLA", "long", 5, "50.00", "51.00")
    trader.book.fill_delay = 20
    (command_id,) = trader.take(FlattenMatching("desk", account=ACCOUNT, cancel_orders=False))
    trader.work()
    (aapl,) = (it for it in trader.book.orders(19816, open_only=True) if it.instrument.symbol == AAPL)
    trader.book.fill_order(aapl.order_id, 3)
    trader.book.end_order(aapl.order_id, "CANCELED")
    trader.wait(60)

    history = trader.history(command_id)
    assert came_to(history) == ("gave_up", "gave_up")
    assert sorted((row.instrument, row.quantity) for row in history.closed_positions) == [
        (AAPL, 3),
        ("TSLA", 5),
    ]


def test_an_account_that_can_not_be_read_keeps_no_other_from_being_flattened(trader: Trader) -> None:
    trader.book.set_position(19817, "TSLA", "long", 5, "50.00", "51.00")
    listed = trader.market.broker.positions

    def denied(guard: Guard) -> Any:
        raise Refused("Clear Street: Permission denied")

    def positions(account: str, page: str | None = None) -> Any:
        call = listed(account, page)
        return replace(call, make=denied) if account == "19817" else call

    trader.market.broker.positions = positions  # type: ignore[method-assign]

    history = trader.carried_out(FlattenEverything("desk"), seconds=60)

    assert came_to(history) == ("gave_up", "gave_up")
    assert "19817 can't be read: Clear Street: Permission denied" in (history.command.reason or "")
    assert (trader.held(), trader.book.position(19817, "TSLA")) == (0, 5)


# How orders end


@pytest.mark.parametrize("filled", [0, 3])
@pytest.mark.parametrize("status", ["REJECTED", "CANCELED", "EXPIRED", "DONE_FOR_DAY", "REPLACED"])
@pytest.mark.parametrize("command", [whole(), part(4)], ids=["whole", "part"])
def test_an_order_that_ends_early_is_told_as_it_ended(
    trader: Trader, command: ClosePosition, status: str, filled: int
) -> None:
    trader.market.bad_day("ends_as", part=not command.whole, status=status, filled=filled, seconds=2)

    history = trader.carried_out(command, seconds=60)

    assert trader.held() == 10 - filled
    assert len(trader.market.sent) == 1
    status_word = "gave_up" if filled else "rejected"
    assert came_to(history) == (status_word, "unprotected" if command.whole else status_word)
    assert status in (history.command.reason or "")
    assert [row.quantity for row in history.closed_positions] == ([filled] if filled else [])


@pytest.mark.parametrize("status", ["SUSPENDED", "CALCULATED", "STOPPED", "OTHER", "PENDING_REPLACE"])
def test_an_order_in_a_state_between_is_watched_and_asks_for_attention(trader: Trader, status: str) -> None:
    trader.market.bad_day("ends_as", part=True, status=status, seconds=1)

    history = trader.carried_out(part(4), seconds=120)

    assert came_to(history) == ("working", "still_open")
    assert len(trader.market.sent) == 1


def test_an_order_that_fills_in_parts_is_followed_to_its_end(trader: Trader) -> None:
    trader.book.fill_delay, trader.book.fill_in_parts = 40, 4
    (command_id,) = trader.take(part(4))
    trader.wait(25)
    assert ended(trader, command_id) == [("working", None)]
    trader.wait(60)

    history = trader.history(command_id)
    assert came_to(history) == ("closed", None)
    (row,) = history.closed_positions
    assert (row.quantity, row.average_price, row.close_price, row.profit_loss) == (4, 50, 51, 4)
    assert row.source == "fills"


# Names


@pytest.mark.parametrize(
    "name", [PUT, "AAPL  260320P00180000", "e5e6e7e8-f5f6-a5a6-b5b6-b7b8b9babbbc", "aapl260320p00180000"]
)
@pytest.mark.parametrize("size", [None, 2])
def test_an_option_is_closed_by_each_of_its_names(trader: Trader, name: str, size: int | None) -> None:
    trader.book.set_position(19816, PUT, "long", 5, "6.20", "5.85")
    command = whole(name) if size is None else part(size)
    history = trader.carried_out(whole(name, size=command.size, cancel_orders=command.cancel_orders))

    assert came_to(history) == ("closed", None)
    assert trader.book.position(19816, PUT) == (0 if size is None else 3)
    assert trader.held() == 10
    (row,) = history.closed_positions
    assert (row.instrument, row.profit_loss) == (PUT, Decimal("-35") * (5 if size is None else 2))


@pytest.mark.parametrize("pages", [1, 2, 7])
def test_a_position_is_found_on_whatever_page_it_is(trader: Trader, pages: int) -> None:
    for number in range(100 * (pages - 1) + 1):
        name = "Z" + "".join(chr(65 + int(digit)) for digit in f"{number:04}")
        trader.book.set_position(19816, name, "long", 1, "1.00")
    trader.book.set_position(19816, "ZZZZZ", "long", 3, "1.00")

    history = trader.carried_out(whole("ZZZZZ"))

    assert came_to(history) == ("closed", None)
    assert numbers(history) == [("3", "0", "0")]


# What an operator says of an order that is at work


def test_an_order_at_work_is_cancelled_before_its_close_is_called_done(trader: Trader) -> None:
    trader.book.market_open = False
    (command_id,) = trader.take(part(4))
    trader.wait(200)
    assert ended(trader, command_id) == [("working", "still_open")]
    trader.by_hand(4)
    operators.resolve(trader.ledger, command_id, True, "ada", "sold by hand")
    trader.wait(30)
    trader.book.open_market()
    trader.wait(60)

    assert ended(trader, command_id) == [("closed", None)]
    assert (trader.held(), trader.lowest) == (6, 6)


def test_a_lost_answer_is_not_called_done_before_it_can_come_no_more(trader: Trader) -> None:
    trader.market.bad_day("late_action", part=True, seconds=6)
    (command_id,) = trader.take(part(4))
    trader.work()
    trader.by_hand(4)
    operators.resolve(trader.ledger, command_id, True, "ada", "sold by hand")
    trader.work()

    assert trader.history(command_id).command.status == "in_doubt"
    trader.wait(30)
    assert trader.history(command_id).command.status in ("closed", "cancelled")
    assert trader.lowest >= 0


def test_a_worker_that_dies_before_it_cancels_an_order_leaves_no_close_that_looks_unsent(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.book.fill_delay = 3600
    (command_id,) = trader.take(whole())
    trader.work()
    trader.by_hand(7)

    class Death(BaseException):
        pass

    def die(*_arguments: Any, **_named: Any) -> None:
        raise Death

    monkeypatch.setattr(execution, "send", die)
    with pytest.raises(Death):
        trader.wait(60)
    monkeypatch.undo()
    trader.execution.claims.recover(owner="worker-1")

    assert trader.history(command_id).command.status in ("working", "in_doubt")
    with pytest.raises(operators.NotPossible):
        operators.cancel(trader.ledger, command_id, "ada", "why")
    trader.wait(60)
    assert (trader.held(), trader.lowest >= 0) == (3, True)


def test_no_list_is_shared_where_an_order_could_turn_a_position_round(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shared(*_arguments: Any) -> None:
        raise AssertionError("the list may be old by the time another is held against it")

    monkeypatch.setattr(trader.execution.claims, "take_read_backs", shared)
    trader.book.fill_delay = 3
    ids = [*trader.take(whole()), *trader.take(whole(instrument=PUT))]
    trader.wait(60)

    assert ended(trader, *ids) == [("closed", None), ("nothing_open", "nothing_open_suspect")]


@pytest.mark.parametrize("seen", [1, 2])
def test_a_flatten_is_not_closed_where_the_venue_stops_showing_an_account(trader: Trader, seen: int) -> None:
    trader.book.set_position(19817, AAPL, "long", 10, "50.00", "51.00")
    trader.book.fill_delay = 3600
    (command_id,) = trader.take(FlattenMatching("desk", instrument=AAPL))
    refused: list[int] = []
    positions = trader.market.broker.positions

    def of_account(account: str | None = None, page: str | None = None) -> Any:
        call = positions(account, page)
        if account == "19817" and len(trader.market.sent) >= 2:
            refused.append(1)
            if len(refused) >= seen:
                return replace(call, make=_denied)
        return call

    trader.market.broker.positions = of_account  # type: ignore[method-assign]
    trader.wait(300)

    status, attention = ended(trader, command_id)[0]
    assert status != "closed"
    assert attention is not None
    assert trader.book.position(19817, AAPL) == 10
    told = [row.account for row in trader.history(command_id).closed_positions]
    assert "19817" not in told


def _denied(guard: Guard) -> Any:
    raise Refused("Clear Street: Permission denied")


def test_a_part_whose_order_may_still_fill_is_not_retried(trader: Trader) -> None:
    """A second order beside the first would close twice what was asked."""
    trader.book.market_open = False
    (command_id,) = trader.take(part(4))
    trader.wait(200)
    operators.resolve(trader.ledger, command_id, False, "ada", "it never filled")

    with pytest.raises(operators.NotPossible, match="may still fill"):
        operators.retry(trader.ledger, command_id, "ada", "again", 86400)
    trader.book.open_market()
    trader.wait(30)
    assert trader.held() == 6


def test_who_says_it_is_done_is_told_while_its_order_can_not_be_cancelled(trader: Trader) -> None:
    trader.book.market_open = False
    (command_id,) = trader.take(part(4))
    trader.wait(200)
    cancel_orders = trader.market.broker.cancel_orders

    def refused(_guard: Guard) -> Any:
        raise Refused("the order can not be cancelled now")

    trader.market.broker.cancel_orders = lambda *a: replace(cancel_orders(*a), make=refused)
    operators.resolve(trader.ledger, command_id, True, "ada", "sold by hand")
    trader.wait(300)

    history = trader.history(command_id)
    assert came_to(history) == ("working", "still_open")
    assert len([it for it in history.attempts if it.kind == "cancel"]) < 20


def test_a_lost_word_of_a_commit_does_not_make_a_working_close_look_unsent(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.book.market_open = False
    (command_id,) = trader.take(part(6))
    trader.wait(30)
    trader.by_hand(8)  # its own order is to be cancelled now
    commit_begin = Journal._commit_begin

    def kept_and_not_told(self: Journal, *args: Any) -> Any:
        commit_begin(self, *args)
        raise LedgerUnavailable("the word of the commit was lost")

    monkeypatch.setattr(Journal, "_commit_begin", kept_and_not_told)
    with pytest.raises(LedgerUnavailable):
        trader.wait(60)
    monkeypatch.undo()

    assert trader.history(command_id).command.status == "working"
    with pytest.raises(operators.NotPossible):
        operators.cancel(trader.ledger, command_id, "ada", "not wanted")


def test_what_our_own_order_closed_is_told_when_a_person_says_that_it_is_done(trader: Trader) -> None:
    trader.book.fill_delay = 3600
    (command_id,) = trader.take(part(6))
    trader.work()
    (order,) = trader.book.orders(19816, open_only=True)
    trader.book.fill_order(order.order_id, 3)
    trader.by_hand(3)
    trader.wait(100)
    operators.resolve(trader.ledger, command_id, True, "ada", "sold the rest by hand")
    trader.wait(30)

    history = trader.history(command_id)
    assert history.command.status == "closed"
    assert [row.order_ids for row in history.closed_positions] == [[order.order_id]]
