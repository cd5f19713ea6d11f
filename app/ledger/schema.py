"""Which schema this version works on, and refusing to work on another."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from app.ledger.connection import Ledger

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaMismatch(Exception):
    """Raised when the ledger's schema is not the one this version works on."""


def check_schema(ledger: Ledger) -> None:
    """Raises SchemaMismatch unless the schema is this version's."""
    with ledger.reading() as connection:
        found = revision_of(connection)
    if found != head():
        raise SchemaMismatch(
            f"the ledger's schema is {found or 'not there yet'} and this version works on {head()}: "
            "run `python -m app migrate` (the Procfile's release line) and start again"
        )


def revision_of(connection: Connection) -> str | None:
    """The revision of a ledger, as Alembic keeps it; None: nothing was ever migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def head() -> str:
    """The newest revision that this version knows."""
    return known()[-1]


def known() -> list[str]:
    """The revisions that this version knows, oldest first: the numbers in the names of their files."""
    return sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("v[0-9]*.py"))
