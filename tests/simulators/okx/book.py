"""The venue itself: positions, orders and fills of one account, with no transport in sight."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

from tests.simulators.line import Agenda, Clock, FillPlan

from .codes import Refusal
from .desk import OrderDesk
from .holdings import Holdings, PricePath, steady
from .records import ZERO, AlgoOrder, Fill, Instrument, Key, Order, Position, PositionMode
from .tickets import CloseTicket, OrderTicket

Number = Decimal | int | str
FUTURES_MODE = "2"
ORDER_SIDES = {"long": "sell", "short": "buy", "buy": "buy", "sell": "sell"}
TAKES_WHAT_IS_THERE = frozenset({"market", "optimal_limit_ioc"})


class Book:
    """
    One OKX trading account. Each public method is one atomic turn; what it returns is a copy.

    `fill_delay` (seconds) and `fill_in_parts` say how market orders fill; `clock_offset` (seconds) is how
    far the venue's clock is ahead of ours; `account_level` is OKX's `acctLv`; `closes_keep_client_id`:
    whether a close's order is found by the close's clOrdId, which the docs leave open. All may be set at
    any time.
    """

    def __init__(
        self,
        *,
        mode: PositionMode | str = PositionMode.NET,
        clock: Clock = time.time,
        fill_delay: float = 0.0,
        fill_in_parts: int = 1,
        price_path: PricePath = steady,
        account_level: str = FUTURES_MODE,
    ) -> None:
        self.fill_delay = fill_delay
        self.fill_in_parts = fill_in_parts
        self.clock_offset = 0.0
        self.account_level = account_level
        self.closes_keep_client_id = True
        self._passed = 0.0
        self._lock = threading.RLock()
        self._agenda = Agenda(clock)
        self._holdings = Holdings(self.now, price_path)
        self._desk = OrderDesk(self._agenda, self._holdings, self.now)
        self.mode = PositionMode(mode)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else looks or acts in between; first, what is due happens."""
        with self._lock:
            self._agenda.catch_up()
            yield

    def now(self) -> float:
        """The venue's clock."""
        return self._agenda.now() + self.clock_offset

    def elapsed(self) -> float:
        """Seconds, by a clock that also counts what was let pass."""
        return self._agenda.now() + self._passed

    @property
    def mode(self) -> PositionMode:
        return self._holdings.mode

    @mode.setter
    def mode(self, mode: PositionMode | str) -> None:
        self._holdings.mode = PositionMode(mode)

    # Setting the scene

    def set_position(
        self,
        inst_id: str,
        side: str,
        quantity: Number,
        *,
        margin_mode: str = "cross",
        average_price: Number | None = None,
        mark_price: Number | None = None,
        lever: Number = 10,
    ) -> None:
        """Put a `long` or `short` position into the book, in place of what was there."""
        with self.turn():
            if mark_price is not None:
                self._holdings.set_price(inst_id, Decimal(mark_price))
            key = self._key(inst_id, side, margin_mode)
            size = abs(Decimal(quantity))
            average = self._holdings.price(inst_id) if average_price is None else Decimal(average_price)
            self._holdings.put(key, -size if side == "short" else size, average, Decimal(lever))

    def clear_positions(self) -> None:
        with self.turn():
            self._holdings.clear()

    def clear_working_orders(self) -> None:
        with self.turn():
            self._desk.forget_working()

    def set_mark_price(self, inst_id: str, price: Number) -> None:
        with self.turn():
            self._holdings.set_price(inst_id, Decimal(price))

    def suspend(self, inst_id: str, suspended: bool = True) -> None:
        """Suspend an instrument from trading, or let it trade again."""
        with self.turn():
            if suspended:
                self._holdings.suspended.add(inst_id)
            else:
                self._holdings.suspended.discard(inst_id)

    def suspended(self, inst_id: str) -> bool:
        return inst_id in self._holdings.suspended

    def work_order(
        self,
        inst_id: str,
        side: str,
        quantity: Number,
        price: Number,
        *,
        reduce_only: bool = True,
        margin_mode: str = "cross",
        client_id: str = "",
    ) -> Order:
        """
        Let a limit order rest that closes; it fills only by `fill_order`.

        `side` is the position's (`long`, `short`) or the order's own (`sell`, `buy`).
        """
        with self.turn():
            order_side = ORDER_SIDES[side]
            key = self._key(inst_id, "long" if order_side == "sell" else "short", margin_mode)
            order = self._order(
                key,
                order_side,
                "limit",
                Decimal(quantity),
                reduce_only,
                price=Decimal(price),
                client_id=client_id,
            )
            self._desk.place(order)
            return replace(order)

    def work_algo(
        self,
        inst_id: str,
        side: str,
        quantity: Number,
        trigger_price: Number,
        *,
        order_type: str = "conditional",
        margin_mode: str = "cross",
    ) -> AlgoOrder:
        """Let a stop or a target wait that closes a `long` or `short` position; nothing triggers it."""
        with self.turn():
            algo = AlgoOrder(
                algo_id=self._desk.new_id(),
                key=self._key(inst_id, side, margin_mode),
                instrument=self._holdings.instrument(inst_id),
                side=ORDER_SIDES[side],
                order_type=order_type,
                quantity=Decimal(quantity),
                trigger_price=Decimal(trigger_price),
                placed_at=self.now(),
            )
            self._desk.algos[algo.algo_id] = algo
            return replace(algo)

    def fill_order(self, order_id: str, quantity: Number | None = None) -> None:
        """What the market does to a resting order: it fills, at its own price, in whole or in part."""
        with self.turn():
            order = next(order for order in self._desk.orders() if order.order_id == order_id)
            self._desk.fill(order, order.left if quantity is None else Decimal(quantity), order.price)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen to the book after a time, as if a request had been held up on its way."""
        with self.turn():
            self._agenda.after(seconds, act)

    def let_pass(self, seconds: float) -> None:
        """Let so much time have passed: orders and fills are that much older, and what is to come is that much nearer.

        When a position was opened stays as it was shown: it tells whether it is still the same.
        """
        with self.turn():
            self._passed += seconds
            self._agenda.let_pass(seconds)
            self._desk.let_pass(seconds)

    # Reading

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        with self.turn():
            pass

    def instrument(self, inst_id: str) -> Instrument:
        return self._holdings.instrument(inst_id)

    def position(self, inst_id: str, side: str | None = None, margin_mode: str | None = None) -> Position:
        """The open position of `long` or `short` that matches, else a flat one."""
        wanted = (
            held
            for held in self.positions()
            if held.inst_id == inst_id
            and side in (None, held.direction)
            and margin_mode in (None, held.margin_mode)
        )
        key = self._key(inst_id, side or "long", margin_mode or "cross")
        return next(wanted, Position(key, self._holdings.instrument(inst_id), ""))

    def quantity(self, inst_id: str, side: str | None = None, margin_mode: str | None = None) -> Decimal:
        """As the venue shows it: signed when it is net."""
        return self.position(inst_id, side, margin_mode).quantity

    def positions(self, include_closed: bool = False) -> list[Position]:
        with self.turn():
            held = [one for one in self._holdings.everything() if one.signed or include_closed]
            return [self._holdings.view(one, self._desk.closing(one)) for one in held]

    def closed_positions(self) -> list[Position]:
        """Those that were closed in whole or in part, oldest first."""
        with self.turn():
            return sorted(self._holdings.history(), key=lambda held: held.updated_at)

    def orders(self, active_only: bool = False) -> list[Order]:
        """The orders of the session, oldest first."""
        with self.turn():
            return [replace(order) for order in self._desk.orders() if order.active or not active_only]

    def order(self, inst_id: str, order_id: str = "", client_id: str = "") -> Order:
        """By its id, else the latest of that client id."""
        with self.turn():
            order = self._desk.find(inst_id, order_id, client_id)
            if order is None:
                raise Refusal("51603")
            return replace(order)

    def algo_orders(self) -> list[AlgoOrder]:
        """Those that wait, oldest first."""
        with self.turn():
            return [replace(algo) for algo in self._desk.algos.values() if algo.active]

    def fills(self) -> list[Fill]:
        """Oldest first."""
        with self.turn():
            return list(self._desk.fills)

    # Acting

    def close(self, ticket: CloseTicket, plan: FillPlan | None = None) -> Order:
        """Close a whole position by market order."""
        with self.turn():
            plan = plan or FillPlan(self.fill_delay, self.fill_in_parts)
            held = self._to_close(ticket)
            if ticket.client_id:
                self._desk.check_client_id(ticket.client_id)
            if abs(held.signed) > held.instrument.most_at_market:
                raise Refusal("51108")
            self._clear_the_way(held, ticket, plan)
            side = "sell" if held.signed > 0 else "buy"
            client_id = ticket.client_id if self.closes_keep_client_id else ""
            size = abs(held.signed)
            order = self._order(held.key, side, "market", size, True, client_id=client_id, tag=ticket.tag)
            self._desk.send(order, plan)
            return replace(order)

    def place(self, ticket: OrderTicket, plan: FillPlan | None = None) -> Order:
        with self.turn():
            plan = plan or FillPlan(self.fill_delay, self.fill_in_parts)
            instrument = self._trading(ticket.inst_id)
            key = Key(ticket.inst_id, ticket.margin_mode, self._pos_side(instrument, ticket.pos_side))
            self._desk.check_client_id(ticket.client_id)
            self._check_size(instrument, ticket)
            closes = self._closes(key, ticket)
            order = self._order(
                key,
                ticket.side,
                ticket.order_type,
                ticket.quantity,
                ticket.reduce_only,
                closes=closes,
                price=ticket.price,
                client_id=ticket.client_id,
                tag=ticket.tag,
            )
            self._route(order, plan)
            return replace(order)

    def cancel(self, inst_id: str, order_id: str = "", client_id: str = "") -> Order:
        with self.turn():
            order = self._desk.find(inst_id, order_id, client_id)
            if order is None or not order.active:
                raise Refusal("51400")
            self._desk.cancel([order])
            return replace(order)

    def cancel_algo(self, inst_id: str, algo_id: str) -> None:
        with self.turn():
            algo = self._desk.algos.get(algo_id)
            if algo is None or not algo.active or algo.key.inst_id != inst_id:
                raise Refusal("51400")
            algo.active = False

    def _to_close(self, ticket: CloseTicket) -> Position:
        instrument = self._trading(ticket.inst_id)
        key = Key(ticket.inst_id, ticket.margin_mode, self._pos_side(instrument, ticket.pos_side))
        if instrument.is_margin and ticket.margin_mode == "cross" and self.account_level == FUTURES_MODE:
            # OKX docs, close positions: a cross MARGIN position in Futures mode is told by its currency.
            if not ticket.ccy:
                raise Refusal("50014", "ccy")
            if ticket.ccy not in (instrument.base, instrument.quote):
                raise Refusal("51000", "ccy")
        held = self._holdings.held(key)
        if held is None or not held.signed:
            raise Refusal("51023")
        return held

    def _clear_the_way(self, held: Position, ticket: CloseTicket, plan: FillPlan) -> None:
        pending = self._desk.closing(held)
        if pending and not ticket.cancels_first:
            raise Refusal("51115")
        if any(order.price is None for order in pending):
            # A market order on its way cannot be cancelled: the position is being closed already.
            raise Refusal("51342")
        if plan.cancels_orders:
            self._desk.cancel(pending)

    def _route(self, order: Order, plan: FillPlan) -> None:
        if order.price is None:
            self._desk.send(order, plan)
            return
        mark = self._holdings.price(order.key.inst_id)
        crosses = order.price >= mark if order.side == "buy" else order.price <= mark
        self._desk.place(order)
        if order.order_type == "post_only" and crosses:
            self._desk.cancel([order])
        elif crosses:
            self._desk.fill(order, order.quantity)
        elif order.order_type in ("ioc", "fok"):
            self._desk.cancel([order])

    def _check_size(self, instrument: Instrument, ticket: OrderTicket) -> None:
        if ticket.quantity < instrument.least:
            raise Refusal("51020")
        if ticket.quantity % instrument.lot:
            raise Refusal("51121")
        at_market = ticket.order_type in TAKES_WHAT_IS_THERE
        if at_market and not instrument.is_margin and ticket.quantity > instrument.most_at_market:
            raise Refusal("51202")

    def _closes(self, key: Key, ticket: OrderTicket) -> bool:
        """Whether the order may only make its position smaller; refused if the position is not enough."""
        sign = 1 if ticket.side == "buy" else -1
        if key.pos_side == "net":
            if not ticket.reduce_only:
                return False
        elif (ticket.side == "buy") is (key.pos_side == "long"):
            return False
        held = self._holdings.held(key)
        if held is None or not held.signed:
            raise Refusal("51169")
        if held.signed * sign > 0:
            raise Refusal("51170")
        pending = sum((order.left for order in self._desk.closing(held)), ZERO)
        if ticket.quantity > abs(held.signed) - pending:
            # brokers.md, 4.4: the whole order is refused, nothing is trimmed.
            raise Refusal("51112")
        return True

    def _order(
        self,
        key: Key,
        side: str,
        order_type: str,
        quantity: Decimal,
        reduce_only: bool,
        *,
        closes: bool | None = None,
        price: Decimal | None = None,
        client_id: str = "",
        tag: str = "",
    ) -> Order:
        closes = reduce_only if closes is None else closes
        held = self._holdings.held(key)
        return Order(
            order_id=self._desk.new_id(),
            key=key,
            instrument=self._holdings.instrument(key.inst_id),
            side=side,
            order_type=order_type,
            quantity=quantity,
            placed_at=self.now(),
            updated_at=self.now(),
            closes=closes or key.pos_side == ("long" if side == "sell" else "short"),
            reduce_only=reduce_only,
            price=price,
            client_id=client_id,
            tag=tag,
            lever=held.lever if held else Decimal(10),
        )

    def _trading(self, inst_id: str) -> Instrument:
        instrument = self._holdings.instrument(inst_id)
        if inst_id in self._holdings.suspended:
            raise Refusal("51022")
        return instrument

    def _pos_side(self, instrument: Instrument, asked: str) -> str:
        if self._holdings.side_of(instrument, "long") == "net":
            if asked not in ("", "net"):
                raise Refusal("51000", "posSide")
            return "net"
        if asked not in ("long", "short"):
            raise Refusal("51000", "posSide")
        return asked

    def _key(self, inst_id: str, direction: str, margin_mode: str) -> Key:
        if direction not in ("long", "short") or margin_mode not in ("cross", "isolated"):
            raise ValueError(f"no position is {direction} and {margin_mode}")
        return Key(
            inst_id, margin_mode, self._holdings.side_of(self._holdings.instrument(inst_id), direction)
        )
