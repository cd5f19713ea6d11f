"""Clients that others wrote for OKX work against the simulator as they do against the venue."""

from collections.abc import Iterator
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
from okx.Account import AccountAPI  # type: ignore[import-untyped]
from okx.PublicData import PublicAPI  # type: ignore[import-untyped]
from okx.Trade import TradeAPI  # type: ignore[import-untyped]

from tests.simulators.okx import Book, Fault, OkxSimulator

KEY, SECRET, PASSPHRASE = "key-of-the-test", "secret-of-the-test", "phrase-of-the-test"
SWAP, ETH, FUTURE = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT-270326"
DEMO = "1"

# The clients' own old ways: python-okx asks for utcnow() and hands httpx a text as data.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=["net_mode", "long_short_mode"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def venue(mode: str) -> Iterator[OkxSimulator]:
    """Long 5 of the BTC swap, short 40 of the ETH swap."""
    book = Book(mode=mode)
    book.set_position(SWAP, "long", 5, average_price=100000, mark_price=103500)
    book.set_position(ETH, "short", 40, average_price=3500)
    with OkxSimulator(KEY, SECRET, PASSPHRASE, book=book) as venue:
        yield venue


@pytest.fixture
def hedged(mode: str) -> bool:
    return mode == "long_short_mode"


# python-okx


@pytest.fixture
def trade(venue: OkxSimulator) -> Iterator[Any]:
    with TradeAPI(KEY, SECRET, PASSPHRASE, flag=DEMO, domain=venue.url) as client:
        yield client


@pytest.fixture
def account(venue: OkxSimulator) -> Iterator[Any]:
    with AccountAPI(KEY, SECRET, PASSPHRASE, flag=DEMO, domain=venue.url) as client:
        yield client


def test_python_okx_closes(venue: OkxSimulator, trade: Any, hedged: bool) -> None:
    side = "long" if hedged else ""

    answer = trade.close_positions(SWAP, "cross", posSide=side, clOrdId="r7f3c9a1")

    assert answer["code"] == "0"
    assert answer["data"] == [{"clOrdId": "r7f3c9a1", "instId": SWAP, "posSide": side or "net", "tag": ""}]
    assert venue.book.quantity(SWAP) == 0
    assert trade.get_order(SWAP, clOrdId="r7f3c9a1")["data"][0]["state"] == "filled"
    assert trade.close_positions(SWAP, "cross", posSide=side)["code"] == "51023"


def test_python_okx_clears_the_way(venue: OkxSimulator, trade: Any, hedged: bool) -> None:
    side = "short" if hedged else ""
    venue.book.work_order(ETH, "short", 10, 3000)

    assert trade.close_positions(ETH, "cross", posSide=side)["code"] == "51115"
    assert len(trade.get_order_list(instId=ETH)["data"]) == 1
    assert trade.close_positions(ETH, "cross", posSide=side, autoCxl="true")["code"] == "0"
    assert trade.get_order_list(instId=ETH)["data"] == []


def test_python_okx_takes_a_part(venue: OkxSimulator, trade: Any, hedged: bool) -> None:
    side = "short" if hedged else ""

    answer = trade.place_order(ETH, "cross", "buy", "market", "15", posSide=side, reduceOnly=True)

    assert (answer["code"], answer["data"][0]["sCode"]) == ("0", "0")
    assert abs(venue.book.quantity(ETH)) == 25
    (fill,) = trade.get_fills(instType="SWAP", ordId=answer["data"][0]["ordId"])["data"]
    assert (fill["fillSz"], fill["fillPnl"]) == ("15", "75")


def test_python_okx_reads(trade: Any, account: Any, hedged: bool, venue: OkxSimulator) -> None:
    positions = account.get_positions(instType="SWAP", instId=f"{SWAP},{ETH}")["data"]

    shown = [(row["instId"], row["posSide"], row["pos"]) for row in positions]
    expected = [(SWAP, "long", "5"), (ETH, "short", "40")]
    assert shown == (expected if hedged else [(SWAP, "net", "5"), (ETH, "net", "-40")])
    assert account.get_account_config()["data"][0]["posMode"] == venue.book.mode
    assert account.get_positions_history()["data"] == []
    with PublicAPI(flag=DEMO, domain=venue.url) as public:
        assert public.get_instruments("FUTURES")["data"][0]["instId"] == FUTURE


def test_python_okx_with_another_key(venue: OkxSimulator) -> None:
    with AccountAPI("other", SECRET, PASSPHRASE, flag=DEMO, domain=venue.url) as stranger:
        assert stranger.get_positions()["code"] == "50111"
    with AccountAPI(KEY, SECRET, PASSPHRASE, flag="0", domain=venue.url) as live:
        assert live.get_positions()["code"] == "50101"


# ccxt


@pytest.fixture
def exchange(venue: OkxSimulator) -> Iterator[Any]:
    client: Any = ccxt.okx(
        {"apiKey": KEY, "secret": SECRET, "password": PASSPHRASE, "enableRateLimit": False}
    )
    client.set_sandbox_mode(True)
    client.urls["api"]["rest"] = venue.url
    yield client
    if client.session is not None:
        client.session.close()


def test_ccxt_closes(venue: OkxSimulator, exchange: Any, hedged: bool) -> None:
    # ccxt's own words for a posSide: buy is long, sell is short.
    exchange.close_position("BTC/USDT:USDT", *(["buy"] if hedged else []))
    exchange.close_position("ETH/USDT:USDT", *(["sell"] if hedged else []))

    assert venue.book.positions() == []


def test_ccxt_takes_a_part_and_finds_its_order(venue: OkxSimulator, exchange: Any, hedged: bool) -> None:
    how = {"reduceOnly": True, "hedged": hedged}

    placed = exchange.create_order("BTC/USDT:USDT", "market", "sell", 2, None, how)

    assert venue.book.quantity(SWAP) == 3
    found = exchange.fetch_order(placed["id"], "BTC/USDT:USDT")
    assert (found["status"], found["filled"], found["average"]) == ("closed", 2, 103500)
    assert found["clientOrderId"].startswith("6b9ad766b55dBCDE")
    (trade,) = exchange.fetch_my_trades("BTC/USDT:USDT")
    assert (trade["order"], trade["amount"]) == (placed["id"], 2)


def test_ccxt_reads(venue: OkxSimulator, exchange: Any) -> None:
    positions = {held["symbol"]: held for held in exchange.fetch_positions()}

    btc, eth = positions["BTC/USDT:USDT"], positions["ETH/USDT:USDT"]
    assert (btc["side"], btc["contracts"], btc["entryPrice"], btc["markPrice"]) == (
        "long",
        5,
        100000,
        103500,
    )
    assert (eth["side"], eth["contracts"], eth["unrealizedPnl"]) == ("short", 40, 200)
    only = exchange.fetch_positions(["BTC/USDT:USDT", "ETH/USDT:USDT"])
    assert len(only) == 2
    assert {"BTC/USDT", "BTC/USDT:USDT-270326"} <= exchange.markets.keys()


def test_ccxt_cancels(venue: OkxSimulator, exchange: Any) -> None:
    order = venue.book.work_order(ETH, "short", 10, 3000)

    (shown,) = exchange.fetch_open_orders("ETH/USDT:USDT")
    exchange.cancel_order(order.order_id, "ETH/USDT:USDT")

    assert (shown["id"], shown["reduceOnly"]) == (order.order_id, True)
    assert exchange.fetch_open_orders("ETH/USDT:USDT") == []


@pytest.mark.parametrize(
    ("fault", "options", "raised"),
    [
        ("timeout_50004", {}, ccxt.RequestTimeout),
        ("throttle", {}, ccxt.RateLimitExceeded),
        ("code", {"code": "50102"}, ccxt.InvalidNonce),
        ("code", {"code": "51115"}, ccxt.InvalidOrder),
        ("code", {"code": "51000", "as_scode": True}, ccxt.BadRequest),
        ("error_502", {}, ccxt.ExchangeNotAvailable),
        ("cut_after_acting", {}, ccxt.NetworkError),
    ],
)
def test_ccxt_reads_bad_days_as_its_own_errors(
    venue: OkxSimulator,
    exchange: Any,
    hedged: bool,
    fault: str,
    options: dict[str, Any],
    raised: type[Exception],
) -> None:
    venue.bad_day(Fault(fault), on="close", **options)

    with pytest.raises(raised):
        exchange.close_position("BTC/USDT:USDT", *(["buy"] if hedged else []))


def test_ccxt_finds_nothing(exchange: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        exchange.fetch_order("1", "BTC/USDT:USDT")
