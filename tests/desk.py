"""A venue in one process, for the tests of what the workers decide: its book, its fills, and a script of bad days.

It speaks no wire. What a venue says on the wire, and what it means, is for `tests/contract`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import OutcomeUnknown
from app.domain.positions import Fill, Holding, Order, Position, Report, Side
from app.domain.venues import VENUES, Venue
from workers.brokers.broker import Answered, Call, Guard, Page

T = TypeVar("T")

Mishap = Callable[[Callable[[], Any]], Any]
"""What a call does instead: it is given what it would have done."""


def raises(exc: Exception, *, after_acting: bool = False) -> Mishap:
    """The call fails like this, having done its work or not."""

    def mishap(act: Callable[[], Any]) -> Any:
        if after_acting:
            act()
        raise exc

    return mishap


LOST = OutcomeUnknown("no answer in time")


@dataclass
class Desk:
    """A book of positions (below zero is short), at an average price each."""

    book: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    executions: list[Fill] = field(default_factory=list)
    working: list[Order] = field(default_factory=list)
    """Orders that may still fill."""
    sent: list[str] = field(default_factory=list)
    """The calls that could act, in the order in which they left."""
    lists: int = 0
    """Of positions, that were asked for."""
    clock: timedelta = timedelta()
    """How far the venue's clock is ahead of ours."""
    venue: Venue = VENUES["crosstrade"]
    name: str = "nt8"
    _script: dict[str, list[Mishap]] = field(default_factory=dict)

    def script(self, kind: str, *mishaps: Mishap) -> None:
        """The next calls of a kind (close, cancel, positions, fills, orders) go like this."""
        self._script.setdefault(kind, []).extend(mishaps)

    def hold(self, account: str, instrument: str, quantity: int, average: str = "5000") -> None:
        self.book[account, instrument] = (quantity, Decimal(average))

    def held(self, account: str = "Sim101", instrument: str = "MES 12-26") -> int:
        return self.book.get((account, instrument), (0, Decimal(0)))[0]

    def trade(self, account: str, instrument: str, quantity: int, price: str = "5000") -> None:
        """Buy so many, or sell them below zero; the fill is on record."""
        before, average = self.book.get((account, instrument), (0, Decimal(price)))
        after = before + quantity
        if after == 0:
            self.book.pop((account, instrument), None)
        elif before * after <= 0:
            self.book[account, instrument] = (after, Decimal(price))
        elif abs(after) > abs(before):
            cost = average * abs(before) + Decimal(price) * abs(quantity)
            self.book[account, instrument] = (after, cost / abs(after))
        else:
            self.book[account, instrument] = (after, average)
        reduces = Side.SHORT if quantity > 0 else Side.LONG
        moment = datetime.now(UTC) + self.clock
        fill = Fill(account, instrument, reduces, Decimal(abs(quantity)), Decimal(price), moment, "o1")
        self.executions.append(fill)

    def later(self, seconds: float) -> None:
        """So much time passes."""
        self.executions = [replace(fill, at=fill.at - timedelta(seconds=seconds)) for fill in self.executions]

    # workers.brokers.broker.Broker

    def release(self) -> None:
        """Nothing is kept open between calls."""

    def accounts(self, page: str | None = None) -> None:
        return None

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        return self._call("positions", "positions", lambda: Page(self._positions()))

    def orders_of(self, account: str) -> tuple[Order, ...]:
        return tuple(order for order in self.working if order.account == account)

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        return self._call("orders", f"orders {account}", lambda: Page(self.orders_of(account)))

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> None:
        return None

    def terms(self, position: Position) -> None:
        return None

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        def recent() -> Page[Fill]:
            since = datetime.now(UTC) + self.clock - timedelta(seconds=seconds)
            return Page(tuple(f for f in self.executions if f.account == account and f.at >= since))

        return self._call("fills", f"fills {account}", recent)

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        instrument = holding.instrument if holding else command.instrument

        def act() -> Report:
            return self._reduce([(command.account, instrument)], quantity, command.side)

        return self._call("close", f"close {quantity or 'all'} {instrument} {command.account}", act)

    def flatten(self, command: FlattenMatching) -> Call[Report]:
        def act() -> Report:
            places = [
                (account, instrument)
                for account, instrument in self.book
                if command.account in (None, account) and command.instrument in (None, instrument)
            ]
            return self._reduce(places, None, command.side)

        return self._call("close", f"flatten {command.account} {command.instrument} {command.side}", act)

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        return self._call("close", "everything", lambda: self._reduce(list(self.book), None, None))

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        def act() -> Report:
            self.working = [o for o in self.working if (o.account, o.instrument) != (account, instrument)]
            return Report()

        return self._call("cancel", f"cancel {instrument} {account}", act)

    def _positions(self) -> tuple[Position, ...]:
        return tuple(
            self._position(account, instrument)
            for account, instrument in self.book
            if self.held(account, instrument)
        )

    def _position(self, account: str, instrument: str) -> Position:
        quantity, average = self.book[account, instrument]
        side = Side.LONG if quantity > 0 else Side.SHORT
        return Position(
            account, instrument, side, Decimal(abs(quantity)), average, Decimal(5100), Decimal(100)
        )

    def _reduce(
        self, places: Iterable[tuple[str, str]], quantity: Decimal | None, side: Side | None
    ) -> Report:
        shown = []
        for account, instrument in places:
            if not self.held(account, instrument):
                continue
            position = self._position(account, instrument)
            if side in (None, position.side):
                shown.append(position)
                size = int(min(position.quantity, quantity or position.quantity))
                self.trade(account, instrument, -size if position.side is Side.LONG else size, "5100")
        return Report(tuple(shown), nothing_open=not shown)

    def _call(self, kind: str, words: str, act: Callable[[], T]) -> Call[T]:
        def make(guard: Guard) -> Answered[T]:
            guard(0.1)
            if kind in ("close", "cancel"):
                self.sent.append(words)
            self.lists += kind == "positions"
            mishap = self._script[kind].pop(0) if self._script.get(kind) else None
            return Answered({"did": words}, mishap(act) if mishap else act())

        return Call({"asks": words}, make)


def only_says(report: Report) -> Mishap:
    """The venue answers like this, and does nothing."""
    return lambda act: report


def acts_in_part(desk: Desk, quantity: int, account: str = "Sim101", instrument: str = "MES 12-26") -> Mishap:
    """So much is sold, and then no answer comes."""

    def mishap(act: Callable[[], Any]) -> Any:
        desk.trade(account, instrument, -quantity)
        raise LOST

    return mishap
