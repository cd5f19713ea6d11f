"""Bad days of a ledger and of a Redis: each lasts as long as its block."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from redis import RedisError
from sqlalchemy import text

from tests.postgres import CONNECTIONS, PostgresServer
from tests.running import RedisServer, free_port


@contextmanager
def frozen_postgres(server: PostgresServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def killed_postgres(server: PostgresServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def stopped_postgres(server: PostgresServer) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextmanager
def locked_postgres(server: PostgresServer) -> Iterator[None]:
    with server.connected() as operator:
        operator.execute(text("LOCK TABLE commands IN ACCESS EXCLUSIVE MODE"))
        yield


@contextmanager
def postgres_without_a_free_connection(server: PostgresServer) -> Iterator[None]:
    """Others hold all that there are, those that Flatwire had among them."""
    terminated = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    terminated += " WHERE application_name <> 'other' AND backend_type = 'client backend'"
    others: list[psycopg.Connection] = []
    with (
        ExitStack() as held,
        psycopg.connect(server.url, autocommit=True, application_name="other") as operator,
    ):
        # Until each is another's: one that was terminated takes a while to go, and ours ask again meanwhile.
        while len(others) < CONNECTIONS - 1:
            operator.execute(terminated)
            with suppress(psycopg.OperationalError):
                others.append(held.enter_context(psycopg.connect(server.url, application_name="other")))
        yield


@contextmanager
def dead_redis(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def frozen_redis(server: RedisServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def full_redis(server: RedisServer) -> Iterator[None]:
    client = server.client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    with pytest.raises(RedisError, match="maxmemory"):
        client.set("filling", "x")
    yield
    client.config_set("maxmemory", "0")


@contextmanager
def read_only_redis(server: RedisServer) -> Iterator[None]:
    """A replica whose master is gone."""
    server.client.replicaof("127.0.0.1", str(free_port()))
    with pytest.raises(RedisError, match="read only"):
        server.client.set("writing", "x")
    yield
    server.client.replicaof("NO", "ONE")


@contextmanager
def emptied_redis(server: RedisServer) -> Iterator[None]:
    server.empty()
    yield


@contextmanager
def locked_sqlite(path: Path) -> Iterator[None]:
    """Another process writes, and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
