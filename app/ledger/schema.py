"""Bringing the ledger's schema up to date, and refusing to work on one that is not."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.ledger.connection import Ledger

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x666C6174  # "flat": any fixed number that is ours
_WAIT_FOR_ANOTHER = 60.0
"""Seconds that a migration waits for another process's."""


class SchemaMismatch(Exception):
    """Raised when the ledger's schema is not the one this version works on."""


def migrate(ledger: Ledger) -> tuple[str | None, str]:
    """Bring the schema up to date, one process at a time. The revisions before and after.

    Raises SchemaMismatch if a later version made it.
    """
    with ledger.translated(), ledger.engine.connect() as connection:
        connection = connection.execution_options(flatwire_lock_by=time.monotonic() + _WAIT_FOR_ANOTHER)
        with connection.begin():
            if not ledger.sqlite:
                # A migration may take longer than the door allows its statements.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            before = _revision(connection)
            if before not in (None, *_known()):
                raise SchemaMismatch(
                    f"the ledger's schema is {before}, which a later version made: run that one"
                )
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return before, _head()


def check_schema(ledger: Ledger) -> None:
    """Raises SchemaMismatch unless the schema is this version's."""
    with ledger.reading() as connection:
        found = _revision(connection)
    if found != _head():
        raise SchemaMismatch(
            f"the ledger's schema is {found or 'not there yet'} and this version works on {_head()}: "
            "run `python -m app migrate` (the Procfile's release line) and start again"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _head() -> str:
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head, "there is always a first migration"
    return head


def _known() -> list[str]:
    return [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
