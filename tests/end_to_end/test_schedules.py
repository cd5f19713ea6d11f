"""A schedule over real workers that start at once, are killed, and start again: each run closes once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.ledger.connection import Ledger
from tests.conftest import on_postgresql
from tests.running import CONFIGURATION, Product, RedisServer, eventually, running_product

SCHEDULE = """
[schedules.every-other-minute]
hook = "futures"
cron = "*/2 * * * *"
timezone = "America/New_York"
text = "close 1 MES 12-26"
late = 120
"""
PERIOD = timedelta(minutes=2)


@pytest.fixture
def product(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    configuration = CONFIGURATION + SCHEDULE
    with running_product(
        tmp_path, database_url, redis_server.url, configuration=configuration, workers=3
    ) as product:
        yield product


def last_seen_to(product: Product, moment: datetime) -> None:
    """As if no worker had looked since."""
    ledger = Ledger(product.database_url)
    with ledger.writing() as connection:
        until = int(moment.timestamp() * 1_000_000)
        connection.execute(text("UPDATE schedules SET looked_until = :until"), {"until": until})
    ledger.dispose()


def ends_in() -> float:
    """Seconds until the next run."""
    return PERIOD.total_seconds() - time.time() % PERIOD.total_seconds()


def runs(product: Product) -> list[str]:
    """What the schedule asked for so far: the ids of its commands."""
    alerts = product.api("alerts", hook="futures")["items"]
    return [command for alert in alerts for command in alert["commands"]]


@on_postgresql
def test_each_run_closes_once_whoever_dies(product: Product) -> None:
    product.stop("worker")
    if (left := ends_in()) < 45:  # the test is about the runs that are over by now
        time.sleep(left + 1)
    latest = datetime.now(UTC) + timedelta(seconds=ends_in()) - PERIOD
    before = len(runs(product))
    last_seen_to(product, latest - 3 * PERIOD - timedelta(seconds=1))

    product.start_workers()
    # The last of the three that are late tells of them; the latest is done.
    eventually(lambda: len(runs(product)) == before + 2, 45, what="the runs are seen to")
    for pid in product.worker_pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    found = runs(product)[:2]
    assert [product.settled(command, within=40)["status"] for command in found] == ["closed", "expired"]
    product.stop("worker")
    last_seen_to(
        product, latest - 3 * PERIOD - timedelta(seconds=1)
    )  # a worker that had died before it said so
    product.start_workers()
    time.sleep(1)

    done = [it for it in runs(product) if product.settled(it)["status"] == "closed"]
    assert runs(product)[-len(found) - before :][: len(found)] == found
    assert len(done) == len({product.command(it)["alert"] for it in done})
    assert product.held() == 10 - len(done)
