"""The venue itself: accounts, positions, orders and fills, with no transport in sight."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal

from tests.simulators.line import Agenda, Clock, FillPlan

from .desk import OrderDesk
from .errors import DuplicateOrderId, NoOrdersMatch, NothingOpen, RiskRefusal, UnknownInstrument
from .holdings import Holdings, PricePath, steady
from .instruments import Instruments
from .presentation import Timestamps
from .records import Ending, Execution, Instrument, NewOrder, Order, OrderStatus, Position, Side

OPENING_TIME = time_of_day(14, 30, tzinfo=UTC)
SATURDAY = 5
REJECTED = ("Rejected by the venue",)


def every(_order: Order) -> bool:
    """The filter that leaves nothing out."""
    return True


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission made, as it was when the venue took it."""

    orders: list[Order]
    acted: bool
    """False when all of them were there before."""


class Book:
    """
    One customer of Clear Street. Each public method is one atomic turn; what it returns is a copy.

    Instruments are taken as UUID, ticker or OSI symbol; amounts as text, integers, floats or Decimals.

    May be set at any time, and decide what the documents leave open:
    `fill_delay` (seconds) and `fill_in_parts`: how market orders fill;
    `cancel_delay` (seconds): how long an order that is cancelled stays PENDING_CANCEL, and may still be filled;
    `market_open`: while false, market orders are held; `open_market` releases them, nothing else does;
    `held_status`: what a held order says, PENDING_NEW or QUEUED;
    `nothing_open`: what a close answers then, "empty_list", "400" or "404";
    `unknown_instrument`: what a close answers then, "400" or "404";
    `duplicate_ids`: what an id that was used before gets, "refuse" (409) or "same_order";
    `refuses_self_match`: whether an order that would meet an open one of our own is refused;
    `timestamps`: which of the two spellings.
    """

    def __init__(
        self,
        accounts: Iterable[int] = (19816, 19817),
        *,
        clock: Clock = time.time,
        fill_delay: float = 0.0,
        fill_in_parts: int = 1,
        price_path: PricePath = steady,
    ) -> None:
        self.fill_delay = fill_delay
        self.fill_in_parts = fill_in_parts
        self.cancel_delay = 0.0
        self.market_open = True
        self.held_status = OrderStatus.PENDING_NEW
        self.nothing_open = "empty_list"
        self.unknown_instrument = "404"
        self.duplicate_ids = "refuse"
        self.refuses_self_match = False
        self.timestamps = Timestamps.NANOSECONDS
        self._lock = threading.RLock()
        self._agenda = Agenda(clock)
        self._instruments = Instruments()
        self._holdings = Holdings(self._agenda, price_path)
        self._desk = OrderDesk(self._agenda, self._holdings)
        for account in accounts:
            self.add_account(account)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else looks or acts in between; first, what is due happens."""
        with self._lock:
            self._agenda.catch_up()
            yield

    # Setting the scene

    def add_account(self, account: int) -> None:
        with self.turn():
            self._holdings.add_account(account)

    def set_position(
        self,
        account: int,
        symbol: str,
        side: str,
        quantity: Decimal | float | str,
        average_price: Decimal | float | str = 0,
        market_price: Decimal | float | str | None = None,
        closing_price: Decimal | float | str | None = None,
        closing_date: str | None = None,
    ) -> None:
        """
        Put a position, "long" or "short", in place of what was there; account and instrument are added if new.
        """
        if side.lower() not in ("long", "short"):
            raise ValueError(f"{side} is neither long nor short")
        with self.turn():
            instrument = self._instruments.list(symbol)
            self._holdings.add_account(account)
            held = self._holdings.held(account, instrument)
            held.quantity = abs(decimal(quantity)) * (1 if side.lower() == "long" else -1)
            held.average_price = decimal(average_price)
            held.closing_price = None if closing_price is None else decimal(closing_price)
            held.closing_date = closing_date
            if market_price is not None or not self._holdings.has_price(instrument):
                price = average_price if market_price is None else market_price
                self._holdings.set_price(instrument, decimal(price))

    def clear_positions(self) -> None:
        with self.turn():
            self._holdings.clear()

    def clear_open_orders(self) -> None:
        with self.turn():
            self._desk.forget_open()

    def set_market_price(self, symbol: str, price: Decimal | float | str) -> None:
        with self.turn():
            self._holdings.set_price(self._instruments.list(symbol), decimal(price))

    def work_order(
        self,
        account: int,
        symbol: str,
        side: str,
        quantity: Decimal | float | str,
        order_type: str = "STOP",
        price: Decimal | float | str | None = None,
        client_order_id: str | None = None,
        time_in_force: str = "GOOD_TILL_CANCEL",
    ) -> Order:
        """Let a stop or a limit work, whether or not there is a position. It fills only by `fill_order`."""
        with self.turn():
            at = None if price is None else decimal(price)
            stop = "STOP" in order_type
            wanted = NewOrder(
                self._instruments.list(symbol),
                Side(side),
                decimal(quantity),
                order_type,
                time_in_force,
                client_order_id,
                limit_price=None if stop and order_type != "STOP_LIMIT" else at,
                stop_price=at if stop else None,
            )
            order = self._desk.place(self._holdings.account(account), wanted)
            order.status = OrderStatus.NEW
            return replace(order)

    def fill_order(self, order_id: str, quantity: Decimal | float | str | None = None) -> None:
        """What the market does to a stop that is hit: it fills, whatever else is going on."""
        with self.turn():
            order = self._desk.any_order(order_id)
            self._desk.fill(order, order.leaves if quantity is None else decimal(quantity))

    def end_order(
        self,
        order_id: str,
        status: OrderStatus | str,
        filled: Decimal | float | str = 0,
        details: Sequence[str] = (),
    ) -> None:
        """What the venue does to an order of itself: so much more is filled, and then it says so."""
        with self.turn():
            ending = Ending(status=OrderStatus(status), filled=decimal(filled), details=tuple(details))
            self._desk.end(self._desk.any_order(order_id), ending)

    def open_market(self) -> None:
        """Open the market and release what was held for it."""
        with self.turn():
            self.market_open = True
            self._desk.release()

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

    def now(self) -> float:
        return self._agenda.now()

    def accounts(self) -> list[int]:
        with self.turn():
            return self._holdings.accounts()

    def instrument(self, name: str) -> Instrument | None:
        """The instrument that a UUID, a ticker or an OSI symbol means, if it means any."""
        with self.turn():
            return self._instruments.find(name)

    def instrument_id(self, name: str) -> str:
        """Raises UnknownInstrument."""
        with self.turn():
            return self._instruments.resolve(name).instrument_id

    def position(self, account: int, symbol: str) -> Decimal:
        """The signed quantity, zero if there is none."""
        return self.holding(account, symbol).quantity

    def holding(self, account: int, symbol: str) -> Position:
        """The whole position, flat if there is none."""
        with self.turn():
            return self._view(self._holdings.held(account, self._instruments.list(symbol)))

    def positions(self, account: int) -> list[Position]:
        """Those that are not flat."""
        with self.turn():
            return [self._view(held) for held in self._holdings.open(account)]

    def orders(self, account: int | None = None, open_only: bool = False) -> list[Order]:
        """The orders of the session, oldest first."""
        with self.turn():
            owner = None if account is None else self._holdings.account(account)
            return [replace(order) for order in self._desk.orders(owner) if order.open or not open_only]

    def order(self, account: int, identifier: str) -> Order:
        """By the venue's id, or by the client's while the order is open."""
        with self.turn():
            return replace(self._desk.order(self._holdings.account(account), identifier))

    def executions(self, account: int | None = None) -> list[Execution]:
        """The fills of the session, oldest first."""
        with self.turn():
            if account is None:
                return list(self._desk.executions)
            return self._desk.executions_of(self._holdings.account(account))

    # Acting

    def close(
        self, account: int, name: str, cancel_orders: bool = False, plan: FillPlan | None = None
    ) -> list[Order]:
        """Send an order against the whole position. The orders as they were when they were taken."""
        with self.turn():
            owner = self._holdings.account(account)
            instrument = self._instruments.find(name)
            if instrument is None:
                raise UnknownInstrument(name, int(self.unknown_instrument))
            held = self._holdings.held(owner, instrument)
            return self._close(owner, [held] if held.quantity else [], cancel_orders, plan)

    def close_all(
        self, account: int, cancel_orders: bool = False, plan: FillPlan | None = None
    ) -> list[Order]:
        with self.turn():
            owner = self._holdings.account(account)
            return self._close(owner, self._holdings.open(owner), cancel_orders, plan)

    def submit(self, account: int, wanted: Sequence[NewOrder], plan: FillPlan | None = None) -> Submitted:
        """Take orders, all or none. They are as they were when they were taken."""
        with self.turn():
            owner = self._holdings.account(account)
            self._check(owner, wanted)
            taken: list[Order] = []
            fresh: list[Order] = []
            for new in wanted:
                order = self._known(owner, new)
                if order is None:
                    order = self._place(owner, new, plan)
                    fresh.append(order)
                taken.append(order)
            shown = [replace(order) for order in taken]
            for order in fresh:
                self._desk.send(order, self._plan(plan))
            return Submitted(shown, acted=bool(fresh))

    def cancel_orders(self, account: int, matches: Callable[[Order], bool] = every) -> list[Order]:
        """Cancel the open orders that match."""
        with self.turn():
            owner = self._holdings.account(account)
            chosen = [order for order in self._desk.open(owner) if matches(order)]
            if not chosen:
                raise NoOrdersMatch
            return self._cancel(chosen)

    def cancel_order(self, account: int, identifier: str) -> Order:
        """Cancel an order; one that has ended stays as it is, and that is no error."""
        with self.turn():
            order = self._desk.order(self._holdings.account(account), identifier)
            return next(iter(self._cancel([order])), replace(order))

    def _close(
        self, owner: int, closing: list[Position], cancel_orders: bool, plan: FillPlan | None
    ) -> list[Order]:
        if not closing:
            if self.nothing_open != "empty_list":
                raise NothingOpen(owner, int(self.nothing_open))
            return []
        if cancel_orders and (plan is None or plan.cancels_orders):
            for held in closing:
                self._cancel(self._desk.open(owner, held.instrument))
        wanted = [NewOrder(held.instrument, held.closing_side, abs(held.quantity)) for held in closing]
        if not cancel_orders:
            for new in wanted:
                self._check_self_match(owner, new)
        sent = [
            self._place(owner, replace(new, client_order_id=self._desk.close_name()), plan) for new in wanted
        ]
        shown = [replace(order) for order in sent]
        for order in sent:
            self._desk.send(order, self._plan(plan))
        return shown

    def _place(self, owner: int, new: NewOrder, plan: FillPlan | None) -> Order:
        # A fault's ending does not wait for the market: it may be the refusal to hold the order.
        held = not self.market_open and new.order_type == "MARKET" and not _ends(plan)
        order = self._desk.place(owner, new, self._next_opening() if held else None)
        if held:
            order.status = self.held_status
        return order

    def _check(self, owner: int, wanted: Sequence[NewOrder]) -> None:
        seen: set[str] = set()
        for new in wanted:
            name = new.client_order_id
            if name is not None:
                used = name in seen or self._desk.named(owner, name) is not None
                if used and self.duplicate_ids == "refuse":
                    raise DuplicateOrderId(name)
                seen.add(name)
            self._check_self_match(owner, new)

    def _check_self_match(self, owner: int, new: NewOrder) -> None:
        if self.refuses_self_match and self._desk.open(owner, new.instrument, new.side.opposite):
            description = "Self match: would cross an open order of this account"
            raise RiskRefusal("SELF_MATCH", description, owner, new.instrument.symbol, new.side)

    def _known(self, owner: int, new: NewOrder) -> Order | None:
        return self._desk.named(owner, new.client_order_id) if new.client_order_id is not None else None

    def _cancel(self, orders: Sequence[Order]) -> list[Order]:
        asked = self._desk.ask_to_cancel(orders)
        shown = [replace(order) for order in asked]
        self._desk.cancel(asked, self.cancel_delay)
        return shown

    def _plan(self, plan: FillPlan | None) -> FillPlan:
        if plan is None:
            return FillPlan(self.fill_delay, self.fill_in_parts)
        if plan.rejected:
            return Ending(plan.delay, details=REJECTED)
        return plan

    def _view(self, held: Position) -> Position:
        """A copy to hand out, at the price of the moment."""
        available = abs(held.quantity)
        if held.quantity:
            closing = self._desk.open(held.account, held.instrument, held.closing_side)
            available = max(available - sum((order.leaves for order in closing), Decimal()), Decimal())
        return replace(held, market_price=self._holdings.price(held.instrument), available=available)

    def _next_opening(self) -> float:
        """The next weekday's opening bell, without holidays or summer time."""
        now = datetime.fromtimestamp(self._agenda.now(), UTC)
        opening = datetime.combine(now.date(), OPENING_TIME)
        while opening <= now or opening.weekday() >= SATURDAY:
            opening += timedelta(days=1)
        return opening.timestamp()


def decimal(amount: Decimal | float | str) -> Decimal:
    # Through its text, so that 0.1 is a tenth.
    return amount if isinstance(amount, Decimal) else Decimal(str(amount))


def _ends(plan: FillPlan | None) -> bool:
    return plan is not None and (plan.rejected or isinstance(plan, Ending))
