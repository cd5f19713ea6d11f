"""The running product tells people what needs them, apart from the closes themselves."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mailbox import Mailbox, mailbox
from tests.running import CONFIGURATION, Product, RedisServer, eventually, running_product
from tests.simulators.crosstrade import Fault

NOTIFY = """
[notify]
urls = ["${NOTIFY_URL}", "${SILENT_URL}"]
"""


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture
def product(tmp_path: Path, database_url: str, redis_server: RedisServer, box: Mailbox) -> Iterator[Product]:
    """One that tells two addresses, one of which takes everything and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        variables = {
            "NOTIFY_URL": box.url,
            "SILENT_URL": f"json://127.0.0.1:{silent.getsockname()[1]}/never",
            "PUBLIC_URL": "https://flatwire.example",
        }
        with running_product(
            tmp_path,
            database_url,
            redis_server.url,
            configuration=CONFIGURATION + NOTIFY,
            variables=variables,
            workers=1,
        ) as product:
            yield product


def watch_pid(product: Product) -> int:
    """The process that tells; the other is the worker."""
    (worker,) = (it for it in product.log("worker").splitlines() if "worker_started" in it)
    return next(pid for pid in product.worker_pids() if f"-{pid}-" not in worker)


def test_a_doubt_is_told_and_no_message_holds_a_close_up(product: Product, box: Mailbox) -> None:
    product.venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")
    doubtful = product.accepted("close 1 MES 12-26")
    assert product.attended(doubtful)["attention"] == "in_doubt"
    eventually(lambda: doubtful in box.text, what="somebody is told")
    assert f"https://flatwire.example/commands/{doubtful}" in box.text

    os.kill(watch_pid(product), signal.SIGKILL)  # in the midst of telling the silent one
    product.venue.good_days()
    closed = product.accepted("close MNQ 12-26")
    assert product.settled(closed, within=5)["status"] == "closed"
    product.send("cloze it")
    eventually(lambda: "refused" in box.text, within=40, what="the next process tells")
    assert box.text.count(doubtful) <= 2  # who dies between sending and marking sends once more
    logs = product.log("web") + product.log("worker")
    assert "a-secret-path" not in logs
    assert "/never" not in logs
