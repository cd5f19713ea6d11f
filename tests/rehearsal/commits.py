"""Lines cut between the door and PostgreSQL: an alert is kept once or not at all, and a resend makes it one."""

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import func, select

from app.domain.commands import ClosePosition
from app.ledger import tables
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.delivery import Delivery, Wish
from tests.cutting import Cut, CuttingProxy, Direction, Watched, Way
from tests.postgres import PostgresServer
from tests.taking import accept

AT_ONCE = 12
WISH = Wish([ClosePosition("nt8", "Sim101", "MES 12-26")])
COMMIT, COMMITTED = len(b"Q....COMMIT."), len(b"C....COMMIT.Z.....")
"""The bytes of the last question of a transaction, and of its answer."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an alert whose line was cut, and of the same alert sent again."""

    watched: Watched
    taken: bool
    """Whether the door would have answered 202."""
    kept: int
    """Alerts in the ledger before the resend."""
    duplicate: bool
    """Whether the resend was one."""
    commands: int
    """After the resend."""

    @property
    def fine(self) -> bool:
        """A 202 is kept, a 503 is kept at most once, and the resend makes it one."""
        as_told = self.kept == 1 if self.taken else self.kept <= 1
        return as_told and self.duplicate is bool(self.kept) and self.commands == 1


def fate(server: PostgresServer, ledger: Ledger, cut: Cut | None) -> Fate:
    """One alert over one line that is cut; `ledger` reaches the same server by another."""
    key = secrets.token_hex(8)
    delivery = Delivery("futures", b"close", key, "main", header_key=key)
    with CuttingProxy(server.port) as proxy:
        watched = proxy.watch(bool, cut)
        through = Ledger(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres")
        try:
            accept(through, delivery, WISH)
            taken = True
        except LedgerUnavailable:
            taken = False
        passed = dict(watched.passed)  # closing the line sends some bytes more
        through.dispose()
    kept = _kept(ledger, key)
    again = accept(ledger, delivery, WISH)
    return Fate(
        Watched(watched.picks, cut, watched.taken, passed, watched.was_cut),
        taken,
        kept,
        again.duplicate,
        len(again.commands),
    )


def _kept(ledger: Ledger, text: str) -> int:
    with ledger.reading() as connection:
        mine = select(func.count()).select_from(tables.alerts).where(tables.alerts.c.text == text)
        return int(connection.execute(mine).scalar_one())


def fates(server: PostgresServer, ledger: Ledger, cuts: Sequence[Cut]) -> Iterator[Fate]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda cut: fate(server, ledger, cut), cuts)


def of_the_commit(whole: Watched) -> list[Cut]:
    """Every place in the commit's question and in its answer; where the line stalls, which takes long, some."""
    asked, answered = (whole.passed[direction] for direction in Direction)
    places = [
        *((Direction.REQUEST, asked - COMMIT + byte) for byte in range(COMMIT)),
        *((Direction.ANSWER, answered - COMMITTED + byte) for byte in range(1, COMMITTED)),
    ]
    stalls = [Cut(*place, Way.STALL) for place in (places[0], places[COMMIT - 1], *places[COMMIT::9])]
    return [*stalls, *(Cut(*place, way) for way in (Way.RESET, Way.DROP) for place in places)]


def of_all(whole: Watched, sample: int | None) -> list[Cut]:
    """Every place from the first byte of the connection on, or about so many; a way for each in turn."""
    places = [(direction, byte) for direction in Direction for byte in range(1, whole.passed[direction])]
    step = 1 if sample is None else max(1, len(places) // sample)
    ways = (Way.RESET, Way.DROP)
    return [Cut(*place, ways[number % 2]) for number, place in enumerate(places[::step])]
