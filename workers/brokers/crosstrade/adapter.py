"""CrossTrade over REST: build, call, parse."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import Refused
from app.domain.positions import Fill, Holding, Order, Position, Report, Side
from app.domain.venues import Venue
from config.file import BrokerSettings
from workers.brokers import http
from workers.brokers.answering import answered
from workers.brokers.broker import Answered, Call, Guard, Page
from workers.brokers.crosstrade import answers, requests
from workers.brokers.crosstrade.credential import authorization
from workers.brokers.crosstrade.envelope import of_http
from workers.brokers.redaction import without

T = TypeVar("T")


class CrossTrade:
    """One CrossTrade credential, over REST."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._token = settings.secrets["token"]
        self._timeouts = http.Timeouts(settings.connect_timeout, settings.read_timeout, settings.deadline)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def venue(self) -> Venue:
        return self._settings.venue

    def release(self) -> None:
        """Nothing is kept open between calls."""

    def accounts(self, page: str | None = None) -> None:
        return None

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        return self._call(requests.positions_request(), answers.whole(answers.positions_of))

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        return self._call(requests.orders_request(account), answers.whole(answers.orders_of))

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> None:
        return None  # its answers do not tell which orders close

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        further = math.ceil(seconds + requests.ON_ITS_WAY)
        if further > requests.EXECUTIONS_REACH:
            raise Refused(f"CrossTrade shows executions of the last {requests.EXECUTIONS_REACH} s only")
        request = requests.executions_request(account, further)
        return self._call(request, answers.whole(answers.fills_of))

    def terms(self, position: Position) -> None:
        return None

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        instrument = holding.instrument if holding else command.instrument
        if quantity is None and command.side is not None:
            # The close call has no side; the flatten call checks it where it matters, at the venue.
            return self._flatten(command.account, instrument, command.side)
        return self._close(command.account, instrument, quantity)

    def flatten(self, command: FlattenMatching) -> Call[Report]:
        return self._flatten(command.account, command.instrument, command.side)

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        return self._call(requests.flatten_everything_request(), answers.report_of)

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        return self._call(requests.cancel_orders_request(account, instrument), answers.report_of)

    def _close(self, account: str, instrument: str, quantity: Decimal | None) -> Call[Report]:
        return self._call(requests.close_request(account, instrument, quantity), answers.report_of)

    def _flatten(self, account: str | None, instrument: str | None, side: Side | None) -> Call[Report]:
        return self._call(requests.flatten_request(account, instrument, side), answers.report_of)

    def _call(self, request: http.HttpRequest, parse: answers.Parse[T]) -> Call[T]:
        address = replace(
            request,
            url=self._settings.base_url + request.url,
            headers={"Authorization": authorization(self._token), "Content-Type": "application/json"},
        )

        def make(guard: Guard) -> Answered[T]:
            answer = without(http.send(address, self._timeouts, guard), [self._token])
            return answered("CrossTrade", answer, lambda said: parse(of_http(said)))

        return Call(address.for_the_record(), make, limits=requests.LIMITS)
