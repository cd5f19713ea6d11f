"""How long the door's answers took: gathered in each web process, and added to the ledger's sums every few seconds.

They are added once an answer is with its sender: no alert waits for it. What a process had gathered since is lost with it.
"""

import threading
import time
from collections import Counter

import structlog
from flask import Flask, Response, current_app, g

from app.ledger import tallies
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.tallies import Labels
from app.web.hooks import hooks
from config.patience import RECEIVED_AT

log = structlog.get_logger(__name__)

EVERY = 5.0


class Answers:
    """The times of one process that stand in no ledger yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[tuple[str, Labels]] = Counter()
        self._added_at = time.monotonic()

    def took(self, status: int, seconds: float) -> None:
        observed = tallies.observed("answer", ("status", str(status)), seconds)
        with self._lock:
            self._sums.update(observed)

    def add_to(self, ledger: Ledger, after: float = EVERY) -> None:
        """Add them to the ledger's, if the last time was so many seconds ago."""
        with self._lock:
            if not self._sums or time.monotonic() - self._added_at < after:
                return
            sums, self._sums, self._added_at = self._sums, Counter(), time.monotonic()
        try:
            tallies.add(ledger, sums)
        except LedgerUnavailable as exc:
            log.warning("answers_not_counted", reason=str(exc))
            with self._lock:
                self._sums.update(sums)


def init_app(app: Flask) -> None:
    """Time each answer of the door."""
    app.extensions["flatwire_answers"] = Answers()

    @app.after_request
    def add_when_it_is_sent(response: Response) -> Response:
        answers, ledger = app.extensions["flatwire_answers"], app.extensions["flatwire_ledger"]
        response.call_on_close(lambda: answers.add_to(ledger))
        return response


@hooks.before_request
def begin() -> None:
    """From the first byte, where the server knows when that came."""
    g.received_at = RECEIVED_AT.get() or time.monotonic()


@hooks.after_request
def end(response: Response) -> Response:
    current_app.extensions["flatwire_answers"].took(response.status_code, time.monotonic() - g.received_at)
    return response
