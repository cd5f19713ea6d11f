"""How much slower intake, a claim, an idle sweep and each page are with a million commands than with a thousand.

The two ledgers are asked in turns, and the ratio is that of each pair. Each has as many commands a day, so that only the
history is longer. It is all done in this process, without gunicorn: the door and the pages by Flask's own client, a claim
by `Claims.take` with one command that is due, a sweep by one round of `Sweep` with nothing due.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy import update

from app.domain.commands import ClosePosition
from app.domain.venues import VENUES
from app.ledger import tables
from app.ledger.claims import Claims
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.migration import migrate
from app.ledger.types import now
from config.environment import User
from config.file import BrokerSettings
from config.secrets import Secret
from tests.bench.figures import Aim, Figure, Finding
from tests.bench.history import A_DAY, fill
from tests.bench.setting import Bench
from tests.running import _HASH, PASSWORD
from tests.taking import accept
from tests.web import API_TOKEN, SECRET, give, web_app
from workers.brokers.registry import broker_of
from workers.execution import Execution
from workers.stopping import Stopping
from workers.sweep import Sweep

FEW, MANY = 1_000, 1_000_000
MOST = 1.5
BROKER = "nt8"
PAGES = (
    "/",
    "/attention",
    "/positions",
    "/closes",
    "/closes?instrument=L7%2012-26",
    "/closes?hook=stocks",
    "/closes?broker=okx",
    "/closes?account=Sim103",
    "/closes?account=nobody",
    "/closes?instrument=nothing",
    "/closes?since={week}",
    "/closes?until={halfway}",
    "/closes?sort=oldest",
    "/alerts",
    "/alerts?outcome=refused",
    "/alerts?hook=stocks&since={week}",
    "/hooks",
    "/system",
    "/commands/{middle}",
    "/api/v1/commands",
    "/api/v1/commands?status=rejected",
    "/api/v1/commands?status=in_doubt",
    "/api/v1/commands?attention=rejected",
    "/api/v1/commands?account=nobody",
    "/api/v1/commands?broker=okx&instrument=nothing",
    "/api/v1/commands?since={week}T00:00:00Z",
    "/api/v1/closed-positions?cursor={half}",
    "/readyz",
)


def measure(bench: Bench) -> Iterator[Finding]:
    many, looks = bench.pick(MANY, 20_000), bench.pick(15, 3)
    for kind in bench.kinds:
        with (
            _place(bench, kind, FEW) as few,
            _place(bench, kind, many) as lots,
        ):
            for name in few.acts:
                pairs = [(few.acts[name](), lots.acts[name]()) for _ in range(looks + 1)][1:]
                fast, slow = ([seconds * 1000 for seconds in side] for side in zip(*pairs, strict=True))
                beside = {f"{FEW:,} commands": fast}
                aim = Aim(MOST, to=next(iter(beside)))
                yield Figure(f"{kind}, {many:,} commands: {name}", "ms", slow, beside, aim)


@dataclass(slots=True)
class Place:
    """A ledger with so many commands, and what is done with it; each act tells the seconds that it took."""

    ledger: Ledger
    client: FlaskClient
    named: Mapping[str, Any]
    """What the addresses of pages are filled with."""
    claims: Claims = field(init=False)
    sweep: Sweep = field(init=False)
    accounts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        settings = BrokerSettings(
            BROKER, VENUES["crosstrade"], {"token": Secret("nobody's")}, "http://127.0.0.1:9"
        )
        brokers = {BROKER: (broker_of(settings), settings)}
        execution = Execution(self.ledger, "bench", brokers, _today)
        self.claims = Claims(self.ledger, "bench")
        self.sweep = Sweep(self.ledger, BROKER, execution, Stopping())

    @property
    def acts(self) -> dict[str, Callable[[], float]]:
        pages = {page: lambda page=page: self._look(page) for page in PAGES}
        return {"intake": self._intake, "a claim": self._claim, "an idle sweep": self._idle, **pages}

    def _intake(self) -> float:
        body = f'{{"action": "close", "instrument": "NQ 12-26", "id": "{new_id()}"}}'
        began = time.perf_counter()
        answer = self.client.post("/hooks/futures", data=body, headers={"Authorization": f"Bearer {SECRET}"})
        taken = time.perf_counter() - began
        assert answer.status_code == 202, answer.text
        self._end_what_waits()
        return taken

    def _claim(self) -> float:
        command = ClosePosition(BROKER, f"Bench{next(self.accounts)}", "MES 12-26")
        accept(self.ledger, Delivery("futures", new_id().encode(), "a text", "main"), Wish([command]))
        began = time.perf_counter()
        claim = self.claims.take([BROKER])
        taken = time.perf_counter() - began
        assert claim is not None, "one was due"
        self._end_what_waits()
        return taken

    def _idle(self) -> float:
        began = time.perf_counter()
        self.sweep.once()
        return time.perf_counter() - began

    def _look(self, page: str) -> float:
        headers = (
            {"Authorization": f"Bearer {API_TOKEN}"} if page.startswith("/api") else {"HX-Request": "true"}
        )
        address = page.format(**self.named)
        began = time.perf_counter()
        answer = self.client.get(address, headers=headers)
        taken = time.perf_counter() - began
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:200]}"
        return taken

    def _end_what_waits(self) -> None:
        waiting = tables.commands.c.settled_at.is_(None)
        ended = {"status": "cancelled", "due_at": None, "lease_owner": None, "lease_until": None}
        with self.ledger.writing() as connection:
            connection.execute(update(tables.commands).where(waiting).values(settled_at=now(), **ended))


@contextmanager
def _place(bench: Bench, kind: str, count: int) -> Iterator[Place]:
    ledger = Ledger(bench.databases.fresh(kind), threads=4)
    try:
        migrate(ledger)
        fill(ledger, count)
        yield Place(ledger, _client(bench.new_folder(), ledger), _names(count))
    finally:
        ledger.dispose()


def _client(folder: Path, ledger: Ledger) -> FlaskClient:
    """Of the application on this ledger, and logged in."""
    app = web_app(folder)
    give(app, ledger)
    app.extensions["flatwire_users"]["ada"] = User("ada", "operator", Secret(_HASH))
    app.extensions["flatwire_logins"] = MovingWindowRateLimiter(MemoryStorage())
    app.config["WTF_CSRF_ENABLED"] = False
    client = app.test_client()
    client.post("/login", data={"name": "ada", "password": PASSWORD})
    return client


def _names(count: int) -> dict[str, Any]:
    moment = time.time()
    return {
        "week": time.strftime("%Y-%m-%d", time.gmtime(moment - 7 * 86400)),
        "middle": f"{count // 2:032x}",
        "half": count // 2,
        "halfway": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment - count / A_DAY / 2 * 86400)),
    }


def _today() -> date:
    return datetime.now(UTC).date()
