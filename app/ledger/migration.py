"""Bringing the ledger's schema up to date. Alembic lives here alone: who only works on the ledger need not load it."""

import time

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app.ledger.connection import Ledger
from app.ledger.schema import MIGRATIONS, SchemaMismatch, head, known, revision_of
from app.ledger.transaction import Transaction

_MIGRATION_LOCK = 0x666C6174  # "flat": any fixed number that is ours
_WAIT_FOR_ANOTHER = 60.0
"""Seconds that a migration waits for another process's."""


def migrate(ledger: Ledger) -> tuple[str | None, str]:
    """Bring the schema up to date, one process at a time. The revisions before and after.

    Raises SchemaMismatch if a later version made it.
    """
    with ledger.translated(), ledger.engine.connect() as connection:
        connection = Transaction(lock_by=time.monotonic() + _WAIT_FOR_ANOTHER).on(connection)
        with connection.begin():
            if not ledger.sqlite:
                # A migration may take longer than the door allows its statements.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            before = revision_of(connection)
            if before not in (None, *known()):
                raise SchemaMismatch(
                    f"the ledger's schema is {before}, which a later version made: run that one"
                )
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return before, head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
