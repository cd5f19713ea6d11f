"""Databases of a PostgreSQL server that tests are lent: to make one takes longer than most tests, to empty one does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from app.ledger.connection import Ledger, normalised
from app.ledger.migration import migrate

_MIGRATED = "migrated"
_LENT = "lent"

_SHAPE = text("""
    WITH ours AS (SELECT oid, relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    SELECT string_agg(line, ',' ORDER BY line) FROM (
        SELECT concat_ws(' ', relname, relkind, attname, atttypid, attnotnull, attisdropped)
        FROM ours LEFT JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0
        UNION ALL SELECT concat_ws(' ', relname, tgname, tgenabled)
        FROM pg_trigger JOIN ours ON tgrelid = ours.oid WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', proname, md5(prosrc)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', relname, conname) FROM pg_constraint JOIN ours ON conrelid = ours.oid
        UNION ALL SELECT version_num FROM alembic_version
    ) AS shape(line)
""")
"""What a test may have changed of the schema: then another database is made."""

_OTHERS_GO = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
""")
# As a replica writes: an event can't be deleted otherwise, nor an alert with commands before them.
_EMPTIED = text("""
    SET LOCAL session_replication_role = replica;
    DO $$ DECLARE it record; BEGIN
        FOR it IN SELECT oid::regclass AS name, relkind, relname FROM pg_class
                  WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') LOOP
            IF it.relkind = 'S' THEN
                PERFORM setval(it.name, 1, false);
            ELSIF it.relname <> 'alembic_version' THEN
                EXECUTE format('DELETE FROM %s', it.name);
            END IF;
        END LOOP;
    END $$
""")


@contextmanager
def new_database(server: str, name: str, *, migrated: bool) -> Iterator[str]:
    """The URL of one that is made for this, and dropped."""
    _make(server, name, _migrated(server) if migrated else "template1")
    yield _named(server, name)
    with operator(server) as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def empty_ledger(server: str) -> str:
    """The URL of one as the migrations leave it; whoever had it before has it no more."""
    shape = _shape_of(_named(server, _migrated(server)))
    if not _is_emptied(server, shape):
        _make(server, _LENT, _MIGRATED)
    return _named(server, _LENT)


def _is_emptied(server: str, shape: str) -> bool:
    """Whether the one that was lent last is there, is still of this shape, and holds nothing now."""
    with operator(server) as connection:
        there = text("SELECT count(*) FROM pg_database WHERE datname = :name")
        if not connection.execute(there, {"name": _LENT}).scalar_one():
            return False
    engine = create_engine(_named(server, _LENT), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(_OTHERS_GO)
        if connection.execute(_SHAPE).scalar_one() != shape:
            return False
        connection.execute(_EMPTIED)
    return True


@cache
def _migrated(server: str) -> str:
    _make(server, _MIGRATED, "template1")
    ledger = Ledger(_named(server, _MIGRATED))
    migrate(ledger)
    ledger.dispose()
    return _MIGRATED


@cache
def _shape_of(database: str) -> str:
    engine = create_engine(database, poolclass=NullPool)
    with engine.connect() as connection:
        return str(connection.execute(_SHAPE).scalar_one())


def _make(server: str, name: str, template: str) -> None:
    with operator(server) as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))


def _named(server: str, name: str) -> str:
    return normalised(server).set(database=name).render_as_string(hide_password=False)


@contextmanager
def operator(server: str) -> Iterator[Connection]:
    """A connection that makes and drops databases."""
    engine = create_engine(normalised(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
