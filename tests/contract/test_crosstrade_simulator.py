"""The CrossTrade simulator against the vendor's own examples, and each bad day over a real socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
import requests
import websocket

from tests.simulators.crosstrade import Book, CrossTradeSimulator, Fault, OrderState

TOKEN = "secret-of-the-test"
NOVEMBER_2026 = 1_795_200_000.0
MES, ES = "MES 12-26", "ES 12-26"
SLOWEST = 5


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = NOVEMBER_2026

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


class Trader:
    """A customer with a token and the vendor's paths."""

    def __init__(self, venue: CrossTradeSimulator, token: str = TOKEN) -> None:
        self.venue = venue
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, timeout: float = SLOWEST, **query: Any) -> requests.Response:
        return self.session.get(f"{self.venue.url}/v1/api{path}", params=query, timeout=timeout)

    def post(self, path: str, body: Any = None, timeout: float = SLOWEST) -> requests.Response:
        url = f"{self.venue.url}/v1/api{path}"
        return self.session.post(url, json=body, timeout=timeout, allow_redirects=False)

    def close(
        self, instrument: str, account: str = "Sim101", timeout: float = SLOWEST, **size: Any
    ) -> requests.Response:
        body = {"instrument": instrument, **size}
        return self.post(f"/accounts/{account}/positions/close", body, timeout=timeout)

    def flatten(self, **filters: Any) -> requests.Response:
        return self.post("/positions/flatten", filters)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> Iterator[CrossTradeSimulator]:
    """Long 10 MES with a stop on Sim101, long 2 ES on Sim102."""
    book = Book(("Sim101", "Sim102"), clock=clock)
    book.set_position("Sim101", MES, "long", 10, 5779.8125, 5797.0)
    book.work_order("Sim101", MES, 10, 5760.0)
    book.set_position("Sim102", ES, "long", 2, 5780.125, 5797.0)
    with CrossTradeSimulator(TOKEN, book=book) as venue:
        yield venue


@pytest.fixture
def trader(venue: CrossTradeSimulator) -> Iterator[Trader]:
    trader = Trader(venue)
    with trader.session:
        yield trader


def working(venue: CrossTradeSimulator, account: str | None = None) -> list[str]:
    return [order.instrument for order in venue.book.orders(account, active_only=True)]


def last_order_state(venue: CrossTradeSimulator) -> OrderState:
    return venue.book.orders()[-1].state


# The vendor's own examples


def test_the_vendors_example_of_a_close(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_position("Sim101", "ES 12-25", "long", 4, 5779.8125, 5797.0)

    answer = trader.close("ES 12-25", quantity=4)

    assert answer.status_code == 200
    assert answer.json() == {
        "closedPositions": [
            {
                "type": "NinjaTrader.Cbi.Position",
                "account": "Sim101",
                "instrument": "ES 12-25",
                "instrumentType": "Future",
                "marketPosition": "Long",
                "quantity": 4,
                "averagePrice": 5779.8125,
                "marketPrice": 5797.0,
                "unrealizedProfitLoss": 3437.5,
            }
        ],
        "success": True,
    }


def test_the_vendors_example_of_a_close_with_nothing_open(trader: Trader) -> None:
    answer = trader.close("ES 12-24")

    assert answer.status_code == 400
    assert answer.json() == {"error": "No positions found for instrument 'ES 12-24'"}


def test_the_vendors_example_of_a_filtered_flatten(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_position("Sim101", "ES 12-25", "short", 2, 5780.125, 5774.0)

    answer = trader.flatten(account="Sim101", instrument="ES 12-25", marketPosition="short").json()

    assert answer["success"] is True
    assert [len(order_id) for order_id in answer["orderIds"]] == [32]
    assert answer["closedPositions"] == [
        {
            "type": "NinjaTrader.Cbi.Position",
            "account": "Sim101",
            "instrument": "ES 12-25",
            "instrumentType": "Future",
            "marketPosition": "Short",
            "quantity": 2,
            "averagePrice": 5780.125,
            "marketPrice": 5774.0,
            "unrealizedProfitLoss": 612.5,
        }
    ]


def test_the_vendors_example_of_an_account_flatten_has_no_order_ids(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.set_position("Sim101", MES, "short", 1, 5803.25, 5802.0)

    answer = trader.post("/accounts/Sim101/positions/flatten", {}).json()

    assert set(answer) == {"closedPositions", "success"}
    assert answer["closedPositions"][0]["unrealizedProfitLoss"] == 6.25


def test_the_vendors_example_of_a_position(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_position("Sim101", "ES 12-25", "long", 4, 5779.8125, 5797.0)

    answer = trader.get("/accounts/Sim101/position", instrument="ES 12-25")

    assert answer.json() == {
        "type": "NinjaTrader.Cbi.Position",
        "account": "Sim101",
        "instrument": "ES 12-25",
        "instrumentType": "Future",
        "marketPosition": "Long",
        "quantity": 4,
        "averagePrice": 5779.8125,
        "marketPrice": 5797.0,
        "unrealizedProfitLoss": 3437.5,
        "success": True,
    }


def test_the_vendors_example_of_all_positions(trader: Trader, venue: CrossTradeSimulator) -> None:
    venue.book.clear_positions()
    venue.book.set_position("Sim101", "MES 03-26", "long", 7, 6615.178571428572, 6614.25)
    venue.book.set_position("Sim101", "NQ 06-26", "short", 1, 24605.25, 24606.25)

    answer = trader.get("/positions", includeFlat="false").json()

    assert answer["count"] == 2
    assert [p["unrealizedProfitLoss"] for p in answer["positions"]] == pytest.approx([-32.5, -20.0])
    assert [p["tag"] for p in answer["positions"]] == [None, None]


def test_the_vendors_example_of_an_execution(trader: Trader) -> None:
    trader.close(MES)

    [execution] = trader.get("/accounts/Sim101/executions").json()["executions"]

    assert execution.pop("id") != execution["orderId"]
    assert execution.pop("orderId") == trader.get("/accounts/Sim101/orders").json()["orders"][-1]["orderId"]
    assert execution == {
        "type": "NinjaTrader.Cbi.Execution",
        "time": "2026-11-20T11:40:00.0000000",
        "epoch": 1_795_200_000_000,
        "name": "Exit",
        "account": "Sim101",
        "serverName": "SIMULATOR",
        "instrument": MES,
        "instrumentType": "Future",
        "position": 0,
        "marketPosition": "Short",
        "positionStrategy": 0,
        "price": 5797.0,
        "quantity": 10,
    }


def test_the_vendors_example_of_an_order(trader: Trader) -> None:
    [order_id, _] = trader.flatten(account="Sim101").json()["orderIds"]

    order = trader.get(f"/accounts/Sim101/orders/{order_id}").json()

    assert (
        order.items()
        >= {
            "account": "Sim101",
            "orderId": order_id,
            "instrument": MES,
            "instrumentType": "Future",
            "orderType": "Market",
            "orderState": "Filled",
            "quantity": 10,
            "filled": 10,
            "averageFillPrice": 5797.0,
            "success": True,
        }.items()
    )
    status = trader.get(f"/accounts/Sim101/orders/{order_id}/status").json()
    assert status == {"status": "Filled", "success": True}


# Names


@pytest.mark.parametrize("spelled", ["MES 12-26", "mes 12-26", "MES", "MES1!", "MESZ6", "MESZ26", "MESZ2026"])
def test_an_instrument_is_known_by_all_its_names(trader: Trader, spelled: str) -> None:
    answer = trader.get("/accounts/Sim101/position", instrument=spelled).json()

    assert (answer["instrument"], answer["quantity"]) == (MES, 10)


def test_the_front_month_rolls_after_the_third_friday(clock: Clock, venue: CrossTradeSimulator) -> None:
    clock.pass_seconds(30 * 86400)

    assert venue.book.position("Sim101", "MES").instrument == "MES 03-27"


def test_an_account_is_known_in_any_case_and_answers_in_its_own(trader: Trader) -> None:
    answer = trader.get("/accounts/sIM101/positions").json()

    assert [position["account"] for position in answer["positions"]] == ["Sim101"]


def test_an_account_with_spaces_is_quoted_in_the_path(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_position("Apex 7!/2", MES, "long", 3)

    assert trader.close(MES, account="Apex%207%21%2F2").status_code == 200
    assert venue.book.quantity("Apex 7!/2", MES) == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/accounts/Sim999"),
        ("GET", "/accounts/Sim999/positions"),
        ("GET", "/accounts/Sim999/position?instrument=ES"),
        ("GET", "/accounts/Sim999/orders"),
        ("GET", "/accounts/Sim999/executions"),
        ("POST", "/accounts/Sim999/positions/close"),
        ("POST", "/accounts/Sim999/positions/flatten"),
        ("POST", "/accounts/Sim999/orders/cancel"),
    ],
)
def test_an_unknown_account_is_refused_by_name(trader: Trader, method: str, path: str) -> None:
    answer = trader.get(path) if method == "GET" else trader.post(path, {"instrument": MES})

    assert answer.status_code == 400
    assert answer.json() == {
        "success": False,
        "error": "invalid_account",
        "detail": "Account Sim999 not found",
    }


# Closing


def test_a_whole_close_cancels_the_instruments_working_orders(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.work_order("Sim102", ES, 2, 5700.0)

    trader.close(MES)

    assert venue.book.quantity("Sim101", MES) == 0
    assert working(venue) == [ES]


@pytest.mark.parametrize(
    ("size", "left"),
    [
        ({"quantity": 4}, 6),
        ({"percent": 0.25}, 7),
        ({"percent": 0.01}, 9),
        ({"percent": 0.7}, 3),
        ({"quantity": 1, "percent": 1.0}, 9),
        ({"quantity": 1, "percent": "all"}, 9),
        ({"quantity": 9, "percent": None}, 1),
    ],
)
def test_a_partial_close_takes_its_size_and_leaves_the_stops(
    venue: CrossTradeSimulator, trader: Trader, size: dict[str, Any], left: int
) -> None:
    answer = trader.close(MES, **size)

    assert venue.book.quantity("Sim101", MES) == left
    assert working(venue) == [MES]
    assert answer.json()["closedPositions"][0]["quantity"] == 10


@pytest.mark.parametrize("size", [{"quantity": 10}, {"quantity": 99}, {"percent": 1}, {"percent": 0.91}])
def test_a_size_that_reaches_what_is_open_is_a_whole_close(
    venue: CrossTradeSimulator, trader: Trader, size: dict[str, Any]
) -> None:
    trader.close(MES, **size)

    assert venue.book.quantity("Sim101", MES) == 0
    assert working(venue) == []


def test_a_tenth_of_one_contract_is_one_contract(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_position("Sim101", ES, "short", 1)

    trader.close(ES, percent=0.1)

    assert venue.book.quantity("Sim101", ES) == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instrument": " "},
        {"instrument": 7},
        {"instrument": MES, "quantity": 0},
        {"instrument": MES, "quantity": -1},
        {"instrument": MES, "quantity": 1.5},
        {"instrument": MES, "quantity": "4"},
        {"instrument": MES, "quantity": True},
        {"instrument": MES, "percent": 0},
        {"instrument": MES, "percent": 25},
        {"instrument": MES, "percent": "0.25"},
        [MES],
        "MES",
    ],
)
def test_a_malformed_close_is_an_invalid_request(
    venue: CrossTradeSimulator, trader: Trader, body: object
) -> None:
    answer = trader.post("/accounts/Sim101/positions/close", body)

    assert answer.status_code == 400
    assert answer.json() == {"error": "Invalid request"}
    assert venue.book.quantity("Sim101", MES) == 10


def test_a_body_that_is_not_json_is_an_invalid_request(venue: CrossTradeSimulator, trader: Trader) -> None:
    url = f"{venue.url}/v1/api/positions/flatten"

    answer = trader.session.post(url, data="account=Sim101", timeout=SLOWEST)

    assert answer.json() == {"error": "Invalid request"}
    assert len(venue.book.positions()) == 2


def test_a_body_without_a_length_is_never_an_empty_one(venue: CrossTradeSimulator, trader: Trader) -> None:
    url = f"{venue.url}/v1/api/positions/flatten"

    answer = trader.session.post(url, data=iter([b"{}"]), timeout=SLOWEST)

    assert answer.status_code == 411
    assert len(venue.book.positions()) == 2


def test_two_partial_closes_both_apply_and_stop_at_flat(venue: CrossTradeSimulator, trader: Trader) -> None:
    first, second, third = (trader.close(MES, quantity=4) for _ in range(3))

    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 200]
    assert third.json()["closedPositions"][0]["quantity"] == 2
    assert trader.close(MES, quantity=4).status_code == 400


def test_closes_at_the_same_moment_all_apply_and_never_go_below_flat(venue: CrossTradeSimulator) -> None:
    venue.book.set_position("Sim101", MES, "long", 30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Trader(venue).close(MES, quantity=4).status_code, range(16)))

    assert sorted(answers) == [200] * 8 + [400] * 8
    assert venue.book.quantity("Sim101", MES) == 0
    assert sum(fill.quantity for fill in venue.book.executions()) == 30


# Flattening


def test_a_flatten_without_filters_closes_and_cancels_everything(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.work_order("Sim102", "NQ 12-26", 1, 20000.0, "Limit")

    answer = trader.flatten().json()

    assert venue.book.positions() == []
    assert working(venue) == []
    assert len(answer["closedPositions"]) == 2
    assert len(answer["orderIds"]) == 4


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"account": "sim101"}, ["Sim102 ES 12-26"]),
        ({"instrument": "ESZ6"}, ["Sim101 MES 12-26", "Sim101 MNQ 12-26"]),
        ({"marketPosition": "short"}, ["Sim101 MES 12-26", "Sim102 ES 12-26"]),
        ({"account": "Sim101", "marketPosition": "long"}, ["Sim102 ES 12-26", "Sim101 MNQ 12-26"]),
        (
            {"account": "Sim102", "instrument": MES},
            ["Sim101 MES 12-26", "Sim102 ES 12-26", "Sim101 MNQ 12-26"],
        ),
        ({"accounts": "Sim102"}, []),
        ({"account": None, "instrument": ""}, []),
    ],
)
def test_a_flatten_closes_what_matches_all_its_filters(
    venue: CrossTradeSimulator, trader: Trader, filters: dict[str, Any], left: list[str]
) -> None:
    venue.book.set_position("Sim101", "MNQ 12-26", "short", 4, 20605.25)

    trader.flatten(**filters)

    assert [f"{p.account} {p.instrument}" for p in venue.book.positions()] == left


def test_a_flatten_of_one_side_leaves_the_other_sides_stops(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.set_position("Sim101", "MNQ 12-26", "short", 4, 20605.25)
    venue.book.work_order("Sim101", "MNQ 12-26", 4, 20700.0)

    trader.flatten(account="Sim101", marketPosition="short")

    assert working(venue) == [MES]


@pytest.mark.parametrize("body", [{"marketPosition": "Short"}, {"marketPosition": "flat"}, {"account": 101}])
def test_a_malformed_filter_is_an_invalid_request(
    venue: CrossTradeSimulator, trader: Trader, body: dict[str, Any]
) -> None:
    answer = trader.flatten(**body)

    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid request"})
    assert len(venue.book.positions()) == 2


@pytest.mark.parametrize("path", ["/positions/flatten", "/accounts/Sim101/positions/flatten"])
def test_a_flatten_with_nothing_open_warns(trader: Trader, path: str) -> None:
    trader.flatten()

    answer = trader.post(path, {})

    assert answer.status_code == 200
    assert answer.json()["closedPositions"] == []
    assert answer.json()["success"] is True
    assert answer.json()["warning"]


def test_an_account_flatten_keeps_to_its_account_and_instrument(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.set_position("Sim101", ES, "long", 1)

    trader.post("/accounts/Sim101/positions/flatten", {"instrument": ES})

    assert [(p.account, p.instrument) for p in venue.book.positions()] == [("Sim101", MES), ("Sim102", ES)]
    assert working(venue) == [MES]


# Reading


def test_a_flat_instrument_reads_flat(trader: Trader) -> None:
    trader.close(MES)

    answer = trader.get("/accounts/Sim101/position", instrument=MES).json()

    assert (answer["marketPosition"], answer["quantity"], answer["unrealizedProfitLoss"]) == ("Flat", 0, 0.0)


def test_a_venue_may_refuse_to_read_a_flat_instrument(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.refuses_flat_reads = True

    assert trader.get("/accounts/Sim101/position", instrument=ES).status_code == 400
    assert trader.get("/accounts/Sim101/position", instrument=MES).status_code == 200


def test_a_position_without_an_instrument_is_an_invalid_request(trader: Trader) -> None:
    answer = trader.get("/accounts/Sim101/position")

    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid request"})


def test_flat_positions_are_listed_only_when_asked_for(trader: Trader) -> None:
    trader.close(MES)

    assert [p["instrument"] for p in trader.get("/positions").json()["positions"]] == [ES]
    everything = trader.get("/positions", includeFlat="true").json()["positions"]
    assert [p["marketPosition"] for p in everything] == ["Flat", "Long"]


def test_the_profit_follows_the_market(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.set_market_price(ES, 5779.125)

    [position] = trader.get("/accounts/Sim102/positions").json()["positions"]

    assert position["unrealizedProfitLoss"] == -100.0


def test_an_entry_opens_a_position_or_adds_to_it_and_is_on_record(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.set_market_price("NQ 12-26", 21000.0)
    venue.book.enter("Sim101", "NQ 12-26", "short", 1)
    venue.book.set_market_price("NQ 12-26", 21030.0)
    venue.book.enter("Sim101", "NQ 12-26", "short", 2)

    held = venue.book.position("Sim101", "NQ 12-26")
    assert (held.market_position, held.quantity, held.average_price) == ("Short", 3, 21020.0)
    fills = trader.get("/accounts/Sim101/executions").json()["executions"]
    assert {(it["name"], it["marketPosition"], it["quantity"], it["position"]) for it in fills} == {
        ("Entry", "Short", 1, -1),
        ("Entry", "Short", 2, -3),
    }
    with pytest.raises(ValueError, match="smaller"):
        venue.book.enter("Sim101", "NQ 12-26", "long", 1)


@pytest.mark.parametrize(
    ("ago", "query", "seen"),
    [
        (319, {}, 1),
        (321, {}, 0),
        (321, {"lookbackTime": 400}, 1),
        (899, {"lookbackTime": 900}, 1),
        (901, {"lookbackTime": 5000}, 0),
    ],
)
def test_executions_are_seen_for_as_long_as_the_lookback(
    clock: Clock, trader: Trader, ago: int, query: dict[str, Any], seen: int
) -> None:
    trader.close(MES)
    clock.pass_seconds(ago)

    assert len(trader.get("/accounts/Sim101/executions", **query).json()["executions"]) == seen


def test_one_execution_can_be_read(trader: Trader) -> None:
    trader.close(MES, quantity=4)
    [listed] = trader.get("/accounts/Sim101/executions").json()["executions"]

    one = trader.get(f"/accounts/Sim101/executions/{listed['id']}").json()

    assert one == listed | {"success": True}
    assert one["position"] == 6


def test_the_order_list_can_be_limited_to_active_ones(trader: Trader) -> None:
    trader.close(MES, quantity=4)

    orders = trader.get("/accounts/Sim101/orders").json()["orders"]
    active = trader.get("/accounts/Sim101/orders", activeOnly="true").json()["orders"]

    assert [order["orderType"] for order in orders] == ["StopMarket", "Market"]
    assert [(order["orderState"], order["stopPrice"]) for order in active] == [("Working", 5760.0)]


def test_accounts_say_whether_they_are_flat(trader: Trader) -> None:
    trader.close(MES)

    accounts = trader.get("/accounts").json()["accounts"]

    assert [(a["name"], a["isAccountFlat"]) for a in accounts] == [("Sim101", True), ("Sim102", False)]
    assert trader.get("/accounts/sim102").json()["name"] == "Sim102"


# Cancelling


def test_cancelling_keeps_to_the_account_and_the_instrument(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.work_order("Sim101", ES, 1, 5800.0, "Limit")
    venue.book.work_order("Sim102", ES, 2, 5700.0)

    answer = trader.post("/accounts/sim101/orders/cancel", {"instrument": "MES"}).json()
    assert (len(answer["orderIds"]), answer["success"]) == (1, True)
    assert working(venue) == [ES, ES]

    trader.post("/accounts/Sim101/orders/cancel", {})
    assert working(venue, "Sim101") == []
    assert working(venue) == [ES]

    trader.post("/orders/cancelall")
    assert working(venue) == []
    assert venue.book.quantity("Sim101", MES) == 10


def test_one_order_is_cancelled_once(venue: CrossTradeSimulator, trader: Trader) -> None:
    [order] = venue.book.orders("Sim101")

    first = trader.post(f"/accounts/Sim101/orders/{order.order_id}/cancel", {})
    second = trader.post(f"/accounts/Sim101/orders/{order.order_id}/cancel", {})

    assert first.json() == {"orderId": order.order_id, "success": True}
    assert second.status_code == 400
    assert second.json() == {"error": f"Order linked to '{order.order_id}' not found or already terminal."}


# Fills that take time


def test_an_order_works_until_it_fills(clock: Clock, venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.fill_delay = 2.0

    answer = trader.close(MES, quantity=4)

    assert answer.json()["success"] is True
    assert venue.book.quantity("Sim101", MES) == 10
    assert last_order_state(venue) is OrderState.WORKING
    clock.pass_seconds(2)
    assert venue.book.quantity("Sim101", MES) == 6
    assert last_order_state(venue) is OrderState.FILLED


def test_an_order_fills_in_parts(clock: Clock, venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.book.fill_delay, venue.book.fill_in_parts = 3.0, 3

    trader.close(MES)
    clock.pass_seconds(1)

    assert venue.book.quantity("Sim101", MES) == 6
    assert last_order_state(venue) is OrderState.PART_FILLED
    clock.pass_seconds(2)
    assert [fill.quantity for fill in venue.book.executions()] == [4, 3, 3]
    assert [fill.at - NOVEMBER_2026 for fill in venue.book.executions()] == [1.0, 2.0, 3.0]


def test_a_whole_close_takes_the_place_of_one_that_still_works(
    clock: Clock, venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.fill_delay = 2.0

    trader.close(MES, quantity=4)
    trader.close(MES)
    clock.pass_seconds(2)

    assert [fill.quantity for fill in venue.book.executions()] == [10]


def test_partial_closes_that_work_together_never_turn_the_position(
    clock: Clock, venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.book.fill_delay = 2.0

    for _ in range(3):
        trader.close(MES, quantity=4)
    clock.pass_seconds(2)

    assert [fill.quantity for fill in venue.book.executions()] == [4, 4, 2]
    assert last_order_state(venue) is OrderState.CANCELLED


def test_a_stop_that_is_hit_fills(venue: CrossTradeSimulator) -> None:
    [stop] = venue.book.orders("Sim101")

    venue.book.fill_order(stop.order_id)

    assert venue.book.quantity("Sim101", MES) == 0
    assert venue.book.executions()[0].name == "Stop"


# At the door


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_nobody_comes_in_without_the_token(venue: CrossTradeSimulator, header: dict[str, str]) -> None:
    answer = requests.post(f"{venue.url}/v1/api/positions/flatten", json={}, headers=header, timeout=SLOWEST)

    assert answer.status_code == 401
    assert answer.json()["success"] is False
    assert len(venue.book.positions()) == 2


def test_a_wrong_path_gets_a_suggestion(trader: Trader) -> None:
    answer = trader.post("/accounts/Sim101/position/close", {})

    assert answer.status_code == 404
    assert answer.json()["did_you_mean"][0] == "/v1/api/accounts/{account}/positions/close"


def test_a_wrong_method_is_named(trader: Trader) -> None:
    answer = trader.get("/accounts/Sim101/positions/close")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_the_catalogue_names_the_endpoints(trader: Trader) -> None:
    endpoints = trader.get("/_endpoints").json()["endpoints"]

    close = {
        "name": "ClosePosition",
        "method": "POST",
        "path": "/v1/api/accounts/{account}/positions/close",
    }
    assert close in endpoints


def test_the_rate_limit_lets_twenty_through_at_once() -> None:
    with CrossTradeSimulator(TOKEN, rate_limit=True) as venue, Trader(venue).session as session:
        answers = [session.get(f"{venue.url}/v1/api/positions", timeout=SLOWEST) for _ in range(24)]

    throttled = answers[-1]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    assert throttled.status_code == 429
    assert throttled.json() == {"error": "Rate limit exceeded"}
    assert throttled.headers["Retry-After"] == "1"


def test_every_request_is_in_the_journal_without_its_token(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    trader.get("/accounts/Sim101/position", instrument="MES 12-26")
    trader.close(MES, quantity=4)
    trader.close(ES)

    read, close, refused = venue.requests

    assert (read.method, read.path) == ("GET", "/v1/api/accounts/Sim101/position?instrument=MES+12-26")
    assert (read.operation, read.acted, read.body) == ("position", False, None)
    assert (close.operation, close.acted, close.status) == ("close", True, 200)
    assert close.body == {"instrument": MES, "quantity": 4}
    assert (refused.acted, refused.status) == (False, 400)
    assert close.headers["Content-Type"] == "application/json"
    assert TOKEN not in repr(venue.requests)


# Bad days: a definite answer, nothing done


@pytest.mark.parametrize(
    ("fault", "options", "status", "text"),
    [
        (Fault.REFUSE, {"error": "Market is closed"}, 400, '"Market is closed"'),
        (Fault.INVALID_ACCOUNT, {}, 400, "Account Sim101 not found"),
        (Fault.THROTTLE, {}, 429, "Rate limit exceeded"),
        (Fault.TIMEOUT_408, {}, 408, '"success": false'),
        (Fault.ERROR_500, {}, 500, "<html>"),
        (Fault.ERROR_502, {}, 502, "<html>"),
        (Fault.SUCCESS_FALSE, {}, 200, '"success": false'),
        (Fault.REDIRECT, {}, 302, ""),
    ],
)
def test_a_call_that_is_turned_away_does_nothing(
    venue: CrossTradeSimulator, trader: Trader, fault: Fault, options: dict[str, Any], status: int, text: str
) -> None:
    venue.bad_day(fault, on="close", **options)

    answer = trader.close(MES, quantity=4)

    assert answer.status_code == status
    assert text in answer.text
    assert venue.book.quantity("Sim101", MES) == 10
    assert (venue.requests[-1].fault, venue.requests[-1].acted) == (fault, False)


def test_a_throttled_call_may_say_how_long_to_wait(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.THROTTLE, on="close", retry_after=7)
    venue.bad_day(Fault.THROTTLE, on="close")

    assert trader.close(MES).headers["Retry-After"] == "7"
    assert "Retry-After" not in trader.close(MES).headers


def test_who_follows_the_redirect_is_told_of_a_success(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.REDIRECT, on="close")
    url = f"{venue.url}/v1/api/accounts/Sim101/positions/close"

    answer = trader.session.post(url, json={"instrument": MES}, timeout=SLOWEST)

    assert answer.json()["success"] is True
    assert [request.method for request in venue.requests] == ["POST", "GET"]
    assert venue.book.quantity("Sim101", MES) == 10


# Bad days: done, but the answer does not say so


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (Fault.TIMEOUT_408_AFTER_ACTING, 408, '"success": false'),
        (Fault.ERROR_500_AFTER_ACTING, 500, "<html>"),
        (Fault.ERROR_502_AFTER_ACTING, 502, "<html>"),
        (Fault.NOT_JSON, 200, "OK"),
        (Fault.HTML_PAGE, 200, "<html>"),
        (Fault.WRONG_SHAPE, 200, '"result"'),
    ],
)
def test_a_call_that_is_done_may_answer_otherwise(
    venue: CrossTradeSimulator, trader: Trader, fault: Fault, status: int, text: str
) -> None:
    venue.bad_day(fault, on="close")

    answer = trader.close(MES, quantity=4)

    assert (answer.status_code, text in answer.text) == (status, True)
    assert venue.book.quantity("Sim101", MES) == 6
    assert venue.requests[-1].acted


@pytest.mark.parametrize("fault", [Fault.NOT_JSON, Fault.HTML_PAGE, Fault.WRONG_SHAPE, Fault.HUGE_BODY])
def test_an_odd_answer_may_also_come_without_acting(
    venue: CrossTradeSimulator, trader: Trader, fault: Fault
) -> None:
    venue.bad_day(fault, on="close", acts=False)

    assert trader.close(MES).status_code == 200
    assert venue.book.quantity("Sim101", MES) == 10


def test_the_length_of_a_truncated_answer_is_that_of_the_whole(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.bad_day(Fault.TRUNCATED_JSON, on="close")

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        trader.close(MES, quantity=4)

    assert venue.book.quantity("Sim101", MES) == 6


def test_a_huge_answer_is_as_long_as_it_was_asked_to_be(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.HUGE_BODY, on="close", mebibytes=3)

    answer = trader.close(MES, quantity=4)

    assert len(answer.content) > 3 * 1024 * 1024
    assert answer.json()["success"] is True


def test_a_dripping_answer_outlasts_a_read_timeout(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.SLOW_DRIP, on="close", milliseconds=1)
    started = time.monotonic()

    answer = trader.close(MES, quantity=4, timeout=0.25)

    assert answer.json()["success"] is True
    assert time.monotonic() - started > 0.3


# Bad days: the line


def test_a_line_cut_before_acting_is_reset_and_nothing_is_done(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")

    with pytest.raises(requests.exceptions.ConnectionError, match="ConnectionResetError"):
        trader.close(MES, quantity=4)

    assert venue.book.quantity("Sim101", MES) == 10
    assert (venue.requests[-1].status, venue.requests[-1].acted) == (None, False)


def test_a_line_cut_after_acting_is_reset_before_the_first_byte(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.bad_day(Fault.CUT_AFTER_ACTING, on="close")

    with pytest.raises(requests.exceptions.ConnectionError, match="ConnectionResetError"):
        trader.close(MES, quantity=4)

    assert venue.book.quantity("Sim101", MES) == 6
    assert (venue.requests[-1].status, venue.requests[-1].acted) == (None, True)


def test_a_line_cut_in_the_middle_of_the_answer_has_shown_a_status(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.bad_day(Fault.CUT_MID_ANSWER, on="close")
    url = f"{venue.url}/v1/api/accounts/Sim101/positions/close"

    answer = trader.session.post(url, json={"instrument": MES, "quantity": 4}, stream=True, timeout=SLOWEST)

    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="ConnectionResetError"):
        answer.json()
    assert venue.book.quantity("Sim101", MES) == 6


def test_a_hanging_call_is_done_though_nobody_waits(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.8)

    with pytest.raises(requests.exceptions.ReadTimeout):
        trader.close(MES, quantity=4, timeout=0.1)

    assert venue.book.quantity("Sim101", MES) == 10
    assert eventually(lambda: venue.book.quantity("Sim101", MES) == 6)
    assert venue.requests[-1].acted


def test_a_hanging_call_answers_who_waits(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.1)

    assert trader.close(MES, quantity=4).json()["success"] is True


def test_a_call_may_be_done_and_never_answered(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.ACT_THEN_HANG, on="close", seconds=0.4)

    with pytest.raises(requests.exceptions.ReadTimeout):
        trader.close(MES, quantity=4, timeout=0.1)
    assert eventually(lambda: venue.book.quantity("Sim101", MES) == 6)

    venue.bad_day(Fault.ACT_THEN_HANG, on="close", seconds=0.1)
    with pytest.raises(requests.exceptions.ConnectionError, match="RemoteDisconnected"):
        trader.close(MES, quantity=4)


def test_a_late_action_comes_after_its_408(clock: Clock, venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.LATE_ACTION, on="close", seconds=3)

    assert trader.close(MES, quantity=4).status_code == 408
    assert venue.book.quantity("Sim101", MES) == 10
    assert not venue.requests[-1].acted
    clock.pass_seconds(3)
    assert venue.requests[-1].acted
    assert venue.book.quantity("Sim101", MES) == 6


# Bad days: the orders


def test_an_accepted_close_may_have_no_effect(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.NO_EFFECT, on="close")

    answer = trader.close(MES)

    assert answer.json()["success"] is True
    assert answer.json()["closedPositions"][0]["quantity"] == 10
    assert venue.book.quantity("Sim101", MES) == 10
    assert last_order_state(venue) is OrderState.REJECTED
    assert working(venue) == [MES]


def test_a_rejection_may_come_late_and_leave_the_position_naked(
    clock: Clock, venue: CrossTradeSimulator, trader: Trader
) -> None:
    venue.bad_day(Fault.NO_EFFECT, on="flatten", seconds=2, cancels_orders=True)

    trader.flatten(account="Sim101")

    assert last_order_state(venue) is OrderState.WORKING
    clock.pass_seconds(2)
    assert last_order_state(venue) is OrderState.REJECTED
    assert venue.book.quantity("Sim101", MES) == 10
    assert working(venue) == []


def test_a_close_may_fill_slowly(clock: Clock, venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.SLOW_FILL, on="close", seconds=4, parts=2)

    trader.close(MES)

    assert venue.book.quantity("Sim101", MES) == 10
    clock.pass_seconds(2)
    assert venue.book.quantity("Sim101", MES) == 5
    clock.pass_seconds(2)
    assert venue.book.quantity("Sim101", MES) == 0


# Bad days: which calls, how often


OPERATIONS = {
    "close": ("POST", "/accounts/Sim101/positions/close"),
    "flatten": ("POST", "/positions/flatten"),
    "positions": ("GET", "/positions"),
    "position": ("GET", "/accounts/Sim101/position?instrument=ES"),
    "orders": ("GET", "/accounts/Sim101/orders"),
    "executions": ("GET", "/accounts/Sim101/executions"),
    "cancel": ("POST", "/orders/cancelall"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bad_day_is_for_one_kind_of_call(
    venue: CrossTradeSimulator, trader: Trader, operation: str
) -> None:
    venue.bad_day(Fault.ERROR_502, on=operation, times=None)

    statuses = {
        name: (trader.get(path) if method == "GET" else trader.post(path, {"instrument": MES})).status_code
        for name, (method, path) in OPERATIONS.items()
    }

    assert [name for name, status in statuses.items() if status == 502] == [operation]


def test_bad_days_come_in_turn_and_end(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.THROTTLE, times=2)
    venue.bad_day(Fault.TIMEOUT_408)

    statuses = [trader.get("/positions").status_code for _ in range(4)]

    assert statuses == [429, 429, 408, 200]


def test_bad_days_can_be_called_off(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.TIMEOUT_408, times=None)
    venue.good_days()

    assert trader.get("/positions").status_code == 200


def test_faults_of_orders_let_reads_pass(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.NO_EFFECT)

    trader.get("/positions")
    trader.close(MES)

    assert venue.book.quantity("Sim101", MES) == 10


@pytest.mark.parametrize(
    ("on", "times", "options"),
    [("closing", 1, {}), ("close", 0, {}), ("close", 1, {"minutes": 3}), ("positions", 1, {})],
)
def test_a_bad_day_that_makes_no_sense_is_refused(
    venue: CrossTradeSimulator, on: str, times: int, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"closing|times|option|send orders"):
        venue.bad_day(Fault.NO_EFFECT, on=on, times=times, **options)


# The WebSocket


class Caller:
    """A customer's WebSocket, and the RPCs on it."""

    def __init__(self, venue: CrossTradeSimulator, token: str = TOKEN) -> None:
        url = venue.url.replace("http", "ws") + "/ws/stream"
        header = [f"Authorization: Bearer {token}"]
        self.socket = websocket.create_connection(url, header=header, timeout=SLOWEST, http_no_proxy=["*"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.socket.shutdown()

    def call(self, api: str, **args: Any) -> Any:
        self.send(api, args)
        return self.heard()["data"]

    def send(self, api: str, args: Any, rpc_id: str = "r-1") -> None:
        self.socket.send(json.dumps({"action": "rpc", "id": rpc_id, "api": api, "args": args}))

    def heard(self) -> Any:
        return json.loads(self.socket.recv())

    def closed(self) -> tuple[int, str]:
        """The code and the reason with which the venue closes, whatever else it says before."""
        while True:
            frame = (
                self.socket.recv_frame()
            )  # the bare frame: the other calls answer a close, and may find nobody
            if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()


def test_the_vendors_example_of_an_rpc(venue: CrossTradeSimulator) -> None:
    venue.book.set_position("Sim101", "ES 09-26", "long", 1)

    with Caller(venue) as caller:
        caller.send("ClosePosition", {"account": "Sim101", "instrument": "ES 09-26"}, "mine")
        reply = caller.heard()

    assert reply.keys() == {"id", "data"}
    assert reply["id"] == "mine"
    assert [p["instrument"] for p in reply["data"]["closedPositions"]] == ["ES 09-26"]
    assert venue.book.quantity("Sim101", "ES 09-26") == 0


def test_an_rpc_answers_what_rest_answers(venue: CrossTradeSimulator, trader: Trader) -> None:
    with Caller(venue) as caller:
        assert caller.call("GetAllPositions") == trader.get("/positions").json()
        position = trader.get("/accounts/Sim101/position", instrument=MES).json()
        assert caller.call("GetPosition", account="Sim101", instrument=MES) == position
        assert caller.call("ClosePosition", account="Sim101", instrument="NQ") == trader.close("NQ").json()
        assert caller.call("ClosePosition", account="Sim101") == {"error": "Invalid request"}
        assert len(caller.call("CancelOrders", account="Sim101")["orderIds"]) == 1
        assert len(caller.call("Flatten", marketPosition="long")["closedPositions"]) == 2
        assert caller.call("FlattenEverything")["warning"]
        assert caller.call("ListOrders", account="Sim101") == {"error": "Unknown API command"}


def test_an_rpc_is_in_the_journal_like_a_rest_call(venue: CrossTradeSimulator) -> None:
    args = {"account": "Sim101", "instrument": MES, "quantity": 4}
    with Caller(venue) as caller:
        caller.call("ClosePosition", **args)

    opening, rpc = venue.requests
    assert (opening.method, opening.path, opening.status) == ("GET", "/ws/stream", 101)
    assert (rpc.method, rpc.operation, rpc.body, rpc.acted) == ("WS", "close", args, True)
    assert TOKEN not in json.dumps([opening.as_json(), rpc.as_json()])


def test_a_websocket_needs_the_token(venue: CrossTradeSimulator) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        Caller(venue, "another")


def test_a_second_websocket_ends_the_first(venue: CrossTradeSimulator) -> None:
    with Caller(venue) as first, Caller(venue) as second:
        assert first.closed() == (4001, "Session active elsewhere")
        assert second.call("GetAllPositions")["count"] == 2


def test_a_slow_rpc_holds_up_no_other(venue: CrossTradeSimulator) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.2)

    with Caller(venue) as caller:
        caller.send("ClosePosition", {"account": "Sim101", "instrument": MES}, "slow")
        caller.send("GetAllPositions", {}, "fast")

        assert [caller.heard()["id"] for _ in range(2)] == ["fast", "slow"]


def test_rest_and_websocket_share_the_limit_and_ten_violations_end_it() -> None:
    with CrossTradeSimulator(TOKEN, rate_limit=True) as venue, Caller(venue) as caller:
        trader = Trader(venue)
        with trader.session:
            assert [trader.get("/positions").status_code for _ in range(20)] == [200] * 20
        for number in range(11):
            caller.send("GetAllPositions", {}, str(number))

        assert caller.heard()["data"] == {"error": "Rate limit exceeded"}
        assert caller.closed() == (1008, "Rate limit exceeded")


def test_a_ping_of_either_kind_is_answered(venue: CrossTradeSimulator) -> None:
    with Caller(venue) as caller:
        caller.socket.send('{"action": "ping"}')
        assert caller.heard() == {"type": "pong"}

        caller.socket.ping(b"still there?")
        opcode, frame = caller.socket.recv_data_frame(control_frame=True)
        assert (opcode, frame.data) == (websocket.ABNF.OPCODE_PONG, b"still there?")


# Listening


def test_connections_are_refused_while_it_does_not_listen(venue: CrossTradeSimulator, trader: Trader) -> None:
    url = venue.url
    assert trader.get("/positions").status_code == 200

    venue.stop_listening()
    with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        trader.close(MES)
    venue.listen_again()

    assert venue.url == url
    assert trader.close(MES).status_code == 200
    assert len(venue.requests) == 2


def test_stopping_does_not_wait_for_a_hanging_call(venue: CrossTradeSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=60)
    with pytest.raises(requests.exceptions.ReadTimeout):
        trader.close(MES, timeout=0.1)
    started = time.monotonic()

    venue.stop_listening()

    assert time.monotonic() - started < 2
    assert venue.book.quantity("Sim101", MES) == 10


def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        CrossTradeSimulator(TOKEN, host="0.0.0.0")


# The control face


def test_another_process_can_set_and_read_the_book(venue: CrossTradeSimulator, trader: Trader) -> None:
    position = {
        "account": "Sim103",
        "instrument": "MNQ 12-26",
        "side": "short",
        "quantity": 4,
        "average_price": 20605.25,
        "market_price": 20600.25,
        "point_value": 2.0,
    }
    stop = {"account": "Sim103", "instrument": "MNQ", "quantity": 4, "price": 20700.0}
    url = f"{venue.url}/_simulator/book"

    put = requests.put(url, json={"positions": [position], "working_orders": [stop]}, timeout=SLOWEST)
    trader.close("MNQ", account="Sim103", quantity=1)
    book = requests.get(url, timeout=SLOWEST).json()

    assert put.json()["positions"] == [position | {"profit_loss": 40.0}]
    assert [p["quantity"] for p in book["positions"]] == [3]
    assert [o["price"] for o in book["working_orders"]] == [20700.0]
    assert [(e["quantity"], e["price"]) for e in book["executions"]] == [(1, 20600.25)]


def test_a_book_that_is_read_can_be_put_back(venue: CrossTradeSimulator) -> None:
    url = f"{venue.url}/_simulator/book"
    before = requests.get(url, timeout=SLOWEST).json()

    venue.book.flatten()
    requests.put(url, json=before["positions"], timeout=SLOWEST)

    assert requests.get(url, timeout=SLOWEST).json()["positions"] == before["positions"]


def test_another_process_can_ask_for_bad_days_and_see_the_requests(
    venue: CrossTradeSimulator, trader: Trader
) -> None:
    faults = f"{venue.url}/_simulator/faults"
    fault = {"fault": "CUT_AFTER_ACTING", "on": "close", "times": 1, "options": {}}

    requests.post(faults, json=fault, timeout=SLOWEST).raise_for_status()
    requests.post(faults, json={"fault": "timeout_408", "times": None}, timeout=SLOWEST).raise_for_status()
    with pytest.raises(requests.exceptions.ConnectionError):
        trader.close(MES, quantity=4)
    assert trader.get("/positions").status_code == 408
    requests.delete(faults, timeout=SLOWEST).raise_for_status()
    assert trader.get("/positions").status_code == 200

    seen = requests.get(f"{venue.url}/_simulator/requests", timeout=SLOWEST).json()["requests"]
    assert [(r["operation"], r["fault"], r["acted"]) for r in seen] == [
        ("close", "cut_after_acting", True),
        ("positions", "timeout_408", False),
        ("positions", None, False),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", {"fault": "earthquake"}, 400),
        ("POST", "/faults", {"fault": "refuse", "options": {"colour": "red"}}, 400),
        ("POST", "/faults", None, 400),
        ("PUT", "/book", {"position": []}, 400),
        ("PUT", "/book", [{"account": "Sim101"}], 400),
        ("GET", "/weather", None, 404),
    ],
)
def test_the_control_face_says_what_it_does_not_understand(
    venue: CrossTradeSimulator, method: str, path: str, body: object, status: int
) -> None:
    answer = requests.request(method, f"{venue.url}/_simulator{path}", json=body, timeout=SLOWEST)

    assert answer.status_code == status
    assert answer.json()["error"]


# As a process


def run_simulator(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulators.crosstrade", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CROSSTRADE_TOKEN": TOKEN},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process_it_says_one_line_and_ends_cleanly(number: signal.Signals) -> None:
    with run_simulator("--port", "0") as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        url = next(word for word in ready.split() if word.startswith("http://"))
        book = requests.get(f"{url}/_simulator/book", timeout=SLOWEST).json()
        unauthorized = requests.get(f"{url}/v1/api/positions", timeout=SLOWEST).status_code
        process.send_signal(number)
        rest, errors = process.communicate(timeout=SLOWEST)

    assert (process.returncode, rest, errors) == (0, "", "")
    assert unauthorized == 401
    assert [(p["account"], p["instrument"], p["side"], p["quantity"]) for p in book["positions"]] == [
        ("Sim101", "MES 12-26", "long", 10),
        ("Sim101", "MNQ 12-26", "short", 4),
        ("Sim102", "ES 12-26", "long", 2),
    ]
    assert [order["instrument"] for order in book["working_orders"]] == ["MES 12-26"]


def test_as_a_process_it_refuses_a_port_in_use() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        run_simulator("--port", str(taken.getsockname()[1])) as process,
    ):
        output, errors = process.communicate(timeout=SLOWEST)

    assert (process.returncode, output) == (2, "")
    assert "in use" in errors
    assert errors.count("\n") == 1


def eventually(check: Any, within: float = 3.0) -> bool:
    until = time.monotonic() + within
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
