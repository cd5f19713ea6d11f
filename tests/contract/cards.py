"""The cards that every venue's adapter passes, against its simulator: what a close does, and what each failure means.

A venue's module subclasses BrokerCards and gives it a `market`; a capability that the venue lacks is said in its
`app.domain.venues` row, and the card then asks that nothing was sent.
"""

import json
import logging
from decimal import Decimal
from typing import Any, Protocol

import pytest

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Report, Side
from workers.brokers.broker import Answered, Broker, Call

TOKEN = "the-credential-0123456789"
LOST = (
    "timeout_408",
    "error_500",
    "error_502",
    "cut_before_acting",
    "cut_after_acting",
    "cut_mid_answer",
    "hang_then_act",
    "not_json",
    "html_page",
    "wrong_shape",
)
"""The bad days after which nobody can tell from the call alone whether it was done."""


class Market(Protocol):
    """A venue of the cards: two accounts, two instruments, and its own truth about them."""

    broker: Broker
    accounts: tuple[str, str]
    instruments: tuple[str, str]
    refusal: str
    """What the venue says when it refuses."""

    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None: ...
    def held(self, account: str, instrument: str) -> int:
        """What is open by the venue's own book, below zero for a short."""
        ...

    def rest(self, account: str, instrument: str) -> None:
        """Put a stop to work for the position that is held; it will not fill by itself."""
        ...

    def resting(self, account: str, instrument: str) -> int: ...
    def bad_day(self, name: str, **options: Any) -> None:
        """The next call that closes goes wrong like this."""
        ...

    def sent(self) -> list[Any]:
        """The bodies of the requests that reached the venue and could act, oldest first."""
        ...

    def refuse_connections(self) -> None: ...


def made(call: Call[Any]) -> Answered[Any]:
    return call.make(lambda seconds: None)


def report_of(call: Call[Report]) -> Report:
    report: Report = made(call).result
    return report


class BrokerCards:
    """Collected through each venue's subclass."""

    def close(self, market: Market, quantity: int | None = None, **changes: Any) -> Call[Report]:
        name, account, instrument = market.broker.name, market.accounts[0], market.instruments[0]
        command = ClosePosition(name, account, instrument, **changes)
        return market.broker.close(command, instrument, None if quantity is None else Decimal(quantity))

    def fill_books(self, market: Market) -> None:
        """Ten long, then five short, in each account."""
        for account in market.accounts:
            for instrument, side, quantity in zip(
                market.instruments, (Side.LONG, Side.SHORT), (10, 5), strict=True
            ):
                market.hold(account, instrument, side, quantity)

    def books(self, market: Market) -> list[list[int]]:
        return [
            [market.held(account, instrument) for instrument in market.instruments]
            for account in market.accounts
        ]

    def test_a_position_is_read_as_the_venue_holds_it(self, market: Market) -> None:
        self.fill_books(market)

        positions = made(market.broker.positions()).result

        seen = {(p.account, p.instrument): (p.side, p.quantity) for p in positions}
        long, short = (Side.LONG, Decimal(10)), (Side.SHORT, Decimal(5))
        assert seen == {
            (account, instrument): held
            for account in market.accounts
            for instrument, held in zip(market.instruments, (long, short), strict=True)
        }

    def test_a_whole_close_closes_all_of_one_position_and_its_orders(self, market: Market) -> None:
        self.fill_books(market)
        for account in market.accounts:
            market.rest(account, market.instruments[0])

        report = report_of(self.close(market))

        assert not report.nothing_open
        assert self.books(market) == [[0, -5], [10, -5]]
        assert [market.resting(account, market.instruments[0]) for account in market.accounts] == [0, 1]

    @pytest.mark.parametrize("side", list(Side))
    def test_a_quantity_is_closed_and_no_more(self, market: Market, side: Side) -> None:
        market.hold(market.accounts[0], market.instruments[0], side, 10)

        report_of(self.close(market, 4))

        assert abs(market.held(market.accounts[0], market.instruments[0])) == 6

    def test_more_than_is_open_never_flips_the_position(self, market: Market) -> None:
        market.hold(market.accounts[0], market.instruments[0], Side.LONG, 3)

        report_of(self.close(market, 4))

        assert market.held(market.accounts[0], market.instruments[0]) == 0

    def test_a_close_of_the_other_side_closes_nothing(self, market: Market) -> None:
        self.fill_books(market)

        report = report_of(self.close(market, side=Side.SHORT))

        assert report.nothing_open
        assert self.books(market) == [[10, -5], [10, -5]]

    @pytest.mark.parametrize(
        ("filters", "left"),
        [
            (("account",), [[0, 0], [10, -5]]),
            (("instrument",), [[0, -5], [0, -5]]),
            (("side",), [[0, -5], [0, -5]]),
            (("account", "instrument"), [[0, -5], [10, -5]]),
            (("account", "side"), [[0, -5], [10, -5]]),
            (("instrument", "side"), [[0, -5], [0, -5]]),
            (("account", "instrument", "side"), [[0, -5], [10, -5]]),
        ],
    )
    def test_a_flatten_closes_what_matches_every_filter(
        self, market: Market, filters: tuple[str, ...], left: list[list[int]]
    ) -> None:
        self.fill_books(market)
        values = {"account": market.accounts[0], "instrument": market.instruments[0], "side": Side.LONG}
        command = FlattenMatching(market.broker.name, **{name: values[name] for name in filters})

        report_of(market.broker.flatten(command))

        assert self.books(market) == left
        assert all(market.sent())

    def test_everything_is_closed_only_by_the_command_of_that_name(self, market: Market) -> None:
        self.fill_books(market)
        for account in market.accounts:
            market.rest(account, market.instruments[0])

        report_of(market.broker.flatten_everything(FlattenEverything(market.broker.name)))

        assert self.books(market) == [[0, 0], [0, 0]]
        assert [market.resting(account, market.instruments[0]) for account in market.accounts] == [0, 0]

    def test_with_nothing_open_it_says_so_and_it_is_no_error(self, market: Market) -> None:
        flatten = FlattenMatching(market.broker.name, account=market.accounts[0])

        assert report_of(self.close(market)).nothing_open
        assert report_of(market.broker.flatten(flatten)).nothing_open
        assert made(market.broker.positions()).result == ()

    def test_a_cancel_reaches_one_instrument_of_one_account(self, market: Market) -> None:
        self.fill_books(market)
        for account in market.accounts:
            for instrument in market.instruments:
                market.rest(account, instrument)

        report_of(market.broker.cancel_orders(market.accounts[0], market.instruments[0]))

        assert [market.resting(a, i) for a in market.accounts for i in market.instruments] == [0, 1, 1, 1]

    def test_a_working_order_is_seen_until_it_is_gone(self, market: Market) -> None:
        account, instrument = market.accounts[0], market.instruments[0]
        market.hold(account, instrument, Side.LONG, 1)
        market.rest(account, instrument)

        (order,) = made(market.broker.working_orders(account)).result
        assert (order.account, order.instrument, order.market) == (account, instrument, False)
        made(market.broker.cancel_orders(account, instrument))
        assert made(market.broker.working_orders(account)).result == ()

    def test_the_fills_of_a_close_are_found(self, market: Market) -> None:
        account, instrument = market.accounts[0], market.instruments[0]
        market.hold(account, instrument, Side.LONG, 10)
        report_of(self.close(market, 4))

        fills = made(market.broker.fills(account, 2.0)).result

        assert {(fill.account, fill.instrument, fill.reduces) for fill in fills} == {
            (account, instrument, Side.LONG)
        }
        assert sum(fill.quantity for fill in fills) == 4

    def test_a_refusal_is_told_in_the_venues_words(self, market: Market) -> None:
        market.hold(market.accounts[0], market.instruments[0], Side.LONG, 10)
        market.bad_day("refuse", error=market.refusal)

        with pytest.raises(Refused) as refused:
            made(self.close(market, 4))

        assert market.refusal in refused.value.detail
        assert market.held(market.accounts[0], market.instruments[0]) == 10

    def test_a_limit_is_told_with_the_wait_that_the_venue_asks_for(self, market: Market) -> None:
        market.bad_day("throttle", retry_after=7)

        with pytest.raises(Throttled) as throttled:
            made(self.close(market))

        assert throttled.value.retry_after == 7

    def test_a_connection_that_does_not_stand_sent_nothing(self, market: Market) -> None:
        market.refuse_connections()

        with pytest.raises(NotSent):
            made(self.close(market))

    @pytest.mark.parametrize("mishap", LOST)
    def test_without_a_definite_answer_the_outcome_is_unknown_and_it_was_sent_once(
        self, market: Market, mishap: str
    ) -> None:
        market.hold(market.accounts[0], market.instruments[0], Side.LONG, 10)
        market.bad_day(mishap)

        with pytest.raises(OutcomeUnknown):
            made(self.close(market, 4))

        assert len(market.sent()) == 1

    def test_a_call_that_is_held_back_sends_nothing(self, market: Market) -> None:
        def hold_back(seconds: float) -> None:
            raise NotSent("the lease ran out")

        with pytest.raises(NotSent):
            self.close(market).make(hold_back)

        assert market.sent() == []

    @pytest.mark.parametrize("mishap", [None, "refuse", "not_json", "cut_before_acting"])
    def test_the_credential_stands_in_no_record_error_or_log(
        self, market: Market, mishap: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        if mishap:
            market.bad_day(mishap, **({"error": f"no such token: {TOKEN}"} if mishap == "refuse" else {}))
        call = self.close(market)
        kept: list[Any] = [call.request]
        try:
            kept.append(made(call).answer)
        except BrokerError as exc:
            kept += [exc.answer, exc.detail, str(exc), repr(exc)]

        assert TOKEN not in json.dumps(kept)
        assert TOKEN not in caplog.text
