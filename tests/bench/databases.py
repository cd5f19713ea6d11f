"""Where the bench's ledgers are made: each an empty database, on the disk that it is said to be on."""

from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from app.ledger.connection import normalised
from tests.postgres import PostgresServer

SQLITE, POSTGRESQL = DATABASES = ("SQLite", "PostgreSQL")


class Databases:
    """Where ledgers are made: files of a folder, and a server that waits for its disk."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self._folder = folder
        self._server = server
        self._made = 0

    def fresh(self, kind: str) -> str:
        """The URL of an empty database."""
        self._made += 1
        name = f"ledger{self._made}"
        if kind == SQLITE:
            return f"sqlite:///{self._folder / name}.db"
        assert self._server is not None
        engine = create_engine(normalised(self._server.url), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        engine.dispose()
        return make_url(self._server.url).set(database=name).render_as_string(hide_password=False)

    @property
    def postgresql(self) -> str | None:
        """What the server says it is."""
        if self._server is None:
            return None
        with self._server.connected() as connection:
            return str(connection.execute(text("SHOW server_version")).scalar_one())
