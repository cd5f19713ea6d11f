"""Where orders are placed, worked, cancelled, rejected and filled, without the book's lock."""

import uuid
from dataclasses import replace
from functools import partial

from tests.simulators.line import Agenda, FillPlan

from .errors import UnknownOrder
from .holdings import Holdings
from .matching import in_parts
from .records import Execution, MarketPosition, Order, OrderState, Position


class OrderDesk:
    """Every order and execution of the session. Not thread-safe: the book's lock guards it."""

    def __init__(self, agenda: Agenda, holdings: Holdings) -> None:
        self._agenda = agenda
        self._holdings = holdings
        self._orders: dict[str, Order] = {}
        self.executions: list[Execution] = []

    def orders(self) -> list[Order]:
        return list(self._orders.values())

    def order(self, order_id: str) -> Order:
        try:
            return self._orders[order_id]
        except KeyError:
            raise UnknownOrder(order_id) from None

    def active(self, order_id: str) -> Order:
        order = self.order(order_id)
        if not order.active:
            raise UnknownOrder(order_id)
        return order

    def working(self, owner: str | None = None, name: str | None = None) -> list[Order]:
        return [
            order
            for order in self._orders.values()
            if order.active and owner in (None, order.account) and name in (None, order.instrument)
        ]

    def place(self, held: Position, quantity: int, order_type: str, name: str, price: float = 0.0) -> Order:
        order = Order(
            order_id=uuid.uuid4().hex,
            account=held.account,
            instrument=held.instrument,
            instrument_type=held.instrument_type,
            order_type=order_type,
            reduces=held.side,
            quantity=quantity,
            placed_at=self._agenda.now(),
            name=name,
            price=price,
        )
        self._orders[order.order_id] = order
        return order

    def close_at_market(self, held: Position, quantity: int, plan: FillPlan) -> Order:
        """Send a market order that closes so much; it works until the plan fills or rejects it."""
        order = self.place(held, quantity, "Market", "Exit")
        if plan.rejected:
            self._agenda.after(plan.delay, partial(self._reject, order))
            return order
        parts = in_parts(quantity, plan.parts)
        for number, part in enumerate(parts, start=1):
            self._agenda.after(plan.delay * number / len(parts), partial(self.fill, order, part))
        return order

    def open_at_market(self, held: Position, side: MarketPosition, quantity: int) -> Order:
        """Fill a market order at once that opens a position, or adds to it."""
        if held.quantity and held.side is not side:
            raise ValueError("it would make a position of the other side smaller")
        price = self._holdings.price(held.instrument)
        cost = held.average_price * held.quantity + price * quantity
        held.side = side
        held.quantity += quantity
        held.average_price = cost / held.quantity
        self._holdings.put(held)
        order = self.place(held, quantity, "Market", "Entry")
        order.reduces = _other(side)
        self._filled(order, held, quantity, price)
        order.state = OrderState.FILLED
        return order

    def cancel(self, orders: list[Order]) -> list[str]:
        for order in orders:
            order.state = OrderState.CANCELLED
        return [order.order_id for order in orders]

    def forget_working(self) -> None:
        self._orders = {order.order_id: order for order in self._orders.values() if not order.active}

    def fill(self, order: Order, quantity: int) -> None:
        """Fill so much of an order, or what is left of the position if that is less."""
        if not order.active:
            return
        held = self._holdings.held(order.account, order.instrument)
        taken = min(quantity, held.quantity) if held.side is order.reduces else 0
        if taken:
            self._take(held, order, taken)
        if order.filled == order.quantity:
            order.state = OrderState.FILLED
        elif taken < quantity:
            # Nothing here turns a position round: what is no longer there is not sold again.
            order.state = OrderState.CANCELLED
        else:
            order.state = OrderState.PART_FILLED

    def let_pass(self, seconds: float) -> None:
        for order in self._orders.values():
            order.placed_at -= seconds
        self.executions = [replace(fill, at=fill.at - seconds) for fill in self.executions]

    def _reject(self, order: Order) -> None:
        if order.active:
            order.state = OrderState.REJECTED

    def _take(self, held: Position, order: Order, taken: int) -> None:
        held.quantity -= taken
        self._filled(order, held, taken, self._holdings.price(held.instrument))

    def _filled(self, order: Order, held: Position, quantity: int, price: float) -> None:
        """Note a fill of an order that has changed the position already."""
        paid = order.average_fill_price * order.filled + price * quantity
        order.filled += quantity
        order.average_fill_price = paid / order.filled
        execution = Execution(
            execution_id=uuid.uuid4().hex,
            order_id=order.order_id,
            account=order.account,
            instrument=order.instrument,
            instrument_type=order.instrument_type,
            name=order.name,
            side=_other(order.reduces),
            position=held.quantity if held.side is MarketPosition.LONG else -held.quantity,
            price=price,
            quantity=quantity,
            at=self._agenda.now(),
        )
        self.executions.append(execution)


def _other(side: MarketPosition) -> MarketPosition:
    return MarketPosition.SHORT if side is MarketPosition.LONG else MarketPosition.LONG
