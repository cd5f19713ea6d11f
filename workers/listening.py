"""Hearing the doorbell: an RQ worker without fork, that always finishes what it began."""

from types import FrameType

import structlog
from redis import RedisError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from app.queueing import QUEUE, DoorbellJob, connect
from workers.stopping import Stopping

log = structlog.get_logger(__name__)

AFTER_A_FAILURE = 2.0


class Listener(SimpleWorker):
    """RQ's worker in this process. It stops warm, however often it is told to."""

    stopping: Stopping

    def _install_signal_handlers(self) -> None:
        """A signal that came before went to this process's own handler, and RQ would wait for rings for ever."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._stop_requested = self._stop_requested or self.stopping.is_set()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """A PaaS may send SIGTERM several times. A cold stop would leave a call in doubt for nothing."""


def listen(redis_url: str, tls_verify: bool, name: str, stopping: Stopping) -> None:
    """Work on rings until told to stop. While Redis is away the sweep carries on alone, and this tries again."""
    while not stopping.is_set():
        try:
            _work(redis_url, tls_verify, name, stopping)
        except (RedisError, OSError) as exc:
            log.warning("doorbell_unreachable", reason=str(exc))
        stopping.wait(AFTER_A_FAILURE)


def _work(redis_url: str, tls_verify: bool, name: str, stopping: Stopping) -> None:
    connection = connect(
        redis_url,
        tls_verify=tls_verify,
        # Few tries: RQ makes several calls to say goodbye, and a stop must not wait for a server that is gone.
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 3),
        socket_connect_timeout=2,
    )
    queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer, job_class=DoorbellJob)
    worker = Listener(
        [queue],
        name=name,
        connection=connection,
        serializer=JSONSerializer,
        job_class=DoorbellJob,
        worker_ttl=60,  # RQ's own default leaves a worker deaf for seven minutes on a half-open connection
        maintenance_interval=60,
        log_job_description=False,
    )
    worker.stopping = stopping
    worker.log_result_lifespan = False
    worker.work(logging_level="WARNING")
