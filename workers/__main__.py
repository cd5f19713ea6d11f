"""`python -m workers`: starts WORKERS worker processes, and starts again what dies."""

import argparse
import sys
from functools import partial

import structlog

from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.schema import SchemaMismatch, check_schema
from app.queueing import Doorbell
from config.environment import load
from config.file import ConfigurationFault, Role
from config.logging import configure_logging
from workers import process, watching
from workers.supervisor import Supervisor

log = structlog.get_logger("workers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.parse_args()
    try:
        settings = load(Role.WORKER)
        configure_logging(settings.log_level, settings.log_format)
        ledger = Ledger(settings.database_url)
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


if __name__ == "__main__":
    sys.exit(main())
