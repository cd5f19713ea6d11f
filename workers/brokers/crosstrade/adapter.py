"""CrossTrade over REST: build, call, parse."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import Refused
from app.domain.positions import Fill, Holding, Order, Position, Report
from app.domain.venues import Venue
from config.file import BrokerSettings
from workers.brokers import http
from workers.brokers.broker import Answered, Call, Guard, Page
from workers.brokers.crosstrade import answers, requests
from workers.brokers.crosstrade.credential import authorization, without
from workers.brokers.crosstrade.envelope import of_http

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
        if seconds > requests.EXECUTIONS_REACH:
            raise Refused(f"CrossTrade shows executions of the last {requests.EXECUTIONS_REACH} s only")
        request = requests.executions_request(account, max(1, math.ceil(seconds)))
        return self._call(request, answers.whole(answers.fills_of))

    def terms(self, position: Position) -> None:
        return None

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        instrument = holding.instrument if holding else command.instrument
        if quantity is None and command.side is not None:
            # The close call has no side; the flatten call checks it where it matters, at the venue.
            request = requests.flatten_request(command.account, instrument, command.side)
        else:
            request = requests.close_request(command.account, instrument, quantity)
        return self._call(request, answers.report_of)

    def flatten(self, command: FlattenMatching) -> Call[Report]:
        request = requests.flatten_request(command.account, command.instrument, command.side)
        return self._call(request, answers.report_of)

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        return self._call(requests.flatten_everything_request(), answers.report_of)

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        return self._call(requests.cancel_orders_request(account, instrument), answers.report_of)

    def _call(self, request: http.HttpRequest, parse: answers.Parse[T]) -> Call[T]:
        address = replace(
            request,
            url=self._settings.base_url + request.url,
            headers={"Authorization": authorization(self._token), "Content-Type": "application/json"},
        )

        def make(guard: Guard) -> Answered[T]:
            answer = self._without_token(http.send(address, self._timeouts, guard))
            return answers.answered(of_http(answer), parse)

        return Call(address.for_the_record(), make, limits=requests.LIMITS)

    def _without_token(self, answer: http.HttpAnswer) -> http.HttpAnswer:
        text = without(answer.text, self._token)
        return answer if text == answer.text else replace(answer, text=text, body=http.parsed(text))
