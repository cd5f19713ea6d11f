"""Where orders are placed, worked, cancelled and filled, without the book's lock."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

from tests.simulators.line import Agenda, FillPlan

from .codes import Refusal
from .holdings import Holdings
from .records import AlgoOrder, Fill, Order, OrderState, Position

FIRST_ORDER_ID = 2896576259728695296
TAKER_FEE = Decimal("0.0005")


class OrderDesk:
    """Every order and fill of the session. Not thread-safe: the book's lock guards it."""

    def __init__(self, agenda: Agenda, holdings: Holdings, now: Callable[[], float]) -> None:
        self._agenda = agenda
        self._holdings = holdings
        self._now = now
        self._ids = itertools.count(FIRST_ORDER_ID, 4096)
        self._orders: dict[str, Order] = {}
        self.algos: dict[str, AlgoOrder] = {}
        self.fills: list[Fill] = []

    def new_id(self) -> str:
        return str(next(self._ids))

    def orders(self) -> list[Order]:
        return list(self._orders.values())

    def find(self, inst_id: str, order_id: str = "", client_id: str = "") -> Order | None:
        """By its id, else the latest of that client id."""
        if order_id:
            order = self._orders.get(order_id)
            return order if order and order.key.inst_id == inst_id else None
        found = [o for o in self.orders() if o.client_id == client_id and o.key.inst_id == inst_id]
        return found[-1] if found else None

    def closing(self, held: Position) -> list[Order]:
        """The pending orders that close a position."""
        return [
            order
            for order in self.orders()
            if order.active and order.closes and order.key == held.key and order.sign * held.signed < 0
        ]

    def check_client_id(self, client_id: str) -> None:
        # OKX docs, place order: uniqueness is checked against pending orders only.
        if client_id and any(order.active and order.client_id == client_id for order in self.orders()):
            raise Refusal("51016")

    def place(self, order: Order) -> None:
        self._orders[order.order_id] = order

    def send(self, order: Order, plan: FillPlan) -> None:
        """Let a market order go its way; it works until the plan fills or rejects it."""
        self.place(order)
        if plan.rejected:
            self._agenda.after(plan.delay, partial(self.cancel, [order]))
            return
        parts = in_parts(order.quantity, plan.parts, order.instrument.lot)
        for number, part in enumerate(parts, start=1):
            self._agenda.after(plan.delay * number / len(parts), partial(self.fill, order, part))

    def cancel(self, orders: list[Order]) -> None:
        for order in orders:
            if order.active:
                order.state = OrderState.CANCELED
                order.updated_at = self._now()

    def forget_working(self) -> None:
        self._orders = {order.order_id: order for order in self.orders() if not order.active}

    def fill(self, order: Order, quantity: Decimal, price: Decimal | None = None) -> None:
        """Fill so much of an order, or what is left of the position if the order only closes."""
        if not order.active:
            return
        taken = min(quantity, self._room(order)) if order.closes else quantity
        if taken:
            self._take(order, taken, price or self._holdings.price(order.key.inst_id))
        if order.filled == order.quantity:
            order.state = OrderState.FILLED
        elif taken < quantity:
            # What only closes never opens: what is no longer there is not sold again.
            order.state = OrderState.CANCELED
        else:
            order.state = OrderState.PARTIALLY_FILLED
        order.updated_at = self._now()

    def let_pass(self, seconds: float) -> None:
        for order in self._orders.values():
            order.placed_at -= seconds
            order.updated_at -= seconds
            order.fills = [replace(fill, at=fill.at - seconds) for fill in order.fills]
        for algo in self.algos.values():
            algo.placed_at -= seconds
        self.fills = [replace(fill, at=fill.at - seconds) for fill in self.fills]

    def _room(self, order: Order) -> Decimal:
        held = self._holdings.held(order.key)
        return abs(held.signed) if held and order.sign * held.signed < 0 else Decimal(0)

    def _take(self, order: Order, taken: Decimal, price: Decimal) -> None:
        trade_id, bill_id = self.new_id()[-9:], self.new_id()
        fee = -(taken * order.instrument.contract_value * price * TAKER_FEE)
        pnl = self._holdings.change(order.key, order.sign * taken, price, fee, trade_id)
        order.filled += taken
        order.filled_for += taken * price
        order.pnl += pnl
        order.fee += fee
        fill = Fill(
            trade_id=trade_id,
            bill_id=bill_id,
            order_id=order.order_id,
            client_id=order.client_id,
            tag=order.tag,
            key=order.key,
            instrument=order.instrument,
            side=order.side,
            price=price,
            quantity=taken,
            pnl=pnl,
            fee=fee,
            at=self._now(),
            maker=order.price is not None,
        )
        order.fills.append(fill)
        self.fills.append(fill)


def in_parts(quantity: Decimal, parts: int, lot: Decimal) -> list[Decimal]:
    """The quantity in so many parts, as even as whole lots allow, none of them empty."""
    lots = int(quantity / lot)
    parts = max(1, min(parts, lots))
    each, over = divmod(lots, parts)
    sizes = [(each + 1) * lot] * over + [each * lot] * (parts - over)
    # A position that was set may not be a whole number of lots.
    sizes[-1] += quantity - sum(sizes)
    return sizes
