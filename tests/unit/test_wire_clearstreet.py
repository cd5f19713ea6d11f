"""Clear Street's words: each request byte for byte, and what each answer means."""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import clearstreet
import httpx
import pytest
from clearstreet.types.v1 import OrderStatus, OrderType
from hypothesis import given
from hypothesis import strategies as st

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching, Quantity
from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Fill, Holding, Order, OrderState, Position, Report, Side
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from workers.brokers import http
from workers.brokers.broker import Broker, Call, Guard, Page
from workers.brokers.clearstreet import answers, requests
from workers.brokers.clearstreet.adapter import ClearStreet
from workers.brokers.fields import Unreadable
from workers.brokers.http import HttpAnswer, HttpRequest, parsed

ACCOUNT = "19816"
AAPL_ID = "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8"
TSLA_ID = "d4d5d6d7-e4e5-f4f5-a4a5-a6a7a8a9aaab"
CLOSE_ID = "019c0b56-2119-7482-a80f-5a2a316524d9"
SALE_ID = "0195f6c8-1a2b-7c3d-8e4f-5a6b7c8d9e0f"
OPTION = "AAPL  260320P00180000"
MOMENT = datetime(2025, 10, 3, 14, 1, 15, tzinfo=UTC)
NO_ORDER = "Order 97dfdcfe503f425c8367ca10928e2499 not found for account 100001"

LONG = {
    "account_id": 19816,
    "instrument_id": AAPL_ID,
    "symbol": "AAPL",
    "instrument_type": "COMMON_STOCK",
    "position_type": "LONG",
    "quantity": "100",
    "available_quantity": "100",
    "avg_price": "145.00",
    "cost_basis": "14500.00",
    "market_value": "15050.00",
    "instrument_price": "151.00",
    "closing_price": "150.50",
    "closing_price_date": "2025-10-31",
    "daily_realized_pnl": "700.00",
    "unrealized_pnl": "550.00",
}
SHORT = LONG | {
    "instrument_id": TSLA_ID,
    "symbol": "TSLA",
    "position_type": "SHORT",
    "quantity": "-50",
    "avg_price": "180.00",
    "cost_basis": "-9000.00",
    "market_value": "-9000.00",
    "instrument_price": "178.50",
    "unrealized_pnl": "75.00",
}
CLOSING = {
    "account_id": 19816,
    "average_fill_price": None,
    "client_order_id": "close-position-20251003-001",
    "created_at": "2025-10-03T14:01:15.000000000Z",
    "filled_quantity": "0",
    "id": CLOSE_ID,
    "instrument_id": "c3c4c5c6-d3d4-e3e4-f3f4-f5f6f7f8f9fa",
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
FILLED = {
    "account_id": 19816,
    "average_fill_price": "50.03",
    "client_order_id": "my-ref-id-20251001-002",
    "created_at": "2025-10-31 14:00:00+00:00",
    "filled_quantity": "10",
    "id": SALE_ID,
    "instrument_id": TSLA_ID,
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
    "updated_at": "2025-10-31 14:00:05+00:00",
    "venue": "XNAS",
}
EXECUTION = {
    "id": "e-1",
    "order_id": SALE_ID,
    "instrument_id": TSLA_ID,
    "symbol": "TSLA",
    "side": "SELL",
    "quantity": "10",
    "price": "50.03",
    "transaction_time": "2025-10-03T14:01:15.123456789Z",
}


def answer(status: int, body: Any, **headers: str) -> HttpAnswer:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, named, parsed(text), text)


def ok(data: Any, **metadata: Any) -> HttpAnswer:
    return answer(200, {"data": data, "error": None, "metadata": {"request_id": "3f4a5b6c"} | metadata})


def no(status: int, message: str, **more: Any) -> HttpAnswer:
    error = {"code": status, "message": message} | more
    return answer(status, {"error": error, "metadata": {"request_id": "5518f0c6"}})


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != name}


# Requests


def sent(request: HttpRequest) -> tuple[str, str, str | None]:
    return request.method, request.url, None if request.content is None else request.content.decode()


LIVE = (
    "PENDING_NEW,QUEUED,PENDING_TRIGGER,NEW,PARTIALLY_FILLED,"
    "PENDING_CANCEL,PENDING_REPLACE,STOPPED,SUSPENDED,CALCULATED,OTHER"
)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (requests.accounts_request(None), ("GET", "/v1/accounts?page_size=1000", None)),
        (
            requests.accounts_request("abc="),
            ("GET", "/v1/accounts?page_size=1000&page_token=abc%3D", None),
        ),
        (
            requests.positions_request(ACCOUNT, None),
            ("GET", "/v1/accounts/19816/positions?page_size=1000", None),
        ),
        (
            requests.positions_request(ACCOUNT, "a&b=c"),
            ("GET", "/v1/accounts/19816/positions?page_size=1000&page_token=a%26b%3Dc", None),
        ),
        (
            requests.orders_request(ACCOUNT, None),
            (
                "GET",
                f"/v1/accounts/19816/orders?page_size=500&status={LIVE.replace(',', '%2C')}",
                None,
            ),
        ),
        (
            requests.order_request(ACCOUNT, SALE_ID),
            ("GET", f"/v1/accounts/19816/orders/{SALE_ID}", None),
        ),
        (
            requests.orders_with_client_id_request(ACCOUNT, "flatwire-1"),
            ("GET", "/v1/accounts/19816/orders?page_size=1000&order_ids=flatwire-1", None),
        ),
        (
            requests.executions_request(ACCOUNT, MOMENT.astimezone(timezone(timedelta(hours=-4))), None),
            ("GET", "/v1/accounts/19816/executions?page_size=1000&from=2025-10-03T14%3A01%3A15Z", None),
        ),
        (
            requests.close_request(ACCOUNT, "GOOG", True),
            ("DELETE", "/v1/accounts/19816/positions/GOOG", '{"cancel_orders": true}'),
        ),
        (
            requests.close_request(ACCOUNT, AAPL_ID, False),
            ("DELETE", f"/v1/accounts/19816/positions/{AAPL_ID}", '{"cancel_orders": false}'),
        ),
        (
            requests.close_request(ACCOUNT, OPTION, True),
            (
                "DELETE",
                "/v1/accounts/19816/positions/AAPL%20%20260320P00180000",
                '{"cancel_orders": true}',
            ),
        ),
        (
            requests.close_account_request(ACCOUNT),
            ("DELETE", "/v1/accounts/19816/positions", '{"cancel_orders": true}'),
        ),
        (
            requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal("10"), "flatwire-1"),
            (
                "POST",
                "/v1/accounts/19816/orders",
                '[{"id": "flatwire-1", "symbol": "TSLA", "side": "SELL", "quantity": "10", '
                '"order_type": "MARKET", "time_in_force": "DAY", "position_intent": "CLOSE"}]',
            ),
        ),
        (
            requests.reduce_request(ACCOUNT, "TSLA", TSLA_ID, Side.SHORT, Decimal("2.50"), "flatwire-1"),
            (
                "POST",
                "/v1/accounts/19816/orders",
                f'[{{"id": "flatwire-1", "instrument_id": "{TSLA_ID}", "side": "BUY", "quantity": "2.5", '
                '"order_type": "MARKET", "time_in_force": "DAY", "position_intent": "CLOSE"}]',
            ),
        ),
        (
            requests.cancel_order_request(ACCOUNT, CLOSE_ID),
            ("DELETE", f"/v1/accounts/19816/orders/{CLOSE_ID}", None),
        ),
        (
            requests.cancel_orders_request(ACCOUNT, "BRK.B"),
            ("DELETE", "/v1/accounts/19816/orders?instrument_ids=BRK.B", None),
        ),
        (
            requests.cancel_orders_request(ACCOUNT, OPTION),
            ("DELETE", "/v1/accounts/19816/orders?instrument_ids=AAPL++260320P00180000", None),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_request_is_as_documented(request_: HttpRequest, expected: tuple[str, str, str | None]) -> None:
    assert sent(request_) == expected


Said = tuple[str, str, dict[str, list[str]], Any]
Client = clearstreet.ClearStreet


def said_by_the_sdk(call: Callable[[Client], Any]) -> Said:
    """What the vendor's own client sends: method, path, query, body."""
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": [], "error": None, "metadata": {"request_id": "r"}})

    with httpx.Client(transport=httpx.MockTransport(take)) as transport:
        client = Client(api_key="k", base_url="https://venue.example", http_client=transport, max_retries=0)
        call(client)
    (request,) = seen
    path, _, query = request.url.raw_path.decode().partition("?")
    return request.method, path, parse_qs(query), json.loads(request.content or "null")


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        (
            requests.accounts_request("abc="),
            lambda c: c.v1.accounts.get_accounts(page_size=1000, page_token="abc="),
        ),
        (
            requests.positions_request(ACCOUNT, "abc="),
            lambda c: c.v1.positions.get_positions(19816, page_size=1000, page_token="abc="),
        ),
        (
            requests.orders_request(ACCOUNT, None),
            lambda c: c.v1.orders.get_orders(19816, page_size=500, status=LIVE.split(",")),
        ),
        (
            requests.orders_with_client_id_request(ACCOUNT, "flatwire-1"),
            lambda c: c.v1.orders.get_orders(19816, page_size=1000, order_ids=["flatwire-1"]),
        ),
        (
            requests.order_request(ACCOUNT, SALE_ID),
            lambda c: c.v1.orders.get_order_by_id(SALE_ID, account_id=19816),
        ),
        (
            requests.executions_request(ACCOUNT, MOMENT, None),
            lambda c: c.v1.orders.get_executions(19816, page_size=1000, from_="2025-10-03T14:01:15Z"),
        ),
        (
            requests.close_request(ACCOUNT, OPTION, False),
            lambda c: c.v1.positions.close_position(OPTION, account_id=19816, cancel_orders=False),
        ),
        (
            requests.close_account_request(ACCOUNT),
            lambda c: c.v1.positions.close_positions(19816, cancel_orders=True),
        ),
        (
            requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal(10), "flatwire-1"),
            lambda c: c.v1.orders.submit_orders(
                19816,
                orders=[
                    {
                        "id": "flatwire-1",
                        "symbol": "TSLA",
                        "side": "SELL",
                        "quantity": "10",
                        "order_type": "MARKET",
                        "time_in_force": "DAY",
                        "position_intent": "CLOSE",
                    }
                ],
            ),
        ),
        (
            requests.cancel_order_request(ACCOUNT, SALE_ID),
            lambda c: c.v1.orders.cancel_open_order(SALE_ID, account_id=19816),
        ),
        (
            requests.cancel_orders_request(ACCOUNT, OPTION),
            lambda c: c.v1.orders.cancel_all_open_orders(19816, instrument_ids=[OPTION]),
        ),
    ],
    ids=lambda value: f"{value.method} {value.url[:60]}" if isinstance(value, HttpRequest) else "",
)
def test_the_vendors_own_client_says_the_same(request_: HttpRequest, call: Callable[[Client], Any]) -> None:
    path, _, query = request_.url.partition("?")

    assert (request_.method, path, parse_qs(query), request_.body) == said_by_the_sdk(call)


def test_every_status_of_the_official_sdk_is_known_and_the_live_ones_are_asked_for() -> None:
    asked = set(parse_qs(urlsplit(requests.orders_request(ACCOUNT, None).url).query)["status"][0].split(","))
    ended = {"FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "DONE_FOR_DAY"}

    assert asked | ended == set(get_args(OrderStatus))
    assert not asked & ended


@pytest.mark.parametrize(
    ("quantity", "text"),
    [("4", "4"), ("4.00", "4"), ("1E+2", "100"), ("100", "100"), ("0.5", "0.5"), ("1E-9", "0.000000001")],
)
def test_a_quantity_is_plain_text(quantity: str, text: str) -> None:
    request = requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal(quantity), "f")

    assert request.body[0]["quantity"] == text


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "1E+15", "1E+999"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal(quantity), "f")


NO_NAMES = ["", " ", " A", "A ", "A\n", "A\x00B", "\u00a0A", "A\u200b", "\ud800", "A\t"]
NO_SEGMENTS = [".", "..", "a/b", "/", "../x", "a\\b", "./."]

Builder = Callable[[str], HttpRequest]


@pytest.mark.parametrize("name", [*NO_NAMES, *NO_SEGMENTS], ids=ascii)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.close_request(ACCOUNT, name, True),
        lambda name: requests.order_request(ACCOUNT, name),
        lambda name: requests.cancel_order_request(ACCOUNT, name),
    ],
    ids=["close", "order", "cancel order"],
)
def test_a_name_that_could_change_the_path_is_refused(name: str, build: Builder) -> None:
    with pytest.raises(ValueError, match="not a name"):
        build(name)


@pytest.mark.parametrize("name", [*NO_NAMES, "AAPL,TSLA", ","], ids=ascii)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.cancel_orders_request(ACCOUNT, name),
        lambda name: requests.orders_with_client_id_request(ACCOUNT, name),
        lambda name: requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal(1), name),
    ],
    ids=["cancel orders", "look up", "client id"],
)
def test_a_name_that_would_filter_for_nothing_or_for_more_is_refused(name: str, build: Builder) -> None:
    with pytest.raises(ValueError, match="not a name"):
        build(name)


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
@pytest.mark.parametrize("instrument_id", [None, TSLA_ID])
def test_an_order_names_its_instrument(name: str, instrument_id: str | None) -> None:
    symbol, by_id = (name, None) if instrument_id is None else ("TSLA", name)

    with pytest.raises(ValueError, match="not a name"):
        requests.reduce_request(ACCOUNT, symbol, by_id, Side.LONG, Decimal(1), "f")


def test_a_client_id_has_at_most_64_characters() -> None:
    with pytest.raises(ValueError, match="too long"):
        requests.reduce_request(ACCOUNT, "TSLA", None, Side.LONG, Decimal(1), "f" * 65)


@pytest.mark.parametrize(
    "account",
    ["", "0x1", "-1", "+1", "19816/positions", "..", " 19816", "19816\n", "١٩", "1e3", "*", "019", "9" * 20,
     str(2**63), "19816?x=1"],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.positions_request(name, None),
        lambda name: requests.orders_request(name, None),
        lambda name: requests.order_request(name, "x"),
        lambda name: requests.orders_with_client_id_request(name, "x"),
        lambda name: requests.executions_request(name, MOMENT, None),
        lambda name: requests.close_request(name, "AAPL", True),
        requests.close_account_request,
        lambda name: requests.reduce_request(name, "AAPL", None, Side.LONG, Decimal(1), "f"),
        lambda name: requests.cancel_order_request(name, "x"),
        lambda name: requests.cancel_orders_request(name, "AAPL"),
    ],
    ids=["positions", "orders", "order", "look up", "executions", "close", "account", "reduce", "one", "all"],
)
def test_an_account_is_a_number_of_64_bits(account: str, build: Builder) -> None:
    with pytest.raises(ValueError, match="not a name of an account"):
        build(account)


def test_the_largest_account_is_taken() -> None:
    assert str(2**63 - 1) in requests.close_account_request(str(2**63 - 1)).url


@given(st.text(max_size=12))
def test_no_instrument_reaches_beyond_its_segment(name: str) -> None:
    try:
        request = requests.close_request(ACCOUNT, name, True)
    except ValueError:
        return

    before, _, segment = request.url.rpartition("/")
    assert before == "/v1/accounts/19816/positions"
    assert segment not in ("", ".", "..")
    assert not set(segment) & set("/?#\\ ")


# What an answer to a close means

CLOSED = [
    ("the documented sample", ok([CLOSING]), Report(order_ids=(CLOSE_ID,))),
    ("without a client id", ok([without(CLOSING, "client_order_id")]), Report(order_ids=(CLOSE_ID,))),
    ("several orders", ok([CLOSING, FILLED]), Report(order_ids=(CLOSE_ID, SALE_ID))),
    ("rejected already", ok([CLOSING | {"status": "REJECTED"}]), Report(order_ids=(CLOSE_ID,))),
    ("a status of tomorrow", ok([CLOSING | {"status": "WHATEVER"}]), Report(order_ids=(CLOSE_ID,))),
    ("the account as a text", ok([CLOSING | {"account_id": "19816"}]), Report(order_ids=(CLOSE_ID,))),
    ("no metadata", answer(200, {"data": [CLOSING]}), Report(order_ids=(CLOSE_ID,))),
    ("no orders", ok([]), Report(nothing_open=True)),
    ("404", no(404, "Position not found"), Report(nothing_open=True)),
    ("404 in other words", no(404, "Nope"), Report(nothing_open=True)),
    ("400: no position", no(400, "No position for AAPL"), Report(nothing_open=True)),
    ("400: no open position", no(400, "There is no open position"), Report(nothing_open=True)),
    ("400: not found", no(400, "Position AAPL not found"), Report(nothing_open=True)),
    ("400: unknown", no(400, "Instrument NOPE not found"), Report(nothing_open=True)),
]  # fmt: skip


@pytest.mark.parametrize(("given_", "expected"), [row[1:] for row in CLOSED], ids=[row[0] for row in CLOSED])
def test_a_close_becomes_the_orders_that_were_generated(given_: HttpAnswer, expected: Report) -> None:
    assert answers.closed(given_, ACCOUNT) == expected


SUBMITTED = CLOSING | {"client_order_id": "flatwire-1"}


@pytest.mark.parametrize("order", [SUBMITTED, without(SUBMITTED, "client_order_id")], ids=["ours", "unsaid"])
@pytest.mark.parametrize("status", ["PENDING_NEW", "REJECTED", "FILLED"])
def test_a_submitted_order_is_reported(order: dict[str, Any], status: str) -> None:
    report = answers.reduced(ok([order | {"status": status}]), ACCOUNT, "flatwire-1")

    assert report == Report(order_ids=(CLOSE_ID,))


@pytest.mark.parametrize(
    "data",
    [[], [SUBMITTED, SUBMITTED], [CLOSING], [SUBMITTED | {"client_order_id": 1}], SUBMITTED, None],
    ids=["none", "two", "another's", "no text", "no list", "null"],
)
def test_one_submitted_order_makes_one_order(data: Any) -> None:
    with pytest.raises(Unreadable):
        answers.reduced(ok(data), ACCOUNT, "flatwire-1")


@pytest.mark.parametrize(
    "given_",
    [
        no(409, "Conflict"),
        no(400, "Duplicate client order id"),
        no(400, "Invalid order", details=[{"description": "id must be unique per account"}]),
        no(422, "id has already been used"),
    ],
    ids=lambda a: a.text,
)
def test_an_order_that_was_seen_before_is_looked_up(given_: HttpAnswer) -> None:
    with pytest.raises(OutcomeUnknown, match="seen the order before") as caught:
        answers.reduced(given_, ACCOUNT, "flatwire-1")

    assert caught.value.answer == given_.for_the_record()


@pytest.mark.parametrize("message", ["No position", "Instrument not found"])
def test_a_submitted_order_never_comes_to_nothing_open(message: str) -> None:
    for status in (400, 404):
        with pytest.raises(Refused):
            answers.reduced(no(status, message), ACCOUNT, "flatwire-1")


def test_a_cancel_is_asked_for() -> None:
    going = CLOSING | {"status": "PENDING_CANCEL"}

    assert answers.cancelled(ok(going), ACCOUNT, CLOSE_ID) == Report()
    assert answers.cancelled_all(ok([going, FILLED]), ACCOUNT) == Report()
    assert answers.cancelled_all(ok([]), ACCOUNT) == Report()


def test_that_no_orders_match_is_as_good_as_cancelled() -> None:
    assert answers.cancelled_all(no(404, "No orders match the specified filters"), ACCOUNT) == Report()
    with pytest.raises(Refused):
        answers.cancelled_all(no(404, "Account not found"), ACCOUNT)
    with pytest.raises(Refused):
        answers.cancelled_all(no(400, "No orders match the specified filters"), ACCOUNT)


def test_a_cancel_of_another_order_settles_nothing() -> None:
    with pytest.raises(Unreadable, match="another order"):
        answers.cancelled(ok(FILLED), ACCOUNT, CLOSE_ID)


# What each error means

PARSERS: dict[str, Callable[[HttpAnswer], Any]] = {
    "closed": lambda a: answers.closed(a, ACCOUNT),
    "reduced": lambda a: answers.reduced(a, ACCOUNT, "flatwire-1"),
    "cancelled": lambda a: answers.cancelled(a, ACCOUNT, CLOSE_ID),
    "cancelled_all": lambda a: answers.cancelled_all(a, ACCOUNT),
    "accounts": answers.accounts_of,
    "positions": lambda a: answers.positions_of(a, ACCOUNT),
    "orders": lambda a: answers.orders_of(a, ACCOUNT),
    "fills": lambda a: answers.fills_of(a, ACCOUNT, MOMENT),
    "order": lambda a: answers.found_order(a, ACCOUNT, SALE_ID),
    "order of ours": lambda a: answers.found_order_of_ours(a, ACCOUNT, "flatwire-1"),
}
every_parser = pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS.keys())

RISK = [
    {
        "type": "BUYING_POWER",
        "subject": "order:019dba52-6611-7b53-9bc9-18c410e5ebb8",
        "description": "Buying Power: required > available",
    },
    {
        "domain": "com.clearstreet.oems.risk",
        "reason": "BUYING_POWER",
        "metadata": {"account_id": "100001", "symbol": "AAPL", "side": "Buy"},
    },
]
REFUSALS = [
    (
        no(400, "Failed to parse the request body as JSON: expected `:` at line 2 column 19"),
        "Clear Street: Failed to parse the request body as JSON: expected `:` at line 2 column 19",
    ),
    (
        no(400, "Risk check failed", details=RISK),
        "Clear Street: Risk check failed: Buying Power: required > available; BUYING_POWER",
    ),
    (
        no(400, "Risk check failed", details=[{"description": "Locate not found"}]),
        "Clear Street: Risk check failed: Locate not found",
    ),
    (no(400, "Bad", details=[]), "Clear Street: Bad"),
    (no(400, "Bad", details=None), "Clear Street: Bad"),
    (no(400, "Bad", details=7), "Clear Street: Bad"),
    (no(400, "Bad", details={"reason": "x"}), "Clear Street: Bad"),
    (no(400, "Bad", details=[1, None, [], {}, {"reason": 1}, {"reason": ""}]), "Clear Street: Bad"),
    (no(401, "Unauthorized"), "Clear Street: Unauthorized"),
    (
        no(403, "The caller does not have permission to execute the specified operation"),
        "Clear Street: The caller does not have permission to execute the specified operation",
    ),
    (
        no(422, "Failed to deserialize the JSON body into the target type: [0]: missing field `order_type`"),
        "Clear Street: Failed to deserialize the JSON body into the target type: [0]: missing field `order_type`",
    ),
]


@every_parser
@pytest.mark.parametrize(("given_", "words"), REFUSALS, ids=[row[0].text[:60] for row in REFUSALS])
def test_a_documented_error_is_a_definite_no_in_the_venues_words(
    given_: HttpAnswer, words: str, parse: Callable[[HttpAnswer], Any]
) -> None:
    with pytest.raises(Refused) as caught:
        parse(given_)

    assert caught.value.detail == words
    assert caught.value.answer == given_.for_the_record()


@pytest.mark.parametrize("name", [name for name in PARSERS if name not in ("closed", "order")])
def test_404_is_a_no_elsewhere(name: str) -> None:
    with pytest.raises(Refused, match="not found"):
        PARSERS[name](no(404, NO_ORDER))


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "reduced"])
def test_409_is_a_no_elsewhere(name: str) -> None:
    with pytest.raises(Refused, match="Conflict"):
        PARSERS[name](no(409, "Conflict"))


@pytest.mark.parametrize(("headers", "wait"), [({}, None), ({"Retry_After": "7"}, 7.0)])
@every_parser
def test_429_is_throttled_with_the_venues_wait(
    headers: dict[str, str], wait: float | None, parse: Callable[[HttpAnswer], Any]
) -> None:
    with pytest.raises(Throttled) as caught:
        parse(answer(429, no(429, "Too many requests").body, **headers))

    assert caught.value.retry_after == wait
    assert caught.value.detail == "Clear Street: Too many requests"


UNKNOWN = [
    *(no(status, "Internal server error") for status in (408, 500, 501, 502, 503, 504)),
    *(no(status, "?") for status in (101, 200, 201, 202, 204, 207, 301, 302, 402, 405, 410, 413, 418, 451)),
    answer(404, "<html>404 Not Found</html>"),
    answer(429, "<html>slow down</html>"),
    answer(401, ""),
    answer(400, {}),
    answer(400, []),
    answer(400, {"error": "No position"}),
    answer(400, {"error": None}),
    answer(400, {"error": {}}),
    answer(400, {"error": {"code": 400}}),
    answer(400, {"error": {"code": 400, "message": ""}}),
    answer(400, {"error": {"code": 400, "message": None}}),
    answer(400, {"error": {"code": 400, "message": ["No position"]}}),
    answer(400, {"error": {"code": "400", "message": "No position"}}),
    answer(400, {"error": {"code": True, "message": "No position"}}),
    answer(400, {"error": {"code": 500, "message": "No position"}}),
    answer(404, {"error": {"code": 400, "message": "No position"}}),
    answer(400, {"error": {"message": "No position"}}),
    answer(400, {"error": [{"code": 400, "message": "No position"}]}),
    answer(400, {"error": {"code": 400, "message": "?"}, "data": [CLOSING]}),  # some of it was done
    answer(404, {"error": {"code": 404, "message": "?"}, "data": CLOSING}),
    answer(200, ""),
    answer(200, "OK"),
    answer(200, "<html>Log in</html>"),
    answer(200, '{"data": [], "error": nu'),
    answer(200, "null"),
    answer(200, "true"),
    answer(200, "7"),
    answer(200, []),
    answer(200, [CLOSING]),
    answer(200, {}),
    answer(200, {"error": None}),
    answer(200, {"data": [], "error": {}}),
    answer(200, {"data": [], "error": {"code": 200, "message": "?"}}),
    answer(200, {"data": [], "error": False}),
    answer(200, {"data": [], "error": ""}),
    answer(201, {"data": [CLOSING], "error": None}),
    answer(207, {"data": [CLOSING], "error": None}),
    answer(202, {"data": [], "error": None}),
    answer(204, ""),
    answer(302, ""),
]


@every_parser
@pytest.mark.parametrize("given_", UNKNOWN, ids=lambda a: f"{a.status} {a.text[:50]}")
def test_what_no_page_documents_settles_nothing(
    given_: HttpAnswer, parse: Callable[[HttpAnswer], Any]
) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        parse(given_)

    assert caught.value.answer == given_.for_the_record()


@pytest.mark.parametrize(
    "data",
    [None, {}, FILLED, "x", 7, True, [None], ["x"], [[]], [{}], *([CLOSING | change] for change in (
        {"id": None}, {"id": ""}, {"id": 7}, {"id": ".."}, {"id": "a/b"}, {"id": " "}, {"id": ["x"]},
        {"account_id": None}, {"account_id": 19817}, {"account_id": True}, {"account_id": 19816.0},
        {"account_id": "x"}, {"account_id": -1}, {"account_id": [19816]}))],
    ids=str,
)  # fmt: skip
def test_a_close_whose_orders_can_not_be_read_settles_nothing(data: Any) -> None:
    for parse in (PARSERS["closed"], PARSERS["reduced"], PARSERS["cancelled"], PARSERS["cancelled_all"]):
        with pytest.raises(Unreadable):
            parse(ok(data))


# Positions and accounts

AAPL = Position(
    account=ACCOUNT,
    instrument="AAPL",
    side=Side.LONG,
    quantity=Decimal(100),
    average_price=Decimal("145.00"),
    market_price=Decimal("151.00"),
    profit_loss=Decimal("550.00"),
    unit_value=Decimal(1),
    handle={"instrument_id": AAPL_ID},
    aliases=(AAPL_ID,),
    raw=LONG,
)
TSLA = Position(
    account=ACCOUNT,
    instrument="TSLA",
    side=Side.SHORT,
    quantity=Decimal(50),
    average_price=Decimal("180.00"),
    market_price=Decimal("178.50"),
    profit_loss=Decimal("75.00"),
    unit_value=Decimal(1),
    handle={"instrument_id": TSLA_ID},
    aliases=(TSLA_ID,),
    raw=SHORT,
)


def test_positions_are_read_with_their_sides() -> None:
    assert answers.positions_of(ok([LONG, SHORT]), ACCOUNT) == Page((AAPL, TSLA))


@pytest.mark.parametrize("zero", ["0", "0.000", "-0", 0])
def test_a_position_of_zero_is_none(zero: Any) -> None:
    assert answers.positions_of(ok([LONG | {"quantity": zero}, SHORT]), ACCOUNT) == Page((TSLA,))


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("100", "100"), (100, "100"), ("0.5", "0.5"), ("007", "7"), ("999999999999999", "999999999999999")],
)
def test_a_number_is_a_text_or_whole(quantity: Any, expected: str) -> None:
    (position,) = answers.positions_of(ok([LONG | {"quantity": quantity}]), ACCOUNT).items

    assert position.quantity == Decimal(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("COMMON_STOCK", 1), ("PREFERRED_STOCK", 1), ("OPTION", None), ("INDEX", None), ("NEW_KIND", None)],
)
def test_only_of_shares_the_worth_of_a_point_is_known(kind: str, value: int | None) -> None:
    (position,) = answers.positions_of(ok([LONG | {"instrument_type": kind}]), ACCOUNT).items

    assert position.unit_value == value


@pytest.mark.parametrize("name", ["avg_price", "instrument_price", "unrealized_pnl"])
def test_a_price_that_is_not_said_is_none(name: str) -> None:
    for item in (without(LONG, name), LONG | {name: None}):
        (position,) = answers.positions_of(ok([item]), ACCOUNT).items

        assert [position.average_price, position.market_price, position.profit_loss].count(None) == 1


NO_NUMBERS: list[Any] = [
    None, "", " ", "x", "NaN", "sNaN", "Infinity", "-Infinity", "1e3", "1_000", "１００", "+1", "1.", ".5", "0x10",
    " 1", "1 ", "1\n", "9" * 16, "9" * 99, "1" + "0" * 15, 10**15, -(10**15), 10**400, True, False, 1.5, 100.0,
    [], {}, ["100"],
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: ascii(value)[:20])
def test_what_is_no_number_fails_loudly(value: Any) -> None:
    with pytest.raises(Unreadable):
        answers.positions_of(ok([LONG | {"quantity": value}]), ACCOUNT)
    for name in ("quantity", "filled_quantity"):
        with pytest.raises(Unreadable):
            answers.orders_of(ok([CLOSING | {name: value}]), ACCOUNT)
    for name in ("quantity", "price"):
        with pytest.raises(Unreadable):
            answers.fills_of(ok([EXECUTION | {name: value}]), ACCOUNT, MOMENT)


@pytest.mark.parametrize(
    "changes",
    [
        {"position_type": "SHORT"},
        {"quantity": "-100"},
        {"position_type": "long"},
        {"position_type": "FLAT"},
        {"position_type": None},
        {"position_type": 1},
        {"account_id": 19817},
        {"account_id": None},
        {"symbol": None},
        {"symbol": ""},
        {"symbol": 7},
        {"symbol": "A\nB"},
        {"symbol": "\ud800"},
        {"instrument_id": None},
        {"instrument_id": ""},
        {"instrument_id": "."},
        {"instrument_id": ".."},
        {"instrument_id": "a/b"},
        {"instrument_id": 7},
        {"instrument_type": None},
        {"instrument_type": ["COMMON_STOCK"]},
        {"avg_price": "much"},
        {"unrealized_pnl": False},
    ],
    ids=str,
)
def test_a_position_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.positions_of(ok([SHORT, LONG | changes]), ACCOUNT)


def test_accounts_are_their_ids() -> None:
    given_ = ok([{"id": 19816, "full_name": "A"}, {"id": "100001"}, {"id": 2**63 - 1}])

    assert answers.accounts_of(given_).items == ("19816", "100001", str(2**63 - 1))


@pytest.mark.parametrize("value", [None, "", "x", -1, 1.0, True, 2**63, "1/2", [1]], ids=str)
def test_an_account_that_is_no_number_fails_loudly(value: Any) -> None:
    with pytest.raises(Unreadable):
        answers.accounts_of(ok([{"id": value}]))


# Pages


@pytest.mark.parametrize(
    ("metadata", "following"),
    [
        ({}, None),
        ({"next_page_token": None}, None),
        ({"next_page_token": ""}, None),
        ({"next_page_token": "cGFnZT0y="}, "cGFnZT0y="),
        ({"next_page_token": "cGFnZT0y", "total_items": 25, "total_pages": 3, "page_number": 1}, "cGFnZT0y"),
        ({"total_items": 2, "total_pages": 1, "page_number": 1}, None),
        ({"total_items": None}, None),
    ],
    ids=str,
)
def test_a_list_tells_of_its_next_page(metadata: dict[str, Any], following: str | None) -> None:
    assert answers.positions_of(ok([LONG, SHORT], **metadata), ACCOUNT).next == following


@pytest.mark.parametrize(
    "metadata",
    [
        {"next_page_token": 7},
        {"next_page_token": ["x"]},
        {"next_page_token": "\ud800"},
        {"next_page_token": True},
        {"total_items": 3},  # one is missing, and there is no page to find it on
    ],
    ids=str,
)
def test_a_list_that_may_not_be_whole_fails_loudly(metadata: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.positions_of(ok([LONG, SHORT], **metadata), ACCOUNT)


def test_a_last_page_may_be_shorter_than_the_list() -> None:
    assert answers.positions_of(ok([LONG], total_items=1001), ACCOUNT, "page 2") == Page((AAPL,))


def test_a_list_that_goes_round_in_a_circle_fails_loudly() -> None:
    with pytest.raises(Unreadable, match="circle"):
        answers.positions_of(ok([LONG], next_page_token="again"), ACCOUNT, "again")


@pytest.mark.parametrize("metadata", ["x", 7, [], True], ids=str)
def test_metadata_is_an_object(metadata: Any) -> None:
    with pytest.raises(Unreadable):
        answers.positions_of(answer(200, {"data": [LONG], "metadata": metadata}), ACCOUNT)


@pytest.mark.parametrize("data", [None, {}, "x", 7, True, [1], [None], [[]], ["x"]], ids=str)
@pytest.mark.parametrize("name", ["accounts", "positions", "orders", "fills", "order of ours"])
def test_a_read_without_its_list_is_never_taken_for_an_empty_one(data: Any, name: str) -> None:
    with pytest.raises(Unreadable):
        PARSERS[name](ok(data))


# Orders

SALE = Order(
    ACCOUNT,
    "TSLA",
    SALE_ID,
    market=True,
    state=OrderState.FILLED,
    reduces=Side.LONG,
    quantity=Decimal(10),
    filled=Decimal(10),
    average_price=Decimal("50.03"),
    client_id="my-ref-id-20251001-002",
    detail="FILLED",
    aliases=(TSLA_ID,),
)


def test_the_documented_order_is_read() -> None:
    assert answers.found_order(ok(FILLED), ACCOUNT, SALE_ID) == SALE


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING_NEW", OrderState.WORKING),
        ("NEW", OrderState.WORKING),
        ("PARTIALLY_FILLED", OrderState.WORKING),
        ("PENDING_CANCEL", OrderState.WORKING),
        ("PENDING_REPLACE", OrderState.WORKING),
        ("SUSPENDED", OrderState.WORKING),
        ("CALCULATED", OrderState.WORKING),
        ("STOPPED", OrderState.WORKING),
        ("QUEUED", OrderState.WORKING),
        ("PENDING_TRIGGER", OrderState.WORKING),
        ("FILLED", OrderState.FILLED),
        ("CANCELED", OrderState.ENDED),
        ("REJECTED", OrderState.ENDED),
        ("EXPIRED", OrderState.ENDED),
        ("DONE_FOR_DAY", OrderState.ENDED),
        ("REPLACED", OrderState.ENDED),
    ],
)
def test_each_status_has_its_state(status: str, state: OrderState) -> None:
    order = answers.order_of(FILLED | {"status": status}, ACCOUNT)
    waiting = answers.order_of(FILLED | {"status": status, "queue_state": "AWAITING_RELEASE"}, ACCOUNT)
    released = answers.order_of(FILLED | {"status": status, "queue_state": "RELEASED"}, ACCOUNT)

    assert order.state is state
    assert released.state is state
    assert waiting.state is (OrderState.HELD if state is OrderState.WORKING else state)
    assert answers.orders_of(ok([FILLED | {"status": status}]), ACCOUNT).items == (
        (order,) if state.live else ()
    )


@pytest.mark.parametrize("status", ["OTHER", "", "filled", "CANCELLED", "NEWER", None, 7, ["NEW"], {}, True])
def test_a_status_that_is_not_known_fails_loudly(status: Any) -> None:
    for parse in (
        lambda a: answers.found_order(a, ACCOUNT, SALE_ID),
        lambda a: answers.orders_of(
            dataclasses.replace(a, body=a.body | {"data": [a.body["data"]]}), ACCOUNT
        ),
    ):
        with pytest.raises(Unreadable, match=re.escape(status) if status == "OTHER" else "status"):
            parse(ok(FILLED | {"status": status}))


def test_a_held_order_says_until_when() -> None:
    held = CLOSING | {
        "queue_state": "AWAITING_RELEASE",
        "releases_at": "2025-10-06T13:30:00Z",
        "details": ["Market is closed", "Queued"],
    }

    order = answers.order_of(held, ACCOUNT)

    assert order.detail == "PENDING_NEW; held until 2025-10-06T13:30:00Z; Market is closed; Queued"
    assert answers.order_of(held | {"releases_at": None}, ACCOUNT).state is OrderState.HELD


def test_an_order_says_why_it_ended() -> None:
    details = ["INVALID_TICK_SIZE", None, 7, "", "too fine"]

    order = answers.order_of(CLOSING | {"status": "REJECTED", "details": details}, ACCOUNT)

    assert order.detail == "REJECTED; INVALID_TICK_SIZE; too fine"
    assert answers.order_of(CLOSING | {"details": "x"}, ACCOUNT).detail == "PENDING_NEW"


RESTING = {"LIMIT", "STOP", "STOP_LIMIT", "TRAILING_STOP", "TRAILING_STOP_LIMIT"}


@pytest.mark.parametrize("kind", [*get_args(OrderType), "NEW_KIND", None])
def test_an_order_counts_as_a_close_unless_it_is_known_to_rest(kind: str | None) -> None:
    order = answers.order_of(CLOSING | {"order_type": kind}, ACCOUNT)

    assert order.market is (kind not in RESTING)


@pytest.mark.parametrize(
    ("side", "reduces"),
    [("SELL", Side.LONG), ("SELL_SHORT", Side.LONG), ("BUY", Side.SHORT), ("OTHER", None), ("sell", None)],
)
def test_a_sale_reduces_longs_and_a_purchase_shorts(side: str, reduces: Side | None) -> None:
    assert answers.order_of(CLOSING | {"side": side}, ACCOUNT).reduces is reduces


def test_an_order_is_named_by_its_symbol_or_else_by_the_instruments_id() -> None:
    no_symbol = answers.order_of(FILLED | {"symbol": None}, ACCOUNT)
    no_id = answers.order_of(without(FILLED, "instrument_id"), ACCOUNT)

    assert (no_symbol.instrument, no_symbol.aliases) == (TSLA_ID, (TSLA_ID,))
    assert (no_id.instrument, no_id.aliases) == ("TSLA", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": 7},
        {"symbol": "A\x00"},
        {"instrument_id": ["x"]},
        {"id": None},
        {"id": ".."},
        {"account_id": 1},
        {"side": None},
        {"side": 1},
        {"order_type": 1},
        {"queue_state": 1},
        {"releases_at": 1},
        {"client_order_id": 7},
        {"average_fill_price": "x"},
        {"average_fill_price": "NaN"},
        {"quantity": "0", "filled_quantity": "0"},
        {"quantity": "-10"},
        {"filled_quantity": "-1"},
        {"filled_quantity": "9.999"},  # and filled
        {"filled_quantity": "11"},
        {"filled_quantity": "11", "status": "CANCELED"},
    ],
    ids=str,
)
def test_an_order_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.order_of(FILLED | changes, ACCOUNT)


@pytest.mark.parametrize("blank", [None, ""])
def test_an_order_of_several_legs_has_no_name_of_its_own(blank: str | None) -> None:
    order = answers.order_of(FILLED | {"symbol": blank, "instrument_id": blank}, ACCOUNT)

    assert (order.instrument, order.aliases) == ("", ())


def test_an_order_that_the_venue_does_not_know_is_none() -> None:
    assert answers.found_order(no(404, NO_ORDER), ACCOUNT, SALE_ID) is None
    assert answers.found_order_of_ours(ok([]), ACCOUNT, "flatwire-1") is None


def test_another_order_than_was_asked_for_settles_nothing() -> None:
    with pytest.raises(Unreadable, match="another order"):
        answers.found_order(ok(FILLED), ACCOUNT, CLOSE_ID)


def test_an_order_is_found_by_our_id() -> None:
    found = answers.found_order_of_ours(
        ok([FILLED | {"client_order_id": "flatwire-1"}]), ACCOUNT, "flatwire-1"
    )

    assert found == dataclasses.replace(SALE, client_id="flatwire-1")


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        ([FILLED], {}),
        ([without(FILLED, "client_order_id")], {}),
        ([SUBMITTED, SUBMITTED], {}),
        ([SUBMITTED, FILLED], {}),
        ([SUBMITTED], {"next_page_token": "more"}),
        ([], {"next_page_token": "more"}),
        ([], {"total_items": 1}),
    ],
    ids=["another's", "unsaid", "two", "and another's", "and more", "none, and more", "none of one"],
)
def test_a_filter_that_was_not_heeded_proves_nothing(data: Any, metadata: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.found_order_of_ours(ok(data, **metadata), ACCOUNT, "flatwire-1")


# Fills


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-10-03T14:01:15.000000000Z", MOMENT),
        ("2025-10-03 14:01:15+00:00", MOMENT),
        ("2025-10-03T14:01:15Z", MOMENT),
        ("2025-10-03T14:01:15.123456789Z", MOMENT + timedelta(microseconds=123456)),
        ("2025-10-03T14:01:15.5Z", MOMENT + timedelta(milliseconds=500)),
        ("2025-10-03 10:01:15.000000001-04:00", MOMENT),
    ],
)
def test_both_spellings_of_a_moment_are_read(text: str, moment: datetime) -> None:
    (fill,) = answers.fills_of(ok([EXECUTION | {"transaction_time": text}]), ACCOUNT, MOMENT).items

    assert fill == Fill(ACCOUNT, "TSLA", Side.LONG, Decimal(10), Decimal("50.03"), moment, SALE_ID)
    assert fill.at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [None, "", "yesterday", 1759500075, "1759500075", "2025-10-03", "2025-10-03T14:01:15", "2025-13-03T14:01:15Z",
     "1999-12-31T23:59:59Z", "2100-01-01T00:00:01Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
     "2025-10-03T14:01:15+99:00", "2025-10-03T25:01:15Z", "\ud800", True, [], {}],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_moment_fails_loudly(value: Any) -> None:
    with pytest.raises(Unreadable):
        answers.fills_of(ok([EXECUTION | {"transaction_time": value}]), ACCOUNT, MOMENT)


def test_older_fills_are_left_out_whatever_they_say() -> None:
    old = {"transaction_time": "2025-10-03T14:01:14.999999999Z", "symbol": None, "instrument_id": None}

    fills = answers.fills_of(ok([EXECUTION, EXECUTION | old], next_page_token="on"), ACCOUNT, MOMENT)

    assert len(fills.items) == 1
    assert fills.next == "on"


@pytest.mark.parametrize(("side", "reduces"), [("SELL_SHORT", Side.LONG), ("BUY", Side.SHORT)])
def test_a_fill_reduces_the_other_side(side: str, reduces: Side) -> None:
    (fill,) = answers.fills_of(ok([EXECUTION | {"side": side}]), ACCOUNT, MOMENT).items

    assert fill.reduces is reduces


@pytest.mark.parametrize(
    "changes",
    [
        {"side": "OTHER"},
        {"side": None},
        {"quantity": "0"},
        {"quantity": "-1"},
        {"price": None},  # of several legs
        {"symbol": None, "instrument_id": None},
        {"symbol": 7},
        {"order_id": 7},
        {"order_id": "\x00"},
    ],
    ids=str,
)
def test_a_fill_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.fills_of(ok([EXECUTION | changes]), ACCOUNT, MOMENT)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Date": "Fri, 03 Oct 2025 14:01:15 GMT"}, MOMENT),
        ({"date": "Fri, 03 Oct 2025 14:01:15 -0000"}, MOMENT),
        ({"Date": "Fri, 03 Oct 2025 10:01:15 -0400"}, MOMENT),
        ({}, MOMENT + timedelta(hours=1)),
        ({"Date": "soon"}, MOMENT + timedelta(hours=1)),
        ({"Date": "Mon, 01 Jan 0001 00:00:00 GMT"}, MOMENT + timedelta(hours=1)),
    ],
    ids=str,
)
def test_the_venues_clock_counts_if_it_tells(headers: dict[str, str], expected: datetime) -> None:
    assert answers.present(answer(200, {}, **headers), MOMENT + timedelta(hours=1)) == expected


# The adapter


SETTINGS = BrokerSettings(
    name="cs",
    venue=VENUES["clearstreet"],
    secrets={"api_key": Secret("id-1.secret+key/2")},
    base_url="https://venue.example",
)


@dataclass
class Wire:
    """What was sent, and what comes back."""

    answer: HttpAnswer = dataclasses.field(default_factory=lambda: ok([]))
    sent: list[HttpRequest] = field(default_factory=list)

    def send(self, request: HttpRequest, timeouts: http.Timeouts, guard: Guard) -> HttpAnswer:
        guard(timeouts.deadline)
        self.sent.append(request)
        return self.answer


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(http, "send", wire.send)
    return wire


@pytest.fixture
def broker(wire: Wire) -> Broker:
    return ClearStreet(SETTINGS)


def made(call: Call[Any] | None) -> Any:
    assert call is not None
    return call.make(lambda seconds: None).result


HELD = Holding(ACCOUNT, "AAPL", Side.LONG, Decimal(100), Decimal(0), handle={"instrument_id": AAPL_ID})
NAMED = Holding(ACCOUNT, OPTION, Side.SHORT, Decimal(5), Decimal(0))


def close_of(holding: Holding, *, cancel_orders: bool = True) -> ClosePosition:
    return ClosePosition("cs", holding.account, holding.instrument, cancel_orders=cancel_orders)


def test_a_whole_close_goes_by_the_instruments_id(broker: Broker, wire: Wire) -> None:
    wire.answer = ok([CLOSING])
    call = broker.close(close_of(HELD, cancel_orders=False), HELD, None)

    assert made(call) == Report(order_ids=(CLOSE_ID,))
    (request,) = wire.sent
    assert (request.method, request.url, request.content) == (
        "DELETE",
        f"https://venue.example/v1/accounts/19816/positions/{AAPL_ID}",
        b'{"cancel_orders": false}',
    )
    assert request.headers == {
        "Authorization": "Bearer id-1.secret+key/2",
        "Content-Type": "application/json",
    }
    assert call.client_id is None
    assert not call.lapses
    assert call.limits == ()


def test_a_whole_close_goes_by_the_symbol_where_no_id_is_known(broker: Broker) -> None:
    call = broker.close(close_of(NAMED), NAMED, None)

    assert call.request["url"].endswith("/v1/accounts/19816/positions/AAPL%20%20260320P00180000")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", " AAPL", "AAPL\n"], ids=ascii)
def test_no_position_without_a_name_closes_the_account(broker: Broker, name: str) -> None:
    by_id = dataclasses.replace(HELD, handle={"instrument_id": name})
    by_symbol = dataclasses.replace(NAMED, instrument=name)

    for holding in (by_id, by_symbol):
        with pytest.raises(ValueError, match="not a name"):
            broker.close(close_of(HELD), holding, None)


def test_a_close_needs_its_position(broker: Broker) -> None:
    for quantity in (None, Decimal(1)):
        with pytest.raises(ValueError, match="position"):
            broker.close(close_of(HELD), None, quantity)


def test_a_part_is_closed_by_an_order_with_an_id_of_its_own(broker: Broker, wire: Wire) -> None:
    command = ClosePosition("cs", ACCOUNT, "AAPL", Quantity(Decimal(40)), cancel_orders=False)
    first, second = (broker.close(command, HELD, Decimal(40)) for _ in range(2))

    (order,) = first.request["body"]
    assert first.client_id is not None
    assert order["id"] == first.client_id != second.client_id
    assert re.fullmatch(r"flatwire-[0-9a-f]{32}", first.client_id)
    assert (order["instrument_id"], order["side"], order["quantity"]) == (AAPL_ID, "SELL", "40")

    wire.answer = ok([CLOSING | {"client_order_id": first.client_id}])
    assert made(first) == Report(order_ids=(CLOSE_ID,))
    with pytest.raises(OutcomeUnknown, match="not the one order"):
        made(second)


def test_a_part_of_a_short_is_bought_back(broker: Broker) -> None:
    (order,) = broker.close(close_of(NAMED), NAMED, Decimal(2)).request["body"]

    assert (order["symbol"], order["side"], order["quantity"]) == (OPTION, "BUY", "2")


def test_an_account_is_flattened_in_one_call(broker: Broker) -> None:
    call = broker.flatten(FlattenMatching("cs", account=ACCOUNT))

    assert call is not None
    assert call.request == {
        "method": "DELETE",
        "url": "https://venue.example/v1/accounts/19816/positions",
        "body": {"cancel_orders": True},
    }
    assert made(call) == Report(nothing_open=True)


@pytest.mark.parametrize(
    "command",
    [
        FlattenMatching("cs", account=ACCOUNT, cancel_orders=False),
        FlattenMatching("cs", account=ACCOUNT, instrument="AAPL"),
        FlattenMatching("cs", account=ACCOUNT, side=Side.LONG),
        FlattenMatching("cs", instrument="AAPL"),
        FlattenMatching("cs", side=Side.SHORT),
    ],
    ids=str,
)
def test_a_narrower_flatten_is_no_call_of_its_own(broker: Broker, command: FlattenMatching) -> None:
    assert broker.flatten(command) is None
    assert broker.flatten_everything(FlattenEverything("cs")) is None


def test_one_order_is_cancelled_by_its_id(broker: Broker, wire: Wire) -> None:
    wire.answer = ok(FILLED | {"status": "PENDING_CANCEL"})

    assert made(broker.cancel_orders(ACCOUNT, "TSLA", [SALE])) == Report()
    assert wire.sent[0].url.endswith(f"/v1/accounts/19816/orders/{SALE_ID}")
    assert "Content-Type" not in wire.sent[0].headers


def test_all_orders_of_an_instrument_are_cancelled(broker: Broker, wire: Wire) -> None:
    wire.answer = no(404, "No orders match the specified filters")

    assert made(broker.cancel_orders(ACCOUNT, "TSLA", [])) == Report()
    assert wire.sent[0].url.endswith("/v1/accounts/19816/orders?instrument_ids=TSLA")


def test_no_cancel_is_wider_than_an_instrument(broker: Broker) -> None:
    for instrument in ("", " ", "TSLA,AAPL"):
        with pytest.raises(ValueError, match="not a name"):
            broker.cancel_orders(ACCOUNT, instrument, [])
    with pytest.raises(ValueError, match="one order"):
        broker.cancel_orders(ACCOUNT, "TSLA", [SALE, SALE])


def test_reads_are_of_an_account(broker: Broker, wire: Wire) -> None:
    wire.answer = ok([LONG], next_page_token="two")
    assert made(broker.positions(ACCOUNT)) == Page((AAPL,), "two")

    wire.answer = ok([SHORT])
    assert made(broker.positions(ACCOUNT, "two")) == Page((TSLA,))
    assert wire.sent[1].url.endswith("/positions?page_size=1000&page_token=two")

    wire.answer = ok([CLOSING])
    assert [order.order_id for order in made(broker.orders(ACCOUNT)).items] == [CLOSE_ID]

    wire.answer = ok([{"id": 19816}])
    assert made(broker.accounts()) == Page(("19816",))

    with pytest.raises(ValueError, match="by the account"):
        broker.positions()
    assert broker.terms(AAPL) is None
    assert (broker.name, broker.venue.kind) == ("cs", "clearstreet")


def test_an_order_is_looked_up_by_either_id(broker: Broker, wire: Wire) -> None:
    wire.answer = ok(FILLED)
    assert made(broker.order(ACCOUNT, "TSLA", order_id=SALE_ID)) == SALE

    wire.answer = ok([])
    assert made(broker.order(ACCOUNT, "TSLA", client_id="flatwire-1")) is None
    assert wire.sent[1].url.endswith("/orders?page_size=1000&order_ids=flatwire-1")

    with pytest.raises(ValueError, match="by an id"):
        broker.order(ACCOUNT, "TSLA")


@pytest.mark.parametrize("minutes", [-50, 0, 50])
def test_fills_are_asked_for_early_and_cut_by_the_venues_clock(
    broker: Broker, wire: Wire, minutes: int
) -> None:
    theirs = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=minutes)
    ages = [timedelta(seconds=0), timedelta(seconds=60), timedelta(seconds=60.001)]
    wire.answer = dataclasses.replace(
        ok([EXECUTION | {"transaction_time": (theirs - age).isoformat()} for age in ages]),
        headers={"Date": format_datetime(theirs, usegmt=True)},
    )

    fills = made(broker.fills(ACCOUNT, 60))

    assert [fill.at for fill in fills.items] == [theirs, theirs - timedelta(seconds=60)]
    (start,) = parse_qs(urlsplit(wire.sent[0].url).query)["from"]
    assert datetime.fromisoformat(start) < theirs - timedelta(seconds=60)


def test_all_pages_of_fills_begin_at_the_same_moment(broker: Broker, wire: Wire) -> None:
    before = datetime.now(UTC)
    wire.answer = ok([], next_page_token="two+")
    first = made(broker.fills(ACCOUNT, 60))
    wire.answer = ok([], next_page_token="three")
    second = made(broker.fills(ACCOUNT, 60, first.next))
    third = broker.fills(ACCOUNT, 60, second.next)

    queries = [
        parse_qs(urlsplit(url).query) for url in (wire.sent[0].url, wire.sent[1].url, third.request["url"])
    ]
    assert [query.get("page_token") for query in queries] == [None, ["two+"], ["three"]]
    (start,) = {query["from"][0] for query in queries}
    asked = datetime.fromisoformat(start)
    assert before - timedelta(seconds=3662) <= asked <= datetime.now(UTC) - timedelta(seconds=3660)


def test_a_recent_fill_is_found_without_the_venues_clock(broker: Broker, wire: Wire) -> None:
    now = datetime.now(UTC)
    times = [(now - timedelta(seconds=age)).isoformat() for age in (10, 3000)]
    wire.answer = ok([EXECUTION | {"transaction_time": time} for time in times])

    assert len(made(broker.fills(ACCOUNT, 60)).items) == 1


def test_an_answer_that_can_not_be_read_is_an_unknown_outcome_with_its_words(
    broker: Broker, wire: Wire
) -> None:
    wire.answer = ok([{"id": CLOSE_ID}])

    with pytest.raises(OutcomeUnknown, match="Clear Street's answer can't be read") as caught:
        made(broker.close(close_of(HELD), HELD, None))

    assert caught.value.answer == {"status": 200, "body": wire.answer.body}


def test_an_order_of_an_unknown_status_is_an_unknown_outcome_that_names_it(
    broker: Broker, wire: Wire
) -> None:
    wire.answer = ok([CLOSING | {"status": "OTHER"}])

    with pytest.raises(OutcomeUnknown, match="'OTHER'"):
        made(broker.orders(ACCOUNT))


@pytest.mark.parametrize(
    "given_",
    [
        no(401, "Unknown key id-1.secret+key/2"),
        no(400, "Bad", details=[{"reason": "Bearer id-1.secret+key/2"}]),
        no(500, "id-1.secret+key/2"),
        answer(502, "<html>id-1.secret+key/2</html>"),
        ok([CLOSING | {"venue": "id-1.secret+key/2"}]),
    ],
    ids=lambda a: str(a.status),
)
def test_the_key_is_in_no_record(broker: Broker, wire: Wire, given_: HttpAnswer) -> None:
    wire.answer = given_
    call = broker.close(close_of(HELD), HELD, None)

    try:
        told = str(call.make(lambda seconds: None))
    except BrokerError as exc:
        told = f"{exc} {exc.detail} {exc.answer}"

    assert "***" in told
    assert "secret+key" not in told + str(call) + repr(broker) + str(call.request)
    assert "secret+key" not in repr(wire.sent)


SPELLINGS: list[Callable[[str], str]] = [
    lambda key: key.replace("/", "\\/"),
    lambda key: key.replace("/", "\\u002f").replace("-", "\\u002D"),
    lambda key: "".join(f"\\u{ord(it):04x}" for it in key),
]


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize(
    ("headers", "failure"), [({}, Refused), ({"Content-Type": "text/html"}, OutcomeUnknown)]
)
def test_no_spelling_of_the_key_is_in_a_record(
    broker: Broker,
    wire: Wire,
    spelled: Callable[[str], str],
    headers: dict[str, str],
    failure: type[BrokerError],
) -> None:
    """Whether the echo was read, or kept as the text it was."""
    echo = spelled("id-1.secret+key/2")
    text = f'{{"error": {{"code": 401, "message": "{echo}", "details": [{{"{echo}": "{echo}"}}]}}}}'
    wire.answer = http.answer_of(401, headers, text)

    with pytest.raises(failure) as caught:
        made(broker.close(close_of(HELD), HELD, None))

    told = f"{caught.value} {caught.value.detail} {caught.value.answer}"
    assert "***" in told
    assert "id-1.secret+key/2" not in told
    assert echo not in told.replace("\\\\", "\\")


# Junk

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["LONG", "SHORT", "NEW", "FILLED", "SELL", "1e400", "-0", "10", "..", 19816, SALE_ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def spoilt(item: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The item with some of its values replaced."""
    changes = st.dictionaries(st.sampled_from(sorted(item)), json_values, max_size=3)
    return changes.map(lambda changed: item | changed)


errors = st.fixed_dictionaries(
    {"code": st.sampled_from([400, 404, 409, 429, 500]) | json_values, "message": json_values},
    optional={"details": json_values},
)
bodies = json_values | st.fixed_dictionaries(
    {},
    optional={
        "data": st.one_of(
            *(
                st.lists(spoilt(item), max_size=2) | spoilt(item)
                for item in (LONG, CLOSING, FILLED, EXECUTION)
            ),
            json_values,
        ),
        "error": st.none() | errors | json_values,
        "metadata": st.fixed_dictionaries(
            {}, optional={"next_page_token": json_values, "total_items": json_values}
        )
        | json_values,
    },
)


@given(status=st.sampled_from([200, 200, 200, 400, 404, 429, 500]), body=bodies, wait=st.text(max_size=6))
def test_whatever_comes_is_read_or_settles_nothing(status: int, body: Any, wait: str) -> None:
    given_ = answer(status, body, Retry_After=wait)
    for parse in PARSERS.values():
        try:
            result = parse(given_)
        except (BrokerError, Unreadable):
            continue

        items = result.items if isinstance(result, Page) else ()
        assert all(item.quantity > 0 for item in items if not isinstance(item, str))


@given(bodies)
def test_no_error_is_ever_a_success(body: Any) -> None:
    for status in (201, 301, 401, 403, 408, 409, 422, 429, 500, 502, 503):
        for parse in PARSERS.values():
            with pytest.raises(BrokerError):
                parse(answer(status, body))
