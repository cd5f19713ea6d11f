"""How fast each broker may be called: the venues' limits and the broker's own, counted by all workers together.

Who finds no room waits in the ledger, not in a worker. Redis holds the count; while it is away each worker keeps to
its share of every limit, and a venue that still says "too fast" is answered by waiting as long as it asks.
"""

import math
import time
from collections.abc import Iterator

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import RedisError

from app.queueing import connect
from config.file import BrokerSettings
from workers.brokers.broker import Limit

log = structlog.get_logger(__name__)

ALONE = 5.0
"""Seconds that a worker keeps to its share after Redis failed, before it asks again."""
LONGEST_HOLD = 120.0
"""Seconds that one "too fast" can hold all calls to a broker: a header that is wrong must not stop a day's closes."""
A_STEP = 4
"""Calls that a step may make one after the other: positions, orders, how the instrument is counted, the close."""
KEPT_FREE = 8
"""One in so many of a limit's calls is left to closes by whoever reads with time to spare."""


class Rates:
    """The room that is left. Safe to use from several threads."""

    def __init__(self, redis_url: str | None = None, *, tls_verify: bool = True, workers: int = 1) -> None:
        """`workers` share the limits when they can't count together."""
        self._workers = workers
        self._own = MemoryStorage()
        self._shared: RedisStorage | None = None
        self._alone_until = 0.0
        if redis_url is not None:
            pool = connect(
                redis_url, tls_verify=tls_verify, socket_connect_timeout=0.3, socket_timeout=0.4, timeout=0.2
            ).connection_pool
            # The pool has the address; the text here only says what kind of server it is.
            self._shared = RedisStorage(
                "redis://", connection_pool=pool, key_prefix="flatwire-rates", wrap_exceptions=True
            )

    def wait(self, broker: BrokerSettings, limits: tuple[Limit, ...], *, patient: bool) -> float:
        """Seconds until there may be room for a call; 0: it may be made now, and was counted.

        The patient leave some room to others.
        """
        try:
            if self._shared is not None and time.monotonic() >= self._alone_until:
                return _wait(self._shared, 1, broker, limits, patient)
        except (StorageError, RedisError, OSError) as exc:
            self._keep_to_share(exc)
        return _wait(self._own, self._workers, broker, limits, patient)

    def hold(self, broker: BrokerSettings, seconds: float) -> None:
        """No call to this broker for so long: the venue says that they come too fast."""
        until = math.ceil(min(max(seconds, 1.0), LONGEST_HOLD))
        try:
            if self._shared is not None and time.monotonic() >= self._alone_until:
                _hold(self._shared, broker, until)
                return
        except (StorageError, RedisError, OSError) as exc:
            self._keep_to_share(exc)
        _hold(self._own, broker, until)

    def _keep_to_share(self, exc: Exception) -> None:
        self._alone_until = time.monotonic() + ALONE
        log.warning("rates_not_shared", reason=str(exc), share=f"1/{self._workers}", seconds=ALONE)


def _wait(
    storage: MemoryStorage | RedisStorage,
    workers: int,
    broker: BrokerSettings,
    limits: tuple[Limit, ...],
    patient: bool,
) -> float:
    held = _held(broker)
    if storage.get(held):
        return max(0.05, storage.get_expiry(held) - time.time())
    limiter = MovingWindowRateLimiter(storage)
    items = sorted(_items(broker, limits, workers), key=lambda it: it[1].get_expiry())
    for name, item in items if patient else ():
        if not limiter.test(item, broker.name, name, cost=1 + item.amount // KEPT_FREE):
            return _until_room(limiter, item, broker.name, name)
    # What a longer limit refuses was counted by the shorter ones, who forget it first: to test each before would be as
    # many more ways to Redis and back.
    for name, item in items:
        if not limiter.hit(item, broker.name, name):
            return _until_room(limiter, item, broker.name, name)
    return 0.0


def _until_room(limiter: MovingWindowRateLimiter, item: RateLimitItem, *identifiers: str) -> float:
    seconds = limiter.get_window_stats(item, *identifiers).reset_time - time.time()
    return min(max(0.05, seconds), item.get_expiry())


def _hold(storage: MemoryStorage | RedisStorage, broker: BrokerSettings, seconds: int) -> None:
    storage.clear(_held(broker))
    storage.incr(_held(broker), seconds)


def _held(broker: BrokerSettings) -> str:
    return f"held/{broker.name}"


def _items(
    broker: BrokerSettings, limits: tuple[Limit, ...], workers: int
) -> Iterator[tuple[str, RateLimitItem]]:
    """Each limit as the library counts it: whole calls in whole seconds, a share of it for one of several workers.

    One for fewer calls than a step makes is stretched: so many in as much more time.
    """
    if broker.rate is not None:
        burst = int(broker.burst or max(1, broker.rate))
        limits = (*limits, Limit("all", burst, burst / broker.rate))
    for limit in limits:
        calls = max(A_STEP, math.floor(limit.calls / workers))
        seconds = math.ceil(calls * limit.seconds * workers / limit.calls)
        yield limit.name, RateLimitItemPerSecond(calls, seconds)
