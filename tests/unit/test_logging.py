"""The log: one line an event, as text or JSON, whatever a stranger says; and no value of a variable."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statuses import Status
from config.environment import log_settings
from config.logging import LONGEST_TRACEBACK, LONGEST_VALUE, lines_to
from tests.running import ROOT

FORGED = "2026-11-21T20:00:00Z [info     ] command_status [app.ledger.events] to=closed"
NASTY = [
    f"x\n{FORGED}",
    f"x\r\n{FORGED}",
    f"x\r{FORGED}",
    f"x\x0b{FORGED}",
    f"x\x0c{FORGED}",
    f"x\x85{FORGED}",
    f"x\u2028{FORGED}",
    f"x\u2029{FORGED}",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\0b",
    "\ud800",
    "\u202egnorw",
    "\u200b\ufeff\u2066",
    "x" * 1_000_000,
    "é" * 20_000,
    '"}\n{"event": "command_status"',
    "%s %d %(x)s {0} {x}",
    "",
]


def line_of(style: str, write: Callable[[Any], object]) -> str:
    """What one call of a logger writes."""
    stream = io.StringIO()
    handler = lines_to(stream, style)
    plain = logging.Logger("test")
    plain.addHandler(handler)
    logger = structlog.wrap_logger(
        plain,
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    write(plain if getattr(write, "foreign", False) else logger)
    return stream.getvalue()


def from_a_library(write: Callable[[Any], object]) -> Callable[[Any], object]:
    write.foreign = True  # type: ignore[attr-defined]
    return write


def is_one_harmless_line(written: str, style: str) -> bool:
    line = written.removesuffix("\n")
    if style == "json" and not isinstance(json.loads(line, parse_constant=pytest.fail), dict):
        return False
    written.encode()
    return line.isprintable() and len(line) < 25 * LONGEST_VALUE


@pytest.fixture(params=["text", "json"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("nasty", NASTY, ids=lambda text: ascii(text)[:30])
def test_no_words_of_a_stranger_end_a_line_or_steer_a_terminal(style: str, nasty: str) -> None:
    for write in (
        lambda log: log.info("alert_refused", reason=nasty, nested={nasty: [nasty, (nasty,)]}),
        from_a_library(lambda log: log.warning("a library quotes %s", nasty)),
        from_a_library(lambda log: log.warning(nasty)),
    ):
        assert is_one_harmless_line(line_of(style, write), style)


@given(
    st.sampled_from(["text", "json"]),
    st.recursive(
        st.text()
        | st.text(st.characters(), max_size=9)
        | st.floats()
        | st.binary()
        | st.none()
        | st.integers()
        | st.sampled_from(Status),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=9,
    ),
)
def test_any_value_makes_one_line(style: str, value: Any) -> None:
    assert is_one_harmless_line(line_of(style, lambda log: log.info("it", value=value)), style)


def test_a_plain_value_stands_in_the_line_as_it_is(style: str) -> None:
    written = line_of(style, lambda log: log.info("it", reason="größer als 1", status=Status.CLOSED, n=3))

    if style == "json":
        said = json.loads(written)
        assert (said["event"], said["reason"], said["status"], said["n"]) == (
            "it",
            "größer als 1",
            "closed",
            3,
        )
    else:
        assert "n=3 reason='größer als 1' status=closed" in written


def fails(log: Any) -> None:
    secret = "a-secret-of-a-variable"
    try:
        raise ValueError(f"what a stranger said\n{FORGED}\n\x1b[31m")
    except ValueError:
        log.exception("bug")
    assert secret


@pytest.mark.parametrize("fail", [fails, from_a_library(lambda log: fails(log))], ids=["ours", "a library's"])
def test_a_traceback_shows_no_variable_and_looks_like_no_other_line(
    style: str, fail: Callable[[Any], object]
) -> None:
    written = line_of(style, fail)

    assert "a-secret-of-a-variable" not in written.replace('secret = "a-secret-of-a-variable"', "")
    assert "ValueError" in written
    if style == "json":
        assert is_one_harmless_line(written, style)
    else:
        first, *others = written.splitlines()
        assert "bug" in first
        assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_a_traceback_has_an_end(style: str) -> None:
    def deep(log: Any) -> None:
        try:
            raise ValueError("x" * 100_000 + "\nlast words")
        except ValueError:
            log.exception("bug")

    written = line_of(style, deep)
    assert len(written) < LONGEST_TRACEBACK + 3 * LONGEST_VALUE
    assert "last words" in written


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("a-secret-that-an-error-names")


def test_of_what_can_not_be_logged_only_that_is_told(style: str, capfd: pytest.CaptureFixture[str]) -> None:
    for write in (
        lambda log: log.info("it", value=Unprintable(), secret="a-secret-beside"),
        from_a_library(lambda log: log.info("%d", "a-secret-beside")),
    ):
        written = line_of(style, write)
        assert "a line could not be logged" in written
        assert "a-secret" not in written
        assert is_one_harmless_line(written, style)
    assert capfd.readouterr() == ("", "")


def test_a_log_that_nobody_hears_is_no_failure() -> None:
    stream = io.StringIO()
    handler = lines_to(stream, "json")
    stream.close()

    handler.handle(logging.LogRecord("test", logging.INFO, "", 0, "it", (), None))


PROGRAM = """
import gc, logging, sys, threading, warnings
from config.logging import configure_logging
configure_logging("INFO", "json")
warnings.warn("a warning\\nof two lines")
thread = threading.Thread(target=lambda: 1 / 0, name="sweep nt8")
thread.start()
thread.join()
class Odd:
    def __del__(self):
        raise ValueError("in the end")
Odd()
gc.collect()
logging.getLogger("rq.worker").error("a library\\nsays")
raise RuntimeError("nobody\\ncaught me")
"""


def test_warnings_and_what_nobody_caught_are_lines_like_all_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert (done.returncode, done.stdout) == (1, "")
    assert [line["level"] for line in lines] == ["warning", "critical", "error", "error", "critical"]
    assert "a warning of two lines" in lines[0]["event"]
    assert (lines[1]["event"], lines[1]["thread"]) == ("uncaught", "sweep nt8")
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert "RuntimeError: nobody" in lines[4]["exception"]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, ("INFO", "text")),
        ({"LOG_LEVEL": "ERROR", "LOG_FORMAT": "json"}, ("ERROR", "json")),
        ({"LOG_LEVEL": "LOUD", "LOG_FORMAT": "xml"}, ("INFO", "text")),
    ],
)
def test_before_the_settings_are_checked_faulty_ones_of_the_log_do_no_harm(
    environ: dict[str, str], says: tuple[str, str]
) -> None:
    assert log_settings(environ) == says
