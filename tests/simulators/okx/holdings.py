"""Who holds what, at which price: the positions of the book, without its lock."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from .codes import Refusal
from .instruments import INSTRUMENTS, PRICES
from .records import ZERO, Instrument, Key, Order, Position, PositionMode

PricePath = Callable[[Decimal, float, Decimal], Decimal]
"""From the price that was set, the time and the tick to the price that is shown."""
FIRST_POSITION_ID = 2155643638909198336


def steady(price: Decimal, _now: float, _tick: Decimal) -> Decimal:
    """A price that stays where it was set."""
    return price


class Holdings:
    """Positions and mark prices. Not thread-safe: the book's lock guards it."""

    def __init__(self, now: Callable[[], float], price_path: PricePath) -> None:
        self.mode = PositionMode.NET
        self.suspended: set[str] = set()
        self._now = now
        self._price_path = price_path
        self._ids = itertools.count(FIRST_POSITION_ID, 8192)
        self._positions: dict[Key, Position] = {}
        self._prices = dict(PRICES)
        self._ended: list[Position] = []

    def instrument(self, inst_id: str) -> Instrument:
        try:
            return INSTRUMENTS[inst_id]
        except KeyError:
            raise Refusal("51001") from None

    def side_of(self, instrument: Instrument, direction: str) -> str:
        """The `posSide` under which a direction is held."""
        # OKX docs, position mode: long/short mode is for FUTURES and SWAP; MARGIN is always net.
        hedged = self.mode is PositionMode.LONG_SHORT and not instrument.is_margin
        return direction if hedged else "net"

    def held(self, key: Key) -> Position | None:
        """The position itself, closed or open; None if there never was one."""
        return self._positions.get(key)

    def taken_up(self, key: Key) -> Position:
        """The position itself, a new one if there never was one."""
        if key not in self._positions:
            instrument = self.instrument(key.inst_id)
            self._positions[key] = Position(key, instrument, str(next(self._ids)))
        return self._positions[key]

    def everything(self) -> list[Position]:
        return list(self._positions.values())

    def clear(self) -> None:
        self._positions.clear()

    def put(self, key: Key, signed: Decimal, average_price: Decimal, lever: Decimal) -> None:
        """Set a position in place of what was there."""
        held = self.taken_up(key)
        self._begin(held, signed)
        held.average_price, held.lever = average_price, lever

    def change(self, key: Key, by: Decimal, price: Decimal, fee: Decimal, trade_id: str) -> Decimal:
        """Let a fill change a position. The profit or loss that it realizes."""
        held = self.taken_up(key)
        pnl = ZERO
        before, after = held.signed, held.signed + by
        if before * by >= 0:
            self._grow(held, by, price)
        else:
            part = min(abs(by), abs(before))
            sign = 1 if before > 0 else -1
            pnl = (price - held.average_price) * sign * part * held.instrument.contract_value
            held.signed = ZERO if before * after < 0 else after
            held.closed += part
            held.closed_for += part * price
            held.realized += pnl
            if not held.signed:
                self._ended.append(replace(held, updated_at=self._now()))
            if before * after < 0:
                self._grow(held, after, price)
        held.fee += fee
        held.updated_at, held.trade_id = self._now(), trade_id
        return pnl

    def history(self) -> list[Position]:
        """The positions that were closed in whole or in part, as they ended or are."""
        current = [replace(held) for held in self._positions.values() if held.signed and held.closed]
        return [*self._ended, *current]

    def price(self, inst_id: str) -> Decimal:
        return self._price_path(self._prices[inst_id], self._now(), INSTRUMENTS[inst_id].tick)

    def set_price(self, inst_id: str, price: Decimal) -> None:
        self._prices[self.instrument(inst_id).inst_id] = price

    def view(self, held: Position, closing: list[Order]) -> Position:
        """A copy to hand out, at the price of the moment; `closing` are the orders that close it."""
        available = abs(held.signed) - sum((order.left for order in closing), ZERO)
        mark = self.price(held.inst_id)
        return replace(held, mark_price=mark, available=max(available, ZERO))

    def _grow(self, held: Position, by: Decimal, price: Decimal) -> None:
        if not held.signed:
            self._begin(held, by)
            held.average_price = price
            return
        total = held.signed + by
        held.average_price = (held.average_price * held.signed + price * by) / total
        held.signed = total
        held.largest = max(held.largest, abs(total))

    def _begin(self, held: Position, signed: Decimal) -> None:
        held.signed = signed
        held.direction = "short" if signed < 0 or held.pos_side == "short" else "long"
        held.opened_at = held.updated_at = self._now()
        held.largest = abs(signed)
        held.closed = held.closed_for = held.realized = held.fee = ZERO
