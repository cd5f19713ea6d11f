"""Where orders are placed, held, worked, cancelled, ended and filled, without the book's lock."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from tests.simulators.line import Agenda, FillPlan

from .errors import UnknownOrder
from .holdings import Holdings
from .matching import in_parts
from .records import (
    Ending,
    Execution,
    Instrument,
    NewOrder,
    Order,
    OrderStatus,
    QueueState,
    Side,
)


class OrderDesk:
    """Every order and execution of the session. Not thread-safe: the book's lock guards it."""

    def __init__(self, agenda: Agenda, holdings: Holdings) -> None:
        self._agenda = agenda
        self._holdings = holdings
        self._orders: dict[str, Order] = {}
        self._of_accounts: dict[int, list[Order]] = {}
        """The same orders, oldest first."""
        self._held: dict[str, FillPlan] = {}
        self._closes = itertools.count(1)
        self.executions: list[Execution] = []
        self._executions_of: dict[int, list[Execution]] = {}
        """The same, of each account."""

    # Finding

    def orders(self, account: int | None = None) -> list[Order]:
        """Oldest first."""
        return list(self._orders.values() if account is None else self._of_accounts.get(account, ()))

    def executions_of(self, account: int) -> list[Execution]:
        """Oldest first."""
        return list(self._executions_of.get(account, ()))

    def open(
        self, account: int, instrument: Instrument | None = None, side: Side | None = None
    ) -> list[Order]:
        return [
            order
            for order in self.orders(account)
            if order.open and instrument in (None, order.instrument) and side in (None, order.side)
        ]

    def named(self, account: int, client_order_id: str) -> Order | None:
        return next((o for o in self.orders(account) if o.client_order_id == client_order_id), None)

    def any_order(self, order_id: str) -> Order:
        """Whoever's it is. Raises KeyError."""
        return self._orders[order_id]

    def order(self, account: int, identifier: str) -> Order:
        """By the venue's id at any time, by the client's only while the order is open."""
        # SDK 0.11.0, get_order_by_id.
        for order in self.orders(account):
            if order.order_id == identifier or (order.open and order.client_order_id == identifier):
                return order
        raise UnknownOrder(identifier, account)

    # Acting

    def close_name(self) -> str:
        """A client order id as the vendor's example of a close has it."""
        day = datetime.fromtimestamp(self._agenda.now(), UTC)
        return f"close-position-{day:%Y%m%d}-{next(self._closes):03}"

    def place(self, account: int, wanted: NewOrder, releases_at: float | None = None) -> Order:
        """Take an order; with `releases_at`, one that waits for the market. Nothing happens to it yet."""
        order_id, now = str(uuid.uuid4()), self._agenda.now()
        order = Order(
            order_id=order_id,
            account=account,
            instrument=wanted.instrument,
            side=wanted.side,
            quantity=wanted.quantity,
            client_order_id=wanted.client_order_id or order_id,
            created_at=now,
            updated_at=now,
            order_type=wanted.order_type,
            time_in_force=wanted.time_in_force,
            limit_price=wanted.limit_price,
            stop_price=wanted.stop_price,
            position_intent=wanted.position_intent,
            queue_state=None if releases_at is None else QueueState.AWAITING_RELEASE,
            releases_at=releases_at,
        )
        self._orders[order_id] = order
        self._of_accounts.setdefault(account, []).append(order)
        return order

    def send(self, order: Order, plan: FillPlan) -> None:
        """Let an order that was placed go its way."""
        if order.order_type != "MARKET" and not isinstance(plan, Ending):
            self._become(order, OrderStatus.NEW)
        elif order.queue_state is QueueState.AWAITING_RELEASE:
            self._held[order.order_id] = plan
        elif isinstance(plan, Ending):
            self._agenda.after(plan.delay, partial(self.end, order, plan))
        else:
            parts = in_parts(order.quantity, plan.parts)
            for number, part in enumerate(parts, start=1):
                self._agenda.after(plan.delay * number / len(parts), partial(self.fill, order, part))

    def release(self) -> None:
        """The market opens: what was held for it goes its way."""
        held, self._held = self._held, {}
        for order_id, plan in held.items():
            order = self._orders.get(order_id)
            if order is not None and order.open:
                order.queue_state = QueueState.RELEASED
                order.updated_at = self._agenda.now()
                self.send(order, plan)

    def ask_to_cancel(self, orders: Sequence[Order]) -> list[Order]:
        """The open ones of them, which are now to be cancelled. Those that have ended stay as they are."""
        asked = [order for order in orders if order.open]
        for order in asked:
            self._become(order, OrderStatus.PENDING_CANCEL)
        return asked

    def cancel(self, orders: Sequence[Order], delay: float) -> None:
        """Cancel what was asked for, unless it is filled before the delay is over."""
        for order in orders:
            self._agenda.after(delay, partial(self._canceled, order))

    def forget_open(self) -> None:
        self._orders = {order.order_id: order for order in self._orders.values() if not order.open}
        self._of_accounts = {}
        for order in self._orders.values():
            self._of_accounts.setdefault(order.account, []).append(order)

    def fill(self, order: Order, quantity: Decimal) -> None:
        """Fill so much of an order, whatever the position is by then."""
        taken = min(quantity, order.leaves)
        if taken <= 0:
            return
        price = self._holdings.take(order.account, order.instrument, order.side, taken)
        paid = (order.average_fill_price or Decimal()) * order.filled + price * taken
        order.filled += taken
        order.average_fill_price = paid / order.filled
        if not order.unfilled:
            self._become(order, OrderStatus.FILLED)
        elif order.status is not OrderStatus.PENDING_CANCEL:
            self._become(order, OrderStatus.PARTIALLY_FILLED)
        self._keep(
            Execution(
                execution_id=str(uuid.uuid4()),
                order_id=order.order_id,
                account=order.account,
                instrument=order.instrument,
                side=order.side,
                quantity=taken,
                price=price,
                at=self._agenda.now(),
            )
        )

    def end(self, order: Order, ending: Ending) -> None:
        if not order.open:
            return
        self.fill(order, order.leaves if ending.status is OrderStatus.FILLED else ending.filled)
        order.details = ending.details
        self._become(order, ending.status)

    def let_pass(self, seconds: float) -> None:
        for order in self._orders.values():
            order.created_at -= seconds
            order.updated_at -= seconds
            if order.releases_at is not None:
                order.releases_at -= seconds
        past, self.executions, self._executions_of = self.executions, [], {}
        for fill in past:
            self._keep(replace(fill, at=fill.at - seconds))

    def _keep(self, fill: Execution) -> None:
        self.executions.append(fill)
        self._executions_of.setdefault(fill.account, []).append(fill)

    def _canceled(self, order: Order) -> None:
        if order.status is OrderStatus.PENDING_CANCEL:
            self._become(order, OrderStatus.CANCELED)

    def _become(self, order: Order, status: OrderStatus) -> None:
        order.status = status
        order.updated_at = self._agenda.now()
