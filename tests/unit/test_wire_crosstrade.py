"""CrossTrade's words: each request byte for byte, and what each answer means."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Fill, Order, Position, Report, Side
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from workers.brokers import http
from workers.brokers.crosstrade import answers, requests
from workers.brokers.crosstrade.adapter import CrossTrade
from workers.brokers.crosstrade.envelope import Answer, of_http
from workers.brokers.fields import Unreadable
from workers.brokers.http import HttpAnswer, HttpRequest, parsed

MOMENT = datetime(2026, 3, 2, 14, 31, 4, tzinfo=UTC)
EPOCH = 1772461864

MES = {
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
EXECUTION = {
    "id": "b1f0",
    "type": "NinjaTrader.Cbi.Execution",
    "time": "2026-03-02T07:31:04.0000000",
    "epoch": EPOCH,
    "name": "Exit",
    "orderId": "adb3",
    "account": "Sim101",
    "instrument": "ES 12-25",
    "position": 0,
    "marketPosition": "Short",
    "price": 5797.0,
    "quantity": 4,
}
ORDER = {
    "account": "Sim101",
    "orderId": "adb3",
    "instrument": "ES 12-25",
    "orderType": "Market",
    "orderState": "Working",
    "quantity": 4,
    "filled": 0,
}


def answer(status: int, body: Any, **headers: str) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return of_http(HttpAnswer(status, named, parsed(text), text))


def shown(**changes: Any) -> Answer:
    """A list of positions with one that is changed so."""
    return answer(200, {"positions": [MES | changes], "success": True})


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != name}


# Requests


def sent(request: HttpRequest) -> tuple[str, str, str | None]:
    return request.method, request.url, None if request.body is None else json.dumps(request.body)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (requests.positions_request(), ("GET", "/v1/api/positions?includeFlat=false", None)),
        (requests.orders_request("Sim101"), ("GET", "/v1/api/accounts/Sim101/orders?activeOnly=true", None)),
        (
            requests.executions_request("Sim101", 900),
            ("GET", "/v1/api/accounts/Sim101/executions?lookbackTime=900", None),
        ),
        (
            requests.close_request("Sim101", "MES 12-25", None),
            ("POST", "/v1/api/accounts/Sim101/positions/close", '{"instrument": "MES 12-25"}'),
        ),
        (
            requests.close_request("Sim101", "MES 12-25", Decimal("4")),
            ("POST", "/v1/api/accounts/Sim101/positions/close", '{"instrument": "MES 12-25", "quantity": 4}'),
        ),
        (
            requests.close_request("Sim101", "MES 12-25", Decimal("4.00")),
            ("POST", "/v1/api/accounts/Sim101/positions/close", '{"instrument": "MES 12-25", "quantity": 4}'),
        ),
        (
            requests.flatten_request("Sim101", "MES 12-25", Side.SHORT),
            (
                "POST",
                "/v1/api/positions/flatten",
                '{"account": "Sim101", "instrument": "MES 12-25", "marketPosition": "short"}',
            ),
        ),
        (
            requests.flatten_request("Sim101", None, None),
            ("POST", "/v1/api/positions/flatten", '{"account": "Sim101"}'),
        ),
        (
            requests.flatten_request(None, "MES 12-25", None),
            ("POST", "/v1/api/positions/flatten", '{"instrument": "MES 12-25"}'),
        ),
        (
            requests.flatten_request(None, None, Side.LONG),
            ("POST", "/v1/api/positions/flatten", '{"marketPosition": "long"}'),
        ),
        (requests.flatten_everything_request(), ("POST", "/v1/api/positions/flatten", "{}")),
        (
            requests.cancel_orders_request("Sim101", "MES 12-25"),
            ("POST", "/v1/api/accounts/Sim101/orders/cancel", '{"instrument": "MES 12-25"}'),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_request_is_as_documented(request_: HttpRequest, expected: tuple[str, str, str | None]) -> None:
    assert sent(request_) == expected


def test_an_account_is_quoted_into_its_one_segment_of_the_path() -> None:
    request = requests.close_request("My Sim!?#%;&=:@é", "MES 12-25", None)

    segments = request.url.split("/")
    assert len(segments) == 7
    assert segments[4] == "My%20Sim%21%3F%23%25%3B%26%3D%3A%40%C3%A9"


def test_a_flatten_without_a_filter_is_impossible() -> None:
    with pytest.raises(ValueError, match="flatten_everything"):
        requests.flatten_request(None, None, None)


NO_NAMES = [
    "",
    " ",
    " Sim101",
    "Sim101 ",
    "Sim\n101",
    "Sim\x00",
    "\u00a0Sim",
    "Sim\u200b",
    "\ud800",
    "Sim101\t",
]
NO_SEGMENTS = [".", "..", "a/b", "/", "../x", "a\\b"]

Builder = Callable[[str], HttpRequest]


@pytest.mark.parametrize("name", [*NO_NAMES, *NO_SEGMENTS], ids=ascii)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.close_request(name, "MES 12-25", None),
        requests.orders_request,
        lambda name: requests.executions_request(name, 1),
        lambda name: requests.cancel_orders_request(name, "MES 12-25"),
    ],
    ids=["close", "orders", "executions", "cancel"],
)
def test_an_account_that_could_change_the_path_is_refused(name: str, build: Builder) -> None:
    with pytest.raises(ValueError, match="not a name"):
        build(name)


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.close_request("Sim101", name, None),
        lambda name: requests.cancel_orders_request("Sim101", name),
        lambda name: requests.flatten_request("Sim101", name, None),
        lambda name: requests.flatten_request(name, "MES 12-25", None),
        lambda name: requests.flatten_request(name, None, Side.LONG),
    ],
    ids=["close", "cancel", "flatten an instrument", "flatten an account", "flatten a side"],
)
def test_a_name_that_is_none_is_refused_and_never_left_out(name: str, build: Builder) -> None:
    with pytest.raises(ValueError, match="not a name"):
        build(name)


@given(st.text(max_size=12))
def test_no_account_reaches_beyond_its_segment(name: str) -> None:
    try:
        request = requests.close_request(name, "MES 12-25", None)
    except ValueError:
        return

    before, segment, after = request.url.rpartition("/positions/close")[0].rpartition("/")
    assert (before, segment) == ("/v1/api/accounts", "/")
    assert after not in ("", ".", "..")
    assert not set(after) & set("/?#\\ ")


@pytest.mark.parametrize("quantity", ["0", "-1", "0.5", "2.5", "1E-9", "Infinity", "NaN", "-Infinity"])
def test_a_quantity_that_is_no_number_of_contracts_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="contracts"):
        requests.close_request("Sim101", "MES 12-25", Decimal(quantity))


# What an answer to a close, a flatten or a cancel means


OPEN = Position(
    account="Sim101",
    instrument="ES 12-25",
    side=Side.LONG,
    quantity=Decimal(4),
    average_price=Decimal("5779.8125"),
    market_price=Decimal("5797.0"),
    profit_loss=Decimal("3437.5"),
    raw=MES,
)

REPORTS = [
    ("closed", answer(200, {"closedPositions": [MES], "success": True}), Report((OPEN,))),
    (
        "flattened; what it cancelled is among its orders, so none is taken for a closing one",
        answer(200, {"orderIds": ["a", "b"], "closedPositions": [MES], "success": True}),
        Report((OPEN,)),
    ),
    ("success is left out", answer(200, {"closedPositions": [MES]}), Report((OPEN,))),
    (
        "nothing to flatten",
        answer(200, {"closedPositions": [], "warning": "No open positions", "success": True}),
        Report(nothing_open=True),
    ),
    ("a success that says nothing", answer(200, {"success": True}), Report()),
    ("a cancel", answer(200, {"orderIds": ["a"], "success": True}), Report()),
    (
        "a snapshot that is flat already",
        answer(200, {"closedPositions": [MES | {"marketPosition": "Flat", "quantity": 0}], "success": True}),
        Report(),
    ),
    (
        "nothing open",
        answer(400, {"error": "No positions found for instrument 'ES 12-24'"}),
        Report(nothing_open=True),
    ),
    (
        "nothing open, as reverse words it",
        answer(400, {"error": "No position found for instrument 'ES 12-25' in account 'sim101'"}),
        Report(nothing_open=True),
    ),
]


@pytest.mark.parametrize(
    ("given_", "expected"), [row[1:] for row in REPORTS], ids=[row[0] for row in REPORTS]
)
def test_a_success_becomes_a_report(given_: Answer, expected: Report) -> None:
    assert answers.report_of(given_) == expected


REFUSALS = [
    (answer(400, {"error": "Invalid request"}), "CrossTrade: Invalid request"),
    (
        answer(400, {"success": False, "error": "invalid_account", "detail": "Account X not found"}),
        "CrossTrade: invalid_account: Account X not found",
    ),
    (answer(400, {"success": False, "error": "no", "detail": ["?"]}), "CrossTrade: no"),
    (answer(400, {"success": False, "error": "no", "detail": ""}), "CrossTrade: no"),
    (answer(401, {"success": False, "error": "unauthorized"}), "CrossTrade: unauthorized"),
    (answer(403, {"error": "tradovate_not_linked"}), "CrossTrade: tradovate_not_linked"),
    (answer(404, {"error": "not_found", "did_you_mean": ["x"]}), "CrossTrade: not_found"),
    (answer(200, {"success": False, "error": "Command blocked"}), "CrossTrade: Command blocked"),
    (answer(200, {"success": True, "error": "Command blocked"}), "CrossTrade: Command blocked"),
    (
        answer(200, {"error": "No positions found for instrument 'ES 12-24'"}),
        "CrossTrade: No positions found for instrument 'ES 12-24'",
    ),
]


@pytest.mark.parametrize(("given_", "words"), REFUSALS, ids=[row[1] for row in REFUSALS])
def test_a_documented_error_is_a_definite_no_in_the_venues_words(given_: Answer, words: str) -> None:
    for parse in (answers.report_of, answers.positions_of, answers.orders_of, answers.fills_of):
        with pytest.raises(Refused) as caught:
            parse(given_)

        assert caught.value.detail == words
        assert caught.value.answer == given_.record


@pytest.mark.parametrize(("headers", "wait"), [({}, None), ({"Retry_After": "7"}, 7.0)])
def test_429_is_throttled_with_the_venues_wait(headers: dict[str, str], wait: float | None) -> None:
    with pytest.raises(Throttled) as caught:
        answers.report_of(answer(429, {"error": "Rate limit exceeded"}, **headers))

    assert caught.value.retry_after == wait
    assert caught.value.detail == "CrossTrade: Rate limit exceeded"


UNKNOWN = [
    answer(408, {"success": False, "error": "CrossTrade add-on is not connected or timed out"}),
    answer(408, {"error": "No positions found for instrument 'ES 12-24'"}),
    answer(500, {"error": "Internal"}),
    answer(502, "<html>502 Bad Gateway</html>"),
    answer(503, {"error": "Unavailable"}),
    answer(504, ""),
    answer(429, "<html>slow down</html>"),
    answer(429, {"success": False}),
    answer(400, "<html>Bad Request</html>"),
    answer(400, {"success": False}),
    answer(400, {"error": ""}),
    answer(400, {"error": {"code": 1}}),
    answer(400, {"error": ["No positions found for instrument 'ES 12-24'"]}),
    answer(400, {"error": "x"} | {"error": None}),
    answer(400, [{"error": "no"}]),
    answer(302, ""),
    answer(201, {"closedPositions": [], "success": True}),
    answer(202, {"success": True}),
    answer(204, ""),
    answer(200, ""),
    answer(200, "OK"),
    answer(200, "<html>Log in</html>"),
    answer(200, '{"closedPositions": [], "success": tr'),
    answer(200, '{"success": true, "quantity": NaN}'),
    answer(200, "null"),
    answer(200, "true"),
    answer(200, "7"),
    answer(200, '"success"'),
    answer(200, {}),
    answer(200, {"success": False}),
    answer(200, {"success": None}),
    answer(200, {"success": "true"}),
    answer(200, {"success": 1}),
    answer(200, {"success": True, "error": {"code": 1}}),
    answer(200, {"success": True, "error": True}),
    answer(200, {"result": "ok", "data": [1, 2, 3]}),
    answer(405, {"error": "Method not allowed"}),
    answer(410, {"error": "Gone"}),
    answer(101, ""),
]


@pytest.mark.parametrize("given_", UNKNOWN, ids=lambda a: f"{a.status} {a.record['body']}"[:40])
def test_what_no_page_documents_settles_nothing(given_: Answer) -> None:
    for parse in (answers.report_of, answers.positions_of, answers.orders_of, answers.fills_of):
        with pytest.raises(OutcomeUnknown) as caught:
            parse(given_)

        assert caught.value.answer == given_.record


@pytest.mark.parametrize(
    "closed",
    [
        None,
        {},
        "MES 12-25",
        [None],
        ["MES 12-25"],
        [[]],
        [{}],
        [without(MES, "marketPosition")],
        [without(MES, "quantity")],
        [without(MES, "account")],
        [without(MES, "instrument")],
        [MES | {"marketPosition": "Both"}],
        [MES | {"quantity": -4}],
        [MES, MES | {"averagePrice": "much"}],
    ],
    ids=str,
)
def test_a_close_whose_positions_can_not_be_read_settles_nothing(closed: Any) -> None:
    with pytest.raises(Unreadable):
        answers.report_of(answer(200, {"closedPositions": closed, "success": True}))


def test_a_list_is_no_answer_to_a_close() -> None:
    with pytest.raises(Unreadable, match="a list where an object belongs"):
        answers.report_of(answer(200, [MES]))


# Reads


@pytest.mark.parametrize(
    "body", [[MES], {"positions": [MES]}, {"positions": [MES], "success": True, "count": 1}], ids=str
)
def test_positions_come_as_a_list_or_in_an_object(body: Any) -> None:
    assert answers.positions_of(answer(200, body)) == (OPEN,)


@pytest.mark.parametrize(
    "body", [[], {"positions": []}, {"positions": [], "count": 0, "success": True}], ids=str
)
def test_an_empty_list_is_flat(body: Any) -> None:
    assert answers.positions_of(answer(200, body)) == ()


def test_flat_positions_are_left_out() -> None:
    flat = MES | {"marketPosition": "Flat", "quantity": 0}

    assert answers.positions_of(answer(200, [flat, MES, MES | {"quantity": 0}])) == (OPEN,)


@pytest.mark.parametrize("word", ["Short", "short", "SHORT"])
def test_a_side_is_read_in_any_case(word: str) -> None:
    (position,) = answers.positions_of(shown(marketPosition=word))

    assert position.side is Side.SHORT


@pytest.mark.parametrize("missing", ["averagePrice", "marketPrice", "unrealizedProfitLoss"])
def test_a_price_that_is_not_said_is_none(missing: str) -> None:
    for body in (without(MES, missing), MES | {missing: None}):
        (position,) = answers.positions_of(answer(200, [body]))

        assert None in (position.average_price, position.market_price, position.profit_loss)


@pytest.mark.parametrize(
    "changes",
    [
        {"marketPosition": "Unknown"},
        {"marketPosition": ""},
        {"marketPosition": None},
        {"marketPosition": 1},
        {"marketPosition": "Flat"},  # and four of them: one of the two is wrong
        {"quantity": -4},
        {"quantity": None},
        {"quantity": True},
        {"quantity": "four"},
        {"quantity": "NaN"},
        {"quantity": "sNaN"},
        {"quantity": "Infinity"},
        {"quantity": [4]},
        {"quantity": {}},
        {"quantity": 1e300},
        {"quantity": 10**40},
        {"averagePrice": 10**40},
        {"unrealizedProfitLoss": -1e30},
        {"account": None},
        {"account": ""},
        {"account": 101},
        {"instrument": None},
        {"instrument": ["MES 12-25"]},
        {"averagePrice": "much"},
        {"averagePrice": False},
    ],
    ids=str,
)
def test_a_position_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.positions_of(shown(**changes))


@pytest.mark.parametrize("items", [None, {}, "x", [1], [None], [[]]], ids=str)
@pytest.mark.parametrize(
    ("name", "parse"),
    [("positions", answers.positions_of), ("orders", answers.orders_of), ("executions", answers.fills_of)],
)
def test_a_read_without_its_list_is_never_taken_for_an_empty_one(
    items: Any, name: str, parse: Callable[[Answer], Any]
) -> None:
    for body in ({name: items, "success": True}, {"success": True}, {"closedPositions": []}):
        with pytest.raises(Unreadable, match=f"no list of {name}"):
            parse(answer(200, body))


def test_an_order_is_working_until_it_is_known_to_have_ended() -> None:
    states = [
        "Working",
        "PartFilled",
        "CancelPending",
        "Unknown",
        "Filled",
        "Cancelled",
        "Rejected",
        "filled",
        "New",
    ]
    items = [ORDER | {"orderState": state, "orderId": state} for state in states]

    found = answers.orders_of(answer(200, {"orders": items, "success": True}))

    assert [order.order_id for order in found] == ["Working", "PartFilled", "CancelPending", "Unknown", "New"]


@pytest.mark.parametrize(
    ("kind", "market"),
    [
        ("Market", True),
        ("StopMarket", False),
        ("Limit", False),
        ("StopLimit", False),
        ("MIT", False),
        ("?", True),
    ],
)
def test_an_order_counts_as_a_close_unless_it_is_known_to_rest(kind: str, market: bool) -> None:
    expected = Order("Sim101", "ES 12-25", "adb3", market)

    assert answers.orders_of(answer(200, [ORDER | {"orderType": kind}])) == (expected,)


def test_an_order_of_no_type_counts_as_a_close() -> None:
    (order,) = answers.orders_of(answer(200, [without(ORDER, "orderType")]))

    assert order.market


@pytest.mark.parametrize("name", ["account", "instrument", "orderId", "orderState"])
def test_an_order_that_can_not_be_read_fails_loudly(name: str) -> None:
    for body in (without(ORDER, name), ORDER | {name: 7}):
        with pytest.raises(Unreadable):
            answers.orders_of(answer(200, [body]))


SALE = Fill("Sim101", "ES 12-25", Side.LONG, Decimal(4), Decimal("5797.0"), MOMENT, "adb3")


@pytest.mark.parametrize("epoch", [EPOCH, EPOCH * 1000, float(EPOCH), str(EPOCH)])
def test_a_moment_is_read_in_seconds_and_in_milliseconds(epoch: Any) -> None:
    assert answers.fills_of(answer(200, {"executions": [EXECUTION | {"epoch": epoch}]})) == (SALE,)


def test_milliseconds_are_kept() -> None:
    (fill,) = answers.fills_of(answer(200, [EXECUTION | {"epoch": EPOCH * 1000 + 123}]))

    assert fill.at == MOMENT + timedelta(milliseconds=123)


def test_a_purchase_reduces_shorts() -> None:
    (fill,) = answers.fills_of(answer(200, [EXECUTION | {"marketPosition": "Long"}]))

    assert fill.reduces is Side.SHORT


def test_a_fill_may_have_no_order_and_a_price_below_zero() -> None:
    (fill,) = answers.fills_of(answer(200, [without(EXECUTION, "orderId") | {"price": -37.63}]))

    assert fill.order_id == ""
    assert fill.price == Decimal("-37.63")  # oil, in April 2020


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": None},
        {"epoch": 0},
        {"epoch": -EPOCH},
        {"epoch": "yesterday"},
        {"epoch": 1e300},
        {"epoch": 10**30},
        {"epoch": 10**14},  # milliseconds of the year 5138
        {"epoch": True},
        {"quantity": 0},
        {"quantity": -4},
        {"quantity": None},
        {"price": None},
        {"price": "NaN"},
        {"marketPosition": "Flat"},
        {"marketPosition": "Buy"},
        {"account": None},
        {"instrument": ""},
    ],
    ids=str,
)
def test_a_fill_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.fills_of(answer(200, [EXECUTION | changes]))


# The adapter

TOKEN = "the-token/0123456789"
SPELLINGS: list[Callable[[str], str]] = [
    str,
    lambda token: token.replace("/", "\\/"),
    lambda token: token.replace("/", "\\u002f").replace("-", "\\u002D"),
    lambda token: "".join(f"\\u{ord(it):04x}" for it in token),
]


def broker_that_hears(given_: HttpAnswer, monkeypatch: pytest.MonkeyPatch) -> CrossTrade:
    monkeypatch.setattr(http, "send", lambda request, timeouts, guard: given_)
    return CrossTrade(
        BrokerSettings("nt8", VENUES["crosstrade"], {"token": Secret(TOKEN)}, "https://venue.example")
    )


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize(
    ("headers", "failure"), [({}, Refused), ({"Content-Type": "text/html"}, OutcomeUnknown)]
)
def test_no_spelling_of_the_token_is_in_a_record(
    monkeypatch: pytest.MonkeyPatch,
    spelled: Callable[[str], str],
    headers: dict[str, str],
    failure: type[BrokerError],
) -> None:
    """Whether the echo was read, or kept as the text it was."""
    echo = spelled(TOKEN)
    text = f'{{"error": "unauthorized", "detail": "Bearer {echo}", "{echo}": ["{echo}"]}}'
    broker = broker_that_hears(http.answer_of(401, headers, text), monkeypatch)

    with pytest.raises(failure) as caught:
        broker.positions().make(lambda seconds: None)

    told = f"{caught.value} {caught.value.detail} {caught.value.answer}"
    assert "***" in told
    assert TOKEN not in told
    assert echo not in told.replace("\\\\", "\\")


def test_an_answer_that_can_not_be_read_settles_nothing_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"positions": [MES | {"quantity": "four"}], "success": True}
    broker = broker_that_hears(http.answer_of(200, {}, json.dumps(body)), monkeypatch)

    with pytest.raises(OutcomeUnknown, match="CrossTrade's answer can't be read") as caught:
        broker.positions().make(lambda seconds: None)

    assert caught.value.answer == {"status": 200, "body": body}


# Junk

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["Long", "Flat", "Working", "1e400", "-0", EPOCH]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def spoilt(item: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The item with some of its values replaced."""
    changes = st.dictionaries(st.sampled_from(sorted(item)), json_values, max_size=3)
    return changes.map(lambda changed: item | changed)


bodies = st.one_of(
    json_values,
    *(
        st.fixed_dictionaries(
            {}, optional={name: st.lists(spoilt(item), max_size=2) | json_values, "success": st.just(True)}
        )
        for name, item in (
            ("positions", MES),
            ("closedPositions", MES),
            ("orders", ORDER),
            ("executions", EXECUTION),
        )
    ),
    st.lists(spoilt(MES) | spoilt(ORDER) | spoilt(EXECUTION), max_size=2),
    st.fixed_dictionaries({"error": json_values}, optional={"detail": json_values, "success": json_values}),
)


@given(status=st.sampled_from([200, 200, 200, 400, 429, 500]), body=bodies, wait=st.text(max_size=6))
def test_whatever_comes_is_read_or_settles_nothing(status: int, body: Any, wait: str) -> None:
    given_ = answer(status, body, Retry_After=wait)
    for parse in (answers.report_of, answers.positions_of, answers.orders_of, answers.fills_of):
        try:
            result = parse(given_)
        except (BrokerError, Unreadable):
            continue

        for item in result.positions if isinstance(result, Report) else result:
            assert isinstance(item, Order) or item.quantity > 0


@given(bodies)
def test_no_error_is_ever_a_report_of_something_closed(body: Any) -> None:
    for status in (301, 401, 403, 404, 408, 429, 500, 502):
        with pytest.raises(BrokerError):
            answers.report_of(answer(status, body))


def test_executions_are_asked_for_so_far_back_that_a_slow_request_still_finds_the_oldest() -> None:
    """The venue counts back from when it reads the request."""
    settings = BrokerSettings("nt8", VENUES["crosstrade"], {"token": Secret("t" * 20)}, "http://127.0.0.1:9")

    asked = CrossTrade(settings).fills("Sim101", 4.99).request
    assert asked["url"].endswith("?lookbackTime=7")
    with pytest.raises(Refused):
        CrossTrade(settings).fills("Sim101", 899)


# The limits


@given(st.lists(st.integers(0, 3000), max_size=150))
def test_the_limits_never_find_the_venues_bucket_empty(pauses: list[int]) -> None:
    """Whoever calls whenever our limits have room: 20 tokens at most, 3 new ones a second. Times in milliseconds."""
    now, tokens = 0, 20_000
    made: list[int] = []
    for pause in pauses:
        now, tokens = now + pause, min(20_000, tokens + 3 * pause)
        while all(sum(now - at < it.seconds * 1000 for at in made) < it.calls for it in requests.LIMITS):
            tokens -= 1000
            made.append(now)
            assert tokens >= 0
