"""Killed workers, an emptied, killed and frozen Redis, a ledger that is gone: nothing is lost, nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import on_postgresql
from tests.running import ROOT, Product, RedisServer, eventually, free_port
from tests.simulators.crosstrade import Fault


def close_calls(product: Product) -> list[str]:
    return [
        request.path for request in product.venue.requests if request.operation == "close" and request.acted
    ]


@pytest.mark.parametrize(
    ("database_url", "fault"),
    [("sqlite", Fault.ACT_THEN_HANG), ("postgresql", Fault.HANG_THEN_ACT)],
    indirect=["database_url"],
)
def test_a_worker_killed_while_a_close_is_in_flight_loses_and_doubles_nothing(
    product: Product, fault: Fault
) -> None:
    product.venue.bad_day(fault, on="close", seconds=1.5)
    command_id = product.accepted("close MES 12-26")
    eventually(lambda: product.command(command_id)["status"] == "sending", what="the close is in flight")
    for pid in product.worker_pids():
        os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    command = product.settled(command_id, within=25)

    assert command["status"] == "closed"
    assert product.held() == 0
    assert len(close_calls(product)) == 1
    assert time.monotonic() - killed_at < 20


def test_a_partial_close_whose_worker_was_killed_is_settled_by_the_position_and_never_repeated(
    product: Product,
) -> None:
    product.venue.bad_day(Fault.ACT_THEN_HANG, on="close", seconds=1.5)
    command_id = product.accepted(f"action=close;instrument=MES 12-26;quantity=4;id={uuid.uuid4()}")
    eventually(lambda: product.held() == 6, what="the venue acts")  # and holds its answer back
    for pid in product.worker_pids():
        os.kill(pid, signal.SIGKILL)
    command = product.settled(command_id, within=25)

    assert (command["status"], command["after"]) == ("closed", "6")
    assert product.held() == 6
    assert len(close_calls(product)) == 1


def test_what_was_opened_after_nothing_was_open_is_left_alone_though_the_worker_was_killed_before_it_looked(
    product: Product,
) -> None:
    product.venue.book.set_market_price("NQ 12-26", 21000.0)
    product.venue.bad_day(Fault.ACT_THEN_HANG, on="positions", seconds=1.9)
    command_id = product.accepted("close NQ 12-26")
    eventually(lambda: product.command(command_id)["status"] == "working", what="it is to be read back")
    product.venue.book.enter("Sim101", "NQ 12-26", "long", 3)
    for pid in product.worker_pids():
        os.kill(pid, signal.SIGKILL)
    command = product.settled(command_id, within=25)

    assert (command["status"], command["attention"]) == ("nothing_open", "nothing_open_suspect")
    assert "opened after" in command["reason"]
    assert product.held("Sim101", "NQ 12-26") == 3


def test_redis_emptied_with_commands_queued_loses_nothing(
    product: Product, redis_server: RedisServer
) -> None:
    product.stop("worker")
    ids = [
        product.accepted(f"action=close;instrument=MES 12-26;quantity=1;id={uuid.uuid4()}") for _ in range(4)
    ]
    assert redis_server.client.dbsize() > 0
    redis_server.empty()
    product.start_workers()

    assert {product.settled(command_id, within=30)["status"] for command_id in ids} == {"closed"}
    assert product.held() == 6
    assert len(close_calls(product)) == 4


def test_with_redis_dead_or_frozen_alerts_are_taken_fast_and_carried_out(
    product: Product, redis_server: RedisServer
) -> None:
    redis_server.freeze()
    started = time.monotonic()
    frozen = product.accepted("close MNQ 12-26")
    waited = time.monotonic() - started
    assert product.settled(frozen)["status"] == "closed"
    redis_server.thaw()
    redis_server.kill()
    dead = product.accepted("close MES 12-26")

    assert product.settled(dead)["status"] == "closed"
    assert waited < 2.5
    assert (product.held(), product.held("Sim101", "MNQ 12-26")) == (0, 0)
    assert product.stop("worker", within=5) == 0


@on_postgresql
def test_many_partial_closes_at_once_close_exactly_their_sum(product: Product) -> None:
    ids = [
        product.accepted(f"action=close;instrument=MES 12-26;quantity=1;id={uuid.uuid4()}") for _ in range(5)
    ]

    assert {product.settled(command_id, within=40)["status"] for command_id in ids} == {"closed"}
    assert product.held() == 5
    assert len(close_calls(product)) == 5


def test_a_broker_that_cannot_be_reached_is_tried_again_and_closed_once(product: Product) -> None:
    product.venue.stop_listening()
    command_id = product.accepted("close MES 12-26")
    eventually(
        lambda: [it for it in product.command(command_id)["attempts"] if it["outcome"]], what="a first try"
    )
    product.venue.listen_again()
    command = product.settled(command_id, within=25)

    assert command["status"] == "closed"
    assert command["attempts"][0]["outcome"] == "not_sent"
    assert product.held() == 0


def test_sigterm_to_every_process_twice_ends_what_is_in_flight(product: Product) -> None:
    product.venue.bad_day(Fault.ACT_THEN_HANG, on="close", seconds=1.5)
    command_id = product.accepted("close MES 12-26")
    eventually(lambda: product.command(command_id)["status"] == "sending", what="the close is in flight")
    pids = product.worker_pids()
    for _ in range(2):
        for pid in [*pids, product.processes["worker"].pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(1.1)  # RQ takes a second signal within a second for a copy of the first
    later = product.accepted("close MNQ 12-26")

    assert product.processes.pop("worker").wait(20) == 0
    assert product.command(command_id)["status"] in ("closed", "in_doubt")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    untouched = product.command(later)
    assert (untouched["status"], untouched["attempts"]) == ("queued", [])


def test_workers_end_when_their_supervisor_is_killed(product: Product) -> None:
    pids = product.worker_pids()
    product.processes["worker"].kill()
    product.processes.pop("worker").wait()

    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), what="the orphans end")


def test_the_web_process_drops_the_credentials_of_brokers_before_it_listens(product: Product) -> None:
    environ = Path(f"/proc/{product.processes['web'].pid}/environ").read_text()

    assert product.venue.token not in environ
    assert product.secret in environ


def test_workers_and_web_refuse_a_ledger_without_a_schema(product: Product, tmp_path: Path) -> None:
    environ = product.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}",
        "PORT": str(free_port()),
    }
    for arguments in (
        ["-m", "workers"],
        ["-m", "gunicorn", "-c", "python:config.gunicorn", "app.web:create_app()"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=30
        )

        assert done.returncode != 0
        assert "python -m app migrate" in done.stderr
        assert "Traceback" not in done.stderr
