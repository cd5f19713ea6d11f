"""A stage for bad days: one venue, its book and one worker, all in this process, and set anew for each case."""

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.domain.commands import ClosePosition, Command, FlattenMatching, Quantity
from app.domain.positions import Side
from app.ledger.connection import Ledger
from app.ledger.due import seconds_to_next_due
from app.ledger.migration import migrate
from tests.contract.markets import SECRETS, ClearStreetMarket, CrossTradeMarket, Market, OkxMarket
from tests.cutting import CuttingProxy
from tests.rehearsal.verdicts import Case
from tests.shop import Shop
from tests.simulators.clearstreet import Book as ClearStreetBook
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import Book as CrossTradeBook
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.line import Journal
from tests.simulators.okx import Book as OkxBook
from tests.simulators.okx import OkxSimulator
from workers.brokers.crosstrade.socket_adapter import CrossTradeSocket
from workers.brokers.registry import broker_of

HELD, BYSTANDING, PART = Decimal(10), Decimal(-5), Decimal(4)
SIZES = ("whole", "part")
SOON = 9.0
"""Virtual seconds: by then a command is settled, or a person was told and all else was tried."""
TIMES = {"settle": 0.5, "verify_for": 3.0, "retry_for": 10.0}
"""Virtual seconds too: each look at the venue while they last takes time of ours."""
PULSE = 0.15
"""Seconds of ours: a WebSocket that is silent for twice as long counts as dead, and no virtual time makes that shorter."""
ALEMBIC = threading.Lock()
"""It keeps what it works on in a module: one thread at a time."""
MEMORY = Path("/dev/shm")
"""Where there is one, a ledger that outlives nothing need not wait for a disk."""

Place = tuple[str, str]
"""An account and an instrument."""


@dataclass(frozen=True, slots=True)
class Venue:
    """How a venue is put up."""

    simulator: Callable[[], Any]
    book: Callable[[], Any]
    market: Callable[..., Market[Any]]


VENUES = {
    "crosstrade": Venue(
        lambda: CrossTradeSimulator(SECRETS["token"]),
        lambda: CrossTradeBook(CrossTradeMarket.accounts),
        CrossTradeMarket,
    ),
    "clearstreet": Venue(
        lambda: ClearStreetSimulator(SECRETS["api_key"]), ClearStreetBook, ClearStreetMarket
    ),
    "okx": Venue(
        lambda: OkxSimulator(SECRETS["api_key"], SECRETS["api_secret"], SECRETS["passphrase"]),
        OkxBook,
        OkxMarket,
    ),
}


class Stage:
    """One venue with a broker of ours, and one worker over a ledger; the first account holds ten long and five short."""

    def __init__(
        self, venue: str, market: Market[Any], ledger: Ledger, empty: sqlite3.Connection, proxy: CuttingProxy
    ) -> None:
        """`empty` is a copy of the ledger as it is before anything happened."""
        self.venue = venue
        self.market = market
        self.ledger = ledger
        self.proxy = proxy
        self._empty = empty

    def set(self, *, alone: bool = False) -> None:
        """The book and the ledger as they are before each case. Alone: nobody is served any more from the last one."""
        simulator = self.market.venue
        simulator.good_days()
        self.market.broker.release()
        if alone:
            simulator.stop_listening()
            simulator.listen_again()
        simulator.book = VENUES[self.venue].book()
        simulator.journal = Journal()
        _copy(self._empty, self.ledger)
        for account in self.market.accounts:
            self.market.hold(account, self.market.instruments[0], Side.LONG, int(HELD))
            self.market.hold(account, self.market.instruments[1], Side.SHORT, -int(BYSTANDING))
        self.shop = Shop(self.ledger, self.market, self.market.settings)

    def take(self, size: str) -> str:
        """An alert comes in that asks for a close of this size. The command's id."""
        (command_id,) = self.shop.take(self._command(size))
        return command_id

    def run(self, seconds: float = SOON) -> None:
        """Let time pass until nothing more happens by itself, or so much has passed."""
        while seconds > 0:
            due = seconds_to_next_due(self.ledger)
            if due is not None:
                self.shop.let_pass(due + 0.001)
                seconds -= due
            if not self.shop.execution.step() and due is None:
                return

    def judged(self, series: str, size: str, day: str, command_id: str) -> list[Case]:
        """What came of a command: a case for each position that it was to close."""
        history, book, closing = self.shop.history(command_id), self._book(), self._closing(size)
        bystanders = all(
            held == book[place] for place, held in _before(self.market).items() if place not in closing
        )
        return [
            Case(
                series,
                self.venue,
                size,
                day,
                before=_before(self.market)[place],
                target=HELD - PART if size == "part" else Decimal(0),
                after=book[place],
                bystanders=bystanders,
                status=history.command.status,
                attention=history.command.attention,
                told=_sum(row.quantity for row in history.closed_positions if row.instrument == place[1]),
            )
            for place in closing
        ]

    def _command(self, size: str) -> Command:
        name, account = self.market.settings.name, self.market.accounts[0]
        match size:
            case "whole":
                return ClosePosition(name, account, self.market.instruments[0])
            case "part":
                return ClosePosition(
                    name, account, self.market.instruments[0], Quantity(PART), cancel_orders=False
                )
            case _:
                return FlattenMatching(name, account=account)

    def _closing(self, size: str) -> list[Place]:
        instruments = self.market.instruments
        named = instruments if size == "flatten" else instruments[:1]
        return [(self.market.accounts[0], instrument) for instrument in named]

    def _book(self) -> dict[Place, Decimal]:
        return {place: Decimal(str(self.market.held(*place))) for place in _before(self.market)}


def _before(market: Market[Any]) -> dict[Place, Decimal]:
    held = zip(market.instruments, (HELD, BYSTANDING), strict=True)
    return {(account, instrument): amount for instrument, amount in held for account in market.accounts}


def _sum(amounts: Any) -> Decimal | None:
    """None where one of them is not known, or there is none."""
    known = list(amounts)
    return sum(known, Decimal(0)) if known and None not in known else None


def _copy(source: sqlite3.Connection, ledger: Ledger) -> None:
    """Page by page: much faster than a new ledger, and some of its tables let nothing be deleted."""
    with ledger.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        source.backup(driver)


@contextmanager
def stage(
    venue: str, times: Mapping[str, float], *, transport: str = "rest", through_proxy: bool = False
) -> Iterator[Stage]:
    """A stage at this venue, put up for as long as the block lasts."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        VENUES[venue].simulator() as simulator,
        CuttingProxy(urlsplit(simulator.url).port) as proxy,
    ):
        market = VENUES[venue].market(simulator, **{**TIMES, **times})
        base_url = f"http://127.0.0.1:{proxy.port}" if through_proxy else simulator.url
        market.settings = replace(market.settings, transport=transport, base_url=base_url)
        market.broker = broker_of(market.settings)
        if isinstance(market.broker, CrossTradeSocket):
            market.broker._channel._pulse = PULSE
        file = Path(folder) / "flatwire.db"
        ledger = Ledger(f"sqlite:///{file}")
        with ALEMBIC:
            migrate(ledger)
        with closing(sqlite3.connect(":memory:")) as empty:
            with closing(sqlite3.connect(file)) as migrated:
                migrated.backup(empty)
            try:
                yield Stage(venue, market, ledger, empty, proxy)
            finally:
                market.broker.release()
                ledger.dispose()
