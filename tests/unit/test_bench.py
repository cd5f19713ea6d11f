"""How the bench counts and tells: medians, quantiles, ratios of pairs, aims."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import Aim, Figure, Finding, Note, line, page, quantile, spread, told
from tests.bench.load import Sent, Target, at_rate, fresh, in_a_row, throughput
from tests.bench.record import written

MACHINE: dict[str, Any] = {"date": "2026-11-21T10:00:00Z", "commit": "abc1234", "dirty": False, "cores": 2}


def figure(**changes: Any) -> Figure:
    return Figure(**{"name": "the answer", "unit": "ms", "runs": [3.0, 1.0, 2.0]} | changes)


def test_a_spread_is_the_median_and_both_ends() -> None:
    found = spread([5.0, 1.0, 9.0])

    assert (found.median, found.least, found.most) == (5.0, 1.0, 9.0)


def test_a_figure_without_runs_is_told_as_unknown() -> None:
    assert str(figure(runs=[]).spread) == "? [? … ?]"


@pytest.mark.parametrize(("part", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_one_of_the_values(part: float, value: int) -> None:
    assert quantile(range(100, 0, -1), part) == value


def test_of_few_values_a_high_quantile_is_the_largest() -> None:
    assert quantile([3.0, 7.0, 5.0], 0.99) == 7.0


def test_the_ratio_is_that_of_runs_side_by_side() -> None:
    """An hour in which all is twice as slow is in both, and not in their ratio."""
    found = figure(runs=[10.0, 20.0, 30.0], ceilings={"bare": [5.0, 10.0, 15.0]}).ratio("bare")

    assert (found.least, found.median, found.most) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("aim", "verdict"),
    [
        (Aim(2.0), "at most 2: met"),
        (Aim(1.9), "at most 1.9: MISSED"),
        (Aim(0.6, least=True, to="bare"), "at least 0.6: MISSED"),
        (Aim(0.5, least=True, to="bare"), "at least 0.5: met"),
        (None, ""),
    ],
)
def test_an_aim_is_of_the_median_or_of_a_ratio(aim: Aim | None, verdict: str) -> None:
    assert figure(ceilings={"bare": [6.0, 2.0, 4.0]}, aim=aim).verdict == verdict


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (99.95, "100"), (12345.6, "12,346")]
)
def test_numbers_are_told_with_the_digits_that_mean_something(value: float, words: str) -> None:
    assert told(value) == words


def test_a_line_tells_the_figure_its_ceiling_and_its_aim() -> None:
    words = line(figure(ceilings={"bare": [1.5, 0.5, 1.0]}, aim=Aim(5))).split("   ")

    assert [it.strip() for it in words if it.strip()] == [
        "the answer",
        "2 [1 … 3] ms",
        "× 2 [2 … 2] of bare (1)",
        "at most 5: met",
    ]


def test_an_address_with_a_bar_does_not_break_the_table() -> None:
    rows = list(page([figure(name="a|b"), Note("and so on")]))

    assert rows[2].count("|") - rows[2].count("\\|") == rows[0].count("|")
    assert rows[-1] == "and so on"


def test_a_run_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    found: dict[str, list[Finding]] = {
        "intake": [figure(ceilings={"bare": [1.0, 1.0, 1.0]}), Note("all kept")]
    }
    told_to = written(MACHINE, found, short=False, folder=tmp_path)

    document = json.loads((tmp_path / "2026-11-21-abc1234.json").read_text())
    assert told_to == tmp_path / "2026-11-21-abc1234.md"
    assert document["subjects"]["intake"]["figures"][0]["ceilings"]["bare"]["ratio"] == 2.0
    assert document["subjects"]["intake"]["notes"] == ["all kept"]
    assert "| the answer | ms | 2 | 1 … 3 |" in told_to.read_text()


def test_a_part_of_a_run_and_one_of_changed_files_take_no_other_result_s_place(tmp_path: Path) -> None:
    told_to = written(MACHINE | {"dirty": True}, {}, part="intake-burst", short=True, folder=tmp_path)

    assert told_to.name == "2026-11-21-abc1234-intake-burst-dirty-short.md"


def test_an_alert_that_left_late_counts_from_when_it_was_meant_to_leave() -> None:
    assert Sent("1", at=0.0, late=0.2, took=0.1, status=202).latency == pytest.approx(0.3)


def test_throughput_counts_from_the_first_byte_to_the_last_answer() -> None:
    sent = [Sent(str(number), at=number / 10, late=0.0, took=0.1, status=202) for number in range(10)]

    assert throughput(sent) == pytest.approx(10)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 202 ACCEPTED\r\nContent-Length: 4\r\n\r\nkept", 202),
        (b"HTTP/1.1 503 UNAVAILABLE\r\nConnection: close\r\ncontent-length: 0\r\n\r\n", 503),
        (b"HTTP/1.1 202 ACCEPTED\r\nContent-Length: 9\r\n\r\nkept", 0),
        (b"", 0),
    ],
)
def test_a_sender_tells_the_status_of_whole_answers_alone(answer: bytes, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(4096)
                line.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        (sent,) = in_a_row(Target(server.getsockname()[1], "/hooks/x", "close {n}"), ["1"])
        serving.join()

    assert sent.status == status


def test_a_rate_is_kept_though_nothing_is_answered_well() -> None:
    """Nobody listens: each alert is still sent when it is due."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sent = at_rate(Target(taken.getsockname()[1], "/", "{n}"), fresh(20), rate=200)

    left = sorted(it.at for it in sent)
    assert [it.status for it in sent] == [0] * 20
    assert left[-1] - left[0] >= 0.09


def test_no_two_alerts_have_the_same_number() -> None:
    numbers = [*fresh(50), *fresh(50)]

    assert len(set(numbers)) == 100
    assert Target(1, "/", '{"id": "{n}"}').body("7") == b'{"id": "7"}'
