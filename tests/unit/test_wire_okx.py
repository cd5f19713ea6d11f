"""OKX's words: each request byte for byte, what signs it, and what each answer means."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import ccxt  # type: ignore[import-untyped]
import okx.Account  # type: ignore[import-untyped]
import okx.Trade  # type: ignore[import-untyped]
import okx.utils  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import ClosePosition
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Fill, Holding, Order, OrderState, Position, Report, Side
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from workers.brokers import http
from workers.brokers.broker import Guard, Limit, Page, Terms
from workers.brokers.fields import Unreadable
from workers.brokers.http import HttpAnswer, HttpRequest, Timeouts, parsed
from workers.brokers.okx import answers, requests
from workers.brokers.okx.adapter import Okx
from workers.brokers.okx.codes import CLOCK_IS_OFF, VERDICTS, Verdict
from workers.brokers.okx.envelope import clock_is_off, said_in
from workers.brokers.okx.signing import Credential, signature, signed, timestamp
from workers.brokers.redaction import without

KEY, SECRET, PASSPHRASE = "d0a1-key", "TEST-SECRET-0000000000000000000", "Pass/phrase=1"
MOMENT = 1_607_418_537_715
AT = "2020-12-08T09:08:57.715Z"
SWAP = "BTC-USDT-SWAP"
CLIENT_ID = "fw0123456789abcdef0123456789abcd"

POSITION = {
    "instType": "SWAP",
    "instId": SWAP,
    "mgnMode": "isolated",
    "posId": "2155643638909198336",
    "posSide": "long",
    "pos": "0.5",
    "availPos": "0.5",
    "avgPx": "10000",
    "upl": "0",
    "ccy": "USDT",
    "posCcy": "",
    "last": "9999",
    "markPx": "10000",
    "imr": "",
    "closeOrderAlgo": [],
    "cTime": "1622559930237",
    "uTime": "1622559930237",
}
MARGIN = POSITION | {
    "instType": "MARGIN",
    "instId": "BTC-USDT",
    "mgnMode": "cross",
    "posSide": "net",
    "posCcy": "BTC",
}
ORDER = {
    "instType": "SWAP",
    "instId": SWAP,
    "ordId": "1234567890123456789",
    "clOrdId": CLIENT_ID,
    "tag": "flatwire",
    "px": "",
    "sz": "2",
    "pnl": "12.5",
    "ordType": "market",
    "side": "sell",
    "posSide": "net",
    "tdMode": "cross",
    "accFillSz": "2",
    "avgPx": "103500",
    "state": "filled",
    "fee": "-0.1",
    "feeCcy": "USDT",
    "cTime": "1746947317000",
    "uTime": "1746947317050",
}
FILL = {
    "instType": "SWAP",
    "instId": SWAP,
    "ordId": "1234567890123456789",
    "billId": "317321390265368576",
    "tradeId": "107601752",
    "side": "sell",
    "posSide": "net",
    "fillSz": "2",
    "fillPx": "103500",
    "fillPnl": "12.5",
    "fillTime": "1746947317049",
    "ts": "1746947317050",
}
INSTRUMENT = {
    "instType": "SWAP",
    "instId": SWAP,
    "ctMult": "1",
    "ctType": "linear",
    "ctVal": "0.01",
    "ctValCcy": "BTC",
    "lotSz": "0.01",
    "maxMktSz": "12000",
    "state": "live",
}
PLACED = {
    "clOrdId": CLIENT_ID,
    "ordId": "2896576259728695296",
    "sCode": "0",
    "sMsg": "Order placed",
    "tag": "flatwire",
}
CLOSING = {"clOrdId": CLIENT_ID, "instId": SWAP, "posSide": "long", "tag": "flatwire"}


def answer(status: int, body: Any, **headers: str) -> HttpAnswer:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, named, parsed(text), text)


def success(*rows: Any) -> HttpAnswer:
    return answer(200, {"code": "0", "msg": "", "data": list(rows)})


def at_the_top(code: str, status: int = 200, **headers: str) -> HttpAnswer:
    return answer(status, {"code": code, "msg": "the venue's words", "data": []}, **headers)


def in_the_row(code: str, status: int = 200, top: str = "1") -> HttpAnswer:
    row = {"clOrdId": CLIENT_ID, "ordId": "", "sCode": code, "sMsg": "the venue's words ", "tag": ""}
    return answer(status, {"code": top, "msg": "All operations failed", "data": [row]})


def holding(side: Side = Side.LONG, instrument: str = SWAP, **handle: str) -> Holding:
    words = {"mgnMode": "cross", "posSide": "net", "ccy": "USDT", "instType": "SWAP"} | handle
    return Holding("okx", instrument, side, Decimal(5), Decimal(0), handle=words)


def order(order_id: str = "1", instrument: str = SWAP) -> Order:
    return Order("okx", instrument, order_id, market=False)


def report_of(given_: HttpAnswer) -> Report:
    return answers.report_of(given_, CLIENT_ID)


# Signing


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
            None,
            "KGD9dguN7MiNaFqK6tnI/VrJEWiZx2ZPSyJ7+6RDo0s=",
        ),
    ],
)
def test_a_signature_is_the_vectors(method: str, path: str, body: bytes | None, expected: str) -> None:
    assert signature(SECRET, AT, method, path, body) == expected


def test_a_time_is_spelled_in_utc_with_milliseconds() -> None:
    assert timestamp(MOMENT) == AT
    assert timestamp(1_607_418_537_000) == "2020-12-08T09:08:57.000Z"


CREDENTIAL = Credential(Secret(KEY), Secret(SECRET), Secret(PASSPHRASE))


@pytest.mark.parametrize("bad", ["", " key", "key\n", "key\r\nX: y", "schlüssel"])
def test_a_credential_that_no_header_can_carry_is_refused_and_not_quoted(bad: str) -> None:
    for parts in ((bad, SECRET, PASSPHRASE), (KEY, SECRET, bad)):
        with pytest.raises(ValueError, match="header") as caught:
            Credential(*map(Secret, parts))

        assert not bad or bad not in str(caught.value)


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="api_secret"):
        Credential(Secret(KEY), Secret(""), Secret(PASSPHRASE))


OURS = [
    requests.positions_request(),
    requests.orders_request(None),
    requests.order_request(SWAP, None, CLIENT_ID),
    requests.order_request(SWAP, "123", None),
    requests.fills_request(str(MOMENT), "317321390265368576"),
    requests.close_position_request(holding(posSide="long"), CLIENT_ID, cancel_orders=True),
    requests.reduce_request(holding(), Decimal("0.50"), CLIENT_ID),
    requests.cancel_request(SWAP, [order("1"), order("2")]),
]
THEIRS: list[Callable[[Any], Any]] = [
    lambda client: client.account.get_positions(),
    lambda client: client.get_order_list(limit="100"),
    lambda client: client.get_order(SWAP, clOrdId=CLIENT_ID),
    lambda client: client.get_order(SWAP, ordId="123"),
    lambda client: client.get_fills(begin=str(MOMENT), limit="100", after="317321390265368576"),
    lambda client: client.close_positions(
        SWAP, "cross", posSide="long", autoCxl=True, clOrdId=CLIENT_ID, tag="flatwire"
    ),
    lambda client: client.place_order(
        SWAP, "cross", "sell", "market", "0.5", reduceOnly=True, clOrdId=CLIENT_ID, tag="flatwire"
    ),
    lambda client: client.cancel_multiple_orders(
        [{"instId": SWAP, "ordId": "1"}, {"instId": SWAP, "ordId": "2"}]
    ),
]


@dataclass
class Kept:
    """What python-okx would have sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None

    def json(self) -> "Kept":
        return self


@pytest.fixture(scope="module")
def sdk() -> Iterator[Any]:
    """OKX's own SDK, which tells what it would send."""

    def keeps(kind: type[Any]) -> Any:
        def get(client: Any, path: str, headers: dict[str, str]) -> Kept:
            return Kept("GET", path, headers)

        def post(client: Any, path: str, data: str, headers: dict[str, str]) -> Kept:
            return Kept("POST", path, headers, data)

        quiet = type("Quiet", (kind,), {"get": get, "post": post})
        return quiet(KEY, SECRET, PASSPHRASE, flag="1")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(okx.utils, "get_timestamp", lambda: AT)
        trade, account = keeps(okx.Trade.TradeAPI), keeps(okx.Account.AccountAPI)
        trade.account = account
        yield trade
        trade.close()
        account.close()


@pytest.mark.parametrize(
    ("ours", "theirs"), list(zip(OURS, THEIRS, strict=True)), ids=[it.url for it in OURS]
)
def test_a_request_is_what_the_sdk_would_send(
    sdk: Any, ours: HttpRequest, theirs: Callable[[Any], Any]
) -> None:
    kept = theirs(sdk)

    # The SDK sends what is not given as empty texts and as null, and a lone question mark.
    body = None if kept.body is None else json.loads(kept.body)
    said = {k: v for k, v in body.items() if v not in ("", None)} if isinstance(body, dict) else body
    ours_by_name = sorted(ours.url.partition("?")[2].split("&"))
    assert (ours.method, ours.url.partition("?")[0]) == (kept.method, kept.path.partition("?")[0])
    assert ours_by_name == sorted(kept.path.partition("?")[2].split("&"))
    assert ours.body == said
    request, _ = signed(HttpRequest(kept.method, kept.path, body=body), CREDENTIAL, MOMENT)
    assert request.content == (None if kept.body is None else kept.body.encode())
    assert (
        request.headers.items()
        <= {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in kept.headers.items()
        }.items()
    )


@pytest.fixture(scope="module")
def exchange() -> Any:
    client = ccxt.okx({"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE})
    client.nonce = lambda: MOMENT
    return client


@pytest.mark.parametrize("ours", OURS, ids=[it.url for it in OURS])
def test_a_request_is_what_ccxt_would_send(exchange: Any, ours: HttpRequest) -> None:
    path, _, query = ours.url.removeprefix("/api/v5/").partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    given_ = parameters if ours.method == "GET" else json.loads(json.dumps(ours.body))
    theirs = exchange.sign(path, "private", ours.method, given_)

    assert theirs["url"].endswith(ours.url)
    assert (None if theirs["body"] is None else json.loads(theirs["body"])) == ours.body
    content = None if theirs["body"] is None else theirs["body"].encode()
    sign = signature(SECRET, AT, ours.method, ours.url, content)
    assert theirs["headers"]["OK-ACCESS-SIGN"] == sign
    assert theirs["headers"]["OK-ACCESS-TIMESTAMP"] == timestamp(MOMENT)


class Wired(ccxt.okx):  # type: ignore[misc]
    """ccxt, which tells what it would send where it would send it, and knows one instrument of each kind."""

    def __init__(self) -> None:
        super().__init__({"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE, "enableRateLimit": False})
        self.sent: list[tuple[str, str, Any]] = []
        pair = {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.1", "lotSz": "0.1"}
        swap = INSTRUMENT | {"settleCcy": "USDT", "uly": "BTC-USDT", "tickSz": "0.1", "minSz": "0.01"}
        rows = [
            swap | {"instFamily": "BTC-USDT"},
            pair | {"instType": "SPOT", "state": "live", "minSz": "0.1"},
        ]
        self.set_markets([self.parse_market(row) for row in rows])
        for code in ("BTC", "USDT"):
            self.currencies[code] = {"id": code, "code": code, "precision": 1e-8}

    def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        self.sent.append((method, url.removeprefix("https://www.okx.com"), json.loads(body)))
        return {"code": "0", "msg": "", "data": [PLACED]}


UNIFIED = {SWAP: "BTC/USDT:USDT", "BTC-USDT": "BTC/USDT"}


@pytest.mark.parametrize(
    ("held", "side"),
    [
        (holding(posSide="net"), None),
        (holding(posSide="long"), "buy"),
        (holding(Side.SHORT, posSide="short", mgnMode="isolated"), "sell"),
        (holding(instrument="BTC-USDT", instType="MARGIN", ccy="USDT"), None),
    ],
    ids=["net", "long", "short", "margin"],
)
def test_a_whole_close_is_what_ccxt_itself_would_ask_for(held: Holding, side: str | None) -> None:
    """The tag and the switch for working orders are parameters of ccxt's caller, and passed on as they are."""
    ours = requests.close_position_request(held, CLIENT_ID, cancel_orders=True)
    client = Wired()
    client.close_position(
        UNIFIED[held.instrument],
        side,
        {
            "marginMode": held.handle["mgnMode"],
            **({"code": "USDT"} if "ccy" in ours.body else {}),
            "clientOrderId": CLIENT_ID,
        },
    )

    ((method, path, theirs),) = client.sent
    # ccxt says it in the venue's names, and passes on its own beside them.
    said = {name: value for name, value in theirs.items() if name not in ("clientOrderId", "code")}
    assert (method, path) == (ours.method, ours.url)
    assert ours.body == said | {"autoCxl": True, "tag": "flatwire"}


@pytest.mark.parametrize(
    ("held", "side", "parameters"),
    [
        (holding(), "sell", {"marginMode": "cross", "reduceOnly": True}),
        (holding(Side.SHORT, mgnMode="isolated"), "buy", {"marginMode": "isolated", "reduceOnly": True}),
        (holding(posSide="long"), "sell", {"marginMode": "cross", "reduceOnly": True, "hedged": True}),
        (
            holding(Side.SHORT, posSide="short"),
            "buy",
            {"marginMode": "cross", "reduceOnly": True, "hedged": True},
        ),
        (
            holding(instrument="BTC-USDT", instType="MARGIN", ccy="USDT"),
            "sell",
            {"marginMode": "cross", "ccy": "USDT", "reduceOnly": True},
        ),
    ],
    ids=["long", "short", "hedged long", "hedged short", "margin"],
)
def test_a_partial_close_is_what_ccxt_itself_would_ask_for(
    held: Holding, side: str, parameters: dict[str, Any]
) -> None:
    ours = requests.reduce_request(held, Decimal("2.50"), CLIENT_ID)
    client = Wired()
    client.create_order(
        UNIFIED[held.instrument], "market", side, 2.5, None, {**parameters, "clientOrderId": CLIENT_ID}
    )

    ((method, path, theirs),) = client.sent
    # ccxt sends a single market order as a batch of one, which has the same fields.
    assert (method, path) == ("POST", "/api/v5/trade/batch-orders")
    assert [ours.body] == [theirs[0] | {"tag": "flatwire"}]


# Requests


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (requests.time_request(), ("GET", "/api/v5/public/time", None)),
        (requests.positions_request(), ("GET", "/api/v5/account/positions", None)),
        (requests.orders_request(None), ("GET", "/api/v5/trade/orders-pending?limit=100", None)),
        (requests.orders_request("12"), ("GET", "/api/v5/trade/orders-pending?limit=100&after=12", None)),
        (
            requests.order_request(SWAP, "12", CLIENT_ID),
            ("GET", "/api/v5/trade/order?instId=BTC-USDT-SWAP&ordId=12", None),
        ),
        (
            requests.order_request(SWAP, None, CLIENT_ID),
            ("GET", f"/api/v5/trade/order?instId=BTC-USDT-SWAP&clOrdId={CLIENT_ID}", None),
        ),
        (
            requests.fills_request("1607418537715", None),
            ("GET", "/api/v5/trade/fills?begin=1607418537715&limit=100", None),
        ),
        (
            requests.instrument_request(holding()),
            ("GET", "/api/v5/public/instruments?instType=SWAP&instId=BTC-USDT-SWAP", None),
        ),
        (
            requests.instrument_request(holding(instrument="BTC-USD-260327-90000-C", instType="OPTION")),
            (
                "GET",
                "/api/v5/public/instruments?instType=OPTION&instFamily=BTC-USD&instId=BTC-USD-260327-90000-C",
                None,
            ),
        ),
        (
            requests.close_position_request(holding(posSide="long"), "r7f3c9a1", cancel_orders=True),
            (
                "POST",
                "/api/v5/trade/close-position",
                '{"instId": "BTC-USDT-SWAP", "mgnMode": "cross", "posSide": "long", "autoCxl": true, '
                '"clOrdId": "r7f3c9a1", "tag": "flatwire"}',
            ),
        ),
        (
            requests.close_position_request(holding(), "r7f3c9a1", cancel_orders=False),
            (
                "POST",
                "/api/v5/trade/close-position",
                '{"instId": "BTC-USDT-SWAP", "mgnMode": "cross", "autoCxl": false, "clOrdId": "r7f3c9a1", '
                '"tag": "flatwire"}',
            ),
        ),
        (
            requests.close_position_request(
                holding(instrument="BTC-USDT", instType="MARGIN"), "r7f3c9a1", cancel_orders=True
            ),
            (
                "POST",
                "/api/v5/trade/close-position",
                '{"instId": "BTC-USDT", "mgnMode": "cross", "ccy": "USDT", "autoCxl": true, '
                '"clOrdId": "r7f3c9a1", "tag": "flatwire"}',
            ),
        ),
        (
            requests.reduce_request(holding(), Decimal("2"), "r7f3c9a1"),
            (
                "POST",
                "/api/v5/trade/order",
                '{"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "sell", "ordType": "market", '
                '"sz": "2", "reduceOnly": true, "clOrdId": "r7f3c9a1", "tag": "flatwire"}',
            ),
        ),
        (
            requests.reduce_request(holding(posSide="long"), Decimal("100"), "r7f3c9a1"),
            (
                "POST",
                "/api/v5/trade/order",
                '{"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "sell", "posSide": "long", '
                '"ordType": "market", "sz": "100", "clOrdId": "r7f3c9a1", "tag": "flatwire"}',
            ),
        ),
        (
            requests.reduce_request(
                holding(Side.LONG, "BTC-USDT", instType="MARGIN", mgnMode="isolated"),
                Decimal("1E-8"),
                "r7f3c9a1",
            ),
            (
                "POST",
                "/api/v5/trade/order",
                '{"instId": "BTC-USDT", "tdMode": "isolated", "side": "sell", "ordType": "market", '
                '"sz": "0.00000001", "reduceOnly": true, "clOrdId": "r7f3c9a1", "tag": "flatwire"}',
            ),
        ),
        (
            requests.cancel_request(SWAP, [order("12"), order("13")]),
            (
                "POST",
                "/api/v5/trade/cancel-batch-orders",
                '[{"instId": "BTC-USDT-SWAP", "ordId": "12"}, {"instId": "BTC-USDT-SWAP", "ordId": "13"}]',
            ),
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_request_is_as_documented(request_: HttpRequest, expected: tuple[str, str, str | None]) -> None:
    content = None if request_.content is None else request_.content.decode()

    assert (request_.method, request_.url, content) == expected


Build = Callable[[str], HttpRequest]

BY_INSTRUMENT: list[Build] = [
    lambda name: requests.close_position_request(holding(instrument=name), CLIENT_ID, cancel_orders=True),
    lambda name: requests.reduce_request(holding(instrument=name), Decimal(1), CLIENT_ID),
    lambda name: requests.cancel_request(name, [order(instrument=name)]),
    lambda name: requests.order_request(name, "1", None),
    lambda name: requests.instrument_request(holding(instrument=name)),
]


@pytest.mark.parametrize("build", BY_INSTRUMENT)
@pytest.mark.parametrize(
    "name", ["", ".", "..", "BTC USDT", "BTC-USDT-SWAP&x=1", "BTC/USDT", "btc-usdt", "BTC-USDT\n", "БTC-USDT"]
)
def test_a_name_that_could_change_a_request_is_refused(build: Build, name: str) -> None:
    with pytest.raises(ValueError, match="instrument"):
        build(name)


@pytest.mark.parametrize(
    "build",
    [
        lambda text: requests.order_request(SWAP, text, None),
        lambda text: requests.order_request(SWAP, None, text),
        lambda text: requests.orders_request(text),
        lambda text: requests.fills_request("1", text),
        lambda text: requests.cancel_request(SWAP, [order(text)]),
        lambda text: requests.close_position_request(holding(), text, cancel_orders=True),
        lambda text: requests.reduce_request(holding(), Decimal(1), text),
    ],
)
@pytest.mark.parametrize("text", ["", "a-b", "1&x=2", "a b", "x" * 33, "é"])
def test_an_id_that_is_none_is_refused(build: Build, text: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        build(text)


@pytest.mark.parametrize("word", ["mgnMode", "posSide", "instType"])
@pytest.mark.parametrize("value", ["", "Cross", "both", "SPOT"])
def test_a_position_in_words_that_we_do_not_know_is_not_closed(word: str, value: str) -> None:
    with pytest.raises(ValueError, match=word):
        requests.close_position_request(holding(**cast(Any, {word: value})), CLIENT_ID, cancel_orders=True)
    with pytest.raises(ValueError, match=word):
        requests.reduce_request(holding(**cast(Any, {word: value})), Decimal(1), CLIENT_ID)


def test_an_order_never_opens_the_other_side() -> None:
    with pytest.raises(ValueError, match="short"):
        requests.reduce_request(holding(Side.LONG, posSide="short"), Decimal(1), CLIENT_ID)


def test_a_currency_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="currency"):
        requests.close_position_request(
            holding(instType="MARGIN", ccy="usdt"), CLIENT_ID, cancel_orders=False
        )


@pytest.mark.parametrize("quantity", ["0", "-1", "NaN", "Infinity"])
def test_a_quantity_that_is_none_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        requests.reduce_request(holding(), Decimal(quantity), CLIENT_ID)


def test_an_option_in_net_mode_has_no_order_that_only_reduces() -> None:
    assert not requests.can_be_reduced(holding(instType="OPTION"))
    assert not requests.can_be_reduced(holding(Side.SHORT, instType="MARGIN"))
    assert requests.can_be_reduced(holding(Side.LONG, instType="MARGIN"))
    with pytest.raises(ValueError, match="reduces"):
        requests.reduce_request(holding(instType="OPTION"), Decimal(1), CLIENT_ID)


@pytest.mark.parametrize(
    "orders", [[], [order(str(n)) for n in range(21)], [order("1"), order("2", "ETH-USDT-SWAP")]]
)
def test_a_cancel_is_of_one_to_twenty_orders_of_one_instrument(orders: list[Order]) -> None:
    with pytest.raises(ValueError, match="order"):
        requests.cancel_request(SWAP, orders)


def test_an_order_is_looked_up_by_some_id() -> None:
    with pytest.raises(ValueError, match="looked up"):
        requests.order_request(SWAP, None, None)


# What an answer to a close means


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (success(CLOSING), Report()),
        (success({"clOrdId": "", "instId": "XRP-USDT-SWAP", "posSide": "short", "tag": ""}), Report()),
        (success(PLACED), Report(order_ids=("2896576259728695296",))),
        (success(PLACED | {"sCode": ""}), Report(order_ids=("2896576259728695296",))),
    ],
)
def test_a_success_becomes_a_report(given_: HttpAnswer, expected: Report) -> None:
    assert report_of(given_) == expected


FIX = [
    *("50000", "50002", "50006", "50012", "50014", "50015", "50016", "50027", "50035"),
    *("50115", "51000", "51001", "51010", "51015", "51020", "51024", "51108", "51112", "51115", "51117"),
    *("51121", "51156", "51202", "51203", "51205", "51206", "51207"),
]
AUTH = ["50100", "50101", *(str(code) for code in range(50103, 50115)), "50119", "50120"]
RETRY = [
    *("50001", "50005", "50011", "50013", *(str(code) for code in range(50017, 50024)), "50040", "50061"),
    *("50036", "50037", "50102", "51022", "51027", "51028", "51029", "51030", "51113"),
]
TOO_FAST = {"50001", "50005", "50011", "50013", "50040", "50061", "51113"}
UNSETTLED = [
    *("50004", "50026", "50042", "50071", "51016", "51032", "51054", "51127", "51149", "51170", "51342"),
]
FLAT = ["51023", "51043", "51169"]
GONE = ["51400", "51401", "51402", "51405", "51410"]
OF_THE_PAGE = {
    **dict.fromkeys(FIX + AUTH, Refused),
    **dict.fromkeys(RETRY, Throttled),
    **dict.fromkeys([*UNSETTLED, *GONE, "51603"], OutcomeUnknown),
}

placements = pytest.mark.parametrize("placed", [at_the_top, in_the_row])
STATUSES = (200, 400, 401, 429, 500, 503)


def test_the_table_has_each_code_of_the_page_and_no_other() -> None:
    assert set(VERDICTS) == {*OF_THE_PAGE, *FLAT}


@placements
@pytest.mark.parametrize(("code", "failure"), OF_THE_PAGE.items())
def test_a_code_means_the_same_wherever_it_stands(
    code: str, failure: type[BrokerError], placed: Callable[[str, int], HttpAnswer]
) -> None:
    for status in STATUSES:
        with pytest.raises(BrokerError) as caught:
            report_of(placed(code, status))

        assert type(caught.value) is failure
        assert code in caught.value.detail
        assert "the venue's words" in caught.value.detail
        assert caught.value.answer["status"] == status


@placements
@pytest.mark.parametrize("code", RETRY)
def test_only_what_is_about_our_pace_makes_other_calls_wait(
    code: str, placed: Callable[[str], HttpAnswer]
) -> None:
    with pytest.raises(Throttled) as caught:
        report_of(placed(code))

    assert caught.value.others_too is (code in TOO_FAST)


@placements
@pytest.mark.parametrize("code", FLAT)
def test_nothing_to_close_is_no_failure(code: str, placed: Callable[[str, int], HttpAnswer]) -> None:
    for status in STATUSES:
        assert report_of(placed(code, status)) == Report(nothing_open=True)


@pytest.mark.parametrize("code", FLAT)
def test_nothing_to_close_is_no_answer_to_a_read(code: str) -> None:
    with pytest.raises(OutcomeUnknown):
        answers.positions_of(at_the_top(code), "okx", None)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("51115", "pending closing orders: set cancel_orders"),
        ("51112", "cancel_orders"),
        ("51117", "cancel_orders"),
        *((code, "close in slices") for code in ("51108", "51202", "51203", "51207")),
        ("50101", "demo"),
        ("50105", "passphrase"),
        ("50110", "address"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, advice: str) -> None:
    with pytest.raises(Refused, match=advice):
        report_of(at_the_top(code, 429))


@pytest.mark.parametrize(("headers", "wait"), [({}, None), ({"Retry_After": "7"}, 7.0)])
def test_a_wait_is_the_venues(headers: dict[str, str], wait: float | None) -> None:
    with pytest.raises(Throttled) as caught:
        report_of(at_the_top("50011", 429, **headers))

    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    "given_",
    [
        at_the_top("59999"),
        in_the_row("59999"),
        at_the_top("1"),
        at_the_top("2"),
        at_the_top(""),
        in_the_row("0"),
        in_the_row("0", top="2"),
        in_the_row("51000", top="0"),  # accepted, and not
        in_the_row("51000", top="50011"),  # a no, and not now
        in_the_row("51023", top="51000"),
        in_the_row("51000", status=200, top="51023"),
        answer(200, {"code": "1", "data": [PLACED, PLACED | {"sCode": "51000"}]}),
        answer(200, {"code": 51000, "msg": "", "data": []}),
        answer(200, {"code": 0, "msg": "", "data": [PLACED]}),
        answer(200, {"code": "1", "data": [{"sCode": 51000}]}),
        answer(404, {"code": 404, "data": {}, "error_code": "404", "msg": "Not Found"}),
        *(answer(status, {"code": "0", "data": [PLACED]}) for status in (201, 202, 302, 400, 429, 500)),
        *(answer(status, "") for status in (200, 204, 301, 403, 429, 500, 502)),
        *(answer(status, "<html>Just a moment...</html>") for status in (200, 403, 429, 503)),
        answer(429, {"error": "slow down"}),
        answer(200, [PLACED]),
        answer(200, "null"),
        answer(200, {"data": [PLACED]}),
        answer(200, {"code": "0"}),
        answer(200, {"code": "0", "data": {}}),
        answer(200, {"code": "0", "data": [PLACED, None]}),
        success(PLACED | {"sCode": "51000"}),
        success(PLACED | {"sCode": None}),
        success(PLACED | {"sCode": 0}),
    ],
    ids=lambda it: f"{it.status} {it.text[:60]}",
)
def test_what_no_page_documents_settles_nothing(given_: HttpAnswer) -> None:
    with pytest.raises(OutcomeUnknown):
        report_of(given_)


@pytest.mark.parametrize(
    "given_",
    [
        success(),
        success(PLACED, PLACED),
        success(PLACED | {"clOrdId": "another"}),
        success(PLACED | {"clOrdId": None}),
        success(PLACED | {"ordId": 5}),
        success(PLACED | {"ordId": "a/b"}),
    ],
)
def test_a_success_in_another_shape_is_unreadable(given_: HttpAnswer) -> None:
    with pytest.raises(Unreadable):
        report_of(given_)


@pytest.mark.parametrize("code", sorted(CLOCK_IS_OFF))
@placements
def test_the_venue_tells_that_our_clock_is_off(code: str, placed: Callable[[str], HttpAnswer]) -> None:
    assert clock_is_off(placed(code))
    assert not clock_is_off(placed("50011"))
    assert not clock_is_off(success(PLACED))


# Cancels


def cancelled(*codes: str, top: str = "0", status: int = 200) -> HttpAnswer:
    rows = [
        {"ordId": str(n), "clOrdId": "", "sCode": code, "sMsg": "the venue's words"}
        for n, code in enumerate(codes, 1)
    ]
    return answer(status, {"code": top, "msg": "", "data": rows})


def cancelled_of(given_: HttpAnswer) -> Report:
    return answers.cancelled_of(given_, ("1", "2"))


@pytest.mark.parametrize(
    "given_",
    [
        cancelled("0", "0"),
        *(cancelled("0", code, top="2") for code in [*GONE, "51603"]),
        *(cancelled(code, code, top="1") for code in [*GONE, "51603"]),
        cancelled("0", "0", "0"),
    ],
)
def test_orders_that_are_cancelled_or_gone_are_done(given_: HttpAnswer) -> None:
    assert cancelled_of(given_) == Report()


@pytest.mark.parametrize(
    ("given_", "failure"),
    [
        (cancelled("51000", "51400", top="1"), Refused),
        (cancelled("50011", "50011", top="1"), Throttled),
        (cancelled("50011", "51000", top="1"), OutcomeUnknown),
        (cancelled("0", "51000", top="2"), OutcomeUnknown),
        (cancelled("0", "50011", top="2"), OutcomeUnknown),
        (cancelled("59999", "59999", top="1"), OutcomeUnknown),
        (cancelled("51000", "51000", top="0"), OutcomeUnknown),
        (at_the_top("50011", 429), Throttled),
        (at_the_top("50113", 401), Refused),
        (cancelled("0", "0", status=500), OutcomeUnknown),
        (cancelled("0", "51023", top="2"), OutcomeUnknown),
        (answer(200, {"code": "0", "data": "1"}), OutcomeUnknown),
        (answer(502, ""), OutcomeUnknown),
    ],
)
def test_a_cancel_that_failed_is_definite_only_when_nothing_was_cancelled(
    given_: HttpAnswer, failure: type[BrokerError]
) -> None:
    with pytest.raises(BrokerError) as caught:
        cancelled_of(given_)

    assert type(caught.value) is failure


@pytest.mark.parametrize(
    "given_",
    [
        cancelled(),
        cancelled("0"),
        success({"ordId": "1", "sCode": "0"}, {"ordId": "2"}),
        success({"ordId": "1", "sCode": "0"}, {"ordId": 2, "sCode": "0"}),
    ],
)
def test_a_cancel_tells_of_every_order(given_: HttpAnswer) -> None:
    with pytest.raises(Unreadable):
        cancelled_of(given_)


# Reads


def positions_of(*rows: Any, mode: str | None = None) -> tuple[Position, ...]:
    return answers.positions_of(success(*rows), "okx", mode).items


def test_a_position_is_read_with_all_that_a_request_needs() -> None:
    (position,) = positions_of(POSITION)

    assert position == Position(
        account="okx",
        instrument=SWAP,
        side=Side.LONG,
        quantity=Decimal("0.5"),
        average_price=Decimal(10000),
        market_price=Decimal(10000),
        profit_loss=Decimal(0),
        currency="USDT",
        opened_at=datetime(2021, 6, 1, 15, 5, 30, 237000, tzinfo=UTC),
        handle={"mgnMode": "isolated", "posSide": "long", "ccy": "USDT", "instType": "SWAP"},
        raw=POSITION,
    )


@pytest.mark.parametrize(
    ("row", "side", "quantity"),
    [
        (POSITION | {"posSide": "net", "pos": "2"}, Side.LONG, "2"),
        (POSITION | {"posSide": "net", "pos": "-2"}, Side.SHORT, "2"),
        (POSITION | {"posSide": "short", "pos": "2"}, Side.SHORT, "2"),
        (MARGIN, Side.LONG, "0.5"),
        (MARGIN | {"posCcy": "USDT", "pos": "5000"}, Side.SHORT, "5000"),
    ],
)
def test_the_side_of_a_position_depends_on_its_mode(row: dict[str, Any], side: Side, quantity: str) -> None:
    (position,) = positions_of(row)

    assert (position.side, position.quantity) == (side, Decimal(quantity))


def test_a_position_that_is_closed_is_left_out() -> None:
    assert positions_of(*(POSITION | {"pos": size, "mgnMode": ""} for size in ("", "0", "0.00", "-0"))) == ()


def test_a_margin_mode_is_a_filter() -> None:
    both = (POSITION, POSITION | {"mgnMode": "cross"})

    assert [it.handle["mgnMode"] for it in positions_of(*both)] == ["isolated", "cross"]
    assert [it.handle["mgnMode"] for it in positions_of(*both, mode="cross")] == ["cross"]


def test_what_a_position_does_not_say_is_none() -> None:
    unsaid = {"avgPx": "", "markPx": "", "last": "", "upl": "", "ccy": "", "cTime": ""}
    (position,) = positions_of(POSITION | unsaid)

    assert {position.average_price, position.market_price, position.profit_loss} == {None}
    assert (position.currency, position.opened_at) == (None, None)
    assert positions_of(POSITION | {"markPx": ""})[0].market_price == Decimal(9999)


@pytest.mark.parametrize(
    "row",
    [
        *(
            POSITION | {"pos": size}
            for size in (None, 1, True, "NaN", "Infinity", "1e400", "1_0", " 1", "٣", "10e14", "x")
        ),
        POSITION | {"pos": "-1"},
        MARGIN | {"pos": "-1"},
        MARGIN | {"posCcy": ""},
        MARGIN | {"posCcy": "ETH"},
        *(POSITION | {"posSide": word} for word in (None, "", "LONG", "both")),
        *(POSITION | {"mgnMode": word} for word in (None, "", "cash")),
        *(POSITION | {"instType": word} for word in (None, "", "SPOT")),
        *(POSITION | {"instId": name} for name in (None, "", "../x", 5)),
        *(POSITION | {"avgPx": price} for price in (None, "NaN", 5, "1e-99999")),
        *(POSITION | {"cTime": time} for time in (None, "1", "162255993023", "16225599302370", 5, "x" * 13)),
    ],
)
def test_a_position_that_can_not_be_read_fails_loudly(row: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        positions_of(row)


def test_orders_are_read_but_for_the_spot_markets() -> None:
    page = answers.orders_of(success(ORDER | {"state": "live"}, {"instType": "SPOT"}), "okx")

    assert page == Page(
        (
            Order(
                account="okx",
                instrument=SWAP,
                order_id="1234567890123456789",
                market=True,
                state=OrderState.WORKING,
                reduces=Side.LONG,
                quantity=Decimal(2),
                filled=Decimal(2),
                average_price=Decimal(103500),
                profit_loss=Decimal("12.5"),
                client_id=CLIENT_ID,
                detail="live",
            ),
        )
    )


@pytest.mark.parametrize(
    ("kind", "market"),
    [
        ("limit", False),
        ("post_only", False),
        *((kind, True) for kind in ("market", "ioc", "fok", "optimal_limit_ioc", "elp", "new")),
    ],
)
def test_an_order_counts_as_a_close_unless_it_is_known_to_rest(kind: str, market: bool) -> None:
    assert answers.order_of(ORDER | {"ordType": kind}, "okx").market is market


@pytest.mark.parametrize(
    ("side", "held", "reduces"),
    [
        ("sell", "net", Side.LONG),
        ("buy", "net", Side.SHORT),
        ("sell", "", Side.LONG),
        ("sell", "long", Side.LONG),
        ("buy", "short", Side.SHORT),
        ("buy", "long", None),
        ("sell", "short", None),
    ],
)
def test_what_opens_in_long_short_mode_reduces_nothing(side: str, held: str, reduces: Side | None) -> None:
    assert answers.order_of(ORDER | {"side": side, "posSide": held}, "okx").reduces is reduces
    fills, _ = answers.fills_of(success(FILL | {"side": side, "posSide": held}), "okx")
    assert [fill.reduces for fill in fills] == ([] if reduces is None else [reduces])


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("live", OrderState.WORKING),
        ("partially_filled", OrderState.WORKING),
        ("filled", OrderState.FILLED),
        ("canceled", OrderState.ENDED),
        ("mmp_canceled", OrderState.ENDED),
    ],
)
def test_a_state_is_in_our_terms(word: str, state: OrderState) -> None:
    row = ORDER | {"state": word, "cancelSourceReason": "why"}
    order_ = answers.order_of(row, "okx")

    assert (order_.state, order_.detail) == (state, f"{word}: why")


def test_an_unfilled_order_has_no_price() -> None:
    unfilled = ORDER | {"accFillSz": "", "avgPx": "0", "clOrdId": "", "pnl": ""}
    order_ = answers.order_of(unfilled, "okx")

    assert (order_.filled, order_.average_price, order_.client_id) == (Decimal(0), None, None)
    assert order_.profit_loss is None


def test_a_purchase_that_is_counted_in_money_has_no_quantity() -> None:
    bought = ORDER | {"instType": "MARGIN", "instId": "BTC-USDT", "side": "buy", "sz": "5000"}

    assert answers.order_of(bought, "okx").quantity is None
    assert answers.order_of(bought | {"ordType": "limit"}, "okx").quantity == Decimal(5000)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("instId", "ordId", "ordType", "side", "state", "sz", "accFillSz")),
        {"state": "rejected"},
        {"side": "SELL"},
        {"posSide": "both"},
        {"posSide": None},
        {"sz": "-1"},
        {"accFillSz": "-1"},
        {"avgPx": "x"},
        {"ordId": "a b"},
    ],
)
def test_an_order_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.orders_of(success(ORDER | changes), "okx")


def looked_up(given_: HttpAnswer, order_id: str | None = None) -> Order | None:
    return answers.looked_up_of(given_, "okx", SWAP, order_id, CLIENT_ID)


def test_an_order_is_found_by_its_id_or_ours() -> None:
    for found in (looked_up(success(ORDER)), looked_up(success(ORDER), "1234567890123456789")):
        assert found is not None
        assert (found.state, found.filled, found.client_id) == (OrderState.FILLED, Decimal(2), CLIENT_ID)


@placements
def test_an_order_that_the_venue_does_not_know_is_none(placed: Callable[[str], HttpAnswer]) -> None:
    assert looked_up(placed("51603")) is None


@pytest.mark.parametrize(
    "given_",
    [
        success(),
        success(ORDER, ORDER),
        success(ORDER | {"clOrdId": "another"}),
        success(ORDER | {"instId": "ETH-USDT-SWAP"}),
    ],
)
def test_no_other_answer_says_that_there_is_no_order(given_: HttpAnswer) -> None:
    with pytest.raises(Unreadable):
        looked_up(given_)


def test_another_order_than_was_asked_for_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        looked_up(success(ORDER), "5")


def test_a_fill_is_at_the_time_of_its_trade() -> None:
    fills, following = answers.fills_of(success(FILL, FILL | {"instType": "SPOT"}), "okx")

    assert following is None
    assert fills == (
        Fill(
            account="okx",
            instrument=SWAP,
            reduces=Side.LONG,
            quantity=Decimal(2),
            price=Decimal(103500),
            at=datetime(2025, 5, 11, 7, 8, 37, 49000, tzinfo=UTC),
            order_id="1234567890123456789",
            profit_loss=Decimal("12.5"),
        ),
    )


@pytest.mark.parametrize("missing", ["", "0", None])
def test_a_fill_without_it_is_at_the_time_of_its_record(missing: str | None) -> None:
    row = {key: value for key, value in FILL.items() if key != "fillTime"}
    if missing is not None:
        row["fillTime"] = missing
    fills, _ = answers.fills_of(success(row), "okx")

    assert fills[0].at == datetime(2025, 5, 11, 7, 8, 37, 50000, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("instId", "ordId", "side", "fillSz", "fillPx", "fillTime")),
        {"fillSz": "0"},
        {"fillSz": "-1"},
        {"side": "none"},
        {"fillPx": "1e999"},
        {"fillTime": "99999999999999"},
        {"fillTime": "9999999999999"},
    ],
)
def test_a_fill_that_can_not_be_read_fails_loudly(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answers.fills_of(success(FILL | changes), "okx")


def test_a_full_page_asks_for_the_one_after() -> None:
    orders = [ORDER | {"ordId": str(n)} for n in range(100, 0, -1)]
    fills = [FILL | {"billId": str(n)} for n in range(100, 0, -1)]

    assert answers.orders_of(success(*orders), "okx").next == "1"
    assert answers.orders_of(success(*orders[:99]), "okx").next is None
    assert answers.fills_of(success(*fills), "okx")[1] == "1"
    assert answers.fills_of(success(*fills[:99]), "okx")[1] is None
    with pytest.raises(Unreadable):
        answers.fills_of(success(*fills[:99], FILL | {"billId": ""}), "okx")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (INSTRUMENT, Terms(Decimal("0.01"), Decimal(12000), Decimal("0.01"))),
        (INSTRUMENT | {"maxMktSz": ""}, Terms(Decimal("0.01"), None, Decimal("0.01"))),
        (INSTRUMENT | {"ctMult": "10"}, Terms(Decimal("0.01"), Decimal(12000), Decimal("0.10"))),
        (
            INSTRUMENT | {"ctType": "inverse", "ctVal": "100", "ctValCcy": "USD", "lotSz": "1"},
            Terms(Decimal(1), Decimal(12000), None),
        ),
        (
            INSTRUMENT | {"instType": "MARGIN", "ctVal": "", "ctMult": "", "ctValCcy": "", "lotSz": "1e-8"},
            Terms(Decimal("1e-8")),
        ),
    ],
)
def test_terms_are_in_our_units(row: dict[str, Any], expected: Terms) -> None:
    assert answers.terms_of(success(row), SWAP) == expected


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [INSTRUMENT, INSTRUMENT],
        [INSTRUMENT | {"instId": "ETH-USDT-SWAP"}],
        [INSTRUMENT | {"instType": "SPOT"}],
        [INSTRUMENT | {"lotSz": "0"}],
        [INSTRUMENT | {"lotSz": ""}],
        [INSTRUMENT | {"ctVal": ""}],
        [INSTRUMENT | {"ctVal": "-1"}],
        [INSTRUMENT | {"ctValCcy": ""}],
        [INSTRUMENT | {"maxMktSz": "0"}],
    ],
)
def test_terms_that_can_not_be_read_fail_loudly(rows: list[Any]) -> None:
    with pytest.raises(Unreadable):
        answers.terms_of(success(*rows), SWAP)


# Whatever comes


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.text(max_size=8)
    | st.sampled_from(["long", "net", "", "0", "1", "-1", "NaN", "1e99", "51023", "51603", "live", SWAP]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ROWS: tuple[dict[str, Any], ...] = (POSITION, MARGIN, ORDER, FILL, INSTRUMENT, PLACED, CLOSING)


def spoilt(row: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The row with some of its values replaced."""
    changes = st.dictionaries(st.sampled_from([*sorted(row), "sCode"]), json_values, max_size=3)
    return changes.map(lambda changed: row | changed)


bodies: st.SearchStrategy[Any] = json_values | st.fixed_dictionaries(
    {"code": st.sampled_from(["0", "1", "2", *VERDICTS]) | json_values},
    optional={
        "msg": json_values,
        "data": json_values | st.lists(st.one_of(*map(spoilt, ROWS)), max_size=2),
    },
)
READERS: list[Callable[[HttpAnswer], Any]] = [
    report_of,
    cancelled_of,
    answers.time_of,
    lambda it: answers.positions_of(it, "okx", "cross"),
    lambda it: answers.orders_of(it, "okx"),
    looked_up,
    lambda it: answers.fills_of(it, "okx"),
    lambda it: answers.terms_of(it, SWAP),
]


@settings(deadline=None)
@given(status=st.sampled_from([200, 200, 200, 400, 429, 500]), body=bodies, wait=st.text(max_size=6))
def test_whatever_comes_is_read_or_settles_nothing(status: int, body: Any, wait: str) -> None:
    given_ = without(answer(status, body, Retry_After=wait), CREDENTIAL.secrets)
    for read in READERS:
        try:
            result = read(given_)
        except (BrokerError, Unreadable):
            continue

        assert not isinstance(result, Page) or all(
            isinstance(it, Order) or it.quantity > 0 for it in result.items
        )


@settings(deadline=None)
@given(bodies)
def test_no_error_is_ever_a_report_of_something_closed(body: Any) -> None:
    for status in (201, 301, 401, 404, 408, 429, 500, 502):
        try:
            report = report_of(answer(status, body))
        except (BrokerError, Unreadable):
            continue

        assert report == Report(nothing_open=True)
        assert said_in(answer(status, body)).verdict is Verdict.FLAT


# The adapter


@dataclass
class Line:
    """The venue at the other end: it answers by the path, and remembers what came."""

    script: dict[str, list[HttpAnswer | Exception]] = field(default_factory=dict)
    sent: list[HttpRequest] = field(default_factory=list)
    timeouts: list[Timeouts] = field(default_factory=list)
    now: float = 1000.0

    def answers(self, path: str, *given_: HttpAnswer | Exception) -> None:
        self.script.setdefault(path, []).extend(given_)

    def send(self, request: HttpRequest, timeouts: Timeouts, guard: Guard) -> HttpAnswer:
        guard(timeouts.deadline)
        self.sent.append(request)
        self.timeouts.append(timeouts)
        path = request.url.partition("/api/v5")[2].partition("?")[0]
        told = self.script.get(path, [])
        if not told and path == "/public/time":
            return success({"ts": str(MOMENT)})
        answered = told.pop(0)
        if isinstance(answered, Exception):
            raise answered
        return answered

    def paths(self) -> list[str]:
        return [request.url.removeprefix("http://127.0.0.1:9/okx/api/v5") for request in self.sent]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line()
    monkeypatch.setattr(http, "send", line.send)
    monkeypatch.setattr("time.monotonic", lambda: line.now)
    return line


def broker(**changes: Any) -> Okx:
    secrets = {"api_key": KEY, "api_secret": SECRET, "passphrase": PASSPHRASE}
    given_ = BrokerSettings(
        name="okx",
        venue=VENUES["okx"],
        secrets={name: Secret(text) for name, text in secrets.items()},
        base_url="http://127.0.0.1:9/okx",
        demo=True,
    )
    return Okx(replace(given_, **changes))


def open_(left: float) -> None:
    return None


CLOSE = ClosePosition("okx", "okx", SWAP, cancel_orders=True)


def test_it_is_one_account_and_has_no_call_that_flattens() -> None:
    it: Any = broker()

    assert (it.name, it.venue) == ("okx", VENUES["okx"])
    assert it.accounts() is None
    assert it.flatten(None) is None
    assert it.flatten_everything(None) is None


def test_a_call_is_signed_at_the_venues_time_which_is_asked_for_once(line: Line) -> None:
    it = broker()
    line.answers("/account/positions", success(POSITION), success(POSITION))
    line.now = 1000.0
    it.positions().make(open_)
    line.now = 1100.5
    answered = it.positions().make(open_)

    assert answered.result.items == positions_of(POSITION)
    assert line.paths() == ["/public/time", "/account/positions", "/account/positions"]
    clock, first, second = (request.headers for request in line.sent)
    assert not any(name.startswith("OK-") for name in clock)
    assert first["OK-ACCESS-TIMESTAMP"] == AT
    assert second["OK-ACCESS-TIMESTAMP"] == timestamp(MOMENT + 100_500)
    # The prefix of the address is the proxy's, not the venue's.
    assert first["OK-ACCESS-SIGN"] == signature(SECRET, AT, "GET", "/api/v5/account/positions", None)
    assert (first["OK-ACCESS-KEY"], first["OK-ACCESS-PASSPHRASE"]) == (KEY, PASSPHRASE)
    assert first["Content-Type"] == "application/json"


@pytest.mark.parametrize("demo", [True, False])
def test_demo_is_said_in_every_header(line: Line, demo: bool) -> None:
    line.answers("/account/positions", success())
    broker(demo=demo).positions().make(open_)

    assert [it.headers.get("x-simulated-trading") for it in line.sent] == (["1"] if demo else [None]) * 2


def test_the_clock_is_read_again_after_a_while(line: Line) -> None:
    it = broker()
    line.answers("/account/positions", success(), success())
    it.positions().make(open_)
    line.now += 300
    it.positions().make(open_)

    assert line.paths().count("/public/time") == 2


@pytest.mark.parametrize("code", sorted(CLOCK_IS_OFF))
def test_the_clock_is_read_again_when_the_venue_calls_it_off(line: Line, code: str) -> None:
    it = broker()
    line.answers("/account/positions", at_the_top(code, 401), success())
    with pytest.raises(Throttled):
        it.positions().make(open_)
    it.positions().make(open_)

    assert line.paths().count("/public/time") == 2


@pytest.mark.parametrize(
    "failed",
    [
        NotSent("no route"),
        OutcomeUnknown("cut"),
        at_the_top("50011", 429),
        at_the_top("50113", 401),
        answer(502, ""),
        success(),
        success({"ts": "soon"}),
        success({"ts": 1607418537715}),
    ],
)
def test_without_the_venues_time_nothing_is_sent(line: Line, failed: HttpAnswer | Exception) -> None:
    line.answers("/public/time", failed)
    with pytest.raises(NotSent, match="clock"):
        broker().close(CLOSE, holding(), None).make(open_)

    assert line.paths() == ["/public/time"]


def test_the_guard_is_asked_once_for_the_call_itself_and_within_its_deadline(line: Line) -> None:
    asked: list[float] = []
    line.answers("/trade/close-position", success(CLOSING | {"clOrdId": ""}))

    def slowly(left: float) -> None:
        asked.append(left)

    send = line.send

    def slow(request: HttpRequest, timeouts: Timeouts, guard: Guard) -> HttpAnswer:
        answered = send(request, timeouts, guard)
        line.now += 5
        return answered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "send", slow)
        broker().close(CLOSE, holding(), None).make(slowly)

    assert asked == [7.0]
    assert [it.deadline for it in line.timeouts] == [6.0, 7.0]


def test_a_guard_that_raises_keeps_the_call_here(line: Line) -> None:
    def closed(left: float) -> None:
        raise NotSent("the lease ran out")

    with pytest.raises(NotSent, match="lease"):
        broker().close(CLOSE, holding(), None).make(closed)

    assert line.paths() == ["/public/time"]


def test_a_whole_close_can_be_looked_up_and_does_not_lapse(line: Line) -> None:
    call = broker().close(CLOSE, holding(), None)

    assert call.client_id is not None
    assert call.client_id.isalnum()
    assert len(call.client_id) <= 32
    assert call.client_id.startswith("fw")
    assert call.lapses is False
    assert call.request == {
        "method": "POST",
        "url": "http://127.0.0.1:9/okx/api/v5/trade/close-position",
        "body": {
            "instId": SWAP,
            "mgnMode": "cross",
            "autoCxl": True,
            "clOrdId": call.client_id,
            "tag": "flatwire",
        },
    }
    assert broker().close(CLOSE, holding(), None).client_id != call.client_id
    line.answers("/trade/close-position", success(CLOSING | {"clOrdId": call.client_id}))
    assert call.make(open_).result == Report()
    assert "expTime" not in line.sent[-1].headers


@pytest.mark.parametrize(("deadline", "expiry"), [(12.0, 9_000), (2.0, 1500), (0.5, 375)])
def test_a_partial_close_lapses_before_the_call_may_be_doubted(
    line: Line, deadline: float, expiry: int
) -> None:
    call = broker(deadline=deadline).close(CLOSE, holding(), Decimal(2))
    line.answers("/trade/order", success(PLACED | {"clOrdId": call.client_id}))

    assert call.make(open_).result == Report(order_ids=("2896576259728695296",))
    assert call.lapses is True
    assert line.sent[-1].headers["expTime"] == str(MOMENT + expiry)
    assert line.sent[-1].body["clOrdId"] == call.client_id


def test_part_of_an_option_is_refused_before_anything_is_sent(line: Line) -> None:
    with pytest.raises(Refused, match="just a part"):
        broker().close(CLOSE, holding(instType="OPTION"), Decimal(1)).make(open_)

    assert line.sent == []


def test_fills_are_asked_for_since_a_moment_that_all_pages_share(line: Line) -> None:
    it = broker()
    rows = [FILL | {"billId": str(n)} for n in range(100, 0, -1)]
    line.answers("/trade/fills", success(*rows), success(FILL))
    first = it.fills("okx", 60.5).make(open_).result
    line.now += 5
    second = it.fills("okx", 60.5, first.next).make(open_).result

    begin = MOMENT - 60_500
    assert line.paths()[1:] == [
        f"/trade/fills?begin={begin}&limit=100",
        f"/trade/fills?begin={begin}&limit=100&after=1",
    ]
    assert (len(first.items), len(second.items), second.next) == (100, 1, None)
    assert line.sent[-1].headers["OK-ACCESS-SIGN"] == signature(
        SECRET,
        timestamp(MOMENT + 5000),
        "GET",
        f"/api/v5/trade/fills?begin={begin}&limit=100&after=1",
        None,
    )


def test_fills_reach_back_three_days() -> None:
    broker().fills("okx", 259_200)
    with pytest.raises(Refused, match="259200"):
        broker().fills("okx", 259_201)


def test_terms_need_no_signature(line: Line) -> None:
    line.answers("/public/instruments", success(INSTRUMENT))

    assert broker().terms(holding()).make(open_).result.unit == Decimal("0.01")
    assert not any(name.startswith("OK-") for name in line.sent[0].headers)
    assert len(line.sent) == 1


def test_orders_are_listed_looked_up_and_cancelled(line: Line) -> None:
    it = broker()
    line.answers("/trade/orders-pending", success(ORDER))
    line.answers("/trade/order", at_the_top("51603"))
    line.answers("/trade/cancel-batch-orders", success({"ordId": "1", "sCode": "0"}))

    assert len(it.orders("okx").make(open_).result.items) == 1
    assert it.order("okx", SWAP, client_id=CLIENT_ID).make(open_).result is None
    assert it.cancel_orders("okx", SWAP, [order("1")]).make(open_).result == Report()


TIME = Limit("okx time", 10, 2)


@pytest.fixture
def in_time(line: Line) -> Okx:
    """A broker that has read the venue's clock."""
    it = broker()
    line.answers("/account/positions", success())
    it.positions().make(open_)
    return it


def test_reading_the_clock_counts_for_the_call_that_has_to(line: Line, in_time: Okx) -> None:
    for call in (broker().positions(), broker().close(CLOSE, holding(), None)):
        assert call.limits[0] == TIME
        assert len(call.limits) == 2

    assert TIME not in in_time.positions().limits
    assert TIME not in broker().terms(holding()).limits
    line.now += 300
    assert in_time.positions().limits[0] == TIME


OPTION = "BTC-USD-260327-90000-C"
OTHER_OPTION = "BTC-USD-260626-50000-P"


@pytest.mark.parametrize(
    ("instrument", "counted_by"),
    [
        (SWAP, SWAP),
        ("BTC-USD-260327", "BTC-USD-260327"),
        ("BTC-USDT", "BTC-USDT"),
        (OPTION, "BTC-USD"),
        (OTHER_OPTION, "BTC-USD"),
        ("BTC-USD_UM-260327-90000-C", "BTC-USD_UM"),
    ],
)
def test_options_are_counted_by_their_family(in_time: Okx, instrument: str, counted_by: str) -> None:
    held = holding(instrument=instrument, posSide="long")
    calls = [
        in_time.close(CLOSE, held, None),
        in_time.close(CLOSE, held, Decimal(1)),
        in_time.cancel_orders("okx", instrument, [order(instrument=instrument)]),
    ]

    kinds = ("okx close-position", "okx order", "okx cancel")
    assert [call.limits[0].name for call in calls] == [f"{kind} {counted_by}" for kind in kinds]


def test_each_call_counts_against_the_venues_limit(in_time: Okx) -> None:
    it = in_time

    assert it.positions().limits == (Limit("okx positions", 10, 2),)
    assert it.orders("okx").limits[0].calls == 60
    assert it.order("okx", SWAP, order_id="1").limits[0].calls == 60
    assert it.fills("okx", 60).limits[0].calls == 60
    assert it.terms(holding()).limits[0].calls == 20
    assert it.close(CLOSE, holding(), None).limits == (Limit(f"okx close-position {SWAP}", 20, 2),)
    assert it.close(CLOSE, holding(), Decimal(1)).limits == (Limit(f"okx order {SWAP}", 60, 2),)
    assert it.cancel_orders("okx", SWAP, [order()]).limits == (Limit(f"okx cancel {SWAP}", 15, 2),)


@pytest.mark.parametrize("rows", [[], [PLACED | {"clOrdId": "another"}], [PLACED | {"clOrdId": 1}]])
def test_a_close_whose_answer_can_not_be_read_settles_nothing(line: Line, rows: list[Any]) -> None:
    line.answers("/trade/order", success(*rows))
    with pytest.raises(OutcomeUnknown, match="can't be read") as caught:
        broker().close(CLOSE, holding(), Decimal(1)).make(open_)

    assert caught.value.answer["status"] == 200


def test_no_credential_is_in_what_is_told(line: Line) -> None:
    it = broker()
    sign = signature(SECRET, AT, "GET", "/api/v5/account/positions", None)
    echo = json.dumps(
        {
            "code": "50113",
            "msg": f"Invalid Sign {sign} of {KEY} {PASSPHRASE} {SECRET}",
            "data": [{KEY: [PASSPHRASE, sign]}],
        }
    ).replace("/", "\\/")
    line.answers("/account/positions", answer(401, echo), answer(502, f"{echo}, and no JSON"))
    call = it.positions()
    told = [repr(call.request), repr(it.__dict__)]
    for failure in (Refused, OutcomeUnknown):
        with pytest.raises(failure) as caught:
            call.make(open_)
        told += [str(caught.value), repr(caught.value.answer), caught.value.detail]

    assert "***" in told[2]
    for text in (KEY, SECRET, PASSPHRASE, sign, PASSPHRASE.replace("/", "\\/")):
        assert not any(text in it for it in told)


ECHOES: list[Callable[[str], str]] = [
    lambda text: text.replace("/", "\\/"),
    lambda text: text.replace("/", "\\u002f").replace("-", "\\u002D"),
    lambda text: "".join(f"\\u{ord(it):04x}" for it in text),
]


@pytest.mark.parametrize("escaped", ECHOES)
@pytest.mark.parametrize(
    ("headers", "failure"), [({}, Refused), ({"Content_Type": "text/html"}, OutcomeUnknown)]
)
def test_no_spelling_of_a_credential_is_in_what_is_told(
    line: Line, escaped: Callable[[str], str], headers: dict[str, str], failure: type[BrokerError]
) -> None:
    """Whether the echo was read, or kept as the text it was."""
    sign = signature(SECRET, AT, "GET", "/api/v5/account/positions", None)
    echo = escaped(f"{KEY} {PASSPHRASE} {SECRET} {sign}")
    text = f'{{"code": "50113", "msg": "{echo}", "data": [{{"{echo}": ["{echo}"]}}]}}'
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    line.answers("/account/positions", http.answer_of(401, named, text))

    with pytest.raises(failure) as caught:
        broker().positions().make(open_)

    told = f"{caught.value} {caught.value.detail} {caught.value.answer}"
    assert "***" in told
    for secret in (KEY, SECRET, PASSPHRASE, sign):
        assert secret not in told
        assert escaped(secret) not in told.replace("\\\\", "\\")


def test_an_answer_that_nests_too_deep_settles_nothing(line: Line) -> None:
    body: Any = []
    for _ in range(100_000):
        body = [body]
    line.answers("/account/positions", HttpAnswer(200, {}, body, "[[["))
    with pytest.raises(OutcomeUnknown):
        broker().positions().make(open_)
