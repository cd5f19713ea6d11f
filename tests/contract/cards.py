"""The cards that every venue and transport passes, against its simulator: what a close does, and what each failure means.

A venue's module subclasses BrokerCards and gives it a `market` (`tests/contract/markets.py`). Most cards are played by
a worker over a real ledger, from the command to its end: what a user gets. What a venue can't do it says in its row of
`app.domain.venues`, and the card asks what is to happen then.
"""

import json
import logging
import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from sqlalchemy import select

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Fraction, Quantity
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Holding, Order, Position, Side
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.readers import CommandHistory
from tests.contract.markets import SECRETS, Market
from tests.shop import Shop, came_to
from workers.brokers.broker import Answered, Call

PART = 4
LOST: list[tuple[str, dict[str, Any]]] = [
    ("timeout_408", {}),
    ("error_500", {}),
    ("error_502", {}),
    ("cut_before_acting", {}),
    ("hang_then_act", {"seconds": 0.9}),
    ("not_json", {"acts": False}),
    ("html_page", {"acts": False}),
    ("wrong_type", {"acts": False}),
    ("truncated_json", {"acts": False}),
    ("wrong_shape", {"acts": False}),
    ("wrong_shape", {"acts": False, "body": float("nan")}),
    ("huge_body", {"acts": False, "mebibytes": 2}),
    ("redirect", {"acts": False}),
]
"""The bad days after which nobody can tell from the call alone whether it was done; it was not."""
DONE: list[tuple[str, dict[str, Any]]] = [
    ("timeout_408_after_acting", {}),
    ("error_500_after_acting", {}),
    ("error_502_after_acting", {}),
    ("cut_after_acting", {}),
    ("cut_mid_answer", {}),
    ("not_json", {"acts": True}),
    ("html_page", {"acts": True}),
    ("wrong_type", {"acts": True}),
    ("truncated_json", {"acts": True}),
    ("wrong_shape", {"acts": True}),
    ("late_action", {"seconds": 0.2}),
]
"""The same, and it was done."""
UNDONE = [(name, options) for name, options in LOST if name not in ("hang_then_act", "huge_body")]
parts = pytest.mark.parametrize("part", [False, True], ids=["whole", "part"])


def days(named: Iterable[tuple[str, dict[str, Any]]]) -> Any:
    shown = [
        pytest.param(name, options, id=f"{name}{'-nan' if 'body' in options else ''}")
        for name, options in named
    ]
    return pytest.mark.parametrize(("mishap", "options"), shown)


def made(call: Call[Any] | None) -> Answered[Any]:
    assert call is not None
    return call.make(lambda seconds: None)


def close_of(market: Market, part: bool = False, quantity: int = PART, **changes: Any) -> ClosePosition:
    """A close in the first account and instrument; a part leaves working orders alone unless told otherwise."""
    size = {"size": Quantity(Decimal(quantity)), "cancel_orders": False} if part else {}
    return ClosePosition(market.broker.name, market.accounts[0], market.instruments[0], **{**size, **changes})


def listed(market: Market) -> list[Position]:
    """All positions, through every page of every account."""
    broker = market.broker
    accounts = broker.accounts()
    named: list[str | None] = [None] if accounts is None else list(made(accounts).result.items)
    found: list[Position] = []
    for account in named:
        page = None
        while True:
            read = made(broker.positions(account, page)).result
            found += read.items
            if (page := read.next) is None:
                break
    return found


def bare_close(market: Market, part: bool = False) -> Call[Any]:
    """The adapter's call for such a close of the position that is there."""
    positions = [
        p for p in listed(market) if (p.account, p.instrument) == (market.accounts[0], market.instruments[0])
    ]
    (position,) = positions
    holding = Holding(
        position.account,
        position.instrument,
        position.side,
        position.quantity,
        Decimal(0),
        handle=position.handle,
        aliases=position.aliases,
    )
    return market.broker.close(close_of(market, part), holding, Decimal(PART) if part else None)


def one_of(history: CommandHistory) -> Any:
    (closed,) = history.closed_positions
    return closed


class ClosingCards:
    """What is done when nothing goes wrong. Collected through each venue's subclass."""

    @pytest.fixture
    def shop(self, ledger: Ledger, market: Market) -> Shop:
        return Shop(ledger, market, market.settings)

    def long(self, market: Market, quantity: int = 10) -> None:
        market.hold(market.accounts[0], market.instruments[0], Side.LONG, quantity)

    def left(self, market: Market) -> float:
        return market.held(market.accounts[0], market.instruments[0])

    def fill_books(self, market: Market) -> None:
        """Ten long, then five short, in each account."""
        for account in market.accounts:
            market.hold(account, market.instruments[0], Side.LONG, 10)
            market.hold(account, market.instruments[1], Side.SHORT, 5)

    def books(self, market: Market) -> dict[tuple[str, str], float]:
        return {(a, i): market.held(a, i) for a in market.accounts for i in market.instruments}

    def expected(self, market: Market, **filters: Any) -> dict[tuple[str, str], float]:
        """The books after all that matches these was closed."""
        return {
            (account, instrument): 0
            if filters.get("account", account) == account
            and filters.get("instrument", instrument) == instrument
            and filters.get("side", side) is side
            else quantity
            for account in market.accounts
            for instrument, side, quantity in zip(
                market.instruments, (Side.LONG, Side.SHORT), (10, -5), strict=True
            )
        }

    # What is done

    def test_a_position_is_read_as_the_venue_holds_it(self, market: Market) -> None:
        self.fill_books(market)

        seen = {
            (p.account, p.instrument): p.quantity * (1 if p.side is Side.LONG else -1) for p in listed(market)
        }

        assert seen == self.books(market) == self.expected(market, account="none")

    def test_a_whole_close_closes_all_of_one_position_and_its_orders(
        self, shop: Shop, market: Market
    ) -> None:
        self.fill_books(market)
        for account in market.accounts:
            market.rest(account, market.instruments[0])

        history = shop.carried_out(close_of(market))

        place = {"account": market.accounts[0], "instrument": market.instruments[0]}
        assert came_to(history) == ("closed", None)
        assert self.books(market) == self.expected(market, **place)
        resting = [market.resting(account, market.instruments[0]) for account in market.accounts]
        assert resting == [0, 1][: len(resting)]

    @pytest.mark.parametrize("side", list(Side))
    def test_a_closed_position_has_its_prices_and_its_profit(
        self, shop: Shop, market: Market, side: Side
    ) -> None:
        market.hold(market.accounts[0], market.instruments[0], side, 10)

        closed = one_of(shop.carried_out(close_of(market)))

        assert (closed.account, closed.instrument, closed.side) == (
            market.accounts[0],
            market.instruments[0],
            side,
        )
        assert closed.quantity == 10
        assert closed.average_price is not None
        assert closed.close_price > closed.average_price
        assert closed.profit_loss is not None
        assert (closed.profit_loss > 0) is (side is Side.LONG)

    @pytest.mark.parametrize("side", list(Side))
    def test_a_quantity_is_closed_and_no_more(self, shop: Shop, market: Market, side: Side) -> None:
        market.hold(market.accounts[0], market.instruments[0], side, 10)

        history = shop.carried_out(close_of(market, part=True))

        assert came_to(history) == ("closed", None)
        assert abs(self.left(market)) == 6
        assert one_of(history).quantity == PART

    def test_a_fraction_becomes_a_quantity_rounded_up_to_the_lot(self, shop: Shop, market: Market) -> None:
        self.long(market)

        history = shop.carried_out(close_of(market, size=Fraction(Decimal("0.251")), cancel_orders=False))

        lot = Decimal(market.lot)
        closing = (Decimal("2.51") / lot).to_integral_value(ROUND_CEILING) * lot
        assert came_to(history) == ("closed", None)
        assert Decimal(str(self.left(market))) == 10 - closing

    def test_more_than_is_open_never_flips_the_position(self, shop: Shop, market: Market) -> None:
        self.long(market, 3)

        assert came_to(shop.carried_out(close_of(market, part=True))) == ("closed", None)

        assert self.left(market) == 0

    @parts
    def test_a_close_of_the_other_side_closes_nothing(self, shop: Shop, market: Market, part: bool) -> None:
        self.fill_books(market)

        history = shop.carried_out(close_of(market, part, side=Side.SHORT))

        assert history.command.status == "nothing_open"
        assert self.books(market) == self.expected(market, account="none")

    @pytest.mark.parametrize(
        "filters",
        [
            ("account",),
            ("instrument",),
            ("side",),
            ("account", "instrument"),
            ("account", "side"),
            ("instrument", "side"),
            ("account", "instrument", "side"),
        ],
        ids="+".join,
    )
    def test_a_flatten_closes_what_matches_every_filter(
        self, shop: Shop, market: Market, filters: tuple[str, ...]
    ) -> None:
        self.fill_books(market)
        values = {"account": market.accounts[0], "instrument": market.instruments[0], "side": Side.LONG}
        chosen = {name: values[name] for name in filters}

        history = shop.carried_out(FlattenMatching(market.broker.name, **chosen))

        assert came_to(history) == ("closed", None)
        assert self.books(market) == self.expected(market, **chosen)
        assert {} not in market.sent
        assert sum(row.quantity for row in history.closed_positions) == sum(
            abs(before) - abs(after)
            for before, after in zip(
                self.expected(market, account="none").values(), self.books(market).values(), strict=True
            )
        )

    def test_everything_is_closed_by_the_command_of_that_name(self, shop: Shop, market: Market) -> None:
        self.fill_books(market)
        for account in market.accounts:
            market.rest(account, market.instruments[0])

        history = shop.carried_out(FlattenEverything(market.broker.name))

        assert came_to(history) == ("closed", None)
        assert set(self.books(market).values()) == {0}
        assert not any(market.resting(account, market.instruments[0]) for account in market.accounts)

    @pytest.mark.parametrize("held", [True, False])
    def test_everything_cancels_orders_where_nothing_is_open(
        self, shop: Shop, market: Market, held: bool
    ) -> None:
        if held:
            self.long(market)
        for account in market.accounts:
            market.rest(account, market.instruments[1])

        history = shop.carried_out(FlattenEverything(market.broker.name), seconds=20)

        assert history.command.status == ("closed" if held else "nothing_open")
        assert not any(market.resting(account, market.instruments[1]) for account in market.accounts)
        assert sum(row.quantity for row in history.closed_positions) == (10 if held else 0)

    @pytest.mark.parametrize("what", ["whole", "part", "flatten", "everything"])
    def test_with_nothing_open_it_says_so_and_it_is_no_error(
        self, shop: Shop, market: Market, what: str
    ) -> None:
        name, account = market.broker.name, market.accounts[0]
        commands: dict[str, Command] = {
            "whole": close_of(market),
            "part": close_of(market, part=True),
            "flatten": FlattenMatching(name, account=account),
            "everything": FlattenEverything(name),
        }

        history = shop.carried_out(commands[what])

        assert history.command.status == "nothing_open"
        assert history.closed_positions == []

    def test_a_part_that_asks_for_it_cancels_the_orders_of_its_instrument_and_account_first(
        self, shop: Shop, market: Market
    ) -> None:
        self.fill_books(market)
        for account in market.accounts:
            for instrument in market.instruments:
                market.rest(account, instrument)

        history = shop.carried_out(close_of(market, part=True, cancel_orders=True))

        assert came_to(history) == ("closed", None)
        assert self.left(market) == 6
        resting = [market.resting(a, i) for a in market.accounts for i in market.instruments]
        assert resting == [0, 1, 1, 1][: len(resting)]

    def test_a_part_leaves_orders_alone_otherwise(self, shop: Shop, market: Market) -> None:
        self.long(market)
        market.rest(market.accounts[0], market.instruments[0])

        assert came_to(shop.carried_out(close_of(market, part=True))) == ("closed", None)

        assert market.resting(market.accounts[0], market.instruments[0]) == 1

    def test_a_working_order_is_seen_until_it_is_gone(self, market: Market) -> None:
        account, instrument = market.accounts[0], market.instruments[0]
        self.long(market)
        market.rest(account, instrument)

        def seen() -> tuple[Order, ...]:
            items: tuple[Order, ...] = made(market.broker.orders(account)).result.items
            return items

        (order,) = seen()
        assert (order.account, order.instrument, order.market) == (account, instrument, False)
        made(market.broker.cancel_orders(account, instrument, (order,)))
        assert seen() == ()

    def test_the_fills_of_a_close_are_found(self, market: Market) -> None:
        account, instrument = market.accounts[0], market.instruments[0]
        self.long(market)
        made(bare_close(market, part=True))

        fills = made(market.broker.fills(account, 2.0)).result.items

        assert {(it.account, it.instrument, it.reduces) for it in fills} == {(account, instrument, Side.LONG)}
        assert sum(fill.quantity for fill in fills) == PART


class BrokerCards(ClosingCards):
    """All of them: also what goes wrong, and what is on record."""

    @parts
    def test_a_refusal_is_told_in_the_venues_words(self, shop: Shop, market: Market, part: bool) -> None:
        self.long(market)
        market.bad_day("refuse", part=part)

        history = shop.carried_out(close_of(market, part), seconds=60)

        assert came_to(history) == ("rejected", "rejected")
        assert (self.left(market), len(market.sent)) == (10, 1)
        assert len(history.command.reason) > len("OKX: ")

    @parts
    def test_a_limit_is_waited_out_as_long_as_the_venue_asks(
        self, shop: Shop, market: Market, part: bool
    ) -> None:
        self.long(market)
        market.bad_day("throttle", part=part, retry_after=40)

        (command_id,) = shop.take(close_of(market, part))
        if market.tells_wait:
            shop.wait(38)
            assert (came_to(shop.history(command_id)), len(market.sent)) == (("queued", None), 1)
        shop.wait(10)

        assert came_to(shop.history(command_id)) == ("closed", None)
        assert len(market.sent) == 2

    def test_a_throttled_call_says_how_long(self, market: Market) -> None:
        self.long(market)
        call = bare_close(market)
        market.bad_day("throttle", retry_after=7)

        with pytest.raises(Throttled) as throttled:
            made(call)

        assert throttled.value.retry_after == (7 if market.tells_wait else None)

    @parts
    def test_a_venue_that_can_not_be_reached_is_tried_until_it_can(
        self, shop: Shop, market: Market, part: bool
    ) -> None:
        self.long(market)
        market.stop_listening()
        try:
            (command_id,) = shop.take(close_of(market, part))
            shop.wait(20)
            assert came_to(shop.history(command_id)) == ("queued", None)
        finally:
            market.listen_again()
        shop.wait(30)

        assert came_to(shop.history(command_id)) == ("closed", None)
        assert len(market.sent) == 1

    def test_a_connection_that_does_not_stand_sent_nothing(self, market: Market) -> None:
        self.long(market)
        call = bare_close(market)
        market.stop_listening()

        with pytest.raises(NotSent):
            made(call)

    @parts
    def test_a_call_that_is_held_back_sends_nothing(self, market: Market, part: bool) -> None:
        def hold_back(seconds: float) -> None:
            raise NotSent("the lease ran out")

        self.long(market)
        call = bare_close(market, part)

        with pytest.raises(NotSent):
            call.make(hold_back)

        assert market.sent == []

    @parts
    @days(LOST)
    def test_without_a_definite_answer_the_outcome_is_unknown_and_it_was_sent_once(
        self, market: Market, mishap: str, options: dict[str, Any], part: bool
    ) -> None:
        self.long(market)
        call = bare_close(market, part)
        market.bad_day(mishap, part=part, **options)

        with pytest.raises(OutcomeUnknown) as unknown:
            made(call)

        assert len(market.sent) == 1
        answered = mishap in (
            "timeout_408",
            "error_500",
            "error_502",
            "not_json",
            "html_page",
            "wrong_shape",
            "wrong_type",
        )
        assert (unknown.value.answer is not None) or not answered

    @parts
    @days(DONE)
    def test_what_was_done_although_the_answer_was_lost_is_found_and_not_repeated(
        self, shop: Shop, market: Market, mishap: str, options: dict[str, Any], part: bool
    ) -> None:
        self.long(market)
        market.bad_day(mishap, part=part, **options)

        history = shop.carried_out(close_of(market, part), seconds=60)

        left = 10 - PART if part else 0
        assert came_to(history) == ("closed", None)
        assert (self.left(market), len(market.sent)) == (left, 1)
        assert one_of(history).quantity == 10 - left

    @parts
    @days(UNDONE)
    def test_what_was_not_done_is_repeated_only_where_nothing_can_be_doubled(
        self, shop: Shop, market: Market, mishap: str, options: dict[str, Any], part: bool
    ) -> None:
        self.long(market)
        market.bad_day(mishap, part=part, **options)

        history = shop.carried_out(close_of(market, part), seconds=120)

        if market.repeats[part]:
            assert came_to(history) == ("closed", None)
            assert (self.left(market), len(market.sent)) == (10 - PART if part else 0, 2)
        else:
            assert came_to(history) == ("in_doubt", "in_doubt")
            assert (self.left(market), len(market.sent)) == (10, 1)

    @parts
    def test_a_request_that_comes_very_late_doubles_nothing(
        self, shop: Shop, market: Market, part: bool
    ) -> None:
        self.long(market)
        market.bad_day("late_action", part=part, seconds=115)

        history = shop.carried_out(close_of(market, part), seconds=200)

        assert self.left(market) >= 0
        if part:
            assert self.left(market) >= 10 - PART * len(market.sent)
            told = sum(row.quantity or 0 for row in history.closed_positions)
            assert told <= PART

    @pytest.mark.parametrize(
        "mishap", ["not_json", "wrong_shape", "html_page", "truncated_json", "cut_before_acting"]
    )
    def test_a_list_that_can_not_be_read_is_asked_for_again(
        self, shop: Shop, market: Market, mishap: str
    ) -> None:
        self.long(market)
        acts = {"acts": False} if mishap != "cut_before_acting" else {}
        market.venue.bad_day(mishap, on="positions", times=2, **acts)

        history = shop.carried_out(close_of(market, part=True), seconds=60)

        assert came_to(history) == ("closed", None)
        assert (self.left(market), len(market.sent)) == (10 - PART, 1)

    # What is on record

    @parts
    def test_each_attempt_has_an_id_of_its_own_which_is_on_record(
        self, shop: Shop, market: Market, part: bool
    ) -> None:
        self.long(market)
        market.bad_day("throttle", part=part, retry_after=1)
        (command_id,) = shop.take(close_of(market, part))
        shop.wait(10)

        ids = [market.client_id(request) for request in market.requests()]

        recorded = [row.client_id for row in shop.history(command_id).attempts if row.kind == "close"]
        assert ids == recorded
        assert len(ids) == 2
        if any(ids):
            assert len(set(ids)) == len(ids)
            legal = re.compile(r"[A-Za-z0-9]{1,32}" if market.kind == "okx" else r"[A-Za-z0-9-]{1,64}")
            assert all(legal.fullmatch(text or "") for text in ids)

    @parts
    @pytest.mark.parametrize("mishap", [None, "refuse", "not_json", "cut_before_acting", "throttle"])
    def test_the_credential_stands_in_no_record_error_or_log(
        self, shop: Shop, market: Market, mishap: str | None, part: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        self.long(market)
        if mishap:
            said = {"message": f"no such key: {' '.join(SECRETS.values())}"}
            key = "error" if market.kind == "crosstrade" else "message"
            market.bad_day(mishap, part=part, **({key: said["message"]} if mishap == "refuse" else {}))

        shop.carried_out(close_of(market, part), seconds=20)

        with shop.ledger.reading() as connection:
            kept = [str(connection.execute(select(table)).all()) for table in tables.metadata.sorted_tables]
        for text in (*kept, caplog.text):
            for secret in market.settings.secrets.values():
                assert secret.reveal() not in text

    def test_the_call_tells_what_it_asks_without_the_credential(self, market: Market) -> None:
        self.long(market)
        call = bare_close(market)

        told = [json.dumps(call.request)]
        market.bad_day("not_json", acts=False)
        try:
            made(call)
        except BrokerError as exc:
            told += [json.dumps(exc.answer), exc.detail, repr(exc)]

        assert len(told) == 4
        for secret in market.settings.secrets.values():
            assert not any(secret.reveal() in text for text in told)

    @parts
    def test_a_definite_no_is_no_unknown(self, market: Market, part: bool) -> None:
        self.long(market)
        call = bare_close(market, part)
        market.bad_day("refuse", part=part)

        with pytest.raises(Refused):
            made(call)

        assert self.left(market) == 10
