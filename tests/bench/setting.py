"""The product under the bench: its processes as a platform starts them, a durable database, Redis, simulated venues.

The venues' simulators run in this process, the load in others, and the product in its own.
"""

import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from app.ledger import tables
from app.ledger.connection import Ledger
from tests.bench.databases import POSTGRESQL, Databases
from tests.bench.load import Clients, Target
from tests.postgres import PostgresServer
from tests.running import Product, RedisServer, eventually
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.okx import OkxSimulator
from tests.venues import CREDENTIALS, SECRETS

RUNS = 5
CONNECTIONS = 200
LOOK_EVERY = 0.2
FUTURES_ACCOUNTS = tuple(f"Sim{number}" for number in range(101, 121))
_TIMES = "retry_for = 3600"
"""Else as the product has them: it is the speed of good days that is measured."""
_CONFIGURATION = {
    "futures": f"""
[brokers.nt8]
kind = "crosstrade"
token = "${{CROSSTRADE_TOKEN}}"
base_url = "${{CROSSTRADE_URL}}"
{_TIMES}

[hooks.futures]
broker = "nt8"
accounts = [{", ".join(f'"{name}"' for name in FUTURES_ACCOUNTS)}]
default_account = "{FUTURES_ACCOUNTS[0]}"
secrets = {{ main = "${{HOOK_SECRET}}" }}
max_age = 86400
""",
    "stocks": f"""
[brokers.cs]
kind = "clearstreet"
api_key = "${{CLEARSTREET_API_KEY}}"
base_url = "${{CLEARSTREET_URL}}"
{_TIMES}

[hooks.stocks]
broker = "cs"
accounts = "*"
secrets = {{ main = "${{STOCKS_SECRET}}" }}
max_age = 86400
""",
    "crypto": f"""
[brokers.okx]
kind = "okx"
api_key = "${{OKX_API_KEY}}"
api_secret = "${{OKX_API_SECRET}}"
passphrase = "${{OKX_PASSPHRASE}}"
demo = true
base_url = "${{OKX_URL}}"
{_TIMES}

[hooks.crypto]
broker = "okx"
secrets = {{ main = "${{CRYPTO_SECRET}}" }}
max_age = 86400
""",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """What each subject measures with."""

    folder: Path
    databases: Databases
    kinds: Sequence[str]
    clients: Clients
    short: bool
    web_processes: int = 1

    @property
    def runs(self) -> int:
        return self.pick(RUNS, 2)

    def pick(self, full: int, short: int) -> int:
        return short if self.short else full

    def new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


@contextmanager
def a_bench(kinds: Sequence[str], *, short: bool, web_processes: int = 1) -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flatwire-bench-")))
        server = None
        if POSTGRESQL in kinds:
            server = PostgresServer(durable=True, connections=CONNECTIONS)
            stack.callback(server.end)
            server.start()
        clients = stack.enter_context(Clients())
        yield Bench(folder, Databases(folder, server), kinds, clients, short, web_processes)


@dataclass
class Setting:
    """The product, its ledger and Redis, and the venues."""

    product: Product
    ledger: Ledger
    redis: RedisServer
    futures: CrossTradeSimulator
    stocks: ClearStreetSimulator
    crypto: OkxSimulator
    folder: Path
    beside: list[Product] = field(default_factory=list)
    """Processes of ceilings, in the same environment but for what is named."""

    def target(self, hook: str, template: str) -> Target:
        secret = ({"futures": self.product.secret} | self.product.hook_secrets)[hook]
        return Target(self.product.port, f"/hooks/{hook}/{secret}", template)

    def another(self, redis_database: int, variables: Mapping[str, str] | None = None) -> Product:
        """A place for a ceiling's process: the same environment, a port and a Redis database of its own."""
        url = self.redis.url.removesuffix("/0") + f"/{redis_database}"
        other = Product(
            self.folder,
            self.product.database_url,
            url,
            self.futures,
            configuration=self.product.configuration,
            variables={**self.product.variables, **(variables or {})},
        )
        self.beside.append(other)
        return other

    def forget_rates(self) -> None:
        """Let the venues' limits be as if nothing had been called yet: it is not they that are measured."""
        client = self.redis.client
        for key in client.scan_iter("*flatwire-rates*"):
            client.delete(key)

    def count(self, *conditions: object, of: str = "alerts") -> int:
        table = tables.metadata.tables[of]
        with self.ledger.reading() as connection:
            wanted = select(func.count()).select_from(table).where(*conditions)  # type: ignore[arg-type]
            return int(connection.execute(wanted).scalar_one())

    def settled(self) -> int:
        return self.count(tables.commands.c.settled_at.is_not(None), of="commands")

    def last_settled(self) -> float:
        """When the last command came to its end, by the ledger's clock; seconds since 1970."""
        with self.ledger.reading() as connection:
            moment = connection.execute(select(func.max(tables.commands.c.settled_at))).scalar_one()
        return float(moment.timestamp())

    def wait_settled(self, many: int, within: float) -> None:
        """Until so many commands are settled in all; seldom asked, for the venues live in this process."""
        deadline = time.monotonic() + within
        while self.settled() < many:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.settled()} of {many} commands settled within {within} s")
            time.sleep(LOOK_EVERY)

    def stop_all(self) -> None:
        with ExitStack() as stack:
            for product in (self.product, *self.beside):
                stack.callback(product.stop_all)


@contextmanager
def setting(
    bench: Bench, kind: str, *hooks: str, workers: int = 2, rate_limit: bool = False
) -> Iterator[Setting]:
    """The web process, ready, on an empty ledger; workers are started by who needs them. All ended with the block."""
    folder = bench.new_folder()
    url = bench.databases.fresh(kind)
    with ExitStack() as stack:
        redis = RedisServer(folder / "redis").start()
        stack.callback(redis.kill)
        futures = stack.enter_context(
            CrossTradeSimulator(token="venue-token-0123456789", rate_limit=rate_limit)
        )
        stocks = stack.enter_context(ClearStreetSimulator(CREDENTIALS["CLEARSTREET_API_KEY"]))
        key, secret, phrase = (CREDENTIALS[f"OKX_{it}"] for it in ("API_KEY", "API_SECRET", "PASSPHRASE"))
        crypto = stack.enter_context(OkxSimulator(key, secret, phrase, rate_limit=rate_limit))
        product = Product(
            folder,
            url,
            redis.url,
            futures,
            configuration="".join(_CONFIGURATION[hook] for hook in hooks),
            workers=workers,
            variables={
                **SECRETS,
                **CREDENTIALS,
                "CLEARSTREET_URL": stocks.url,
                "OKX_URL": crypto.url,
                "PYTHONWARNINGS": "",
                "WEB_CONCURRENCY": str(bench.web_processes),
            },
            hook_secrets={"stocks": SECRETS["STOCKS_SECRET"], "crypto": SECRETS["CRYPTO_SECRET"]},
        )
        product.migrate()
        ledger = Ledger(url, threads=4)
        stack.callback(ledger.dispose)
        running = Setting(product, ledger, redis, futures, stocks, crypto, folder)
        stack.callback(running.stop_all)
        product.start_web()
        yield running


def start_ceiling(place: Product, name: str) -> None:
    """One of the views of `tests.bench.ceilings`, under gunicorn with the product's own settings."""
    place.start(name, "-m", "gunicorn", "-c", "python:config.gunicorn", f"tests.bench.ceilings:{name}()")
    eventually(lambda: _listens(place.port), what=f"the {name} view listens")


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
