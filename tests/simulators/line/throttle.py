"""A venue's rate limit: buckets of tokens, one or one for each key."""

import threading
import time


class TokenBucket:
    """`burst` tokens at most, `rate` new ones a second."""

    def __init__(self, rate: float, burst: float) -> None:
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


class Buckets:
    """A bucket for each key that was ever asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, TokenBucket] = {}

    def of(self, key: str, rate: float, burst: float) -> TokenBucket:
        with self._lock:
            return self._buckets.setdefault(key, TokenBucket(rate, burst))
