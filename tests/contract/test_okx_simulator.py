"""The OKX simulator against the vendor's own examples, and each bad day over a real socket."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.simulators.okx import Book, Fault, OkxSimulator, OrderState, signature

KEY, SECRET, PASSPHRASE = "key-of-the-test", "secret-of-the-test", "phrase-of-the-test"
SWAP, ETH, FUTURE, PAIR = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT-270326", "BTC-USDT"
NOVEMBER_2026 = 1_795_200_000.0
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
    """A customer who signs by himself, by the clock of the test."""

    def __init__(self, venue: OkxSimulator, clock: Clock) -> None:
        self.venue = venue
        self.clock = clock
        self.session = requests.Session()
        self.changed: dict[str, str | None] = {}

    def call(
        self, method: str, path: str, text: str = "", timeout: float = SLOWEST, **headers: str
    ) -> requests.Response:
        stamp = datetime.fromtimestamp(self.clock.now, UTC).isoformat(timespec="milliseconds")
        timestamp = stamp.replace("+00:00", "Z")
        message = f"{timestamp}{method}{path}{text}".encode()
        sign = base64.b64encode(hmac.new(SECRET.encode(), message, hashlib.sha256).digest()).decode()
        mine: dict[str, str | None] = {
            "OK-ACCESS-KEY": KEY,
            "OK-ACCESS-SIGN": sign,
            "OK-ACCESS-TIMESTAMP": timestamp,
            "OK-ACCESS-PASSPHRASE": PASSPHRASE,
            "x-simulated-trading": "1",
            "Content-Type": "application/json",
        }
        sent = {name: value for name, value in (mine | self.changed | headers).items() if value is not None}
        url = f"{self.venue.url}{path}"
        return self.session.request(
            method, url, data=text.encode(), headers=sent, timeout=timeout, allow_redirects=False
        )

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.call("GET", f"/api/v5{path}" + (f"?{urlencode(query)}" if query else ""))

    def rows(self, path: str, **query: Any) -> list[dict[str, Any]]:
        answer = self.get(path, **query).json()
        assert answer["code"] == "0", answer
        return list(answer["data"])

    def post(self, path: str, body: Any, timeout: float = SLOWEST, **headers: str) -> requests.Response:
        return self.call("POST", f"/api/v5{path}", json.dumps(body), timeout, **headers)

    def close(
        self, inst_id: str = SWAP, mode: str = "cross", timeout: float = SLOWEST, **more: Any
    ) -> requests.Response:
        return self.post("/trade/close-position", {"instId": inst_id, "mgnMode": mode, **more}, timeout)

    def order(self, side: str, size: str, inst_id: str = SWAP, **more: Any) -> dict[str, Any]:
        """Place a market order. Its row of the answer."""
        body = {"instId": inst_id, "tdMode": "cross", "side": side, "ordType": "market", "sz": size}
        return dict(self.post("/trade/order", body | more).json()["data"][0])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> Iterator[OkxSimulator]:
    """Long 5 contracts of the BTC swap in net mode."""
    book = Book(clock=clock)
    book.set_position(SWAP, "long", 5, average_price=100000, mark_price=103500)
    with OkxSimulator(KEY, SECRET, PASSPHRASE, book=book) as venue:
        yield venue


@pytest.fixture
def trader(venue: OkxSimulator, clock: Clock) -> Iterator[Trader]:
    trader = Trader(venue, clock)
    with trader.session:
        yield trader


def hedge(venue: OkxSimulator) -> None:
    """Long 5 and short 2, in long/short mode."""
    venue.book.clear_positions()
    venue.book.mode = "long_short_mode"
    venue.book.set_position(SWAP, "long", 5, average_price=100000)
    venue.book.set_position(SWAP, "short", 2, average_price=104000)


def code_of(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Who is let in


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        (
            "POST",
            "/api/v5/trade/close-position",
            b'{"instId":"BTC-USDT-SWAP","mgnMode":"cross"}',
            "/K8T+Tml8bYHPQ219olRyiJYFwfaPk8PAN1Oyfu3j/A=",
        ),
        (
            "GET",
            "/api/v5/account/positions?instType=SWAP&instId=BTC-USDT-SWAP",
            b"",
            "KGD9dguN7MiNaFqK6tnI/VrJEWiZx2ZPSyJ7+6RDo0s=",
        ),
    ],
)
def test_the_signatures_that_were_computed_beforehand(
    method: str, path: str, body: bytes, expected: str
) -> None:
    secret, timestamp = "TEST-SECRET-0000000000000000000", "2020-12-08T09:08:57.715Z"

    assert signature(secret, timestamp, method, path, body) == expected


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("OK-ACCESS-KEY", "other", "50111"),
        ("OK-ACCESS-PASSPHRASE", "other", "50105"),
        ("OK-ACCESS-SIGN", "b3RoZXI=", "50113"),
        ("OK-ACCESS-TIMESTAMP", "yesterday", "50112"),
        ("OK-ACCESS-TIMESTAMP", "2020-12-08T09:08:57.715Z", "50102"),
        ("x-simulated-trading", "0", "50101"),
        ("x-simulated-trading", None, "50101"),
        ("OK-ACCESS-KEY", None, "50103"),
        ("OK-ACCESS-PASSPHRASE", None, "50104"),
        ("OK-ACCESS-SIGN", None, "50106"),
        ("OK-ACCESS-TIMESTAMP", None, "50107"),
    ],
)
def test_whoever_is_not_who_he_says_is_turned_away(
    venue: OkxSimulator, trader: Trader, header: str, value: str | None, code: str
) -> None:
    trader.changed[header] = value

    assert code_of(trader.close()) == (401, code)
    assert venue.book.quantity(SWAP) == 5


@pytest.mark.parametrize(("skew", "let_in"), [(29, True), (-29, True), (31, False), (-31, False)])
def test_a_clock_may_be_thirty_seconds_off(
    venue: OkxSimulator, trader: Trader, skew: float, let_in: bool
) -> None:
    venue.clock_offset = skew

    assert code_of(trader.get("/account/positions")) == ((200, "0") if let_in else (401, "50102"))
    assert trader.rows("/public/time") == [{"ts": str(int((NOVEMBER_2026 + skew) * 1000))}]


def test_a_query_is_signed_as_it_is_sent(trader: Trader) -> None:
    path = f"/api/v5/account/positions?instId={SWAP}%2C{ETH}&posId="

    assert [row["instId"] for row in trader.call("GET", path).json()["data"]] == [SWAP]


def test_without_a_credential_any_is_let_in_but_must_be_there(clock: Clock) -> None:
    with OkxSimulator(book=Book(clock=clock)) as venue:
        trader = Trader(venue, clock)
        with trader.session:
            assert code_of(trader.get("/account/positions")) == (200, "0")
            trader.changed = {"OK-ACCESS-SIGN": None}
            assert code_of(trader.get("/account/positions")) == (401, "50106")


def test_the_live_environment_refuses_the_demo_header(clock: Clock) -> None:
    with OkxSimulator(KEY, SECRET, PASSPHRASE, demo=False, book=Book(clock=clock)) as venue:
        trader = Trader(venue, clock)
        with trader.session:
            assert code_of(trader.get("/account/config")) == (401, "50101")
            trader.changed = {"x-simulated-trading": None}
            assert code_of(trader.get("/account/config")) == (200, "0")


def test_the_journal_keeps_no_credential(venue: OkxSimulator, trader: Trader) -> None:
    trader.close(clOrdId="r7f3c9a1")

    (request,) = venue.requests
    assert (request.method, request.path) == ("POST", "/api/v5/trade/close-position")
    assert (request.operation, request.acted, request.status) == ("close", True, 200)
    assert request.body["clOrdId"] == "r7f3c9a1"
    assert "OK-ACCESS-TIMESTAMP" in request.headers
    told = repr(request)
    assert not any(secret in told for secret in (KEY, PASSPHRASE, "OK-ACCESS-SIGN"))


# Closing


def test_the_vendors_example_of_a_close(venue: OkxSimulator, trader: Trader) -> None:
    hedge(venue)

    answer = trader.close(posSide="long", autoCxl=True, clOrdId="r7f3c9a1").json()

    assert (answer["code"], answer["msg"]) == ("0", "")
    assert answer["data"] == [{"clOrdId": "r7f3c9a1", "instId": SWAP, "posSide": "long", "tag": ""}]
    assert venue.book.quantity(SWAP, "long") == 0
    assert venue.book.quantity(SWAP, "short") == 2


def test_ccxts_recording_of_a_close_without_its_side(venue: OkxSimulator, trader: Trader) -> None:
    hedge(venue)
    client_id, tag = "e847386590ce4dBCe903bbc394dc88bf", "e847386590ce4dBC"

    answer = trader.close(clOrdId=client_id, tag=tag).json()

    assert (answer["code"], answer["msg"]) == ("1", "All operations failed")
    assert answer["data"] == [
        {
            "clOrdId": client_id,
            "ordId": "",
            "sCode": "51000",
            "sMsg": "Parameter posSide error ",
            "tag": tag,
        }
    ]


def test_a_close_says_net_in_net_mode(venue: OkxSimulator, trader: Trader) -> None:
    assert trader.close().json()["data"][0]["posSide"] == "net"
    assert venue.book.quantity(SWAP) == 0


def test_empty_texts_are_absent(venue: OkxSimulator, trader: Trader) -> None:
    answer = trader.close(posSide="", ccy="", autoCxl="", clOrdId="", tag="")

    assert code_of(answer) == (200, "0")


def test_a_close_takes_only_its_margin_mode(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.set_position(SWAP, "short", 3, margin_mode="isolated")

    trader.close(mode="isolated")

    assert venue.book.quantity(SWAP, margin_mode="cross") == 5
    assert venue.book.quantity(SWAP, margin_mode="isolated") == 0


def test_nothing_to_close_is_51023(trader: Trader) -> None:
    assert code_of(trader.close(ETH)) == (200, "51023")


def test_a_second_close_finds_nothing(trader: Trader) -> None:
    trader.close(clOrdId="same")

    assert code_of(trader.close(clOrdId="same")) == (200, "51023")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"mgnMode": "cross"}, 400, "50014"),
        ({"instId": SWAP}, 400, "50014"),
        ({"instId": "DOGE-USDT-SWAP", "mgnMode": "cross"}, 200, "51001"),
        ({"instId": PAIR, "mgnMode": "cross"}, 400, "50014"),
        ([], 400, "50002"),
    ],
)
def test_a_close_that_is_not_whole(trader: Trader, body: Any, status: int, code: str) -> None:
    assert code_of(trader.post("/trade/close-position", body)) == (status, code)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mgnMode": "both"},
        {"posSide": "long"},
        {"clOrdId": "a-b"},
        {"clOrdId": "x" * 33},
        {"tag": "x" * 17},
        {"autoCxl": "perhaps"},
    ],
)
def test_a_close_with_a_wrong_value_is_51000(
    venue: OkxSimulator, trader: Trader, wrong: dict[str, str]
) -> None:
    body = {"instId": SWAP, "mgnMode": "cross", **wrong}
    answer = trader.post("/trade/close-position", body).json()

    assert answer["data"][0]["sCode"] == "51000"
    assert venue.book.quantity(SWAP) == 5


def test_a_cross_margin_pair_is_closed_by_its_currency(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.set_position(PAIR, "long", "0.25")

    assert code_of(trader.close(PAIR)) == (400, "50014")
    assert code_of(trader.close(PAIR, ccy="USDT")) == (200, "0")
    assert venue.book.quantity(PAIR) == 0


def test_pending_closing_orders_stand_in_the_way(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.work_order(SWAP, "long", 2, 110000)

    assert code_of(trader.close()) == (429, "51115")
    assert code_of(trader.close(autoCxl=False)) == (429, "51115")
    assert venue.book.quantity(SWAP) == 5

    assert code_of(trader.close(autoCxl=True)) == (200, "0")
    assert venue.book.quantity(SWAP) == 0
    assert [order.state for order in venue.book.orders()] == [OrderState.CANCELED, OrderState.FILLED]


def test_orders_that_open_do_not_stand_in_the_way(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.work_order(SWAP, "buy", 2, 90000, reduce_only=False)

    assert code_of(trader.close()) == (200, "0")


def test_a_close_while_one_is_working(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    venue.book.fill_delay = 2
    trader.close(clOrdId="first")

    assert code_of(trader.close(clOrdId="second")) == (429, "51115")
    assert code_of(trader.close(clOrdId="second", autoCxl=True)) == (200, "51342")
    assert code_of(trader.close(clOrdId="first")) == (200, "51016")

    clock.pass_seconds(2)
    venue.book.set_position(SWAP, "long", 1)
    assert code_of(trader.close(clOrdId="first")) == (200, "0")


def test_algo_orders_outlive_a_close(venue: OkxSimulator, trader: Trader) -> None:
    algo = venue.book.work_algo(SWAP, "long", 5, 95000)

    trader.close(autoCxl=True)

    (row,) = trader.rows("/trade/orders-algo-pending", ordType="conditional,oco")
    assert (row["algoId"], row["side"], row["slTriggerPx"]) == (algo.algo_id, "sell", "95000")
    body = [{"instId": SWAP, "algoId": algo.algo_id}]
    assert trader.post("/trade/cancel-algos", body).json()["data"][0]["sCode"] == "0"
    assert trader.post("/trade/cancel-algos", body).json()["data"][0]["sCode"] == "51400"
    assert trader.rows("/trade/orders-algo-pending", ordType="conditional") == []


def test_too_much_for_one_market_close(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.set_position(SWAP, "long", 12001)

    assert code_of(trader.close()) == (200, "51108")


def test_a_suspended_contract(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.suspend(SWAP)

    assert code_of(trader.close()) == (200, "51022")
    (row,) = trader.rows("/public/instruments", instType="SWAP", instId=SWAP)
    assert row["state"] == "suspend"


@pytest.mark.parametrize("in_data", [True, False])
def test_a_refusal_stands_where_it_is_told_to(venue: OkxSimulator, trader: Trader, in_data: bool) -> None:
    venue.refusals_in_data = in_data

    answer = trader.close(ETH).json()

    assert answer["code"] == ("1" if in_data else "51023")
    assert [row["sCode"] for row in answer["data"]] == (["51023"] if in_data else [])


def test_whether_a_close_is_found_by_its_client_id(venue: OkxSimulator, trader: Trader) -> None:
    trader.close(clOrdId="first")
    (row,) = trader.rows("/trade/order", instId=SWAP, clOrdId="first")
    assert (row["state"], row["accFillSz"], row["avgPx"]) == ("filled", "5", "103500")

    venue.book.closes_keep_client_id = False
    venue.book.set_position(SWAP, "short", 1)
    trader.close(clOrdId="second")
    assert code_of(trader.get("/trade/order", instId=SWAP, clOrdId="second")) == (200, "51603")


# Orders


def test_a_reduce_only_order_takes_a_part(venue: OkxSimulator, trader: Trader) -> None:
    row = trader.order("sell", "2", reduceOnly=True, clOrdId="r7f3c9a1", tag="t1")

    assert row.keys() == {"clOrdId", "ordId", "sCode", "sMsg", "tag", "ts"}
    assert (row["sCode"], row["sMsg"], row["clOrdId"]) == ("0", "Order placed", "r7f3c9a1")
    assert venue.book.quantity(SWAP) == 3
    (found,) = trader.rows("/trade/order", instId=SWAP, ordId=row["ordId"])
    assert (found["reduceOnly"], found["pnl"], found["tag"]) == ("true", "70", "t1")


def test_closing_orders_in_long_short_mode_reduce_by_nature(venue: OkxSimulator, trader: Trader) -> None:
    hedge(venue)

    assert trader.order("sell", "2", posSide="long")["sCode"] == "0"
    assert trader.order("buy", "1", posSide="short")["sCode"] == "0"

    assert venue.book.quantity(SWAP, "long") == 3
    assert venue.book.quantity(SWAP, "short") == 1


@pytest.mark.parametrize(
    ("side", "size", "more", "code"),
    [
        ("sell", "6", {"reduceOnly": True}, "51112"),
        ("buy", "1", {"reduceOnly": True}, "51170"),
        ("sell", "1", {"reduceOnly": True, "inst_id": ETH}, "51169"),
        ("sell", "0.015", {"reduceOnly": True}, "51121"),
        ("sell", "1.5", {"inst_id": FUTURE}, "51121"),
        ("sell", "0.001", {"reduceOnly": True}, "51020"),
        ("sell", "12001", {}, "51202"),
        ("sell", "1", {"posSide": "long"}, "51000"),
        ("sell", "1", {"clOrdId": "a_b"}, "51000"),
        ("sell", "-1", {}, "51000"),
        ("hold", "1", {}, "51000"),
        ("sell", "1", {"inst_id": "DOGE-USDT-SWAP"}, "51001"),
    ],
)
def test_an_order_that_is_refused_is_refused_whole(
    venue: OkxSimulator, trader: Trader, side: str, size: str, more: dict[str, Any], code: str
) -> None:
    row = trader.order(side, size, **more)

    assert (row["sCode"], row["ordId"]) == (code, "")
    assert venue.book.quantity(SWAP) == 5
    assert venue.book.orders() == []


@pytest.mark.parametrize(
    ("side", "size", "position_side", "code"),
    [("sell", "1", "", "51000"), ("sell", "6", "long", "51112"), ("buy", "3", "short", "51112")],
)
def test_an_order_that_is_refused_in_long_short_mode(
    venue: OkxSimulator, trader: Trader, side: str, size: str, position_side: str, code: str
) -> None:
    hedge(venue)

    assert trader.order(side, size, posSide=position_side)["sCode"] == code


def test_a_plain_order_may_turn_a_net_position_round(venue: OkxSimulator, trader: Trader) -> None:
    trader.order("sell", "8")

    held = venue.book.position(SWAP)
    assert (held.quantity, held.direction) == (Decimal(-3), "short")
    assert held.average_price == 103500


def test_a_client_id_is_unique_among_pending_orders_only(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.work_order(SWAP, "long", 1, 110000, client_id="mine")

    assert trader.order("sell", "1", clOrdId="mine")["sCode"] == "51016"
    trader.post("/trade/cancel-order", {"instId": SWAP, "clOrdId": "mine"})
    assert trader.order("sell", "1", clOrdId="mine")["sCode"] == "0"
    (row,) = trader.rows("/trade/order", instId=SWAP, clOrdId="mine")
    assert row["state"] == "filled"


def test_an_order_expires(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    body = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "market", "sz": "1"}

    def place(expires_in: float) -> tuple[int, str]:
        expires = str(int((clock.now + expires_in) * 1000))
        return code_of(trader.post("/trade/order", body, expTime=expires))

    assert place(-1) == (200, "50036")
    assert place(1) == (200, "0")


def test_an_order_that_was_held_up_lapses(trader: Trader, venue: OkxSimulator, clock: Clock) -> None:
    body = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "market", "sz": "1"}
    venue.bad_day(Fault.LATE_ACTION, on="order", seconds=2)

    trader.post("/trade/order", body, expTime=str(int((clock.now + 1) * 1000)))
    clock.pass_seconds(3)

    assert venue.book.quantity(SWAP) == 5
    assert not venue.requests[-1].acted


def test_a_batch_tells_each_order_apart(venue: OkxSimulator, trader: Trader) -> None:
    body = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "market", "reduceOnly": "true"}

    answer = trader.post("/trade/batch-orders", [body | {"sz": "1"}, body | {"sz": "9"}]).json()

    assert answer["code"] == "2"
    assert [row["sCode"] for row in answer["data"]] == ["0", "51112"]
    assert trader.post("/trade/batch-orders", [body | {"sz": "9"}]).json()["code"] == "1"


def test_cancelling(venue: OkxSimulator, trader: Trader) -> None:
    first = venue.book.work_order(SWAP, "long", 1, 110000)
    second = venue.book.work_order(SWAP, "long", 1, 111000)
    asked = [{"instId": SWAP, "ordId": order.order_id} for order in (first, second)]

    assert trader.post("/trade/cancel-order", asked[0]).json()["data"][0]["sCode"] == "0"
    answer = trader.post("/trade/cancel-batch-orders", asked).json()

    assert answer["code"] == "2"
    assert [row["sCode"] for row in answer["data"]] == ["51400", "0"]
    assert trader.rows("/trade/orders-pending") == []


def test_a_limit_order_rests_until_the_price_is_there(venue: OkxSimulator, trader: Trader) -> None:
    row = trader.order("sell", "2", ordType="limit", px="110000", reduceOnly=True)
    (resting,) = trader.rows("/trade/orders-pending", instId=SWAP, ordType="limit")
    assert (resting["ordId"], resting["state"], resting["px"]) == (row["ordId"], "live", "110000")

    venue.book.fill_order(row["ordId"], 1)
    (resting,) = trader.rows("/trade/orders-pending", state="partially_filled")
    assert (resting["accFillSz"], resting["fillPx"]) == ("1", "110000")
    venue.book.fill_order(row["ordId"])
    assert venue.book.quantity(SWAP) == 3
    (fill, _) = trader.rows("/trade/fills")
    assert (fill["execType"], fill["fillPnl"]) == ("M", "100")


# Reading


def test_a_position_in_net_mode(venue: OkxSimulator, trader: Trader) -> None:
    venue.book.set_position(ETH, "short", "2.5", margin_mode="isolated", average_price=3500, lever=5)

    long, short = trader.rows("/account/positions")

    assert (long["instId"], long["pos"], long["posSide"], long["mgnMode"]) == (SWAP, "5", "net", "cross")
    assert (long["avgPx"], long["markPx"], long["upl"]) == ("100000", "103500", "175")
    assert (short["pos"], short["posSide"], short["upl"], short["lever"]) == ("-2.5", "net", "12.5", "5")
    assert (short["instType"], short["ccy"], short["margin"]) == ("SWAP", "USDT", "175")
    assert all(isinstance(value, str | list) for value in long.values())
    assert {"posId", "availPos", "uplRatio", "cTime", "uTime", "liqPx", "notionalUsd"} <= long.keys()


def test_positions_in_long_short_mode(venue: OkxSimulator, trader: Trader) -> None:
    hedge(venue)
    venue.book.set_position(PAIR, "long", "0.5")
    venue.book.work_order(SWAP, "long", 2, 110000)

    rows = {(row["instId"], row["posSide"]): row for row in trader.rows("/account/positions")}

    assert rows[SWAP, "long"]["pos"] == "5"
    assert rows[SWAP, "long"]["availPos"] == "3"
    assert rows[SWAP, "short"]["pos"] == "2"
    assert (rows[PAIR, "net"]["pos"], rows[PAIR, "net"]["posCcy"]) == ("0.5", "BTC")


def test_closed_positions_are_shown_to_who_asks_by_name(trader: Trader) -> None:
    trader.close()

    assert trader.rows("/account/positions") == []
    assert trader.rows("/account/positions", instType="SWAP") == []
    (row,) = trader.rows("/account/positions", instId=f"{SWAP},{ETH}")
    assert (row["instId"], row["pos"], row["avgPx"]) == (SWAP, "0", "")


def test_no_more_than_ten_instruments_at_once(trader: Trader) -> None:
    assert code_of(trader.get("/account/positions", instId=",".join([SWAP] * 11)))[1] == "50025"


def test_the_history_of_positions(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    trader.order("sell", "2", reduceOnly=True)
    (part,) = trader.rows("/account/positions-history")
    assert (part["type"], part["closeTotalPos"], part["openMaxPos"]) == ("1", "2", "5")

    clock.pass_seconds(1)
    venue.book.set_mark_price(SWAP, 104500)
    trader.close()
    (whole,) = trader.rows("/account/positions-history", instType="SWAP", instId=SWAP)
    assert (whole["type"], whole["closeTotalPos"], whole["direction"]) == ("2", "5", "long")
    assert (whole["closeAvgPx"], whole["pnl"], whole["posId"]) == ("104100", "205", part["posId"])


def test_fills_are_told_by_time_and_by_page(trader: Trader, clock: Clock) -> None:
    for _ in range(3):
        trader.order("sell", "1", reduceOnly=True)
        clock.pass_seconds(10)
    fills = trader.rows("/trade/fills")
    assert [int(fill["ts"]) for fill in fills] == sorted((int(f["ts"]) for f in fills), reverse=True)
    assert (fills[0]["fillPx"], fills[0]["fillSz"], fills[0]["fillPnl"]) == ("103500", "1", "35")
    assert (fills[0]["fee"], fills[0]["side"]) == ("-0.5175", "sell")

    middle = fills[1]["ts"]
    assert trader.rows("/trade/fills", begin=middle) == fills[:2]
    assert trader.rows("/trade/fills", end=middle) == fills[1:]
    assert trader.rows("/trade/fills", limit=1) == fills[:1]
    assert trader.rows("/trade/fills", after=fills[0]["billId"], limit=1) == fills[1:2]
    assert trader.rows("/trade/fills", before=fills[1]["billId"]) == fills[:1]
    assert trader.rows("/trade/fills-history", instType="SWAP") == fills
    assert code_of(trader.get("/trade/fills-history")) == (400, "50014")


def test_at_most_a_hundred_rows_at_once(venue: OkxSimulator, trader: Trader) -> None:
    placed = [venue.book.work_order(SWAP, "long", "0.01", 110000).order_id for _ in range(120)]

    first = [row["ordId"] for row in trader.rows("/trade/orders-pending", limit=500)]
    rest = [row["ordId"] for row in trader.rows("/trade/orders-pending", after=first[-1])]

    assert len(first) == 100
    assert first + rest == placed[::-1]


def test_the_history_of_orders(trader: Trader) -> None:
    trader.close(clOrdId="mine", tag="t1")

    (row,) = trader.rows("/trade/orders-history", instType="SWAP", state="filled")
    assert (row["clOrdId"], row["tag"], row["side"], row["sz"]) == ("mine", "t1", "sell", "5")
    assert code_of(trader.get("/trade/orders-history")) == (400, "50014")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"instId": SWAP, "ordId": "1"}, "51603"),
        ({"instId": SWAP, "clOrdId": "nobody"}, "51603"),
        ({"instId": SWAP}, "50015"),
    ],
)
def test_an_order_that_is_not_there(trader: Trader, query: dict[str, str], code: str) -> None:
    assert code_of(trader.get("/trade/order", **query))[1] == code


def test_instruments(trader: Trader) -> None:
    swaps = {row["instId"]: row for row in trader.rows("/public/instruments", instType="SWAP")}

    swap = swaps[SWAP]
    assert (swap["ctVal"], swap["ctValCcy"], swap["settleCcy"]) == ("0.01", "BTC", "USDT")
    assert (swap["lotSz"], swap["minSz"], swap["maxMktSz"], swap["state"]) == (
        "0.01",
        "0.01",
        "12000",
        "live",
    )
    (future,) = trader.rows("/public/instruments", instType="FUTURES")
    assert (future["instId"], future["lotSz"]) == (FUTURE, "1")
    assert datetime.fromtimestamp(int(future["expTime"]) / 1000, UTC).date().isoformat() == "2027-03-26"
    assert trader.rows("/public/instruments", instType="OPTION", uly="BTC-USD") == []
    assert code_of(trader.get("/public/instruments")) == (400, "50014")


def test_the_public_part_asks_nobody_who_they_are(venue: OkxSimulator) -> None:
    answer = requests.get(f"{venue.url}/api/v5/public/time", timeout=SLOWEST)

    assert answer.json()["data"] == [{"ts": str(int(NOVEMBER_2026 * 1000))}]


def test_the_account_tells_its_mode(venue: OkxSimulator, trader: Trader) -> None:
    (config,) = trader.rows("/account/config")
    assert (config["posMode"], config["acctLv"]) == ("net_mode", "2")

    venue.book.mode = "long_short_mode"
    assert trader.rows("/account/config")[0]["posMode"] == "long_short_mode"


def test_what_is_not_a_call(trader: Trader) -> None:
    assert trader.get("/trade/nothing").status_code == 404
    assert code_of(trader.get("/trade/close-position")) == (405, "50115")
    assert code_of(trader.call("POST", "/api/v5/trade/close-position")) == (400, "50000")
    assert code_of(trader.call("POST", "/api/v5/trade/close-position", "{")) == (400, "50002")
    trader.changed["Content-Type"] = "text/plain"
    assert code_of(trader.close()) == (400, "50006")


# How orders fill


def test_orders_fill_late_and_in_parts(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    venue.book.fill_delay, venue.book.fill_in_parts = 4, 2
    trader.close(clOrdId="mine")

    def seen() -> tuple[str, str]:
        (row,) = trader.rows("/trade/order", instId=SWAP, clOrdId="mine")
        return row["state"], row["accFillSz"]

    assert seen() == ("live", "0")
    clock.pass_seconds(2)
    assert seen() == ("partially_filled", "2.5")
    clock.pass_seconds(2)
    assert seen() == ("filled", "5")
    assert len(trader.rows("/trade/fills")) == 2


def test_a_close_never_turns_a_position_round(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    venue.book.fill_delay = 1
    trader.close()
    venue.book.set_position(SWAP, "long", 2)
    clock.pass_seconds(1)

    assert venue.book.quantity(SWAP) == 0
    assert venue.book.orders()[-1].state is OrderState.CANCELED


# The rate limits


@pytest.mark.parametrize(
    ("path", "query", "limit"),
    [("/account/positions", {}, 10), ("/trade/order", {"instId": SWAP, "ordId": "1"}, 60)],
)
def test_a_call_is_throttled_by_its_own_rate(
    clock: Clock, path: str, query: dict[str, str], limit: int
) -> None:
    with OkxSimulator(KEY, SECRET, PASSPHRASE, rate_limit=True, book=Book(clock=clock)) as venue:
        trader = Trader(venue, clock)
        with trader.session:
            answers = [trader.get(path, **query) for _ in range(3 * limit)]
            other = trader.close(ETH)

    throttled = [answer for answer in answers if answer.status_code == 429]
    assert throttled
    assert all(answer.json()["code"] == "50011" for answer in throttled)
    assert all(answer.status_code == 200 for answer in answers[:limit])
    assert code_of(other)[1] == "51023"


def test_closes_are_throttled_for_each_instrument(clock: Clock) -> None:
    with OkxSimulator(KEY, SECRET, PASSPHRASE, rate_limit=True, book=Book(clock=clock)) as venue:
        trader = Trader(venue, clock)
        with trader.session:
            answers = [trader.close(SWAP) for _ in range(60)]
            other = trader.close(ETH)

    assert {answer.status_code for answer in answers} == {200, 429}
    assert other.status_code == 200


# Bad days


@pytest.mark.parametrize(
    ("fault", "options", "status", "code", "closed"),
    [
        ("refuse", {}, 200, "50027", False),
        ("refuse", {"code": "51024", "message": "blocked"}, 200, "51024", False),
        ("throttle", {}, 429, "50011", False),
        ("code", {"code": "50026"}, 500, "50026", False),
        ("code", {"code": "50026", "acts": True}, 500, "50026", True),
        ("code", {"code": "51113"}, 429, "51113", False),
        ("code", {"code": "59999", "status": 418, "message": "?"}, 418, "59999", False),
        ("code", {"code": "51023", "as_scode": True}, 200, "1", False),
        ("timeout_50004", {}, 400, "50004", False),
        ("timeout_50004", {"acts": True}, 400, "50004", True),
        ("timeout_408", {}, 400, "50004", False),
        ("timeout_408_after_acting", {}, 400, "50004", True),
        ("late_action", {"seconds": 60}, 400, "50004", False),
        ("huge_body", {"mebibytes": 1}, 200, "0", True),
        ("slow_drip", {"milliseconds": 0}, 200, "0", True),
        ("slow_fill", {"seconds": 60}, 200, "0", False),
        ("no_effect", {}, 200, "0", False),
    ],
)
def test_a_bad_day_that_answers(
    venue: OkxSimulator,
    trader: Trader,
    fault: str,
    options: dict[str, Any],
    status: int,
    code: str,
    closed: bool,
) -> None:
    venue.bad_day(Fault(fault), on="close", **options)

    answer = trader.close()

    assert code_of(answer) == (status, code)
    assert (venue.book.quantity(SWAP) == 0) is closed
    assert venue.requests[-1].fault == fault


@pytest.mark.parametrize(
    ("fault", "status", "closed"),
    [
        ("error_500", 500, False),
        ("error_500_after_acting", 500, True),
        ("error_502", 502, False),
        ("error_502_after_acting", 502, True),
        ("html_page", 200, True),
        ("not_json", 200, True),
        ("wrong_shape", 200, True),
        ("redirect", 302, False),
    ],
)
def test_a_bad_day_that_answers_something_else(
    venue: OkxSimulator, trader: Trader, fault: str, status: int, closed: bool
) -> None:
    venue.bad_day(Fault(fault), on="close")

    answer = trader.close()

    assert answer.status_code == status
    assert (venue.book.quantity(SWAP) == 0) is closed


@pytest.mark.parametrize(
    ("fault", "options", "closed"),
    [
        ("cut_before_acting", {}, False),
        ("cut_after_acting", {}, True),
        ("cut_mid_answer", {}, True),
        ("truncated_json", {}, True),
        ("act_then_hang", {}, True),
        ("hang_then_act", {"seconds": 0.3}, True),
    ],
)
def test_a_bad_day_without_a_whole_answer(
    venue: OkxSimulator, trader: Trader, fault: str, options: dict[str, Any], closed: bool
) -> None:
    venue.bad_day(Fault(fault), on="close", **options)

    with pytest.raises(requests.RequestException):
        trader.close(timeout=0.2)

    time.sleep(0.2 if fault == "hang_then_act" else 0)
    assert (venue.book.quantity(SWAP) == 0) is closed
    assert [request.fault for request in venue.requests] == [fault]


def test_a_late_action_is_late(venue: OkxSimulator, trader: Trader, clock: Clock) -> None:
    venue.bad_day(Fault.LATE_ACTION, on="close", seconds=2)
    trader.close()
    assert venue.book.quantity(SWAP) == 5

    clock.pass_seconds(2)

    assert venue.book.quantity(SWAP) == 0
    assert venue.requests[-1].acted


def test_a_close_without_effect_ends_cancelled(venue: OkxSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.NO_EFFECT, on="close")
    trader.close(clOrdId="mine")

    (row,) = trader.rows("/trade/order", instId=SWAP, clOrdId="mine")
    assert (row["state"], row["accFillSz"], venue.book.quantity(SWAP)) == ("canceled", "0", Decimal(5))


def test_bad_days_end(venue: OkxSimulator, trader: Trader) -> None:
    venue.bad_day(Fault.ERROR_500, on="positions", times=1)
    venue.bad_day(Fault.ERROR_502, times=None)
    assert trader.get("/account/positions").status_code == 500
    assert trader.get("/account/positions").status_code == 502

    venue.good_days()

    assert trader.get("/account/positions").status_code == 200


def test_nobody_listens_for_a_while(venue: OkxSimulator, trader: Trader) -> None:
    venue.stop_listening()
    with pytest.raises(requests.ConnectionError):
        trader.close()

    venue.listen_again()

    assert code_of(trader.close()) == (200, "0")


# The control face


def test_another_process_sets_the_book(venue: OkxSimulator) -> None:
    url = f"{venue.url}/_simulator/book"
    wanted = {
        "mode": "long_short_mode",
        "positions": [{"inst_id": ETH, "side": "short", "quantity": "1.5", "average_price": 3500.5}],
        "working_orders": [{"inst_id": ETH, "side": "short", "quantity": "0.5", "price": 3000}],
        "mark_prices": {ETH: 3400},
    }

    shown = requests.put(url, json=wanted, timeout=SLOWEST).json()

    (position,) = shown["positions"]
    assert (position["inst_id"], position["side"], position["quantity"]) == (ETH, "short", "1.5")
    assert [order["side"] for order in shown["working_orders"]] == ["buy"]
    assert [(row["pos"], row["upl"]) for row in shown["rows"]] == [("1.5", "15.075")]
    assert requests.put(url, json=shown["positions"], timeout=SLOWEST).json()["positions"] == [position]


def test_another_process_asks_for_a_bad_day(venue: OkxSimulator, trader: Trader) -> None:
    faults = f"{venue.url}/_simulator/faults"
    asked = {"fault": "code", "on": "close", "options": {"code": "51115"}}
    assert requests.post(faults, json=asked, timeout=SLOWEST).status_code == 200

    assert code_of(trader.close()) == (429, "51115")

    (seen,) = requests.get(f"{venue.url}/_simulator/requests", timeout=SLOWEST).json()["requests"]
    assert (seen["fault"], seen["operation"], seen["status"]) == ("code", "close", 429)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/faults", {"fault": "nonsense"}),
        ("POST", "/faults", {"fault": "refuse", "options": {"colour": "red"}}),
        ("POST", "/faults", {"fault": "slow_fill", "on": "positions"}),
        ("PUT", "/book", {"colour": "red"}),
        ("PUT", "/book", {"positions": [{"inst_id": "NONE", "side": "long", "quantity": 1}]}),
    ],
)
def test_the_control_face_says_what_is_wrong(venue: OkxSimulator, method: str, path: str, body: Any) -> None:
    answer = requests.request(method, f"{venue.url}/_simulator{path}", json=body, timeout=SLOWEST)

    assert answer.status_code == 400
    assert answer.json()["error"]


# As a process


def test_the_simulator_as_a_process() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OKX_")}
    command = [sys.executable, "-m", "tests.simulators.okx", "--port", "0", "--moving"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("OKX simulator ready at http://127.0.0.1:")
            url = line.removeprefix("OKX simulator ready at ").split(" ")[0]
            shown = requests.get(f"{url}/_simulator/book", timeout=SLOWEST).json()
            assert [position["inst_id"] for position in shown["positions"]] == [SWAP, ETH, FUTURE]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(SLOWEST) == 0
