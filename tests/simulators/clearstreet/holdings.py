"""Who holds what, at which price: the accounts and positions of the book, without its lock."""

from collections.abc import Callable
from decimal import Decimal

from tests.simulators.line import Agenda

from .errors import Forbidden
from .records import Instrument, Position, Side

PricePath = Callable[[Decimal, float], Decimal]
"""From the price that was set and the time to the price that is shown."""


def steady(price: Decimal, _now: float) -> Decimal:
    """A price that stays where it was set."""
    return price


class Holdings:
    """Accounts, positions and prices. Not thread-safe: the book's lock guards it."""

    def __init__(self, agenda: Agenda, price_path: PricePath) -> None:
        self._agenda = agenda
        self._price_path = price_path
        self._accounts: dict[int, None] = {}
        self._positions: dict[int, dict[str, Position]] = {}
        """Of each account, by instrument: a book of thousands of accounts tells of one as quickly as one of two."""
        self._prices: dict[str, Decimal] = {}

    def add_account(self, account: int) -> None:
        self._accounts.setdefault(account)

    def accounts(self) -> list[int]:
        return list(self._accounts)

    def account(self, account: int) -> int:
        """The account, if it is one of the caller's."""
        # The spec has 403 and no 404: what is not yours is not told from what is not there.
        if account not in self._accounts:
            raise Forbidden
        return account

    def held(self, account: int, instrument: Instrument) -> Position:
        """The position itself; a flat one, if there is none."""
        flat = Position(account, instrument, Decimal(), Decimal(), Decimal(), Decimal())
        own = self._positions.setdefault(self.account(account), {})
        return own.setdefault(instrument.instrument_id, flat)

    def open(self, account: int) -> list[Position]:
        """The account's positions themselves, those that are not flat."""
        own = self._positions.get(self.account(account), {})
        return [held for held in own.values() if held.quantity]

    def clear(self) -> None:
        self._positions.clear()

    def set_price(self, instrument: Instrument, price: Decimal) -> None:
        self._prices[instrument.instrument_id] = price

    def has_price(self, instrument: Instrument) -> bool:
        return instrument.instrument_id in self._prices

    def price(self, instrument: Instrument) -> Decimal:
        return self._price_path(self._prices.get(instrument.instrument_id, Decimal()), self._agenda.now())

    def take(self, account: int, instrument: Instrument, side: Side, quantity: Decimal) -> Decimal:
        """
        Let a fill change a position, through zero if it is larger. The price it was filled at.

        brokers.md, 3.4 and 3.6: nothing in this API is reduce-only.
        """
        held, price = self.held(account, instrument), self.price(instrument)
        before, signed = held.quantity, quantity * side.sign
        after = before + signed
        if before * signed < 0:
            closed = min(abs(before), quantity) * (1 if before > 0 else -1)
            held.realized += (price - held.average_price) * closed * instrument.multiplier
            if before * after < 0:
                held.average_price = price
        else:
            held.average_price = (held.average_price * abs(before) + price * quantity) / abs(after)
        held.quantity = after
        return price
