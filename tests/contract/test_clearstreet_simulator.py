"""The Clear Street simulator against the vendor's own examples, and each bad day over a real socket."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.simulators.clearstreet import Book, ClearStreetSimulator, Fault, OrderStatus, Timestamps

KEY = "key-id.secret-of-the-test"
OCTOBER_3_2025 = 1_759_500_075.0
"""2025-10-03T14:01:15Z, a Friday before the bell: the moment of the vendor's example of a close."""
MAIN, OTHER = 19816, 19817
AAPL, TSLA, GOOG = (
    "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8",
    "d4d5d6d7-e4e5-f4f5-a4a5-a6a7a8a9aaab",
    "c3c4c5c6-d3d4-e3e4-f3f4-f5f6f7f8f9fa",
)
PUT = "AAPL260320P00180000"
SELL_TEN = {
    "id": "relay-7f3c9a-1",
    "symbol": "AAPL",
    "side": "SELL",
    "quantity": "10",
    "order_type": "MARKET",
    "time_in_force": "DAY",
}
SLOWEST = 5


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = OCTOBER_3_2025

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


class Trader:
    """A customer with a key and the vendor's paths."""

    def __init__(self, venue: ClearStreetSimulator, key: str = KEY) -> None:
        self.venue = venue
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, method: str, path: str, timeout: float = SLOWEST, **more: Any) -> requests.Response:
        url = f"{self.venue.url}/v1{path}"
        return self.session.request(method, url, timeout=timeout, allow_redirects=False, **more)

    def get(self, path: str, account: int = MAIN, **query: Any) -> requests.Response:
        return self.ask("GET", f"/accounts/{account}{path}", params=query)

    def read(self, path: str, account: int = MAIN, **query: Any) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self.get(path, account, **query).json()["data"]
        return data

    def close(
        self, instrument: str, account: int = MAIN, timeout: float = SLOWEST, **body: Any
    ) -> requests.Response:
        path = f"/accounts/{account}/positions/{instrument}"
        return self.ask("DELETE", path, timeout=timeout, json=body or None)

    def submit(self, *orders: dict[str, Any], account: int = MAIN) -> requests.Response:
        return self.ask("POST", f"/accounts/{account}/orders", json=orders)

    def raw(self, method: str, path: str, content: str) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        return self.ask(method, path, data=content, headers=headers)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> Iterator[ClearStreetSimulator]:
    """Long 100 AAPL and short 50 TSLA on the main account, long 25 GOOG on the other."""
    book = Book((MAIN, OTHER), clock=clock)
    book.set_position(MAIN, "AAPL", "long", 100, "145.00", "151.00", "150.50", "2025-10-31")
    book.set_position(MAIN, "TSLA", "short", 50, "180.00", "178.50", "180.00", "2025-10-30")
    book.set_position(OTHER, "GOOG", "long", 25, "168.40", "171.15")
    with ClearStreetSimulator(KEY, book=book) as venue:
        yield venue


@pytest.fixture
def trader(venue: ClearStreetSimulator) -> Iterator[Trader]:
    trader = Trader(venue)
    with trader.session:
        yield trader


def statuses(venue: ClearStreetSimulator, account: int | None = None) -> list[str]:
    return [order.status for order in venue.book.orders(account)]


def error_of(answer: requests.Response) -> tuple[int, int, str]:
    body = answer.json()
    assert set(body) == {"error", "metadata"}
    return answer.status_code, body["error"]["code"], body["error"]["message"]


# The vendor's own examples


def test_the_vendors_example_of_a_close(trader: Trader) -> None:
    answer = trader.close("GOOG", OTHER, cancel_orders=True)

    body = answer.json()
    assert answer.status_code == 200
    assert re.fullmatch(r"[0-9a-f-]{36}", body["metadata"].pop("request_id"))
    assert re.fullmatch(r"[0-9a-f-]{36}", body["data"][0].pop("id"))
    assert body == {
        "data": [
            {
                "account_id": OTHER,
                "average_fill_price": None,
                "client_order_id": "close-position-20251003-001",
                "created_at": "2025-10-03T14:01:15.000000000Z",
                "filled_quantity": "0",
                "instrument_id": GOOG,
                "instrument_type": "COMMON_STOCK",
                "leaves_quantity": "25",
                "limit_price": None,
                "order_type": "MARKET",
                "quantity": "25",
                "side": "SELL",
                "status": "PENDING_NEW",
                "stop_price": None,
                "symbol": "GOOG",
                "time_in_force": "DAY",
                "updated_at": "2025-10-03T14:01:15.000000000Z",
                "venue": "XNMS",
            }
        ],
        "error": None,
        "metadata": {},
    }


def test_the_vendors_example_of_a_body_that_is_no_json(trader: Trader, venue: ClearStreetSimulator) -> None:
    answer = trader.raw("DELETE", f"/accounts/{MAIN}/positions/AAPL", '{\n  "cancel_orders" true\n}')

    message = "Failed to parse the request body as JSON: expected `:` at line 2 column 19"
    assert error_of(answer) == (400, 400, message)
    assert venue.book.position(MAIN, "AAPL") == 100


@pytest.mark.parametrize("path", ["/positions", "/orders", "/executions", "/orders/abc"])
def test_the_vendors_example_of_an_account_that_is_not_ours(trader: Trader, path: str) -> None:
    message = "The caller does not have permission to execute the specified operation"

    assert error_of(trader.get(path, account=4711)) == (403, 403, message)
    assert error_of(trader.close("AAPL", account=4711)) == (403, 403, message)


def test_the_vendors_example_of_positions(trader: Trader) -> None:
    answer = trader.get("/positions", page_size=1000).json()

    # The example's own amounts disagree: AAPL is valued at its closing price, TSLA at neither of the two.
    # Here the value and the profit are at the price that is shown.
    assert answer["data"] == [
        {
            "account_id": MAIN,
            "instrument_id": AAPL,
            "symbol": "AAPL",
            "instrument_type": "COMMON_STOCK",
            "position_type": "LONG",
            "quantity": "100",
            "available_quantity": "100",
            "avg_price": "145.00",
            "cost_basis": "14500.00",
            "market_value": "15100.00",
            "instrument_price": "151.00",
            "closing_price": "150.50",
            "closing_price_date": "2025-10-31",
            "daily_realized_pnl": "0.00",
            "unrealized_pnl": "600.00",
        },
        {
            "account_id": MAIN,
            "instrument_id": TSLA,
            "symbol": "TSLA",
            "instrument_type": "COMMON_STOCK",
            "position_type": "SHORT",
            "quantity": "-50",
            "available_quantity": "50",
            "avg_price": "180.00",
            "cost_basis": "-9000.00",
            "market_value": "-8925.00",
            "instrument_price": "178.50",
            "closing_price": "180.00",
            "closing_price_date": "2025-10-30",
            "daily_realized_pnl": "0.00",
            "unrealized_pnl": "75.00",
        },
    ]


def test_the_vendors_example_of_an_order(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.timestamps = Timestamps.SPACED
    venue.book.set_market_price("TSLA", "50.03")
    venue.book.fill_delay = 5
    order = SELL_TEN | {"id": "my-ref-id-20251001-002", "symbol": "TSLA"}
    [sent] = trader.submit(order).json()["data"]

    clock.pass_seconds(5)
    answer = trader.get(f"/orders/{sent['id']}").json()

    assert answer["error"] is None
    assert answer["data"] == {
        "account_id": MAIN,
        "average_fill_price": "50.03",
        "client_order_id": "my-ref-id-20251001-002",
        "created_at": "2025-10-03 14:01:15+00:00",
        "filled_quantity": "10",
        "id": sent["id"],
        "instrument_id": TSLA,
        "instrument_type": "COMMON_STOCK",
        "leaves_quantity": "0",
        "limit_price": None,
        "order_type": "MARKET",
        "quantity": "10",
        "side": "SELL",
        "status": "FILLED",
        "stop_price": None,
        "symbol": "TSLA",
        "time_in_force": "DAY",
        "updated_at": "2025-10-03 14:01:20+00:00",
        "venue": "XNAS",
    }


def test_the_vendors_example_of_an_order_that_is_not_there(trader: Trader) -> None:
    for answer in (trader.get("/orders/97df"), trader.ask("DELETE", f"/accounts/{MAIN}/orders/97df")):
        assert error_of(answer) == (404, 404, f"Order 97df not found for account {MAIN}")


def test_the_vendors_example_of_a_field_that_is_missing(trader: Trader) -> None:
    content = '[\n  {\n    "symbol": "TSLA",\n    "side": "SELL",\n    "quantity": "10"\n}\n]'

    answer = trader.raw("POST", f"/accounts/{MAIN}/orders", content)

    message = (
        "Failed to deserialize the JSON body into the target type: "
        "[0]: missing field `order_type` at line 6 column 1"
    )
    assert error_of(answer) == (422, 422, message)


def test_the_vendors_example_of_a_cancel_that_matches_nothing(trader: Trader) -> None:
    answer = trader.ask("DELETE", f"/accounts/{MAIN}/orders", params={"instrument_ids": "GOOG"})

    assert error_of(answer) == (404, 404, "No orders match the specified filters")


def test_executions_have_the_documented_fields(trader: Trader) -> None:
    [order] = trader.close("AAPL").json()["data"]

    [execution] = trader.read("/executions")

    assert execution.pop("id") != order["id"]
    assert execution == {
        "order_id": order["id"],
        "instrument_id": AAPL,
        "symbol": "AAPL",
        "side": "SELL",
        "quantity": "100",
        "price": "151.00",
        "transaction_time": "2025-10-03T14:01:15.000000000Z",
    }


# Closing


@pytest.mark.parametrize("name", [AAPL, AAPL.upper(), "AAPL", "aapl"])
def test_an_instrument_is_known_by_uuid_and_ticker(
    trader: Trader, venue: ClearStreetSimulator, name: str
) -> None:
    assert trader.close(name).status_code == 200
    assert venue.book.position(MAIN, "AAPL") == 0
    assert venue.book.position(MAIN, "TSLA") == -50


@pytest.mark.parametrize("name", [PUT, "AAPL%20%20260320P00180000", "AAPL  260320P00180000"])
def test_an_option_is_known_by_its_osi_symbol_padded_or_not(
    trader: Trader, venue: ClearStreetSimulator, name: str
) -> None:
    venue.book.set_position(MAIN, PUT, "long", 2, "6.20", "5.85")

    [order] = trader.close(name).json()["data"]

    assert (order["symbol"], order["instrument_type"], order["side"]) == (PUT, "OPTION", "SELL")
    assert venue.book.position(MAIN, PUT) == 0
    assert venue.book.holding(MAIN, PUT).realized == Decimal("-70.00")


def test_a_ticker_with_a_dot_is_one_segment(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.book.set_position(MAIN, "BRK.B", "long", "12.5")

    [order] = trader.close("BRK.B").json()["data"]

    assert order["quantity"] == "12.5"
    assert venue.book.position(MAIN, "AAPL") == 100


def test_a_short_is_bought_back(trader: Trader, venue: ClearStreetSimulator) -> None:
    [order] = trader.close("TSLA").json()["data"]

    assert (order["side"], order["quantity"]) == ("BUY", "50")
    assert venue.book.position(MAIN, "TSLA") == 0
    assert venue.book.holding(MAIN, "TSLA").realized == Decimal("75.00")
    assert [position["symbol"] for position in trader.read("/positions")] == ["AAPL"]


def test_an_answer_is_no_fill(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.fill_delay = 2
    [order] = trader.close("AAPL").json()["data"]

    working = trader.get(f"/orders/{order['id']}").json()["data"]
    [position, _] = trader.read("/positions")
    clock.pass_seconds(2)

    assert (working["status"], working["leaves_quantity"]) == ("PENDING_NEW", "100")
    assert (position["quantity"], position["available_quantity"]) == ("100", "0")
    assert trader.get(f"/orders/{order['id']}").json()["data"]["status"] == "FILLED"
    assert venue.book.position(MAIN, "AAPL") == 0


def test_an_order_fills_in_parts(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.fill_delay, venue.book.fill_in_parts = 3, 3
    [order] = trader.close("AAPL").json()["data"]

    clock.pass_seconds(1)
    venue.book.advance()
    venue.book.set_market_price("AAPL", "152.00")
    partly = trader.get(f"/orders/{order['id']}").json()["data"]
    clock.pass_seconds(2)
    wholly = trader.get(f"/orders/{order['id']}").json()["data"]

    assert (partly["status"], partly["filled_quantity"], partly["leaves_quantity"]) == (
        "PARTIALLY_FILLED",
        "33",
        "67",
    )
    assert (wholly["status"], wholly["average_fill_price"]) == ("FILLED", "151.67")
    assert [fill["quantity"] for fill in trader.read("/executions")] == ["34", "33", "33"]


@pytest.mark.parametrize("path", ["/positions", "/positions/", "/positions/."])
def test_a_path_that_names_no_instrument_closes_the_account(
    trader: Trader, venue: ClearStreetSimulator, path: str
) -> None:
    answer = trader.ask("DELETE", f"/accounts/{MAIN}{path}")

    assert [order["symbol"] for order in answer.json()["data"]] == ["AAPL", "TSLA"]
    assert venue.book.positions(MAIN) == []
    assert venue.book.position(OTHER, "GOOG") == 25
    assert venue.requests[-1].operation == "close_all"


def test_a_second_close_while_the_first_works_turns_the_position_round(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay = 2
    first, second = trader.close("AAPL"), trader.close("AAPL")

    clock.pass_seconds(2)

    assert [answer.json()["data"][0]["quantity"] for answer in (first, second)] == ["100", "100"]
    assert venue.book.position(MAIN, "AAPL") == -100
    [position, _] = trader.read("/positions")
    assert (position["position_type"], position["quantity"], position["avg_price"]) == (
        "SHORT",
        "-100",
        "151.00",
    )
    assert [fill.quantity for fill in venue.book.executions(MAIN)] == [100, 100]


def test_a_second_close_that_cancels_takes_the_place_of_the_first(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay = 2
    trader.close("AAPL")
    trader.close("AAPL", cancel_orders=True)

    clock.pass_seconds(2)

    assert statuses(venue) == ["CANCELED", "FILLED"]
    assert venue.book.position(MAIN, "AAPL") == 0


def test_a_cancel_that_comes_too_late_turns_the_position_round(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay, venue.book.cancel_delay = 2, 3
    trader.close("AAPL")
    trader.close("AAPL", cancel_orders=True)

    assert statuses(venue) == ["PENDING_CANCEL", "PENDING_NEW"]
    clock.pass_seconds(3)

    assert statuses(venue) == ["FILLED", "FILLED"]
    assert venue.book.position(MAIN, "AAPL") == -100


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("", ["NEW"]),
        ("null", ["NEW"]),
        ("{}", ["NEW"]),
        ('{"cancel_orders": null}', ["NEW"]),
        ('{"cancel_orders": false}', ["NEW"]),
        ('{"cancel_orders": true}', ["CANCELED"]),
    ],
)
def test_a_close_cancels_the_instruments_orders_only_when_told(
    trader: Trader, venue: ClearStreetSimulator, body: str, left: list[str]
) -> None:
    venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140")
    venue.book.work_order(MAIN, "TSLA", "BUY", 50, price="190")

    trader.raw("DELETE", f"/accounts/{MAIN}/positions/AAPL", body)

    assert statuses(venue) == [*left, "NEW", "FILLED"]


def test_a_stop_that_stays_opens_a_short_when_it_is_hit(trader: Trader, venue: ClearStreetSimulator) -> None:
    stop = venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140")
    trader.close("AAPL")

    venue.book.fill_order(stop.order_id)

    assert venue.book.position(MAIN, "AAPL") == -100


@pytest.mark.parametrize("body", ['{"cancel_orders": "true"}', "[]", '"all"', '{"cancel_orders": 1}'])
def test_a_close_refuses_a_body_of_another_shape(
    trader: Trader, venue: ClearStreetSimulator, body: str
) -> None:
    answer = trader.raw("DELETE", f"/accounts/{MAIN}/positions", body)

    assert answer.status_code == 422
    assert venue.book.orders() == []


@pytest.mark.parametrize(("said", "status"), [("empty_list", 200), ("400", 400), ("404", 404)])
def test_what_nothing_open_answers_can_be_chosen(
    trader: Trader, venue: ClearStreetSimulator, said: str, status: int
) -> None:
    venue.book.nothing_open = said

    for answer in (trader.close("GOOG"), trader.ask("DELETE", f"/accounts/{MAIN}/positions/{GOOG}")):
        assert answer.status_code == status
        assert answer.json().get("data") == ([] if status == 200 else None)
    assert not venue.requests[-1].acted


@pytest.mark.parametrize("status", [400, 404])
def test_what_an_unknown_instrument_answers_can_be_chosen(
    trader: Trader, venue: ClearStreetSimulator, status: int
) -> None:
    venue.book.unknown_instrument = str(status)

    assert error_of(trader.close("NOPE")) == (status, status, "Instrument NOPE not found")


def test_a_close_may_meet_an_order_of_our_own(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.book.refuses_self_match = True
    venue.book.work_order(MAIN, "AAPL", "BUY", 10, "LIMIT", price="140")

    refused, taken = trader.close("AAPL"), trader.close("AAPL", cancel_orders=True)

    assert error_of(refused) == (400, 400, "Risk check failed")
    [said, reason] = refused.json()["error"]["details"]
    assert (said["type"], reason["reason"], reason["metadata"]["side"]) == ("SELF_MATCH",) * 2 + ("Sell",)
    assert taken.status_code == 200
    assert venue.book.position(MAIN, "AAPL") == 0


# Outside hours


def test_a_close_outside_hours_is_held_until_the_market_opens(
    trader: Trader, venue: ClearStreetSimulator
) -> None:
    venue.book.market_open = False
    [order] = trader.close("AAPL").json()["data"]

    held = trader.get(f"/orders/{order['id']}").json()["data"]
    venue.book.open_market()
    released = trader.get(f"/orders/{order['id']}").json()["data"]

    for seen in (order, held):
        assert (seen["status"], seen["queue_state"]) == ("PENDING_NEW", "AWAITING_RELEASE")
        assert seen["releases_at"] == "2025-10-03T14:30:00.000000000Z"
    assert (released["status"], released["queue_state"]) == ("FILLED", "RELEASED")
    assert venue.book.position(MAIN, "AAPL") == 0


def test_on_a_friday_evening_the_next_opening_is_on_monday(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    clock.pass_seconds(8 * 3600)
    venue.book.market_open, venue.book.held_status = False, OrderStatus.QUEUED

    [order] = trader.close("AAPL").json()["data"]

    assert (order["status"], order["releases_at"]) == ("QUEUED", "2025-10-06T14:30:00.000000000Z")


def test_a_held_order_that_is_cancelled_is_not_released(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.book.market_open = False
    [order] = trader.close("AAPL").json()["data"]

    trader.ask("DELETE", f"/accounts/{MAIN}/orders/{order['id']}")
    venue.book.open_market()

    assert statuses(venue) == ["CANCELED"]
    assert venue.book.position(MAIN, "AAPL") == 100


# Orders


def test_part_of_a_position_is_closed_by_an_order(trader: Trader, venue: ClearStreetSimulator) -> None:
    [order] = trader.submit(SELL_TEN).json()["data"]

    assert (order["client_order_id"], order["status"], order["leaves_quantity"]) == (
        "relay-7f3c9a-1",
        "PENDING_NEW",
        "10",
    )
    assert venue.book.position(MAIN, "AAPL") == 90
    assert venue.requests[-1].acted


def test_an_oversized_order_turns_the_position_round(trader: Trader, venue: ClearStreetSimulator) -> None:
    trader.submit(SELL_TEN | {"quantity": "130", "position_intent": "CLOSE"})

    held = venue.book.holding(MAIN, "AAPL")
    assert held.quantity == -30
    assert (held.average_price, held.realized) == (Decimal("151.00"), Decimal("600.00"))
    assert [fill.quantity for fill in venue.book.executions()] == [130]


def test_an_order_the_other_way_adds_at_the_average(trader: Trader, venue: ClearStreetSimulator) -> None:
    trader.submit(SELL_TEN | {"side": "BUY", "quantity": "100"})

    held = venue.book.holding(MAIN, "AAPL")
    assert held.quantity == 200
    assert held.average_price == Decimal("148.00")


def test_an_id_that_was_used_before_is_refused(trader: Trader, venue: ClearStreetSimulator) -> None:
    trader.submit(SELL_TEN)

    answer = trader.submit(SELL_TEN)

    message = "An order with id relay-7f3c9a-1 already exists for this account"
    assert error_of(answer) == (409, 409, message)
    assert venue.book.position(MAIN, "AAPL") == 90
    assert trader.submit(SELL_TEN | {"symbol": "GOOG"}, account=OTHER).status_code == 200


def test_an_id_twice_in_one_array_is_refused_as_a_whole(trader: Trader, venue: ClearStreetSimulator) -> None:
    assert trader.submit(SELL_TEN, SELL_TEN).status_code == 409
    assert venue.book.orders() == []


@pytest.mark.parametrize("delay", [0, 2])
def test_an_id_that_was_used_before_may_get_the_same_order(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock, delay: int
) -> None:
    venue.book.duplicate_ids, venue.book.fill_delay = "same_order", delay
    [first] = trader.submit(SELL_TEN).json()["data"]

    [second] = trader.submit(SELL_TEN).json()["data"]
    clock.pass_seconds(2)

    assert second["id"] == first["id"]
    assert venue.book.position(MAIN, "AAPL") == 90
    assert not venue.requests[-1].acted


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"order_type": None}, 422),
        ({"quantity": 10}, 422),
        ({"quantity": "ten"}, 422),
        ({"side": "sell"}, 422),
        ({"side": "SELL_SHORT"}, 422),
        ({"time_in_force": "FOREVER"}, 422),
        ({"position_intent": "REDUCE"}, 422),
        ({"id": 7}, 422),
        ({"quantity": "0"}, 400),
        ({"quantity": "-1"}, 400),
        ({"id": "x" * 65}, 400),
        ({"symbol": "NOPE"}, 400),
        ({"symbol": None}, 400),
        ({"order_type": "LIMIT"}, 400),
        ({"order_type": "STOP"}, 400),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_the_whole_array(
    trader: Trader, venue: ClearStreetSimulator, change: dict[str, Any], status: int
) -> None:
    answer = trader.submit(SELL_TEN, SELL_TEN | {"id": "second"} | change)

    assert error_of(answer)[:2] == (status, status)
    assert venue.book.orders() == []


def test_a_single_order_is_no_array(trader: Trader) -> None:
    answer = trader.raw("POST", f"/accounts/{MAIN}/orders", "{}")

    assert error_of(answer)[0] == 422


def test_a_limit_order_works_until_the_market_comes(trader: Trader, venue: ClearStreetSimulator) -> None:
    limit = SELL_TEN | {"id": "x" * 64, "order_type": "LIMIT", "limit_price": "160.5"}
    [order] = trader.submit(limit).json()["data"]

    [position, _] = trader.read("/positions")
    assert (order["limit_price"], statuses(venue)) == ("160.50", ["NEW"])
    assert position["available_quantity"] == "90"

    venue.book.fill_order(order["id"], 4)
    assert statuses(venue) == ["PARTIALLY_FILLED"]
    assert venue.book.position(MAIN, "AAPL") == 96


def test_an_order_is_found_by_its_clients_id_while_it_is_open(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay = 2
    [order] = trader.submit(SELL_TEN).json()["data"]
    open_one = trader.get("/orders/relay-7f3c9a-1").json()["data"]

    clock.pass_seconds(2)

    assert open_one["id"] == order["id"]
    assert trader.get("/orders/relay-7f3c9a-1").status_code == 404
    [listed] = trader.read("/orders", order_ids="nothing,relay-7f3c9a-1")
    assert listed["status"] == "FILLED"
    assert trader.get(f"/orders/{order['id']}", account=OTHER).status_code == 404


def test_orders_are_filtered(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140", client_order_id="stop")
    clock.pass_seconds(60)
    venue.book.set_position(MAIN, PUT, "long", 1)
    for name in ("TSLA", PUT):
        trader.close(name)

    def found(**query: Any) -> list[str]:
        return [order["symbol"] for order in trader.read("/orders", **query)]

    assert found() == [PUT, "TSLA", "AAPL"]
    assert found(status="FILLED") == [PUT, "TSLA"]
    assert found(status="NEW,PARTIALLY_FILLED") == ["AAPL"]
    assert found(symbol="TSLA") == ["TSLA"]
    assert found(symbol="AAPL  260320P00180000") == [PUT]
    assert found(symbol="NOPE") == []
    assert found(instrument_ids=f"{TSLA},AAPL") == ["TSLA", "AAPL"]
    assert found(instrument_type="OPTION") == [PUT]
    assert found(order_ids="stop") == ["AAPL"]
    assert found(**{"from": "2025-10-03T14:02:15Z"}) == [PUT, "TSLA"]
    assert found(**{"from": "2025-10-03 14:02:15+00:00"}) == [PUT, "TSLA"]
    assert found(to="2025-10-03T14:01:15.000000000Z") == ["AAPL"]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "DONE"},
        {"from": "yesterday"},
        {"page_size": "0"},
        {"page_token": "!"},
        {"client_order_id": "x"},
        {"updated_at[gt]": "2025-10-03"},
    ],
)
def test_a_filter_that_is_not_understood_is_refused(trader: Trader, query: dict[str, Any]) -> None:
    assert trader.get("/orders", **query).status_code == 400


def test_a_cancel_is_pending_and_then_done(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.cancel_delay = 1
    stop = venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140")
    path = f"/accounts/{MAIN}/orders/{stop.order_id}"

    answer = trader.ask("DELETE", path).json()["data"]
    clock.pass_seconds(1)

    assert (answer["id"], answer["status"]) == (stop.order_id, "PENDING_CANCEL")
    again = trader.ask("DELETE", path)
    assert (again.status_code, again.json()["data"]["status"]) == (200, "CANCELED")
    assert again.json()["data"]["leaves_quantity"] == "0"
    assert [request.acted for request in venue.requests] == [True, False]


def test_cancels_are_filtered(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.book.work_order(MAIN, "AAPL", "SELL", 1, price="140")
    venue.book.work_order(MAIN, "AAPL", "BUY", 2, "LIMIT", price="130")
    venue.book.work_order(MAIN, "TSLA", "BUY", 3, price="190")
    venue.book.work_order(OTHER, "GOOG", "SELL", 4, price="150")

    def cancelled(**query: str) -> list[str]:
        answer = trader.ask("DELETE", f"/accounts/{MAIN}/orders", params=query).json()
        assert all(order["status"] == "PENDING_CANCEL" for order in answer["data"])
        return [order["quantity"] for order in answer["data"]]

    assert cancelled(instrument_ids="AAPL", side="SELL") == ["1"]
    assert cancelled(type="LIMIT") == ["2"]
    assert cancelled() == ["3"]
    assert statuses(venue, OTHER) == ["NEW"]


def test_executions_are_filtered_and_come_latest_first(trader: Trader, clock: Clock) -> None:
    [first] = trader.close("AAPL").json()["data"]
    clock.pass_seconds(60)
    trader.close("TSLA")

    def found(**query: Any) -> list[str]:
        return [fill["symbol"] for fill in trader.read("/executions", **query)]

    assert found() == ["TSLA", "AAPL"]
    assert found(order_ids=first["id"]) == ["AAPL"]
    assert found(instrument_ids=TSLA) == ["TSLA"]
    assert found(instrument_ids="AAPL") == ["AAPL"]
    assert found(**{"from": "2025-10-03T14:02:00Z"}) == ["TSLA"]
    assert found(to="2025-10-03T14:02:00Z") == ["AAPL"]


# Lists


def test_a_list_comes_in_pages(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.book.set_position(MAIN, "GOOG", "long", 1)
    first = trader.get("/positions", page_size=2).json()
    token = first["metadata"]["next_page_token"]
    second = trader.get("/positions", page_token=token, page_size=1).json()

    assert [position["symbol"] for position in first["data"]] == ["AAPL", "TSLA"]
    assert [position["symbol"] for position in second["data"]] == ["GOOG"]
    previous = second["metadata"].pop("previous_page_token")
    assert trader.get("/positions", page_token=previous).json()["data"] == first["data"]
    second["metadata"].pop("request_id")
    assert second["metadata"] == {
        "page_number": 2,
        "total_items": 3,
        "total_pages": 2,
        "next_page_token": None,
    }


def test_positions_are_filtered_by_uuid_only(trader: Trader) -> None:
    [position] = trader.read("/positions", instrument_ids=f"{TSLA},{GOOG}")

    assert position["symbol"] == "TSLA"
    assert trader.get("/positions", instrument_ids="TSLA").status_code == 400


def test_the_accounts_and_the_clock(trader: Trader) -> None:
    accounts = trader.ask("GET", "/accounts", params={"page_size": 1}).json()
    clock = trader.ask("GET", "/clock").json()

    assert [account["id"] for account in accounts["data"]] == [MAIN]
    assert accounts["metadata"]["total_items"] == 2
    assert clock["data"] == {"clock": "2025-10-03T14:01:15.000000000Z"}
    [other] = trader.ask("GET", "/accounts", params={"account_id": "19817"}).json()["data"]
    assert other["full_name"] == f"Simulated Account {OTHER}"


# At the door


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}])
def test_nobody_comes_in_without_the_key(venue: ClearStreetSimulator, header: dict[str, str]) -> None:
    url = f"{venue.url}/v1/accounts/{MAIN}/positions"

    answer = requests.delete(url, headers=header, timeout=SLOWEST)

    assert error_of(answer)[:2] == (401, 401)
    assert venue.book.orders() == []


def test_without_a_key_any_bearer_comes_in() -> None:
    with ClearStreetSimulator() as venue:
        url = f"{venue.url}/v1/clock"
        any_key = requests.get(url, headers={"Authorization": "Bearer x"}, timeout=SLOWEST)
        none = requests.get(url, timeout=SLOWEST)

    assert (any_key.status_code, none.status_code) == (200, 401)


def test_a_wrong_path_and_a_wrong_method_are_told(trader: Trader) -> None:
    wrong = trader.get("/balances")
    method = trader.ask("PUT", f"/accounts/{MAIN}/orders")

    assert error_of(wrong)[:2] == (404, 404)
    assert error_of(method)[:2] == (405, 405)
    assert method.headers["Allow"] == "DELETE, GET, POST"
    assert trader.ask("GET", "/accounts/Sim101/positions").status_code == 400


def test_the_rate_limit_asks_to_wait() -> None:
    with ClearStreetSimulator(KEY, rate_limit=True) as venue, Trader(venue).session as session:
        url = f"{venue.url}/v1/clock"
        answers = [session.get(url, timeout=SLOWEST) for _ in range(40)]

    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    throttled = next(answer for answer in answers if answer.status_code == 429)
    assert throttled.headers["Retry-After"] == "1"
    assert error_of(throttled)[1] == 429


def test_every_request_is_in_the_journal_without_its_key(trader: Trader, venue: ClearStreetSimulator) -> None:
    trader.get("/positions", page_size=5)
    trader.close("AAPL", cancel_orders=True)

    read, close = venue.requests
    assert (read.method, read.operation, read.acted) == ("GET", "positions", False)
    assert (close.method, close.operation, close.acted) == ("DELETE", "close", True)
    assert close.path == f"/v1/accounts/{MAIN}/positions/AAPL"
    assert close.body == {"cancel_orders": True}
    assert KEY not in str([request.as_json() for request in venue.requests])


# Bad days: a definite answer


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.REFUSE, 400),
        (Fault.THROTTLE, 429),
        (Fault.TIMEOUT_408, 408),
        (Fault.ERROR_500, 500),
        (Fault.ERROR_502, 502),
        (Fault.REDIRECT, 302),
    ],
)
def test_a_call_that_is_turned_away_does_nothing(
    trader: Trader, venue: ClearStreetSimulator, fault: Fault, status: int
) -> None:
    venue.bad_day(fault, on="close")

    assert trader.close("AAPL").status_code == status
    assert not venue.requests[-1].acted
    assert venue.book.position(MAIN, "AAPL") == 100


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.TIMEOUT_408_AFTER_ACTING, 408),
        (Fault.ERROR_500_AFTER_ACTING, 500),
        (Fault.ERROR_502_AFTER_ACTING, 502),
        (Fault.NOT_JSON, 200),
        (Fault.HTML_PAGE, 200),
        (Fault.WRONG_SHAPE, 200),
    ],
)
def test_a_call_that_is_done_may_answer_otherwise(
    trader: Trader, venue: ClearStreetSimulator, fault: Fault, status: int
) -> None:
    venue.bad_day(fault, on="close")

    answer = trader.close("AAPL")

    assert answer.status_code == status
    assert not answer.text.startswith('{"data"')
    assert venue.requests[-1].acted
    assert venue.book.position(MAIN, "AAPL") == 0


def test_a_refusal_says_what_it_is_told(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day("refuse", on="submit", status=403, message="No", details=["LIQUIDATION_ONLY"])

    answer = trader.submit(SELL_TEN)

    assert error_of(answer) == (403, 403, "No")
    assert answer.json()["error"]["details"] == ["LIQUIDATION_ONLY"]


def test_a_throttled_call_may_say_how_long_to_wait(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.THROTTLE, times=2, retry_after=7)

    assert trader.close("AAPL").headers["Retry-After"] == "7"
    assert trader.get("/orders").status_code == 429
    assert trader.get("/orders").status_code == 200


# Bad days: the line


@pytest.mark.parametrize(
    ("fault", "left"),
    [(Fault.CUT_BEFORE_ACTING, 100), (Fault.CUT_AFTER_ACTING, 0), (Fault.CUT_MID_ANSWER, 0)],
)
def test_a_line_that_is_cut_is_reset(
    trader: Trader, venue: ClearStreetSimulator, fault: Fault, left: int
) -> None:
    venue.bad_day(fault, on="close")

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        trader.close("AAPL")

    assert venue.book.position(MAIN, "AAPL") == left


def test_a_truncated_answer_does_not_parse(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.TRUNCATED_JSON, on="close_all")

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        trader.ask("DELETE", f"/accounts/{MAIN}/positions")
    assert venue.book.positions(MAIN) == []


def test_a_huge_and_a_slow_answer_are_right_in_the_end(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.HUGE_BODY, on="close", mebibytes=1)
    venue.bad_day(Fault.SLOW_DRIP, on="clock", milliseconds=1)

    huge, slow = trader.close("AAPL"), trader.ask("GET", "/clock")

    assert len(huge.content) > 1024 * 1024
    assert huge.json()["data"][0]["symbol"] == "AAPL"
    assert slow.json()["data"] == {"clock": "2025-10-03T14:01:15.000000000Z"}


def test_a_hanging_call_is_done_though_nobody_waits(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.3)

    with pytest.raises(requests.ReadTimeout):
        trader.close("AAPL", timeout=0.1)
    before = venue.book.position(MAIN, "AAPL")
    wait_until(lambda: venue.book.position(MAIN, "AAPL") == 0)

    assert before == 100


def test_a_call_may_be_done_and_never_answered(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.ACT_THEN_HANG, on="submit", seconds=0.1)

    with pytest.raises(requests.ConnectionError):
        trader.submit(SELL_TEN)
    [order] = trader.read("/orders", order_ids="relay-7f3c9a-1")

    assert order["status"] == "FILLED"


def test_a_late_action_comes_after_its_408(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.bad_day(Fault.LATE_ACTION, on="close", seconds=3)

    status, before = trader.close("AAPL").status_code, venue.book.position(MAIN, "AAPL")
    clock.pass_seconds(3)

    assert status == 408
    assert [before, venue.book.position(MAIN, "AAPL")] == [100, 0]
    assert venue.requests[-1].acted


# Bad days: the orders


@pytest.mark.parametrize(
    "status",
    ["REJECTED", "CANCELED", "EXPIRED", "DONE_FOR_DAY", "OTHER", "SUSPENDED", "STOPPED", "CALCULATED"],
)
def test_an_order_may_end_in_any_status(trader: Trader, venue: ClearStreetSimulator, status: str) -> None:
    venue.bad_day(Fault.ENDS_AS, on="close", status=status, filled="30", details=["INVALID_TICK_SIZE"])
    [sent] = trader.close("AAPL").json()["data"]

    order = trader.get(f"/orders/{sent['id']}").json()["data"]

    assert (sent["status"], sent["filled_quantity"]) == ("PENDING_NEW", "0")
    assert (order["status"], order["filled_quantity"], order["details"]) == (
        status,
        "30",
        ["INVALID_TICK_SIZE"],
    )
    assert venue.book.position(MAIN, "AAPL") == 70


def test_an_order_may_stop_half_filled_and_be_cancelled(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.ENDS_AS, on="submit", status="PARTIALLY_FILLED", filled="4")
    [sent] = trader.submit(SELL_TEN).json()["data"]
    half = trader.get(f"/orders/{sent['id']}").json()["data"]

    trader.ask("DELETE", f"/accounts/{MAIN}/orders/{sent['id']}")

    assert (half["status"], half["leaves_quantity"]) == ("PARTIALLY_FILLED", "6")
    order = trader.read("/orders", order_ids=sent["id"])[0]
    assert (order["status"], order["filled_quantity"], order["leaves_quantity"]) == ("CANCELED", "4", "0")


def test_an_order_may_be_ended_by_the_venue(
    trader: Trader, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay = 2
    [sent] = trader.close("AAPL").json()["data"]

    venue.book.end_order(sent["id"], "DONE_FOR_DAY", filled=40, details=["Halted"])
    clock.pass_seconds(2)

    [order] = trader.read("/orders")
    assert (order["status"], order["filled_quantity"], order["details"]) == ("DONE_FOR_DAY", "40", ["Halted"])
    assert venue.book.position(MAIN, "AAPL") == 60


def test_an_ending_may_take_its_time(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.book.market_open = False
    venue.bad_day(Fault.ENDS_AS, on="close_all", status="EXPIRED", seconds=2)
    trader.ask("DELETE", f"/accounts/{MAIN}/positions")

    before = statuses(venue)
    clock.pass_seconds(2)

    assert (before, statuses(venue)) == (["PENDING_NEW"] * 2, ["EXPIRED"] * 2)


@pytest.mark.parametrize(("cancels", "stop"), [(False, "NEW"), (True, "CANCELED")])
def test_an_accepted_close_may_have_no_effect(
    trader: Trader, venue: ClearStreetSimulator, cancels: bool, stop: str
) -> None:
    venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140")
    venue.bad_day(Fault.NO_EFFECT, on="close", cancels_orders=cancels)

    answer = trader.close("AAPL", cancel_orders=True)

    assert answer.status_code == 200
    assert statuses(venue) == [stop, "REJECTED"]
    assert venue.book.orders()[-1].details
    assert venue.book.position(MAIN, "AAPL") == 100


def test_a_close_may_fill_slowly(trader: Trader, venue: ClearStreetSimulator, clock: Clock) -> None:
    venue.bad_day(Fault.SLOW_FILL, on="close", seconds=10, parts=2)
    trader.close("AAPL")

    clock.pass_seconds(5)
    half = venue.book.position(MAIN, "AAPL")
    clock.pass_seconds(5)

    assert [half, venue.book.position(MAIN, "AAPL")] == [50, 0]


def test_faults_of_orders_let_reads_pass(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.NO_EFFECT)
    trader.read("/positions")
    trader.close("AAPL")

    assert statuses(venue) == ["REJECTED"]


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("no_such_fault", {}),
        ("throttle", {"on": "no_such_call"}),
        ("ends_as", {"on": "orders"}),
        ("ends_as", {"sort": "x"}),
        ("ends_as", {"status": "CANCELLED"}),
    ],
)
def test_a_bad_day_that_makes_no_sense_is_refused(
    venue: ClearStreetSimulator, fault: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"there is no|has no option|for calls that send orders|not a valid"):
        venue.bad_day(fault, **options)


def test_bad_days_can_be_called_off(trader: Trader, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.ERROR_500, times=None)
    venue.good_days()

    assert trader.close("AAPL").status_code == 200


# Listening and the control face


def test_connections_are_refused_while_it_does_not_listen(
    trader: Trader, venue: ClearStreetSimulator
) -> None:
    venue.stop_listening()
    with pytest.raises(requests.ConnectionError):
        trader.close("AAPL")
    venue.listen_again()

    assert trader.close("AAPL").status_code == 200
    assert len(venue.requests) == 1


def test_another_process_can_set_and_read_the_book(venue: ClearStreetSimulator) -> None:
    wanted = {
        "positions": [
            {
                "account": MAIN,
                "symbol": "GOOG",
                "side": "short",
                "quantity": "2.5",
                "average_price": 170,
                "market_price": "171.15",
            }
        ],
        "working_orders": [
            {"account": MAIN, "symbol": "GOOG", "side": "BUY", "quantity": 1, "price": "180"},
        ],
        "market_open": False,
        "nothing_open": "404",
        "timestamps": "spaced",
    }
    url = f"{venue.url}/_simulator/book"

    shown = requests.put(url, json=wanted, timeout=SLOWEST).json()
    unknown = requests.put(url, json={"colour": "red"}, timeout=SLOWEST)

    assert shown["positions"] == [
        {
            "account": MAIN,
            "symbol": "GOOG",
            "instrument_id": GOOG,
            "side": "short",
            "quantity": "2.5",
            "available_quantity": "1.5",
            "average_price": "170.00",
            "market_price": "171.15",
            "unrealized_pnl": "-2.875",
        }
    ]
    assert [order["stop_price"] for order in shown["working_orders"]] == ["180.00"]
    assert (venue.book.market_open, venue.book.nothing_open) == (False, "404")
    assert venue.book.timestamps is Timestamps.SPACED
    assert unknown.status_code == 400
    again = requests.put(url, json={"positions": shown["positions"]}, timeout=SLOWEST).json()
    assert again["positions"] == shown["positions"]


def test_another_process_can_ask_for_bad_days_and_see_the_requests(
    trader: Trader, venue: ClearStreetSimulator
) -> None:
    face = f"{venue.url}/_simulator"
    wanted = {"fault": "ends_as", "on": "close", "options": {"status": "EXPIRED"}}
    assert requests.post(f"{face}/faults", json=wanted, timeout=SLOWEST).status_code == 200
    trader.close("AAPL")
    trader.close("TSLA")

    seen = requests.get(f"{face}/requests", timeout=SLOWEST).json()["requests"]

    assert [(request["fault"], request["acted"]) for request in seen] == [("ends_as", True), (None, True)]
    assert statuses(venue) == ["EXPIRED", "FILLED"]


# As a process


def test_as_a_process_it_says_one_line_and_ends_cleanly() -> None:
    command = [sys.executable, "-m", "tests.simulators.clearstreet", "--port", "0", "--moving"]
    environment = os.environ | {"CLEARSTREET_API_KEY": KEY}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        url = next(word for word in ready.split() if word.startswith("http://"))
        book = requests.get(f"{url}/_simulator/book", timeout=SLOWEST).json()
        unauthorized = requests.get(f"{url}/v1/accounts", timeout=SLOWEST).status_code
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=SLOWEST)

    assert ready.startswith("Clear Street simulator ready at http://127.0.0.1:")
    assert (process.returncode, rest, errors) == (0, "", "")
    assert unauthorized == 401
    assert [(p["account"], p["symbol"], p["side"], p["quantity"]) for p in book["positions"]] == [
        (MAIN, "AAPL", "long", "100"),
        (MAIN, "TSLA", "short", "50"),
        (MAIN, PUT, "long", "2"),
        (OTHER, "GOOG", "long", "25"),
        (OTHER, "BRK.B", "long", "12.5"),
    ]
    assert [order["symbol"] for order in book["working_orders"]] == ["AAPL"]


def wait_until(happened: Any, seconds: float = SLOWEST) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
