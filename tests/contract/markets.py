"""The venues of the cards: a simulator, our adapter to it, and the words in which the cards set a scene there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from app.domain.positions import Side
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.line import Request
from tests.simulators.okx import OkxSimulator
from workers.brokers.broker import Broker
from workers.brokers.crosstrade.socket_adapter import CrossTradeSocket
from workers.brokers.registry import broker_of

SECRETS = {
    "token": "the-credential-0123456789",
    "api_key": "the-key-0123456789",
    "api_secret": "the-secret-0123456789",
    "passphrase": "the-passphrase-0123456789",
}
# Long enough for an order that expires within it to arrive on a busy machine.
TIMES = {"connect_timeout": 0.5, "read_timeout": 0.5, "deadline": 3.0}

Venue = TypeVar("Venue", CrossTradeSimulator, ClearStreetSimulator, OkxSimulator)


class Market(ABC, Generic[Venue]):
    """A venue and one broker there. The first account and instrument are those that most cards trade."""

    kind: str
    accounts: tuple[str, ...]
    instruments: tuple[str, str]
    closes: Mapping[bool, str]
    """What the venue calls a close of a part (True), and of the whole."""
    can_act: frozenset[str]
    """Its kinds of calls that can make a position smaller."""
    tells_wait = True
    """Whether the venue says for how long it wants no more calls."""
    lot: str = "1"
    repeats: Mapping[bool, bool]
    """Whether a close of a part (True) or of the whole is sent again when a lost answer left nothing done."""

    def __init__(self, venue: Venue, transport: str = "rest", **settings: Any) -> None:
        self.venue = venue
        row = VENUES[self.kind]
        self.settings = BrokerSettings(
            "desk",
            row,
            {name: Secret(SECRETS[name]) for name in row.credential},
            venue.url,
            transport,
            **{**TIMES, **settings},
        )
        self.broker: Broker = broker_of(self.settings)
        self._asked_before = len(venue.requests)

    @abstractmethod
    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None:
        """Put a position into the venue's book, at the price of now."""

    @abstractmethod
    def held(self, account: str, instrument: str) -> float:
        """What is open by the venue's own book, below zero for a short."""

    @abstractmethod
    def rest(self, account: str, instrument: str) -> None:
        """Put an order to work that would close the position at a price; it will not fill by itself."""

    @abstractmethod
    def resting(self, account: str, instrument: str) -> int: ...

    def stopped_out(self, account: str, instrument: str, quantity: int) -> float:
        """A stop of the trader's own is hit, and sells so many of a long position. How many it did sell."""
        before = self.held(account, instrument)
        self._fill_stop(account, instrument, quantity)
        return before - self.held(account, instrument)

    @abstractmethod
    def _fill_stop(self, account: str, instrument: str, quantity: int) -> None: ...

    @abstractmethod
    def client_id(self, request: Request) -> str | None:
        """Our id of the order, as the venue read it in a request that closes."""

    def bad_day(self, name: str, *, part: bool = False, **options: Any) -> None:
        """The next call that closes, a part or the whole, goes wrong like this."""
        self.venue.bad_day(name, on=self.closes[part], **options)

    def requests(self) -> list[Request]:
        """The requests that reached the venue and could close, oldest first."""
        return [it for it in self.venue.requests[self._asked_before :] if it.operation in self.can_act]

    @property
    def sent(self) -> list[Any]:
        return [request.body for request in self.requests()]

    def later(self, seconds: float) -> None:
        self.venue.book.let_pass(seconds)

    def stop_listening(self) -> None:
        self.venue.stop_listening()

    def listen_again(self) -> None:
        self.venue.listen_again()


class CrossTradeMarket(Market[CrossTradeSimulator]):
    kind = "crosstrade"
    accounts = ("Sim101", "Sim102")
    instruments = ("MES 12-26", "MNQ 12-26")
    closes = {False: "close", True: "close"}
    can_act = frozenset({"close", "flatten"})
    repeats = {False: True, True: False}

    @property
    def tells_wait(self) -> bool:
        return self.settings.transport == "rest"  # a reply over the WebSocket has no headers

    def later(self, seconds: float) -> None:
        super().later(seconds)
        if isinstance(self.broker, CrossTradeSocket):
            self.broker._channel._closed_until -= seconds

    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None:
        self.venue.book.set_position(account, instrument, side, quantity, 5000.0, 5100.0, 5)

    def held(self, account: str, instrument: str) -> float:
        held = self.venue.book.position(account, instrument)
        return -held.quantity if held.side == "Short" else held.quantity

    def rest(self, account: str, instrument: str) -> None:
        self.venue.book.work_order(account, instrument, 1, 4000.0)

    def resting(self, account: str, instrument: str) -> int:
        orders = self.venue.book.orders(account, active_only=True)
        return sum(order.instrument == instrument for order in orders)

    def _fill_stop(self, account: str, instrument: str, quantity: int) -> None:
        book = self.venue.book
        book.fill_order(book.work_order(account, instrument, quantity, 4000.0).order_id)

    def client_id(self, request: Request) -> str | None:
        return None


class ClearStreetMarket(Market[ClearStreetSimulator]):
    kind = "clearstreet"
    accounts = ("19816", "19817")
    instruments = ("AAPL", "TSLA")
    closes = {False: "close", True: "submit"}
    can_act = frozenset({"close", "close_all", "submit"})
    repeats = {False: False, True: False}

    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None:
        self.venue.book.set_position(int(account), instrument, side, quantity, "50.00", "51.00")

    def held(self, account: str, instrument: str) -> float:
        return float(self.venue.book.position(int(account), instrument))

    def rest(self, account: str, instrument: str) -> None:
        side = "SELL" if self.held(account, instrument) > 0 else "BUY"
        self.venue.book.work_order(int(account), instrument, side, 1, price="40.00")

    def resting(self, account: str, instrument: str) -> int:
        orders = self.venue.book.orders(int(account), open_only=True)
        return sum(order.instrument.symbol == instrument for order in orders)

    def _fill_stop(self, account: str, instrument: str, quantity: int) -> None:
        if self.held(account, instrument) >= quantity:
            book = self.venue.book
            book.fill_order(book.work_order(int(account), instrument, "SELL", quantity, price="40").order_id)

    def client_id(self, request: Request) -> str | None:
        return request.body[0]["id"] if request.operation == "submit" else None


class OkxMarket(Market[OkxSimulator]):
    kind = "okx"
    accounts = ("desk",)
    instruments = ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
    closes = {False: "close", True: "order"}
    can_act = frozenset({"close", "order"})
    lot = "0.01"
    repeats = {False: True, True: True}

    def __init__(self, venue: OkxSimulator, mode: str = "net_mode", **settings: Any) -> None:
        venue.book.mode = mode
        super().__init__(venue, demo=True, **settings)

    def hold(self, account: str, instrument: str, side: Side, quantity: int) -> None:
        self.venue.book.set_position(instrument, side, quantity, average_price="50000", mark_price="51000")

    def held(self, account: str, instrument: str) -> float:
        held = self.venue.book.position(instrument)
        return float(held.signed)

    def rest(self, account: str, instrument: str) -> None:
        side = "long" if self.held(account, instrument) > 0 else "short"
        self.venue.book.work_order(instrument, side, 1, "90000")

    def resting(self, account: str, instrument: str) -> int:
        orders = self.venue.book.orders(active_only=True)
        return sum(order.key.inst_id == instrument for order in orders)

    def _fill_stop(self, account: str, instrument: str, quantity: int) -> None:
        if self.held(account, instrument) >= quantity:
            book = self.venue.book
            book.fill_order(book.work_order(instrument, "long", quantity, "90000").order_id)

    def client_id(self, request: Request) -> str | None:
        return str(request.body["clOrdId"])
