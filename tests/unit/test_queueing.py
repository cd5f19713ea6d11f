"""The doorbell on a real Redis: one ring an id, no wait for a dead server, and no function of a stranger's."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rq import Queue, SimpleWorker, Worker
from rq.job import Callback
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from app.ledger.connection import LedgerUnavailable
from app.queueing import CARRY_ON, QUEUE, Doorbell, DoorbellJob, _connection_url
from tests.running import RedisServer, eventually, free_port
from workers import jobs, listening
from workers.listening import Listener, listen
from workers.stopping import Stopping


def queue_of(server: RedisServer) -> Queue:
    return Queue(QUEUE, connection=server.client, serializer=JSONSerializer, job_class=DoorbellJob)


def test_a_ring_is_one_job_with_one_string(redis_server: RedisServer) -> None:
    assert Doorbell(redis_server.url).ring(["a1", "b2"])

    rung = queue_of(redis_server).jobs
    assert [(job.func_name, job.args, job.kwargs) for job in rung] == [
        (CARRY_ON, ["a1"], {}),
        (CARRY_ON, ["b2"], {}),
    ]


def test_without_redis_nobody_waits_and_nothing_is_raised() -> None:
    doorbell = Doorbell(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    rung = [doorbell.ring(["a1"]) for _ in range(200)]

    assert not any(rung)
    assert time.monotonic() - began < 1.0
    assert doorbell.answers() is False


def test_without_an_address_there_is_no_doorbell() -> None:
    assert (Doorbell(None).ring(["a1"]), Doorbell(None).answers()) == (False, None)


def test_a_frozen_redis_costs_one_short_wait(redis_server: RedisServer) -> None:
    doorbell = Doorbell(redis_server.url)
    assert doorbell.ring(["a1"])
    redis_server.freeze()
    try:
        began = time.monotonic()
        assert not doorbell.ring(["b2"])
        assert not doorbell.ring(["c3"])
        assert time.monotonic() - began < 1.5
    finally:
        redis_server.thaw()


@pytest.mark.parametrize(
    "stranger",
    [
        {"func": "os.system", "args": ("touch /tmp/flatwire-was-here",)},
        {"func": "builtins.eval", "args": ("1",)},
        {"func": "app.cli.main", "args": (["check"],)},
        {"func": "workers.jobs.bind", "args": ("x",)},
    ],
    ids=lambda it: it["func"],
)
def test_a_job_of_a_strangers_is_not_run(redis_server: RedisServer, stranger: dict[str, Any]) -> None:
    strangers = Queue(QUEUE, connection=redis_server.client, serializer=JSONSerializer)
    job = strangers.enqueue_call(**stranger)
    ours = queue_of(redis_server)
    worker = SimpleWorker(
        [ours], connection=ours.connection, serializer=JSONSerializer, job_class=DoorbellJob
    )
    worker.work(burst=True, logging_level="CRITICAL")

    assert "is no job of Flatwire" in (job.latest_result().exc_string or "")
    assert job.is_failed


def test_a_strangers_callback_is_not_called(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(jobs, "carry_on", rung.append)
    strangers = Queue(QUEUE, connection=redis_server.client, serializer=JSONSerializer)
    called: list[Any] = []
    monkeypatch.setattr(jobs, "bind", lambda *it: called.append(it))
    strangers.enqueue(CARRY_ON, "a1", on_success=Callback("workers.jobs.bind"))
    ours = queue_of(redis_server)
    worker = SimpleWorker(
        [ours], connection=ours.connection, serializer=JSONSerializer, job_class=DoorbellJob
    )
    worker.work(burst=True, logging_level="CRITICAL")

    assert (rung, called) == (["a1"], [])


def test_a_worker_that_was_told_to_stop_takes_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, steps = threading.Event(), []

    def step() -> bool:
        steps.append(1)
        if len(steps) == 3:
            stopping.set()  # a signal comes in the midst of it
        return True

    monkeypatch.setattr(jobs, "_hands", jobs.Hands(step, stopping.is_set, lambda command_ids: None))
    jobs.carry_on("a1")

    assert len(steps) == 3


def test_rings_are_answered_and_forgotten_whatever_becomes_of_them(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ's record of a job would be longer than the job; and a bug in one must not end the worker."""
    heard: list[str] = []

    def carry_on(command_id: str) -> None:
        heard.append(command_id)
        if command_id == "bug":
            raise RuntimeError("nobody thought of this")
        if command_id == "away":
            raise LedgerUnavailable("the ledger is away")

    monkeypatch.setattr(jobs, "carry_on", carry_on)
    ids = ["a1", "bug", "away", "b2"]
    assert Doorbell(redis_server.url).ring(ids)
    queue = queue_of(redis_server)
    stranger = queue.enqueue("os.getpid")
    worker = listening._worker(redis_server.client, "one", Stopping())
    with capture_logs() as logs:
        worker.work(burst=True, logging_level="CRITICAL")

    assert heard == ids
    assert [it["event"] for it in logs if it["log_level"] != "info"] == [
        "ring_failed",
        "ledger_unavailable",
        "ring_failed",
    ]
    assert queue.count == 0
    assert not redis_server.client.exists(stranger.key)
    left = [key for key in redis_server.client.scan_iter() if b":job:" in key or b"intermediate" in key]
    assert left == []


@pytest.mark.usefixtures("own_signals")
def test_a_stop_that_comes_during_a_ring_waits_for_it_and_ends_the_listener(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def carry_on(command_id: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        ended.append(command_id)

    monkeypatch.setattr(jobs, "carry_on", carry_on)
    Doorbell(redis_server.url).ring(["a1", "b2"])
    with capture_logs() as logs:
        listen(redis_server.url, True, "a-worker", Stopping())

    assert ended == ["a1"]
    assert [it["event"] for it in logs if it["event"] == "ring_failed"] == []


def test_a_ring_that_has_more_to_do_than_one_may_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(jobs, "_hands", jobs.Hands(lambda: True, lambda: False, rung.extend))
    jobs.carry_on("a1")

    assert rung == ["a1"]


@pytest.fixture
def own_signals() -> Iterator[None]:
    """RQ takes over the process's signals; they are given back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_a_stop_that_comes_while_the_listener_starts_is_heard(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    bootstrap = Listener.bootstrap

    def stopped_meanwhile(self: Listener, *arguments: Any) -> None:
        bootstrap(self, *arguments)
        stopping.set()

    monkeypatch.setattr(Listener, "bootstrap", stopped_meanwhile)
    rescue = threading.Timer(5, os.kill, (os.getpid(), signal.SIGTERM))
    rescue.start()
    began = time.monotonic()
    listen(redis_server.url, True, "a-worker", stopping)
    rescue.cancel()

    assert time.monotonic() - began < 4


def read_only(server: RedisServer) -> None:
    server.client.replicaof("127.0.0.1", str(free_port()))


def full(server: RedisServer) -> None:
    server.client.config_set("maxmemory", "1mb")


def restored(server: RedisServer) -> None:
    """It comes back as it was a while ago, with a worker in it that never said goodbye."""
    server.client.save()
    server.kill()
    server.start()


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("bad_day", [read_only, full, restored])
def test_a_listener_outlives_its_redis_and_hears_it_again(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    bad_day: Callable[[RedisServer], None],
) -> None:
    monkeypatch.setattr(listening, "AFTER_A_FAILURE", 0.1)
    heard: list[str] = []
    monkeypatch.setattr(jobs, "carry_on", heard.append)

    def rung(command_id: str) -> bool:
        Doorbell(redis_server.url).ring([command_id])
        time.sleep(0.1)
        return command_id in heard

    def day() -> None:
        try:
            eventually(lambda: rung("before"), what="it listens")
            bad_day(redis_server)
            time.sleep(0.5)
            redis_server.client.replicaof("NO", "ONE")
            redis_server.client.config_set("maxmemory", "0")
            eventually(lambda: rung("after"), what="it listens again")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(day)
        listen(redis_server.url, True, "a-worker", threading.Event())

    told.result()
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("own_signals")
def test_a_stop_is_heard_while_redis_is_frozen(redis_server: RedisServer) -> None:
    frozen_at: list[float] = []

    def freeze_and_stop() -> None:
        connection = queue_of(redis_server).connection
        eventually(lambda: Worker.count(connection=connection), what="it listens")
        time.sleep(0.2)
        redis_server.freeze()
        frozen_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=freeze_and_stop).start()
    listen(redis_server.url, True, "a-worker", threading.Event())
    redis_server.thaw()

    assert time.monotonic() - frozen_at[0] < 5


def test_a_redis_that_is_full_or_only_lets_us_read_costs_no_wait_and_no_exception(
    redis_server: RedisServer,
) -> None:
    for bad_day in (full, read_only):
        bad_day(redis_server)
        doorbell = Doorbell(redis_server.url)
        began = time.monotonic()
        assert not doorbell.ring(["a1"])
        assert time.monotonic() - began < 0.5


def test_many_commands_are_rung_for_in_one_round_trip(redis_server: RedisServer) -> None:
    doorbell = Doorbell(redis_server.url)
    doorbell.ring(["to know the server's version"])
    assert doorbell.ring([f"c{number}" for number in range(50)])

    assert queue_of(redis_server).count == 51
    assert redis_server.client.info("commandstats")["cmdstat_exec"]["calls"] == 2


@pytest.mark.parametrize(
    ("url", "verify", "expected"),
    [
        ("redis://h:1/0", False, "redis://h:1/0"),
        ("rediss://:p@h:1", True, "rediss://:p@h:1"),
        ("rediss://:p@h:1", False, "rediss://:p@h:1?ssl_cert_reqs=none"),
        ("rediss://h:1?ssl_cert_reqs=required&db=2", False, "rediss://h:1?ssl_cert_reqs=none&db=2"),
        ("unix:///tmp/s", False, "unix:///tmp/s"),
    ],
)
def test_a_certificate_is_left_unchecked_only_where_that_was_asked(
    url: str, verify: bool, expected: str
) -> None:
    assert _connection_url(url, verify, ()) == expected


@pytest.mark.parametrize("place", ["redis://h:1/0", "rediss://:p%40@h:1", "unix:///tmp/s"])
def test_no_address_changes_how_long_the_door_waits(place: str) -> None:
    assert (
        _connection_url(f"{place}?socket_timeout=60&db=3", True, {"socket_timeout": 0.4}) == f"{place}?db=3"
    )
    assert _connection_url(f"{place}?socket_timeout=60", True, {"socket_timeout": 0.4}) == place
