"""The product with all three venues, for the tests and pictures that need more than one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import CONFIGURATION, Product, running_product
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.okx import OkxSimulator

SECRETS = {"STOCKS_SECRET": "the-stocks-hook-of-the-test", "CRYPTO_SECRET": "the-crypto-hook-of-the-test"}
CREDENTIALS = {
    "CLEARSTREET_API_KEY": "clearstreet-key-0123456789",
    "OKX_API_KEY": "okx-key-0123456789",
    "OKX_API_SECRET": "okx-secret-0123456789",
    "OKX_PASSPHRASE": "okx-passphrase-0123456789",
}
_TIMES = """
connect_timeout = 1
read_timeout = 2
deadline = 2.5
settle = 0.5
verify_for = {verify_for}
retry_for = 20
"""
_OTHERS = """
[brokers.cs]
kind = "clearstreet"
api_key = "${{CLEARSTREET_API_KEY}}"
base_url = "${{CLEARSTREET_URL}}"
{times}

[hooks.stocks]
broker = "cs"
accounts = ["19816", "19817"]
default_account = "19816"
secrets = {{ main = "${{STOCKS_SECRET}}" }}

[brokers.okx]
kind = "okx"
api_key = "${{OKX_API_KEY}}"
api_secret = "${{OKX_API_SECRET}}"
passphrase = "${{OKX_PASSPHRASE}}"
demo = true
base_url = "${{OKX_URL}}"
{times}

[hooks.crypto]
broker = "okx"
quantity_unit = "base"
secrets = {{ main = "${{CRYPTO_SECRET}}" }}
"""


@dataclass
class Venues:
    """A running product, and its two venues beside CrossTrade."""

    product: Product
    stocks: ClearStreetSimulator
    crypto: OkxSimulator

    def open_positions(self) -> None:
        """Put the positions back that the two begin with."""
        stocks, coins = self.stocks.book, self.crypto.book
        for book in (stocks, coins):
            book.clear_positions()
        stocks.set_position(19816, "AAPL", "long", 100, "145.00", "151.00")
        stocks.set_position(19816, "TSLA", "short", 50, "180.00", "178.50")
        stocks.set_position(19816, "AAPL260320P00180000", "long", 2, "6.20", "5.85")
        stocks.set_position(19817, "GOOG", "long", 25, "168.40", "171.15")
        coins.set_position("BTC-USDT-SWAP", "long", "12.5", average_price="102840.5", mark_price="103500")
        coins.set_position("ETH-USDT-SWAP", "short", 40, average_price="3498.2", mark_price="3450")


@contextmanager
def three_venues(
    folder: Path, database_url: str, redis_url: str | None, *, verify_for: int = 5, **settings: Any
) -> Iterator[Venues]:
    """The product with CrossTrade, Clear Street and OKX, each with positions."""
    with ExitStack() as stack:
        stocks = stack.enter_context(ClearStreetSimulator(CREDENTIALS["CLEARSTREET_API_KEY"]))
        key, secret, passphrase = (
            CREDENTIALS[f"OKX_{name}"] for name in ("API_KEY", "API_SECRET", "PASSPHRASE")
        )
        crypto = stack.enter_context(OkxSimulator(key, secret, passphrase))
        times = _TIMES.format(verify_for=verify_for)
        configuration = CONFIGURATION.replace("verify_for = 5", f"verify_for = {verify_for}")
        product = stack.enter_context(
            running_product(
                folder,
                database_url,
                redis_url,
                configuration=configuration + _OTHERS.format(times=times),
                variables={
                    **SECRETS,
                    **CREDENTIALS,
                    "CLEARSTREET_URL": stocks.url,
                    "OKX_URL": crypto.url,
                },
                hook_secrets={"stocks": SECRETS["STOCKS_SECRET"], "crypto": SECRETS["CRYPTO_SECRET"]},
                **settings,
            )
        )
        venues = Venues(product, stocks, crypto)
        venues.open_positions()
        yield venues
