"""Logging: structlog, one line an event, as text or JSON. Only named fields are logged, never a whole request.

What stands in a line may be a stranger's words: they can neither end the line, nor steer a terminal, nor fill a disk.
"""

import json
import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from math import isfinite
from typing import Any, TextIO

import structlog

LONGEST_VALUE = 1000
"""Characters of one value: the whole is in the ledger."""
LONGEST_TRACEBACK = 6000
"""Characters, the last of it: Heroku cuts lines at 10,000, and half a line is no JSON."""
MOST_ITEMS = 50

log = structlog.get_logger("flatwire")


_BEGINNING: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logging(level: str, style: str) -> None:
    """Send all that this process says to stderr: our lines, the libraries', warnings, and what nobody caught."""
    root = logging.getLogger()
    root.handlers[:] = [lines_to(sys.stderr, style)]
    root.setLevel(level)
    for chatty in ("alembic", "rq.worker", "rq.job", "urllib3", "redis"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*_BEGINNING, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # No line tells these, and to find them out takes time (docs.python.org, Logging HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_a_thread
    sys.unraisablehook = _unraisable


def lines_to(stream: TextIO, style: str) -> logging.Handler:
    """What writes lines of this style there."""
    end: Any = (
        structlog.processors.JSONRenderer(serializer=json.dumps)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = _Lines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_BEGINNING,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # As text, without the values of variables: they hold secrets.
                structlog.processors.format_exc_info,
                _harmless,
                end,
            ],
        )
    )
    return handler


def one_line(text: str) -> str:
    """A text without what would end a line, steer a terminal or turn the writing round; the end of a long one cut off."""
    if not text.isprintable():
        text = "".join(ch if ch.isprintable() else " " if ch.isspace() else "�" for ch in text)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"


def _harmless(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    traceback = event.pop("exception", None)
    lines = {one_line(str(name)): _plain(value) for name, value in event.items()}
    if traceback is not None:
        lines["exception"] = _indented(traceback)
    return lines


def _plain(value: Any) -> Any:
    """What JSON can say of a value."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return one_line(value)
        case float():
            return value if isfinite(value) else str(value)
        case dict():
            return {one_line(str(name)): _plain(it) for name, it in list(value.items())[:MOST_ITEMS]}
        case list() | tuple() | set() | frozenset():
            return [_plain(it) for it in list(value)[:MOST_ITEMS]]
        case _:
            return one_line(repr(value))


def _indented(traceback: str) -> str:
    """Its lines, none of which can be taken for a line of the log: an exception's words may be a stranger's."""
    cut = traceback[-LONGEST_TRACEBACK:]
    return "\n".join(f"    {one_line(line)}" for line in cut.splitlines())


class _Lines(logging.StreamHandler[TextIO]):
    """Writes the lines. Of one that can't be written it says that; `logging` itself would print all that was in it."""

    def handleError(self, record: logging.LogRecord) -> None:
        kind = type(sys.exception()).__name__
        unwritten = logging.LogRecord(
            record.name, logging.ERROR, "", 0, f"a line could not be logged ({kind})", (), None
        )
        with suppress(Exception):  # stderr is gone: nobody hears us
            self.stream.write(self.format(unwritten) + self.terminator)
            self.flush()


def _uncaught(kind: type[BaseException], exc: BaseException, traceback: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, traceback)
    else:
        log.critical("uncaught", exc_info=(kind, exc, traceback))


def _uncaught_in_a_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not issubclass(told.exc_type, SystemExit):
        name = told.thread.name if told.thread else None
        log.critical("uncaught", thread=name, exc_info=(told.exc_type, told.exc_value, told.exc_traceback))


def _unraisable(told: "sys.UnraisableHookArgs") -> None:
    if told.exc_value is not None:
        log.error("unraisable", exc_info=(told.exc_type, told.exc_value, told.exc_traceback))
