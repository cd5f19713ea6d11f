"""CrossTrade over its WebSocket, by several workers under two supervisors: never two that send."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.ledger.connection import normalised
from tests.conftest import on_postgresql
from tests.running import CONFIGURATION, Product, RedisServer, eventually, running_product
from tests.simulators.crosstrade import Fault

SOCKET = CONFIGURATION.replace('kind = "crosstrade"\n', 'kind = "crosstrade"\ntransport = "websocket"\n')


@pytest.fixture
def product(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    """Two supervisors of two workers each, as on two machines, and one venue."""
    with running_product(tmp_path, database_url, redis_server.url, configuration=SOCKET) as product:
        product.start("another", "-m", "workers")
        eventually(lambda: product.alive() >= 4, what="four workers are alive")
        eventually(lambda: holder(product), what="one of them has the lease")
        yield product


def holder(product: Product) -> str | None:
    """The worker that has the broker's lease."""
    engine = create_engine(normalised(product.database_url))
    with engine.connect() as connection:
        owner: str | None = connection.execute(text("SELECT owner FROM broker_leases")).scalar()
    engine.dispose()
    return owner


def pid_of(worker: str) -> int:
    return int(worker.rsplit("-", 2)[1])


def closes(product: Product) -> list[str]:
    return [request.method for request in product.venue.requests if request.operation == "close"]


@on_postgresql
def test_one_worker_of_all_sends_over_one_socket(product: Product) -> None:
    ids = [
        product.accepted(f"action=close;instrument={instrument};quantity=1;id={uuid.uuid4()}")
        for instrument in ("MES 12-26", "MNQ 12-26") * 2
    ]

    assert {product.settled(command_id, within=30)["status"] for command_id in ids} == {"closed"}
    assert (product.held(), product.held(instrument="MNQ 12-26")) == (8, -2)
    assert closes(product) == ["WS"] * 4
    assert (len(product.venue.stream.talks), product.venue.stream.kicked) == (1, 0)


@pytest.mark.parametrize("fault", [Fault.ACT_THEN_HANG, Fault.HANG_THEN_ACT])
def test_when_the_one_that_sends_is_killed_another_takes_over_and_repeats_nothing(
    product: Product, fault: Fault
) -> None:
    product.venue.bad_day(fault, on="close", seconds=1.5)
    first = product.accepted(f"action=close;instrument=MES 12-26;quantity=4;id={uuid.uuid4()}")
    # Not only committed: a process that is killed before its frame left leaves a part in doubt, and rightly so.
    eventually(lambda: closes(product), what="the venue has the close")
    assert product.command(first)["status"] == "sending"
    dead = holder(product)
    assert dead is not None
    os.kill(pid_of(dead), signal.SIGKILL)
    second = product.accepted("close MNQ 12-26")

    assert product.settled(first, within=30)["status"] == "closed"
    assert product.settled(second, within=30)["status"] == "closed"
    assert (product.held(), product.held(instrument="MNQ 12-26")) == (6, 0)
    assert closes(product) == ["WS"] * 2
    assert holder(product) != dead
    assert product.venue.stream.kicked == 0


def test_a_worker_that_is_told_to_stop_hands_its_socket_over_at_once(product: Product) -> None:
    assert product.settled(product.accepted("close MES 12-26"))["status"] == "closed"
    leaving = holder(product)
    assert leaving is not None
    os.kill(pid_of(leaving), signal.SIGTERM)
    eventually(lambda: holder(product) not in (None, leaving), within=15, what="another has the lease")

    assert product.settled(product.accepted("close MNQ 12-26"))["status"] == "closed"
    assert (len(product.venue.stream.talks), product.venue.stream.kicked) == (1, 0)
