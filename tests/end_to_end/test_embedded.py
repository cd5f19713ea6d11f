"""What `make run` starts: each printed line works, and Ctrl-C leaves nothing behind."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.embedded.venues import SIMULATED
from tests.fresh import TOKEN, Started, carried_out, curl_lines, processes_of
from tests.running import ROOT, free_port

START_SECONDS = 60.0
COLUMNS = 100


def started(folder: Path) -> Started:
    """It, in a copy of the product, so that its data under var/ is not the one of this tree."""
    for name in ("app", "config", "workers", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    environ = {"PATH": os.environ["PATH"], "PORT": str(free_port())}
    return Started(folder, environ, sys.executable, "-m", "config.embedded")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """What it printed, and the API's token."""
    run = started(tmp_path_factory.mktemp("embedded") / "flatwire")
    try:
        token = run.printed(TOKEN, START_SECONDS)
        run.printed(r"(Ctrl-C stops)", 1)
        yield run.output(), token
    finally:
        run.interrupt()


def test_there_is_a_line_for_each_venue(embedded: tuple[str, str]) -> None:
    lines = curl_lines(embedded[0])

    assert [line.split("/hooks/")[1].split("/")[0] for line in lines] == [it.hook for it in SIMULATED]
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("number", range(len(SIMULATED)), ids=[venue.kind for venue in SIMULATED])
def test_a_printed_line_closes_a_position(embedded: tuple[str, str], number: int) -> None:
    output, token = embedded
    command = carried_out(curl_lines(output)[number], token)

    assert (command["status"], command["after"]) == ("closed", "0"), command
    assert [position["close_price"] is not None for position in command["closed_positions"]] == [True]


@pytest.mark.parametrize(
    ("number", "alert"),
    [(number, alert) for number, venue in enumerate(SIMULATED) for alert in venue.more],
    ids=[alert for venue in SIMULATED for alert in venue.more],
)
def test_what_more_there_is_to_try_works(embedded: tuple[str, str], number: int, alert: str) -> None:
    output, token = embedded
    assert f"-d '{alert}'" in output
    line = re.sub(r"-d '.*'", f"-d '{alert}'", curl_lines(output)[number])
    command = carried_out(line, token)

    assert command["status"] == "closed", command


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    run = started(tmp_path / "flatwire")
    run.printed(TOKEN, START_SECONDS)
    assert processes_of(tmp_path)
    run.interrupt()

    assert processes_of(tmp_path) == []
