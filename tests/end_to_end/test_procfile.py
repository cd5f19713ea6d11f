"""The Procfile on PostgreSQL and Redis, as a platform (or honcho) runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Product, RedisServer, eventually
from tests.simulators.crosstrade import CrossTradeSimulator


@pytest.fixture
def deployed(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Product]:
    """The product after its release line, with `honcho start web worker`."""
    with CrossTradeSimulator(token="venue-token-0123456789") as venue:
        product = Product(tmp_path, database_url, redis_server.url, venue)
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

    assert (command["status"], command["before"], command["after"]) == ("closed", "10", "0")
    assert deployed.held() == 0
