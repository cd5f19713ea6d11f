"""The Procfile on PostgreSQL and a Redis that signs its own certificate, as a platform (or honcho) runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app.queueing import Doorbell
from tests.running import ROOT, Product, RedisServer, eventually
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.tls import tls_before


@pytest.fixture
def deployed(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    """The product after its release line, with `honcho start web worker`."""
    with (
        CrossTradeSimulator(token="venue-token-0123456789") as venue,
        tls_before(redis_server.port) as port,
    ):
        product = Product(tmp_path, database_url, f"rediss://127.0.0.1:{port}/0", venue)
        product.variables = {"REDIS_TLS_VERIFY": "false", "WEB_CONCURRENCY": "2", "TRUSTED_PROXIES": "1"}
        product.database_url = database_url.replace("postgresql+psycopg://", "postgres://")
        product.fresh_book()
        environ = product.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        release = re.search(r"^release: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
        assert release
        subprocess.run(release[1], shell=True, cwd=ROOT, env=environ, check=True)
        with (tmp_path / "honcho.log").open("wb") as log:
            honcho = subprocess.Popen(
                ["honcho", "start", "web", "worker"], cwd=ROOT, env=environ, stdout=log, stderr=log
            )
        try:
            eventually(product.ready, within=30, what="the web process answers")
            eventually(lambda: product.alive() == product.workers, what="the workers are alive")
            yield product
        finally:
            honcho.send_signal(signal.SIGTERM)
            honcho.wait(30)


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
