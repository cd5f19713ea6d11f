"""CrossTrade's words on its WebSocket: each request byte for byte, and what each message means."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Report, Side
from config.secrets import Secret
from workers.brokers.answering import answered
from workers.brokers.crosstrade import answers, messages, requests
from workers.brokers.crosstrade.envelope import Answer
from workers.brokers.crosstrade.messages import Message
from workers.brokers.crosstrade.requests import RpcRequest
from workers.brokers.fields import Unreadable
from workers.brokers.http import KEPT_ANSWER

MES = {
    "type": "NinjaTrader.Cbi.Position",
    "account": "Sim101",
    "instrument": "MES 12-26",
    "marketPosition": "Long",
    "quantity": 4,
    "averagePrice": 5779.8125,
}
NOTHING = "No positions found for instrument 'ES 12-24'"
PARSES = (answers.report_of, answers.positions_of)


def message(**fields: Any) -> Message:
    """A reply with these fields beside its id."""
    return messages.message_of(json.dumps({"id": "7", **fields}), [])


def reply(**fields: Any) -> Answer:
    """What such a reply says."""
    return messages.answer_of(message(**fields))


# Requests


@pytest.mark.parametrize(
    ("request_", "api", "args"),
    [
        (requests.positions_rpc(), "GetAllPositions", '{"includeFlat": false}'),
        (
            requests.close_rpc("Sim101", "MES 12-26", None),
            "ClosePosition",
            '{"account": "Sim101", "instrument": "MES 12-26"}',
        ),
        (
            requests.close_rpc("Sim101", "MES 12-26", Decimal("4.00")),
            "ClosePosition",
            '{"account": "Sim101", "instrument": "MES 12-26", "quantity": 4}',
        ),
        (
            requests.flatten_rpc("Sim101", "MES 12-26", Side.SHORT),
            "Flatten",
            '{"account": "Sim101", "instrument": "MES 12-26", "marketPosition": "short"}',
        ),
        (requests.flatten_rpc("Sim101", None, None), "Flatten", '{"account": "Sim101"}'),
        (requests.flatten_rpc(None, "MES 12-26", None), "Flatten", '{"instrument": "MES 12-26"}'),
        (requests.flatten_rpc(None, None, Side.LONG), "Flatten", '{"marketPosition": "long"}'),
        (requests.flatten_everything_rpc(), "FlattenEverything", "{}"),
        (
            requests.cancel_orders_rpc("Sim101", "MES 12-26"),
            "CancelOrders",
            '{"account": "Sim101", "instrument": "MES 12-26"}',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_request_is_as_documented(request_: RpcRequest, api: str, args: str) -> None:
    sent = messages.rpc(request_, "7")

    assert json.dumps(sent) == f'{{"action": "rpc", "id": "7", "api": "{api}", "args": {args}}}'


def test_a_flatten_without_a_filter_is_impossible() -> None:
    with pytest.raises(ValueError, match="flatten_everything"):
        requests.flatten_rpc(None, None, None)


@pytest.mark.parametrize("name", ["", " ", " Sim101", "Sim101 ", "Sim\n101", "Sim\x00", "\ud800"], ids=ascii)
@pytest.mark.parametrize(
    "build",
    [
        lambda name: requests.close_rpc(name, "MES 12-26", None),
        lambda name: requests.close_rpc("Sim101", name, None),
        lambda name: requests.flatten_rpc(name, None, Side.LONG),
        lambda name: requests.flatten_rpc("Sim101", name, None),
        lambda name: requests.cancel_orders_rpc(name, "MES 12-26"),
        lambda name: requests.cancel_orders_rpc("Sim101", name),
    ],
)
def test_a_name_that_is_none_is_refused_and_never_left_out(
    name: str, build: Callable[[str], RpcRequest]
) -> None:
    with pytest.raises(ValueError, match="not a name"):
        build(name)


@pytest.mark.parametrize("quantity", ["0", "-1", "0.5", "Infinity", "NaN"])
def test_a_quantity_that_is_no_number_of_contracts_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="contracts"):
        requests.close_rpc("Sim101", "MES 12-26", Decimal(quantity))


@pytest.mark.parametrize(
    ("base", "stream"),
    [
        ("https://app.crosstrade.io", "wss://app.crosstrade.io/ws/stream"),
        ("https://app.crosstrade.io/", "wss://app.crosstrade.io/ws/stream"),
        ("http://127.0.0.1:8081", "ws://127.0.0.1:8081/ws/stream"),
        ("http://[::1]:8081/venues/nt8", "ws://[::1]:8081/venues/nt8/ws/stream"),
    ],
)
def test_the_websocket_is_beside_the_rest_api(base: str, stream: str) -> None:
    assert messages.stream_url(base) == stream


# Messages


@pytest.mark.parametrize(
    ("text", "id_", "push"),
    [
        ('{"id": "7", "data": {}}', "7", False),
        ('{"id": "7", "type": "reply", "data": {}}', "7", False),
        ('{"id": 7, "data": {}}', None, False),
        ('{"id": null, "type": "marketData"}', None, False),
        ('{"type": "marketData", "quotes": []}', None, True),
        ('{"type": 7}', None, False),
        ('{"error": "Rate limit exceeded"}', None, False),
        ('{"id": "7", "data": {"quantity": NaN}}', None, False),
        ('{"id": "7", "data": {"quantity": 1e999}}', None, False),
        ('{"id": "7", "data": {"quan', None, False),
        ("<html>Log in</html>", None, False),
        ('[{"id": "7"}]', None, False),
        ('"7"', None, False),
        ("", None, False),
    ],
)
def test_a_message_answers_the_request_that_it_names(text: str, id_: str | None, push: bool) -> None:
    message = messages.message_of(text, [])

    assert (message.id, message.is_push) == (id_, push)


def test_a_message_is_kept_for_the_record_if_not_at_any_length() -> None:
    assert messages.message_of('{"id": "7", "data": {}}', []).for_the_record() == {
        "message": {"id": "7", "data": {}}
    }
    assert messages.message_of("x" * 10**6, []).for_the_record() == {"message": "x" * KEPT_ANSWER}


TOKEN = "the-token/0123456789"


@pytest.mark.parametrize(
    "echo",
    [
        TOKEN,
        TOKEN.replace("/", "\\/"),
        TOKEN.replace("/", "\\u002F").replace("-", "\\u002d"),
        "".join(f"\\u{ord(it):04X}" for it in TOKEN),
    ],
)
def test_no_spelling_of_the_token_is_in_a_message(echo: str) -> None:
    """Nor in one that breaks off, and is kept as the text it was."""
    text = f'{{"id": "7", "data": {{"error": "unauthorized: {echo}", "{echo}": ["{echo}"]}}}}'

    whole = messages.message_of(text, [Secret(TOKEN)])
    broken = messages.message_of(text[:-1], [Secret(TOKEN)])

    assert whole.body == {"id": "7", "data": {"error": "unauthorized: ***", "***": ["***"]}}
    assert broken.body is None
    assert whole.text[:-1] == broken.text == text[:-1].replace(echo, "***")


# What a reply settles


def test_a_success_is_read_like_rests() -> None:
    body = {"closedPositions": [MES], "orderIds": ["a"], "success": True}

    (position,) = answers.report_of(reply(data=body)).positions

    assert (position.side, position.quantity, position.raw) == (Side.LONG, Decimal(4), MES)


@pytest.mark.parametrize("body", [[MES], {"positions": [MES], "count": 1, "success": True}], ids=str)
def test_positions_come_as_a_list_or_in_an_object(body: Any) -> None:
    (position,) = answers.positions_of(reply(data=body))

    assert position.instrument == "MES 12-26"


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"error": NOTHING}},
        {"error": NOTHING},
        {"error": NOTHING, "data": None},
        {"error": NOTHING, "success": False},
        {"data": {"closedPositions": [], "success": True, "warning": "No open positions"}},
    ],
    ids=str,
)
def test_nothing_open_is_a_report(fields: dict[str, Any]) -> None:
    assert answers.report_of(reply(**fields)) == Report(nothing_open=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"error": "Invalid request"}, "CrossTrade: Invalid request"),
        (
            {"success": False, "error": "invalid_account", "detail": "Account X not found"},
            "CrossTrade: invalid_account: Account X not found",
        ),
        ({"error": "Unknown API command"}, "CrossTrade: Unknown API command"),
        ({"error": "Command blocked: managed by another strategy"}, None),
    ],
    ids=str,
)
def test_a_documented_no_is_a_definite_no_wherever_it_stands(
    error: dict[str, Any], words: str | None
) -> None:
    for answer in (reply(data=error), reply(**error)):
        for parse in PARSES:
            with pytest.raises(Refused) as caught:
                parse(answer)

            assert words in (None, caught.value.detail)
            assert caught.value.answer == answer.record


@pytest.mark.parametrize(
    "fields", [{"data": {"error": "Rate limit exceeded"}}, {"error": "Rate limit exceeded"}]
)
def test_a_limit_is_throttled(fields: dict[str, Any]) -> None:
    for parse in PARSES:
        with pytest.raises(Throttled):
            parse(reply(**fields))


def test_nothing_open_does_not_answer_a_read() -> None:
    with pytest.raises(Refused):
        answers.positions_of(reply(error=NOTHING))


UNKNOWN: list[dict[str, Any]] = [
    {},
    {"data": None},
    {"data": {}},
    {"data": "OK"},
    {"data": 7},
    {"data": True},
    {"data": {"success": False}},
    {"data": {"success": "true"}},
    {"data": {"result": "ok", "data": [1, 2, 3]}},
    {"data": {"success": True, "error": "Timed out"}},
    {"data": {"error": ""}},
    {"data": {"error": {"code": 408}}},
    {"data": {"error": "CrossTrade add-on is not connected or timed out", "success": False}},
    {"data": {"error": "Request timed out"}},
    {"error": "Request timed out"},
    {"error": "Internal error"},
    {"error": {"code": 500}},
    {"error": True},
    {"success": True},
    {"closedPositions": [MES], "success": True},
    {"error": "Invalid request", "data": {"closedPositions": [], "success": True}},
]


@pytest.mark.parametrize("fields", UNKNOWN, ids=str)
def test_what_no_page_documents_settles_nothing(fields: dict[str, Any]) -> None:
    for parse in PARSES:
        with pytest.raises(OutcomeUnknown) as caught:
            parse(reply(**fields))

        assert caught.value.answer == {"message": {"id": "7", **fields}}


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (answers.report_of, {"closedPositions": [{}], "success": True}),
        (answers.positions_of, [MES | {"quantity": "four"}]),
    ],
)
def test_what_can_not_be_read_settles_nothing(parse: Callable[[Answer], Any], data: Any) -> None:
    with pytest.raises(OutcomeUnknown, match="CrossTrade's answer can't be read") as caught:
        answered("CrossTrade", message(data=data), lambda said: parse(messages.answer_of(said)))

    assert caught.value.answer == {"message": {"id": "7", "data": data}}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["Long", "Flat", NOTHING]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
bodies = json_values | st.fixed_dictionaries(
    {},
    optional={
        "closedPositions": st.lists(st.just(MES) | json_values, max_size=2) | json_values,
        "positions": st.lists(st.just(MES) | json_values, max_size=2) | json_values,
        "success": st.booleans() | json_values,
        "error": json_values,
    },
)


@given(st.fixed_dictionaries({}, optional={"data": bodies, "error": json_values, "success": st.booleans()}))
def test_whatever_comes_is_read_or_settles_nothing(fields: dict[str, Any]) -> None:
    for parse in PARSES:
        try:
            result = parse(reply(**fields))
        except (BrokerError, Unreadable):
            continue

        for position in result.positions if isinstance(result, Report) else result:
            assert position.quantity > 0


@given(bodies)
def test_no_error_is_ever_a_report_of_something_closed(data: Any) -> None:
    for answer in (reply(error="Invalid request", data=data), reply(error="Request timed out", data=data)):
        with pytest.raises(BrokerError):
            answers.report_of(answer)
