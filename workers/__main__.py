"""`python -m workers`: starts WORKERS worker processes, and starts again what dies."""

import gc

gc.disable()  # nothing of what is loaded now is garbage, and to look for it takes a tenth of the start

import argparse
import sys
from functools import partial

import structlog

from app.doctor import findings, told
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.schema import SchemaMismatch, check_schema
from app.queueing import Doorbell
from config.environment import Settings, load
from config.file import ConfigurationFault, Role
from config.logging import configure_logging
from workers import process, watching
from workers.doctor import of_brokers
from workers.supervisor import Supervisor

log = structlog.get_logger("workers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("doctor", help="look for what is not as it should be, each broker's credential too")
    examined = parser.parse_args().command == "doctor"
    try:
        settings = load(Role.WORKER)
        configure_logging(settings.log_level, settings.log_format)
        ledger = Ledger(settings.database_url)
        if examined:
            return examine(settings, ledger)
        check_schema(ledger)
    except (ConfigurationFault, SchemaMismatch, LedgerUnavailable) as exc:
        print(f"workers: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    if settings.redis_url is None:
        log.warning(
            "no_doorbell", hint="REDIS_URL is not set: commands are found by the sweep, up to a second later"
        )
    works = [process.run] * settings.workers
    if settings.configuration.notify:
        works.append(watching.run)
    else:
        log.warning("nobody_is_notified", hint="add [notify] to the file: docs/operating.md#notifications")
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    Supervisor(ledger, doorbell, [partial(work, settings=settings) for work in works]).run()
    return 0


def examine(settings: Settings, ledger: Ledger) -> int:
    """`doctor`: 0 if nothing is at fault, else 1."""
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    found = findings(ledger, doorbell, settings.configuration, settings.public_url)
    found += of_brokers(settings.configuration.brokers.values())
    return 0 if told(found, print) else 1


if __name__ == "__main__":
    sys.exit(main())
