"""What the doctor finds, and what it says to do: on real databases and a real Redis, in order and out of it."""

import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app import doctor
from app.doctor import Finding, Grade
from app.ledger import condition, tables
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish
from app.ledger.heartbeats import Heartbeat
from app.ledger.types import from_now
from app.queueing import Doorbell
from config.file import Configuration, Role, read
from tests.conftest import on_both_databases, on_postgresql
from tests.running import CONFIGURATION, ROOT, RedisServer, free_port
from tests.shop import whole
from tests.simulators.crosstrade import CrossTradeSimulator, Fault
from tests.taking import accept
from tests.unit.test_configuration import ENVIRON, GOOD, TELLING, with_hook


def configured(text: str = GOOD) -> Configuration:
    return read(text, Role.CHECK, ENVIRON | {"NOTIFY_URL": "json://127.0.0.1"})


def by_name(found: Iterator[Finding] | list[Finding]) -> dict[str, Finding]:
    return {it.about: it for it in found}


def graded(found: list[Finding]) -> dict[str, str]:
    return {it.about: str(it.grade) for it in found}


def examined(ledger: Ledger, doorbell: Doorbell | None = None, text: str = TELLING) -> list[Finding]:
    return doctor.findings(ledger, doorbell or Doorbell(None), configured(text), "https://flatwire.example")


@on_both_databases
def test_where_all_is_well_nothing_is_to_do(ledger: Ledger, redis_server: RedisServer) -> None:
    Heartbeat(ledger, "worker-1").beat(doctor.__version__)
    found = examined(ledger, Doorbell(redis_server.url))

    assert {it.grade for it in found} == {Grade.OK}, found
    assert {"configuration", "ledger", "workers", "clock", "redis"} <= by_name(found).keys()
    assert not [it for it in found if it.do]


@on_both_databases
def test_without_workers_redis_and_addresses_it_says_what_to_do(ledger: Ledger) -> None:
    found = examined(ledger, Doorbell(f"redis://127.0.0.1:{free_port()}"), GOOD + "")

    assert graded(found) | {"ledger": "ok"} == graded(found)
    assert [by_name(found)[name].grade for name in ("workers", "redis", "notifications")] == [
        Grade.FAULT,
        Grade.FAULT,
        Grade.WARNING,
    ]
    assert all(it.do for it in found if it.grade is not Grade.OK)


def test_no_redis_at_all_is_slow_and_no_fault(ledger: Ledger) -> None:
    assert by_name(examined(ledger))["redis"].grade is Grade.WARNING


def test_a_redis_that_evicts_what_it_holds_is_told(ledger: Ledger, redis_server: RedisServer) -> None:
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    found = by_name(examined(ledger, Doorbell(redis_server.url)))["redis"]

    assert (found.grade, "noeviction" in (found.do or "")) == (Grade.WARNING, True)


@pytest.mark.parametrize(
    ("kind", "version", "mended"),
    [("Redis", "8.6.2", False), ("Redis", "8.6.3", True), ("Redis", "7.4", False), ("Valkey", "9.0.0", True)],
)
def test_a_redis_with_known_holes_is_told(
    monkeypatch: pytest.MonkeyPatch, kind: str, version: str, mended: bool
) -> None:
    vitals = {"answers": True, "kind": kind, "version": version, "eviction": "noeviction"}
    monkeypatch.setattr(Doorbell, "vitals", lambda self: vitals)

    assert doctor.of_redis(Doorbell(None)).grade is (Grade.OK if mended else Grade.WARNING)


@on_both_databases
def test_a_ledger_that_was_never_migrated_is_told(database_url: str) -> None:
    ledger = Ledger(database_url)
    found = examined(ledger)
    ledger.dispose()

    assert by_name(found)["ledger"].grade is Grade.FAULT
    assert "migrate" in (by_name(found)["ledger"].do or "")
    assert {"redis", "configuration"} <= by_name(found).keys()


def test_a_ledger_that_is_away_is_told_without_its_password() -> None:
    ledger = Ledger(f"postgres://ada:geheim@127.0.0.1:{free_port()}/flatwire")
    found = examined(ledger)
    ledger.dispose()

    assert by_name(found)["ledger"].grade is Grade.FAULT
    assert "geheim" not in str(found)


@on_postgresql
def test_connections_that_run_out_are_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_name(examined(ledger))["connections"].grade is Grade.OK
    monkeypatch.setattr(condition, "connections", lambda ledger: (18, 20))

    found = by_name(examined(ledger))["connections"]
    assert (found.grade, found.said) == (Grade.WARNING, "18 of 20 are in use")


@pytest.mark.parametrize("apart", [-30, 30])
def test_clocks_that_differ_are_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, apart: int) -> None:
    monkeypatch.setattr(condition, "moment", lambda ledger: datetime.now(UTC) + timedelta(seconds=apart))

    found = doctor.of_clock(ledger)
    assert (found.grade, "30 s apart" in found.said) == (Grade.WARNING, True)


def test_a_disk_that_is_nearly_full_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100, 99, 1))

    assert by_name(doctor.of_disk(ledger))["disk"].grade is Grade.WARNING


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    ledger = Ledger(f"sqlite:///{folder}/flatwire.db")
    ledger.dispose()
    shutil.rmtree(folder)

    assert by_name(doctor.of_disk(ledger))["disk"].grade is Grade.FAULT


@on_both_databases
def test_workers_of_another_version_and_old_commands_are_told(ledger: Ledger) -> None:
    Heartbeat(ledger, "worker-1").beat("0.0.1")
    accept(ledger, Delivery("futures", b"close", "close", "main"), Wish([whole()]))
    with ledger.writing() as connection:
        connection.execute(update(tables.commands).values(accepted_at=from_now(-1200)))
    found = by_name(examined(ledger))

    assert (found["workers"].grade, "0.0.1" in found["workers"].said) == (Grade.WARNING, True)
    assert (found["commands"].grade, "20 minutes" in found["commands"].said) == (Grade.WARNING, True)


def test_a_hook_in_shadow_mode_is_told(ledger: Ledger) -> None:
    found = by_name(examined(ledger, text=with_hook("dry_run = true")))

    assert found["hook futures"].grade is Grade.WARNING


# `python -m workers doctor`


def workers_doctor(venue: CrossTradeSimulator, tmp_path: Path, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "workers", "doctor"],
        cwd=ROOT,
        env={
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"sqlite:///{tmp_path}/none/flatwire.db",
            "FLATWIRE_CONFIG_TOML": CONFIGURATION,
            "CROSSTRADE_TOKEN": str(venue.token),
            "CROSSTRADE_URL": venue.url,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert str(venue.token) not in done.stdout + done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_each_brokers_credential_is_tried_by_rest(tmp_path: Path, transport: str) -> None:
    with CrossTradeSimulator(token="venue-token-0123456789") as venue:
        venue.book.set_position("Sim101", "MES 12-26", "Long", 1, 5779.8125, 5797.0, 5)
        text = CONFIGURATION.replace('kind = "crosstrade"', f'kind = "crosstrade"\ntransport = "{transport}"')
        code, said = workers_doctor(venue, tmp_path, FLATWIRE_CONFIG_TOML=text)

    assert code == 1  # no ledger there, and no worker
    assert ": 1 position(s), read in" in said
    assert {request.operation for request in venue.requests} <= {"positions", "accounts"}


@pytest.mark.parametrize("wrong", ["credential", "venue"])
def test_a_broker_that_can_not_be_read_is_told(tmp_path: Path, wrong: str) -> None:
    with CrossTradeSimulator(token="venue-token-0123456789") as venue:
        environ = {"CROSSTRADE_TOKEN": "another-token-9876543210"} if wrong == "credential" else {}
        if wrong == "venue":
            venue.bad_day(Fault.CUT_BEFORE_ACTING)
        code, said = workers_doctor(venue, tmp_path, **environ)

    assert code == 1
    (line,) = (it for it in said.splitlines() if "broker nt8" in it)
    assert line.startswith("fault")
    assert "another-token" not in said
