"""The venue's rate limit: a bucket of tokens per user."""

import threading
import time

# XT docs, rate limiting: 3 requests a second, a burst of 20, 180 a minute.
REFILL_PER_SECOND = 3.0
BURST = 20.0


class TokenBucket:
    def __init__(self, rate: float = REFILL_PER_SECOND, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Seconds until there is a token; 0 when one was taken."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0
