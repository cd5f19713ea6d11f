"""The product and the servers it needs as real processes, for tests that look from outside."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from redis import Redis, RedisError

from app.ledger.connection import Ledger
from app.ledger.migration import migrate
from app.passwords import password_hash
from config.embedded.doorbell import server_program
from tests.simulators.crosstrade import CrossTradeSimulator

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse battery"
_HASH = password_hash(PASSWORD)

CONFIGURATION = """
[brokers.nt8]
kind = "crosstrade"
token = "${CROSSTRADE_TOKEN}"
base_url = "${CROSSTRADE_URL}"
symbols = { "MES1!" = "MES 12-26" }
connect_timeout = 1
read_timeout = 2
deadline = 2.5
settle = 0.5
verify_for = 5
retry_for = 20

[hooks.futures]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
default_account = "Sim101"
secrets = { main = "${HOOK_SECRET}" }
allow = ["close", "flatten"]

[hooks.everything]
broker = "nt8"
accounts = "*"
secrets = { main = "${EVERYTHING_SECRET}" }
allow = ["close", "flatten", "flatten_everything"]
"""
"""Short times, so that what happens after a lost answer happens soon."""

_MIGRATING = threading.Lock()
"""Alembic knows one migration at a time in a process."""

WEB = ("-m", "gunicorn", "-c", "python:config.gunicorn", "app.web:create_app()")

STARTED_WITHIN = 60.0
"""Seconds that a process may take to start: four tests at once start several each on two cores."""

OPEN = (
    ("Sim101", "MES 12-26", "Long", 10),
    ("Sim101", "MNQ 12-26", "Short", 4),
    ("Sim102", "ES 12-26", "Long", 2),
)
"""The positions at the simulated venue when a test begins."""


def eventually(holds: Callable[[], Any], within: float = 15.0, what: str = "it") -> Any:
    """The first true value, or a failure that says what was waited for."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < within:
        if value := holds():
            return value
        # Ever more seldom: to ask a process costs the machine on which it is to get ready.
        time.sleep(min(0.3, 0.02 + waited / 8))
    raise AssertionError(f"{what} did not happen within {within} s")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RedisServer:
    """A real Redis or Valkey server on a loopback port, to be stopped, killed, frozen and emptied."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        return server_program() is not None

    def start(self) -> "RedisServer":
        program = server_program()
        assert program, "see available()"
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
        eventually(self._answers, what="Redis answers")
        return self

    def _answers(self) -> bool:
        with suppress(RedisError):
            return bool(self.client.ping())
        return False

    @property
    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=2)

    def empty(self) -> None:
        self.client.flushall()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@dataclass
class Product:
    """Web and worker processes on one ledger, with a simulated venue."""

    folder: Path
    database_url: str
    redis_url: str | None
    venue: CrossTradeSimulator
    configuration: str = CONFIGURATION
    workers: int = 2
    port: int = field(default_factory=free_port)
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    everything_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    api_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    variables: dict[str, str] = field(default_factory=dict)
    """What the configuration names beside."""
    hook_secrets: dict[str, str] = field(default_factory=dict)
    """Of the hooks beside."""
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error::DeprecationWarning:app,error::DeprecationWarning:workers",
            "DATABASE_URL": self.database_url,
            "FLATWIRE_CONFIG_TOML": self.configuration,
            "CROSSTRADE_TOKEN": self.venue.token or "any",
            "CROSSTRADE_URL": self.venue.url,
            "HOOK_SECRET": self.secret,
            "EVERYTHING_SECRET": self.everything_secret,
            "SECRET_KEY": "a secret key that is long enough",
            "DASHBOARD_USERS": f"ada:operator:{_HASH} vic:viewer:{_HASH}",
            "API_TOKENS": f"operator:{self.api_token}",
            "PORT": str(self.port),
            "WORKERS": str(self.workers),
            "LOG_LEVEL": "INFO",
            **self.variables,
        }
        return environ | ({"REDIS_URL": self.redis_url} if self.redis_url else {})

    def fresh_book(self) -> None:
        """Put the positions back that each test begins with."""
        book = self.venue.book
        book.clear_positions()
        book.clear_working_orders()
        for account, instrument, side, quantity in OPEN:
            book.set_position(account, instrument, side, quantity, 5779.8125, 5797.0, 5)

    def held(self, account: str = "Sim101", instrument: str = "MES 12-26") -> int:
        """What the venue's book says is open, below zero for a short."""
        held = self.venue.book.position(account, instrument)
        return -held.quantity if held.side == "Short" else held.quantity

    def migrate(self) -> None:
        """What the release line does, in this process: starting another takes a second."""
        ledger = Ledger(self.database_url)
        with _MIGRATING:
            migrate(ledger)
        ledger.dispose()

    def start_all(self) -> None:
        """Web and workers, side by side."""
        self.start("web", *WEB)
        self.start("worker", "-m", "workers")
        eventually(self.ready, STARTED_WITHIN, "the web process answers")
        eventually(lambda: self.alive() >= self.workers, STARTED_WITHIN, "the workers are alive")

    def start_web(self) -> None:
        self.start("web", *WEB)
        eventually(self.ready, STARTED_WITHIN, "the web process answers")

    def start_workers(self) -> None:
        before = self.alive()
        self.start("worker", "-m", "workers")
        eventually(lambda: self.alive() >= before + self.workers, STARTED_WITHIN, "the workers are alive")

    def start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environ,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.processes[name] = process

    def stop(self, name: str, within: float = 20.0) -> int:
        """End a process by SIGTERM, as a platform does. Its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(within)

    def stop_all(self) -> None:
        for name in list(self.processes):
            process = self.processes[name]
            try:
                self.stop(name)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def worker_pids(self) -> list[int]:
        """The worker processes under the supervisor."""
        parent = self.processes["worker"].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children]

    def send(self, text: str, hook: str = "futures", **headers: str) -> requests.Response:
        own = {"futures": self.secret, "everything": self.everything_secret}
        secret = (own | self.hook_secrets)[hook]
        return requests.post(
            f"{self.url}/hooks/{hook}/{secret}", data=text.encode(), headers=headers, timeout=10
        )

    def accepted(self, text: str, hook: str = "futures", **headers: str) -> str:
        """Send an alert that makes one command, though the same words came before. The command's id.

        It is sent again as long as the door asks for that, as a sender does: a machine that runs all tests at once may
        be too busy for it to keep an alert in time. Its key makes one command of all.
        """
        headers = {"Idempotency-Key": secrets.token_hex(8)} | headers
        answer = self.send(text, hook, **headers)
        taken, asked_until = {202}, time.monotonic() + 15
        while answer.status_code == 503 and time.monotonic() < asked_until:
            taken = {200, 202}  # it may have been kept all the same, and only the word of that come too late
            time.sleep(0.2)
            answer = self.send(text, hook, **headers)
        assert answer.status_code in taken, answer.text
        (command,) = answer.json()["commands"]
        return str(command["id"])

    def api(self, path: str, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.api_token}"}
        answer = requests.get(f"{self.url}/api/v1/{path}", params=query, headers=headers, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def act(self, path: str, method: str = "POST", **body: Any) -> Any:
        """What an operator does over the API."""
        headers = {"Authorization": f"Bearer {self.api_token}"}
        answer = requests.request(
            method,
            f"{self.url}/api/v1/{path}",
            json={"reason": "why not"} | body,
            headers=headers,
            timeout=10,
        )
        assert answer.ok, answer.text
        return answer.json()

    def command(self, command_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.api(f"commands/{command_id}")
        return document

    def settled(self, command_id: str, within: float = 15.0) -> dict[str, Any]:
        """The command once its status is final."""

        def look() -> dict[str, Any] | None:
            document = self.command(command_id)
            return document if document["settled_at"] else None

        try:
            document: dict[str, Any] = eventually(look, within, "the command settles")
        except AssertionError as exc:
            raise AssertionError(json.dumps(self.command(command_id), indent=1)) from exc
        return document

    def attended(self, command_id: str, within: float = 15.0) -> dict[str, Any]:
        """The command once somebody must look at it and nothing more happens by itself."""

        def look() -> dict[str, Any] | None:
            document = self.command(command_id)
            return document if document["attention"] and not document["next_attempt_at"] else None

        document: dict[str, Any] = eventually(look, within, "the command asks for attention")
        return document

    def ready(self) -> bool:
        """Whether the web process answers, and can write the ledger."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=2).ok
        return False

    def alive(self) -> int:
        """How many workers are alive, as the web process tells."""
        answer = requests.get(f"{self.url}/readyz", timeout=5).json()
        return int(answer["workers"])


@contextmanager
def running_product(
    folder: Path, database_url: str, redis_url: str | None, **settings: Any
) -> Iterator[Product]:
    """The whole product, started and ready, ended with the block."""
    with CrossTradeSimulator(token="venue-token-0123456789") as venue:
        product = Product(folder, database_url, redis_url, venue, **settings)
        product.fresh_book()
        try:
            product.migrate()
            product.start_all()
            yield product
        finally:
            product.stop_all()
