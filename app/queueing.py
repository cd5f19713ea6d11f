"""The doorbell: telling workers over RQ that a command is due.

The ledger is the memory. Losing, doubling or reordering a ring changes nothing but the latency, so a ring is tried
once, quickly, and never raises.
"""

import time
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import structlog
from redis import BlockingConnectionPool, Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.queue import EnqueueData
from rq.serializers import JSONSerializer

log = structlog.get_logger(__name__)

QUEUE = "flatwire"
CARRY_ON = "workers.jobs.carry_on"
"""The one job there is, by name: the web process never imports the workers."""

JOB_SECONDS = 3600
"""After which RQ would break into a step: never, as each of its calls has a deadline."""
AFTER_A_FAILURE = 5.0
"""Seconds without a try after Redis failed, so that not every alert pays the time-out."""


class DoorbellJob(Job):
    """A job of ours. Whoever can write to Redis can name any function in a job: all but one are refused here."""

    @property
    def func(self) -> Any:
        if self.func_name != CARRY_ON or self.instance is not None:
            raise PermissionError(f"{self.func_name!r} is no job of Flatwire")
        return super().func

    # Callbacks and webhooks are named in the job's hash too, and would be imported and called.
    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def send_webhooks(self, *args: Any, **kwargs: Any) -> None:
        return None


class Doorbell:
    """Rings for command ids. Without a URL it does nothing: the workers look into the ledger every second anyway."""

    def __init__(self, redis_url: str | None, *, tls_verify: bool = True) -> None:
        self._queue: Queue | None = None
        self._silent_until = 0.0
        if redis_url is not None:
            # A bare Redis() retries ten times, and a lost reply would push the id twice; see redis-py's defaults.
            connection = connect(
                redis_url,
                tls_verify=tls_verify,
                retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=0.3,
                socket_timeout=0.4,
                max_connections=4,  # a small plan has 20 in all
                timeout=0.2,  # for one of them to come free
            )
            self._queue = Queue(
                QUEUE, connection=connection, serializer=JSONSerializer, job_class=DoorbellJob
            )

    def ring(self, command_ids: Iterable[str]) -> bool:
        """Ring once for each id. False if nobody may have heard."""
        jobs = [_job(command_id) for command_id in command_ids]
        if self._queue is None or not jobs or time.monotonic() < self._silent_until:
            return False
        try:
            # All in one round trip: an alert with many commands waits no longer than one with few.
            self._queue.enqueue_many(jobs)
        except (RedisError, OSError) as exc:
            self._silent_until = time.monotonic() + AFTER_A_FAILURE
            log.warning("doorbell_failed", reason=str(exc), silent_for=AFTER_A_FAILURE)
            return False
        return True

    def answers(self) -> bool | None:
        """Whether Redis is there; None if there is none to be there."""
        if self._queue is None:
            return None
        try:
            return bool(self._queue.connection.ping())
        except (RedisError, OSError):
            return False

    def vitals(self) -> dict[str, Any] | None:
        """How Redis fares, for people; None if there is none. `answers` is false where it can't be asked."""
        if self._queue is None:
            return None
        try:
            info = self._queue.connection.info()
            policy = info.get("maxmemory_policy")
            return {
                "answers": True,
                "kind": "Valkey" if "valkey_version" in info else "Redis",
                "version": info.get("valkey_version") or info.get("redis_version"),
                "rings_waiting": self._queue.count,
                "memory": info.get("used_memory_human"),
                "eviction": policy,
                "persistence": _persistence(info),
            }
        except (RedisError, OSError) as exc:
            return {"answers": False, "reason": str(exc)}


def _persistence(info: dict[str, Any]) -> str:
    kept = [
        name
        for name, on in (("AOF", info.get("aof_enabled")), ("snapshots", info.get("rdb_last_save_time")))
        if on
    ]
    return ", ".join(kept) or "none"


def _job(command_id: str) -> EnqueueData:
    return Queue.prepare_data(
        CARRY_ON, (command_id,), timeout=JOB_SECONDS, result_ttl=0, failure_ttl=3600, ttl=300
    )


def connect(url: str, *, tls_verify: bool, **settings: Any) -> Redis:
    """A connection to the server at this URL. Nothing is opened before the first command."""
    if not url.startswith("unix://"):
        settings["socket_keepalive"] = True
    # A pool that is used up makes a caller wait a moment; redis-py's own raises, and the doorbell would fall silent.
    address = _connection_url(url, tls_verify, settings)
    return Redis.from_pool(BlockingConnectionPool.from_url(address, health_check_interval=15, **settings))


def _connection_url(url: str, tls_verify: bool, settings: Collection[str]) -> str:
    """The URL without what would take the place of our `settings`: redis-py believes a URL before its caller.

    A PaaS's own certificate is accepted only where that was asked for by name.
    """
    address, _, query = url.partition("?")
    asked = {name: value for name, value in parse_qsl(query) if name not in settings}
    if address.startswith("rediss://") and not tls_verify:
        asked["ssl_cert_reqs"] = "none"
    return f"{address}?{urlencode(asked)}" if asked else address
