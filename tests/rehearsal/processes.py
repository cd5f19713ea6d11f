"""The product as real processes with three venues, for days on which its processes are killed."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import update

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import now
from tests.rehearsal.markets import Coins, Futures, Market, Stocks
from tests.running import CONFIGURATION, ROOT, Product, RedisServer, eventually
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.okx import OkxSimulator
from tests.venues import CREDENTIALS, SECRETS

FAIL_POINTS = Path(__file__).parent / "failpoints"

_OTHERS = """
[brokers.cs]
kind = "clearstreet"
api_key = "${{CLEARSTREET_API_KEY}}"
base_url = "${{CLEARSTREET_URL}}"
connect_timeout = 1
read_timeout = 2
deadline = 2.5
settle = 0.5
verify_for = 5
retry_for = 20

[hooks.stocks]
broker = "cs"
accounts = [{accounts}]
default_account = "19816"
secrets = {{ main = "${{STOCKS_SECRET}}" }}

[brokers.okx]
kind = "okx"
api_key = "${{OKX_API_KEY}}"
api_secret = "${{OKX_API_SECRET}}"
passphrase = "${{OKX_PASSPHRASE}}"
demo = true
base_url = "${{OKX_URL}}"
connect_timeout = 1
read_timeout = 2
deadline = 2.5
settle = 0.5
verify_for = 5
retry_for = 20

[hooks.crypto]
broker = "okx"
quantity_unit = "base"
secrets = {{ main = "${{CRYPTO_SECRET}}" }}
"""

LONG_ENOUGH = 4.0
"""Seconds that a command asks for a person before it is taken to need one."""


@dataclass(frozen=True, slots=True)
class Death:
    """A process that came to an armed point."""

    pid: int
    at: float
    """Seconds since 1970."""


@dataclass
class Killable:
    """A running product whose processes can be killed where it hurts, and its venues."""

    product: Product
    redis: RedisServer
    futures: Futures
    stocks: Stocks
    coins: Coins
    points: Path
    """The folder of the armed points."""

    @property
    def markets(self) -> dict[str, Market]:
        return {"crosstrade": self.futures, "clearstreet": self.stocks, "okx": self.coins}

    def arm(self, *points: str) -> None:
        """Let the first process die that comes to each of these, and forget all others."""
        for old in self.points.iterdir():
            old.unlink(missing_ok=True)
        for point in points:
            (self.points / point).touch()

    def death(self, point: str) -> Death | None:
        for path in self.points.glob(f"{point}.*"):
            _, pid, moment = path.name.rsplit(".", 2)
            return Death(int(pid), int(moment) / 1e9)
        return None

    def deliver(self, text: str, hook: str, within: float = 20.0) -> requests.Response:
        """Send an alert until it is answered, each time the same bytes: TradingView sends again after a 5xx."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with suppress(requests.RequestException):
                answer = self.product.send(text, hook)
                if answer.status_code != 503:
                    return answer
            time.sleep(0.2)
        raise AssertionError(f"nobody took the alert within {within} s")

    def at_rest(self, command_id: str, within: float = 45.0) -> dict[str, Any]:
        """The command once it is final, or has asked for a person long enough; or as it is when time is up.

        A doubt may be looked into for ever. A supervisor that died meanwhile is started again, as a platform does.
        """
        deadline = time.monotonic() + within
        asked_since: float | None = None
        while time.monotonic() < deadline + 10:
            with suppress(requests.RequestException):
                command = self.product.command(command_id)
                asked_since = (asked_since or time.monotonic()) if command["attention"] else None
                told = asked_since is not None and time.monotonic() > asked_since + LONG_ENOUGH
                waits = command["attention"] and not command["next_attempt_at"]
                if command["settled_at"] or waits or told or time.monotonic() > deadline:
                    return command
            self.keep_workers()
            time.sleep(0.05)
        raise AssertionError("the web process does not answer")

    def keep_workers(self) -> None:
        if self.product.processes["worker"].poll() is not None:
            self.product.processes.pop("worker")
            self.product.start("worker", "-m", "workers")

    def cancel(self, command_id: str) -> None:
        """End a command that waits for a person: those of the next case would wait for it."""
        commands = tables.commands
        ledger = Ledger(self.product.database_url)
        with ledger.writing() as connection:
            connection.execute(
                update(commands)
                .where(commands.c.id == command_id)
                .values(status="cancelled", settled_at=now(), due_at=None, lease_owner=None, lease_until=None)
            )
        ledger.dispose()

    def fresh_workers(self) -> None:
        """A new supervisor: it remembers no deaths, and restarts the first worker that dies at once."""
        self.product.stop("worker")
        self.start_workers()

    def start_workers(self) -> None:
        """Not told by the number that is alive: those that are dead count for a while."""
        started = self._started()
        self.product.start("worker", "-m", "workers")
        eventually(lambda: self._started() >= started + self.product.workers, 40, "new workers start")

    def _started(self) -> int:
        log = self.product.folder / "worker.log"
        return log.read_text().count("worker_started") if log.exists() else 0

    def forget_rates(self) -> None:
        """Let the venues' limits be as if nothing had been sent yet."""
        client = self.redis.client
        for key in client.scan_iter("flatwire-rates*"):
            client.delete(key)


@contextmanager
def killable_product(
    folder: Path,
    database_url: str,
    *,
    accounts: tuple[str, ...] = ("19816", "19817"),
    patience: int | None = None,
    web_processes: int = 1,
    workers: int = 2,
) -> Iterator[Killable]:
    """The product, started and ready, with its Redis and its venues; all ended with the block.

    With `patience`, in seconds, nothing expires or is given up before: for more work than is done in a short time.
    """
    points = folder / "points"
    points.mkdir(parents=True)
    with ExitStack() as stack:
        redis = RedisServer(folder / "redis").start()
        stack.callback(redis.kill)
        futures = stack.enter_context(CrossTradeSimulator(token="venue-token-0123456789"))
        stocks = stack.enter_context(ClearStreetSimulator(CREDENTIALS["CLEARSTREET_API_KEY"]))
        coins = stack.enter_context(
            OkxSimulator(*(CREDENTIALS[f"OKX_{name}"] for name in ("API_KEY", "API_SECRET", "PASSPHRASE")))
        )
        quoted = ", ".join(f'"{account}"' for account in accounts)
        product = Product(
            folder,
            database_url,
            redis.url,
            futures,
            configuration=_patient(CONFIGURATION + _OTHERS.format(accounts=quoted), patience),
            workers=workers,
            variables={
                **SECRETS,
                **CREDENTIALS,
                "CLEARSTREET_URL": stocks.url,
                "OKX_URL": coins.url,
                "WEB_CONCURRENCY": str(web_processes),
                "PYTHONPATH": f"{FAIL_POINTS}{os.pathsep}{ROOT}",
                "FAIL_POINTS": str(points),
            },
            hook_secrets={"stocks": SECRETS["STOCKS_SECRET"], "crypto": SECRETS["CRYPTO_SECRET"]},
        )
        stack.callback(product.stop_all)
        product.migrate()
        product.start_web()
        running = Killable(product, redis, Futures(futures), Stocks(stocks), Coins(coins), points)
        running.start_workers()
        yield running


def _patient(configuration: str, seconds: int | None) -> str:
    if seconds is None:
        return configuration
    tried = configuration.replace("retry_for = 20", f"retry_for = {seconds}")
    return re.sub(r"^(\[hooks\..*\])$", rf"\1\nmax_age = {seconds}", tried, flags=re.MULTILINE)
