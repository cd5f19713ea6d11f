"""One worker process: hears the doorbell and sweeps. Forked by the supervisor."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial

import structlog

from app.ledger.connection import Ledger
from app.ledger.heartbeats import Heartbeat
from app.ledger.schema import check_schema
from app.queueing import Doorbell
from config.environment import Settings
from config.file import BrokerSettings
from workers import jobs
from workers.brokers.broker import Broker
from workers.brokers.http import trust
from workers.brokers.metered import Metered
from workers.brokers.registry import broker_of
from workers.execution import Execution
from workers.housekeeping import Housekeeping
from workers.listening import listen
from workers.looking import Looking
from workers.rates import Rates
from workers.scheduling import Scheduling
from workers.stopping import Stopping, stop_on_signals
from workers.sweep import Sweep
from workers.tenure import Tenure

log = structlog.get_logger(__name__)

LAST_STEP = 30.0
"""Seconds that a stopping worker waits for its threads to end the steps they are in."""
BESIDE_THE_SWEEPS = 5
"""Threads that use the ledger: what hears the doorbell, the housekeeping, the tenure, the looking, the scheduling."""


def run(name: str, settings: Settings) -> None:
    """Work until told to stop by SIGTERM or SIGINT; then end what is in flight, and return."""
    stopping = Stopping()
    stop_on_signals(stopping)  # RQ replaces these handlers while it listens, and its own do the same
    brokers = brokers_of(settings)
    trust()  # no close is to wait until the authorities of TLS are read
    ledger = Ledger(settings.database_url, threads=len(brokers) + BESIDE_THE_SWEEPS)
    check_schema(ledger)
    tenure = Tenure(ledger, name, brokers)
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    execution = Execution(ledger, name, brokers, _today, tenure=tenure, ring=doorbell.ring)
    jobs.bind(jobs.Hands(execution.step, stopping.is_set, doorbell.ring))
    tenure.start()
    housekeeping = Housekeeping(ledger, execution.claims, name, stopping, orphaned=_stop_this_process)
    looking = Looking(ledger, brokers, _today, tenure.may_call)
    sweeps = [
        Sweep(ledger, broker, execution, stopping, alone=partial(tenure.serves, broker)) for broker in brokers
    ]
    threads = [
        _started(housekeeping.run, "housekeeping"),
        _started(partial(looking.run, stopping), "looking"),
    ]
    scheduling = Scheduling(ledger, settings.configuration.schedules.values(), doorbell.ring)
    threads.append(_started(partial(scheduling.run, stopping), "scheduling"))
    threads += [_started(sweep.run, f"sweep {broker}") for sweep, broker in zip(sweeps, brokers, strict=True)]
    gc.freeze()  # what is loaded by now stays: to look through it for garbage would hold a close up
    log.info("worker_started", worker=name, brokers=list(settings.configuration.brokers))
    if settings.redis_url is None:
        stopping.wait()
    else:
        listen(settings.redis_url, settings.redis_tls_verify, name, stopping)
    stopping.set()
    ended_by = time.monotonic() + LAST_STEP
    for thread in threads:
        thread.join(max(0.0, ended_by - time.monotonic()))
    tenure.stop()
    Heartbeat(ledger, name).leave()
    log.info("worker_stopped", worker=name)


def _today() -> date:
    return datetime.now(UTC).date()


def _started(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def brokers_of(settings: Settings) -> dict[str, tuple[Broker, BrokerSettings]]:
    """The brokers of this process, their calls metered."""
    rates = Rates(settings.redis_url, tls_verify=settings.redis_tls_verify, workers=settings.workers)
    return {
        name: (Metered(broker_of(broker), broker, rates), broker)
        for name, broker in settings.configuration.brokers.items()
    }


def _stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
