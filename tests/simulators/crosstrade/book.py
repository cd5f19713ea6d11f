"""The venue itself: accounts, positions, orders and fills, with no transport in sight."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from tests.simulators.line import Agenda, Clock, FillPlan

from .desk import OrderDesk
from .errors import NothingOpen, UnknownExecution, UnknownOrder
from .holdings import Holdings, PricePath, steady
from .matching import how_many
from .records import Execution, Flattened, MarketPosition, Order, Position


class Book:
    """
    One trader's NinjaTrader. Each public method is one atomic turn; what it returns is a copy.

    Accounts and instruments are taken in any spelling that the venue takes.
    `fill_delay` (seconds) and `fill_in_parts` say how market orders fill and may be set at any time.
    `refuses_flat_reads`: whether reading a flat position is an error, which the docs leave open.
    """

    def __init__(
        self,
        accounts: Iterable[str] = ("Sim101",),
        *,
        clock: Clock = time.time,
        fill_delay: float = 0.0,
        fill_in_parts: int = 1,
        front_months: Mapping[str, str] | None = None,
        price_path: PricePath = steady,
        refuses_flat_reads: bool = False,
    ) -> None:
        self.fill_delay = fill_delay
        self.fill_in_parts = fill_in_parts
        self.refuses_flat_reads = refuses_flat_reads
        self._lock = threading.RLock()
        self._agenda = Agenda(clock)
        self._holdings = Holdings(self._agenda, front_months or {}, price_path)
        self._desk = OrderDesk(self._agenda, self._holdings)
        for name in accounts:
            self.add_account(name)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else looks or acts in between; first, what is due happens."""
        with self._lock:
            self._agenda.catch_up()
            yield

    # Setting the scene

    def add_account(self, name: str) -> None:
        with self.turn():
            self._holdings.add_account(name)

    def set_front_month(self, root: str, month: str) -> None:
        """Say what a bare root means, as `MM-YY`, in place of the calendar."""
        with self.turn():
            self._holdings.front_months[root.upper()] = month

    def set_position(
        self,
        account: str,
        instrument: str,
        side: MarketPosition | str,
        quantity: int,
        average_price: float = 0.0,
        market_price: float | None = None,
        point_value: float | None = None,
    ) -> None:
        """Put a position into the book, in place of what was there; the account is added if it is new."""
        with self.turn():
            name = self._holdings.resolve(instrument)
            held = self._holdings.flat(self._holdings.add_account(account), name)
            held.side, held.quantity = MarketPosition(side.title()), quantity
            held.average_price = average_price
            held.point_value = held.point_value if point_value is None else point_value
            self._holdings.put(held)
            if market_price is not None or not self._holdings.has_price(name):
                self._holdings.set_price(name, average_price if market_price is None else market_price)

    def clear_positions(self) -> None:
        with self.turn():
            self._holdings.clear()

    def clear_working_orders(self) -> None:
        with self.turn():
            self._desk.forget_working()

    def set_market_price(self, instrument: str, price: float) -> None:
        with self.turn():
            self._holdings.set_price(self._holdings.resolve(instrument), price)

    def work_order(
        self, account: str, instrument: str, quantity: int, price: float, order_type: str = "StopMarket"
    ) -> Order:
        """Let a stop or a target work on the position that is there. It fills only by `fill_order`."""
        with self.turn():
            held = self._holdings.held(account, instrument)
            name = "Stop" if order_type.startswith("Stop") else "Target"
            return replace(self._desk.place(held, quantity, order_type, name, price))

    def enter(self, account: str, instrument: str, side: MarketPosition | str, quantity: int) -> Order:
        """What the trader's own strategy does: an entry at the market's price, filled at once and on record."""
        with self.turn():
            held = self._holdings.held(account, instrument)
            return replace(self._desk.open_at_market(held, MarketPosition(side.title()), quantity))

    def fill_order(self, order_id: str) -> None:
        """What the market does to a stop that is hit: it fills, whatever else is going on."""
        with self.turn():
            order = self._desk.active(order_id)
            self._desk.fill(order, order.quantity - order.filled)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen to the book after a time, as if a request had been held up on its way."""
        with self.turn():
            self._agenda.after(seconds, act)

    def let_pass(self, seconds: float) -> None:
        """Let so much time have passed: all that was is that much older, and what is to come is that much nearer."""
        with self.turn():
            self._agenda.let_pass(seconds)
            self._desk.let_pass(seconds)

    # Reading

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        with self.turn():
            pass

    def accounts(self) -> list[str]:
        with self.turn():
            return self._holdings.accounts()

    def account(self, name: str) -> str:
        """The account's name in its own case."""
        with self.turn():
            return self._holdings.account(name)

    def position(self, account: str, instrument: str) -> Position:
        """The position, flat if there is none."""
        with self.turn():
            return self._holdings.view(self._holdings.held(account, instrument))

    def quantity(self, account: str, instrument: str) -> int:
        return self.position(account, instrument).quantity

    def positions(self, account: str | None = None, include_flat: bool = False) -> list[Position]:
        with self.turn():
            owner = self._owner(account)
            positions = [held for held in self._holdings.everything() if owner in (None, held.account)]
            return [self._holdings.view(held) for held in positions if held.quantity or include_flat]

    def orders(self, account: str | None = None, active_only: bool = False) -> list[Order]:
        """The orders of the session, oldest first."""
        with self.turn():
            owner = self._owner(account)
            orders = [order for order in self._desk.orders() if owner in (None, order.account)]
            return [replace(order) for order in orders if order.active or not active_only]

    def order(self, account: str, order_id: str) -> Order:
        with self.turn():
            owner, order = self._holdings.account(account), self._desk.order(order_id)
            if order.account != owner:
                raise UnknownOrder(order_id)
            return replace(order)

    def executions(self, account: str | None = None, lookback: float | None = None) -> list[Execution]:
        """The fills of the last `lookback` seconds, or all of them, oldest first."""
        with self.turn():
            owner = self._owner(account)
            since = 0.0 if lookback is None else self._agenda.now() - lookback
            return [
                fill for fill in self._desk.executions if fill.at >= since and owner in (None, fill.account)
            ]

    def execution(self, account: str, execution_id: str) -> Execution:
        for fill in self.executions(account):
            if fill.execution_id == execution_id:
                return fill
        raise UnknownExecution(execution_id)

    # Acting

    def close(
        self,
        account: str,
        instrument: str,
        quantity: int | None = None,
        percent: float | None = None,
        plan: FillPlan | None = None,
    ) -> list[Position]:
        """Close a position or part of it. The positions as they stood before."""
        with self.turn():
            plan = plan or FillPlan(self.fill_delay, self.fill_in_parts)
            held = self._holdings.held(account, instrument)
            if not held.quantity:
                raise NothingOpen(held.instrument)
            before = self._holdings.view(held)
            size = how_many(held.quantity, quantity, percent)
            # XT docs, close position: less than everything is a market order that leaves stops and
            # targets alone; everything is NinjaTrader's flatten, which cancels them.
            if size == held.quantity and plan.cancels_orders:
                self._desk.cancel(self._desk.working(held.account, held.instrument))
            self._desk.close_at_market(held, size, plan)
            return [before]

    def flatten(
        self,
        account: str | None = None,
        instrument: str | None = None,
        side: MarketPosition | None = None,
        plan: FillPlan | None = None,
    ) -> Flattened:
        """Close whatever matches all that is given, and cancel its orders; with nothing given, everything."""
        with self.turn():
            plan = plan or FillPlan(self.fill_delay, self.fill_in_parts)
            owner, name = self._owner(account), self._name(instrument)
            matching = self._holdings.matching(owner, name, side)
            before = tuple(self._holdings.view(held) for held in matching)
            orders = self._desk.working(owner, name) if plan.cancels_orders else []
            if side is not None:
                # The other side keeps its stops, as it keeps its position.
                closing = {(held.account, held.instrument) for held in matching}
                orders = [order for order in orders if (order.account, order.instrument) in closing]
            cancelled = self._desk.cancel(orders)
            sent = [self._desk.close_at_market(held, held.quantity, plan) for held in matching]
            return Flattened(before, tuple(order.order_id for order in sent), tuple(cancelled))

    def cancel_orders(self, account: str | None = None, instrument: str | None = None) -> list[str]:
        """Cancel working orders: of an account, of an instrument in it, or of every account."""
        with self.turn():
            return self._desk.cancel(self._desk.working(self._owner(account), self._name(instrument)))

    def cancel_order(self, account: str, order_id: str) -> None:
        with self.turn():
            owner, order = self._holdings.account(account), self._desk.active(order_id)
            if order.account != owner:
                raise UnknownOrder(order_id)
            self._desk.cancel([order])

    def _owner(self, account: str | None) -> str | None:
        return None if account is None else self._holdings.account(account)

    def _name(self, instrument: str | None) -> str | None:
        return None if instrument is None else self._holdings.resolve(instrument)
