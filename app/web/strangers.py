"""Calls at the door and of the API that nobody authenticated: throttled by address, and noted, so many a minute."""

import threading
import time
from collections import Counter
from ipaddress import ip_address

import structlog
from flask import Response, current_app
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.ledger import strangers
from app.ledger.connection import Ledger, LedgerUnavailable
from app.web.delivered import source_address
from app.web.problems import problem

log = structlog.get_logger(__name__)

FAILURES = RateLimitItemPerMinute(20)
"""Failed authentications from one address that are answered as such; each web process counts its own."""
NOTES = RateLimitItemPerMinute(30)
"""Writes into the ledger: what strangers do must not hold up alerts."""
_MOST_PENDING = 1000


class Strangers:
    """Counts those who were turned away, and says who must wait."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._pending: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def turn_away(self, ledger: Ledger, address: str | None, hook: str | None, reason: str) -> int | None:
        """Count one. The seconds that its address must wait, if it failed too often; else None."""
        place = (address or "unknown")[:64]
        self._note(ledger, place, hook or "", reason)
        key = network_of(place)
        if self._limiter.hit(FAILURES, key):
            return None
        window = self._limiter.get_window_stats(FAILURES, key)
        return max(1, int(window.reset_time - time.time()) + 1)

    def _note(self, ledger: Ledger, address: str, hook: str, reason: str) -> None:
        """What can't be written now is added to the next of its kind."""
        key = (address, hook, reason)
        with self._lock:
            if len(self._pending) < _MOST_PENDING or key in self._pending:
                self._pending[key] += 1
            if not self._limiter.hit(NOTES, "notes"):
                return
            times = self._pending.pop(key, 1)
        try:
            strangers.note(ledger, address, hook, reason, times)
        except LedgerUnavailable as exc:
            log.warning("stranger_not_noted", reason=str(exc))


def turned_away(hook: str | None, reason: str) -> Response | None:
    """Log and count the caller of this request, who is nobody we know. The answer if its address failed too often."""
    log.warning("not_authenticated", source_address=source_address(), hook=hook, reason=reason)
    strangers: Strangers = current_app.extensions["flatwire_strangers"]
    wait = strangers.turn_away(current_app.extensions["flatwire_ledger"], source_address(), hook, reason)
    if wait is None:
        return None
    detail = f"from this address; wait {wait} s. A right secret or token is taken all the same"
    return problem(429, "Too many failed authentications", detail, headers={"Retry-After": str(wait)})


def network_of(address: str) -> str:
    """Who owns one address of IPv6 owns at least 2^64 of them."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return address if known.version == 4 else known.exploded[:19]
