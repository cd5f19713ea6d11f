"""The Procfile on PostgreSQL and a Redis that signs its own certificate, as a platform (or honcho) runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from app.queueing import Doorbell
from tests.running import ROOT, Product, RedisServer, eventually, free_port
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.tls import tls_before


@pytest.fixture
def released(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    """The product after its release line, with nothing running."""
    with (
        CrossTradeSimulator(token="venue-token-0123456789") as venue,
        tls_before(redis_server.port) as port,
    ):
        product = Product(tmp_path, database_url, f"rediss://127.0.0.1:{port}/0", venue)
        product.variables = {"REDIS_TLS_VERIFY": "false", "WEB_CONCURRENCY": "2", "TRUSTED_PROXIES": "1"}
        product.database_url = database_url.replace("postgresql+psycopg://", "postgres://")
        product.fresh_book()
        release = re.search(r"^release: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
        assert release
        subprocess.run(release[1], shell=True, cwd=ROOT, env=environ_of(product), check=True)
        yield product


def environ_of(product: Product) -> dict[str, str]:
    return product.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@contextmanager
def honcho(product: Product) -> Iterator[None]:
    """`honcho start web worker` at the product's port, until the block ends; then SIGTERM, as a platform does it."""
    with (product.folder / "honcho.log").open("ab") as log:
        running = subprocess.Popen(
            ["honcho", "start", "web", "worker"], cwd=ROOT, env=environ_of(product), stdout=log, stderr=log
        )
    try:
        eventually(product.ready, within=30, what="the web process answers")
        eventually(lambda: product.alive() >= product.workers, what="the workers are alive")
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


@pytest.fixture
def deployed(released: Product) -> Iterator[Product]:
    with honcho(released):
        yield released


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_procfile_runs_the_same_product(deployed: Product) -> None:
    command = deployed.settled(deployed.accepted("close MES 12-26"))

    assert requests.get(f"{deployed.url}/readyz", timeout=5).json()["redis"] == "ok"
    assert "doorbell_failed" not in (deployed.folder / "honcho.log").read_text()
    assert (command["status"], command["before"], command["after"]) == ("closed", "10", "0")
    assert deployed.held() == 0


def test_a_certificate_that_signs_itself_is_taken_only_where_that_was_asked_for(
    redis_server: RedisServer,
) -> None:
    with tls_before(redis_server.port) as port:
        answers = [
            Doorbell(f"rediss://127.0.0.1:{port}/0", tls_verify=verify).answers() for verify in (True, False)
        ]
    assert answers == [False, True]


ALERTS = 24
"""As many as the venue's limits let through in the time of the test, with their reads."""


class Chart:
    """Sends closes of one contract each, as often as it takes until one is taken; by turns, to whoever runs."""

    def __init__(self, releases: Sequence[Product]) -> None:
        self.releases = releases
        self.accepted: dict[str, str] = {}
        self.lost: list[str] = []

    def send(self) -> None:
        for number in range(ALERTS):
            began = time.monotonic()
            instrument = f"L{number} 12-26"
            text = json.dumps({"action": "close", "instrument": instrument, "quantity": 1, "id": str(number)})
            command = self._taken(text)
            if command is None:
                self.lost.append(text)
            else:
                self.accepted[instrument] = command
            time.sleep(max(0.0, 0.5 - (time.monotonic() - began)))

    def _taken(self, text: str) -> str | None:
        """What a router and a sender that sends again do between them. The command's id; None: nobody took it."""
        until = time.monotonic() + 15
        while time.monotonic() < until:
            for release in self.releases:
                with suppress(requests.RequestException):
                    answer = release.send(text)
                    if answer.status_code in (200, 202):
                        (command,) = answer.json()["commands"]
                        return str(command["id"])
                    assert answer.status_code == 503, answer.text
            time.sleep(0.05)
        return None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_rolling_restart_under_load_loses_and_doubles_nothing(released: Product) -> None:
    releases = [released, replace(released, port=free_port())]
    for number in range(ALERTS):
        released.venue.book.set_position("Sim101", f"L{number} 12-26", "Long", 10, 100.0, 101.0, 5)
    chart = Chart(releases)
    sending = threading.Thread(target=chart.send)
    with ExitStack() as old:
        old.enter_context(honcho(releases[0]))
        sending.start()
        for release in (releases[1], releases[0]):
            with ExitStack() as new:
                new.enter_context(honcho(release))
                old.close()  # the old one ends once the new one is there
                old.push(new.pop_all())
        sending.join()

        assert chart.lost == []
        for command in chart.accepted.values():
            settled = releases[0].settled(command, within=60)
            assert (settled["status"], settled["before"], settled["after"]) == ("closed", "10", "9")
    assert [released.held("Sim101", f"L{number} 12-26") for number in range(ALERTS)] == [9] * ALERTS
