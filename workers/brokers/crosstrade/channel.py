"""The way to CrossTrade's WebSocket: opened when a call needs it, kept open between calls, reopened with patience."""

import threading
import time
from typing import Any

import structlog
from websocket import STATUS_POLICY_VIOLATION

from app.domain.failures import BrokerError, NotSent
from config.secrets import Secret
from workers.backoff import retry_delay
from workers.brokers.broker import Guard
from workers.brokers.crosstrade.connection import PULSE, Connection, End, Patience
from workers.brokers.crosstrade.messages import Message
from workers.brokers.crosstrade.opening import opened
from workers.brokers.http import Timeouts

log = structlog.get_logger(__name__)

AFTER_VIOLATIONS = 10.0
"""Seconds. The rate limiting page: about 7 seconds refill an empty bucket."""


class Channel:
    """One credential's WebSocket. Safe to use from several threads; their calls are in flight together."""

    def __init__(
        self, broker: str, url: str, token: Secret, timeouts: Timeouts, *, pulse: float = PULSE
    ) -> None:
        self._broker = broker
        self._url = url
        self._token = token
        self._timeouts = timeouts
        self._pulse = pulse
        self._opening = threading.Lock()
        self._connection: Connection | None = None
        self._failures = 0
        """Connections in a row that could not be opened, or that ended without an answer to anything."""
        self._closed_until = 0.0
        """A moment of the monotonic clock."""

    def ask(self, request: dict[str, Any], guard: Guard) -> Message:
        """Send a request once and wait for the reply with its `id`. Raises a BrokerError, or what the guard raises.

        NotSent, Throttled and Refused are raised only while no byte of the request has left.
        """
        patience = Patience(time.monotonic() + self._timeouts.deadline, self._timeouts.read)
        return self._standing(patience, guard).ask(request, guard, patience)

    def close(self) -> None:
        """Give the WebSocket up; a later call opens it anew."""
        connection = self._connection
        if connection is not None:
            connection.close()

    def _standing(self, patience: Patience, guard: Guard) -> Connection:
        """The open connection. One call opens it while the others wait."""
        if not self._opening.acquire(timeout=patience.left):
            raise NotSent("another call took the whole deadline to connect")
        try:
            if self._connection is not None and self._connection.end is not None:
                self._look_back(self._connection.answered, self._connection.end)
                self._connection = None
            if self._connection is None:
                self._connection = self._opened(patience, guard)
            return self._connection
        finally:
            self._opening.release()

    def _look_back(self, answered: bool, end: End) -> None:
        """What the end of the last connection means for the next one."""
        if end.code == STATUS_POLICY_VIOLATION:
            # https://docs.crosstrade.io/api/rate-limiting: so the venue ends a connection that keeps on asking.
            self._closed_until = end.at + AFTER_VIOLATIONS
        elif answered or end.ours:
            self._failures = 0
        else:
            self._closed_until = end.at + self._pause()

    def _opened(self, patience: Patience, guard: Guard) -> Connection:
        wait = self._closed_until - time.monotonic()
        if wait > 0:
            raise NotSent("the WebSocket is not opened again so soon", retry_after=wait)
        # Who may not send may not open either: it would end another process's WebSocket.
        guard(patience.left)
        try:
            socket, line = opened(self._url, self._token, self._timeouts.connect, patience.ends_at)
        except BrokerError as exc:
            self._closed_until = time.monotonic() + max(self._pause(), exc.retry_after or 0.0)
            raise
        log.info("websocket_opened", broker=self._broker)
        return Connection(self._broker, socket, line, [self._token], self._pulse)

    def _pause(self) -> float:
        """Seconds until the next connection after one more that came to nothing. A single one may be chance."""
        self._failures += 1
        return retry_delay(self._failures - 1) if self._failures > 1 else 0.0
