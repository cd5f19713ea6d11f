"""One worker process: hears the doorbell and sweeps. Started by the supervisor, `python -m workers`."""

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from types import FrameType

import structlog

from app.ledger.connection import Ledger
from app.ledger.heartbeats import Heartbeat
from app.ledger.schema import check_schema
from config.environment import Settings, load
from config.file import BrokerSettings, Role
from config.logging import configure_logging
from workers import jobs
from workers.brokers.broker import Broker
from workers.brokers.metered import Metered
from workers.brokers.registry import broker_of
from workers.execution import Execution
from workers.listening import listen
from workers.rates import Rates
from workers.stopping import Stopping
from workers.sweep import Sweep
from workers.tenure import Tenure

log = structlog.get_logger(__name__)

LAST_STEP = 30.0
"""Seconds that a stopping worker waits for the sweep to end the step it is in."""


def run(name: str, settings: Settings) -> None:
    """Work until told to stop by SIGTERM or SIGINT; then end what is in flight, and return."""
    stopping = Stopping()
    _stop_on_signals(stopping)
    ledger = Ledger(settings.database_url)
    check_schema(ledger)
    brokers = brokers_of(settings)
    tenure = Tenure(ledger, name, brokers)
    execution = Execution(ledger, name, brokers, lambda: datetime.now(UTC).date(), tenure)
    jobs.bind(execution.step)
    sweep = Sweep(ledger, name, execution, stopping, orphaned=_stop_this_process, tenure=tenure)
    tenure.start()
    thread = threading.Thread(target=sweep.run, name="sweep", daemon=True)
    thread.start()
    log.info("worker_started", worker=name, brokers=list(settings.configuration.brokers))
    if settings.redis_url is None:
        stopping.wait()
    else:
        listen(settings.redis_url, settings.redis_tls_verify, name, stopping)
    stopping.set()
    thread.join(LAST_STEP)
    tenure.stop()
    Heartbeat(ledger, name).leave()
    log.info("worker_stopped", worker=name)


def brokers_of(settings: Settings) -> dict[str, tuple[Broker, BrokerSettings]]:
    """The brokers of this process, their calls metered."""
    rates = Rates(settings.redis_url, tls_verify=settings.redis_tls_verify, workers=settings.workers)
    return {
        name: (Metered(broker_of(broker), broker, rates), broker)
        for name, broker in settings.configuration.brokers.items()
    }


def _stop_on_signals(stopping: Stopping) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    # RQ replaces these while it listens, and its handler does the same.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    settings = load(Role.WORKER)
    configure_logging(settings.log_level, settings.log_format)
    run(sys.argv[1], settings)
