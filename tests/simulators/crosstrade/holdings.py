"""Who holds what, at which price: the accounts and positions of the book, without its lock."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tests.simulators.line import Agenda

from .errors import InvalidRequest, UnknownAccount
from .instruments import instrument_type, ninjatrader_name, point_value
from .records import MarketPosition, Position

PricePath = Callable[[float, float], float]
"""From the price that was set and the time to the price that is shown."""


def steady(price: float, _now: float) -> float:
    """A price that stays where it was set."""
    return price


class Holdings:
    """Accounts, positions and prices. Not thread-safe: the book's lock guards it."""

    def __init__(self, agenda: Agenda, front_months: Mapping[str, str], price_path: PricePath) -> None:
        self._agenda = agenda
        self.front_months = dict(front_months)
        self._price_path = price_path
        self._accounts: dict[str, str] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self._prices: dict[str, float] = {}

    def add_account(self, name: str) -> str:
        return self._accounts.setdefault(name.casefold(), name)

    def accounts(self) -> list[str]:
        return list(self._accounts.values())

    def account(self, name: str) -> str:
        """The account's name in its own case."""
        # XT docs, llms-full, "Common gotchas": any case on input, NinjaTrader's own in answers.
        try:
            return self._accounts[name.casefold()]
        except KeyError:
            raise UnknownAccount(name) from None

    def resolve(self, instrument: str) -> str:
        """The instrument's name in NinjaTrader's form."""
        if not instrument.strip():
            raise InvalidRequest("an instrument needs a name")
        today = datetime.fromtimestamp(self._agenda.now(), UTC).date()
        return ninjatrader_name(instrument, today, self.front_months)

    def put(self, held: Position) -> None:
        self._positions[held.account, held.instrument] = held

    def clear(self) -> None:
        self._positions.clear()

    def held(self, account: str, instrument: str) -> Position:
        """The position itself; a flat one, not kept, if there is none."""
        owner, name = self.account(account), self.resolve(instrument)
        return self._positions.get((owner, name)) or self.flat(owner, name)

    def flat(self, account: str, name: str) -> Position:
        kind = instrument_type(name)
        return Position(account, name, MarketPosition.LONG, 0, 0.0, 0.0, point_value(name), kind)

    def matching(
        self, owner: str | None = None, name: str | None = None, side: MarketPosition | None = None
    ) -> list[Position]:
        """The open positions that match all that is given."""
        return [
            held
            for held in self._positions.values()
            if held.quantity
            and owner in (None, held.account)
            and name in (None, held.instrument)
            and side in (None, held.side)
        ]

    def everything(self) -> list[Position]:
        """Every position of the session, those that were closed too."""
        return list(self._positions.values())

    def set_price(self, name: str, price: float) -> None:
        self._prices[name] = price

    def has_price(self, name: str) -> bool:
        return name in self._prices

    def price(self, name: str) -> float:
        return self._price_path(self._prices.get(name, 0.0), self._agenda.now())

    def view(self, held: Position) -> Position:
        """A copy to hand out, at the price of the moment."""
        average = held.average_price if held.quantity else 0.0
        return replace(held, average_price=average, market_price=self.price(held.instrument))
