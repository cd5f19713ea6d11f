"""Hearing the doorbell: an RQ worker without fork, that always finishes what it began."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import structlog
from redis import Redis, RedisError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from app.ledger.connection import LedgerUnavailable
from app.queueing import QUEUE, DoorbellJob, connect
from workers.stopping import Stopping

log = structlog.get_logger(__name__)

AFTER_A_FAILURE = 2.0
WORKER_TTL = 60
"""Seconds after which Redis forgets us. By RQ's own a worker is deaf for seven minutes on a half-open connection."""
BEAT_EVERY = 10.0


class Listener(SimpleWorker):
    """RQ's worker in this process. It stops warm, however often it is told to."""

    stopping: Stopping
    beaten_at: float = float("-inf")
    failure: RedisError | None = None
    """Of Redis, that ended the work."""

    def _install_signal_handlers(self) -> None:
        """A signal that came before went to this process's own handler, and RQ would wait for rings for ever."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._stop_requested = self._stop_requested or self.stopping.is_set()

    def dequeue_job_and_maintain_ttl(self, *arguments: Any, **named: Any) -> Any:
        """A server that is full, or only lets us read, ends the work; RQ would call it a fault, with a traceback."""
        try:
            return super().dequeue_job_and_maintain_ttl(*arguments, **named)
        except RedisError as exc:
            self.failure = exc
            raise StopRequested from exc

    def execute_job(self, job: Job, queue: Queue) -> None:
        """What RQ notes of a job before and after it takes longer than to claim a command, and the ledger knows it all.

        A ring that is lost with its worker is found by the sweep.
        """
        # A stop that comes from now on waits for the job; else it would break into a call.
        self._state = WorkerStatus.BUSY
        try:
            job.func(*job.args)
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
        except Exception:
            log.exception("ring_failed")
        finally:
            self._state = WorkerStatus.IDLE
        try:
            with self.connection.pipeline() as pipeline:
                pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
                pipeline.delete(job.key)
                pipeline.execute()
        except RedisError as exc:
            self.failure = exc
            raise StopRequested from exc

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ says that it lives several times a job. Every ten seconds will do."""
        if time.monotonic() - self.beaten_at >= BEAT_EVERY:
            super().heartbeat(timeout, pipeline)
            self.beaten_at = time.monotonic()

    def subscribe(self) -> None:
        """RQ's channel for commands is not for us: who can write to Redis could stop this worker by it."""

    def teardown(self) -> None:
        """No goodbye: a server that is frozen or only lets us read would hold a stop up. What we left there expires."""

    def set_shutdown_requested_date(self) -> None:
        """A signal is handled in the midst of a call to a broker. No failure of Redis may break in on that."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """A PaaS may send SIGTERM several times. A cold stop would leave a call in doubt for nothing."""


def listen(redis_url: str, tls_verify: bool, name: str, stopping: Stopping) -> None:
    """Work on rings until told to stop. While Redis is away the sweep carries on alone, and this tries again."""
    told = None
    while not stopping.is_set():
        try:
            _work(redis_url, tls_verify, name, stopping)
            told = None
        except (RedisError, OSError) as exc:
            if str(exc) != told:  # once, and not every two seconds for as long as it takes
                log.warning("doorbell_unreachable", reason=str(exc), then="the sweep carries on alone")
            told = str(exc)
        stopping.wait(AFTER_A_FAILURE)


def _work(redis_url: str, tls_verify: bool, name: str, stopping: Stopping) -> None:
    # RQ gives each answer a minute, in which a server that is frozen would keep a stop from being heard.
    with connect(redis_url, tls_verify=tls_verify, socket_connect_timeout=2, socket_timeout=2) as caller:
        caller.ping()
    retry = Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 3)
    with connect(redis_url, tls_verify=tls_verify, retry=retry, socket_connect_timeout=2) as connection:
        worker = _worker(connection, name, stopping)
        with _own_signals():
            worker.work(logging_level="WARNING")
        if worker.failure is not None:
            raise worker.failure


@contextmanager
def _own_signals() -> Iterator[None]:
    """RQ takes over the process's signals. Its handlers raise where nothing of RQ's is there to catch it."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _worker(connection: Redis, name: str, stopping: Stopping) -> Listener:
    queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer, job_class=DoorbellJob)
    worker = Listener(
        [queue],
        name=f"{name}-{secrets.token_hex(3)}",  # Redis may still know us from before it failed, and RQ would refuse
        connection=connection,
        serializer=JSONSerializer,
        job_class=DoorbellJob,
        worker_ttl=WORKER_TTL,
        maintenance_interval=60,
        log_job_description=False,
    )
    worker.stopping = stopping
    worker.log_result_lifespan = False
    return worker
