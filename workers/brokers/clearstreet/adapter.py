"""Clear Street over REST: build, call, parse."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.positions import Fill, Holding, Order, Position, Report
from app.domain.venues import Venue
from config.file import BrokerSettings
from workers.brokers import http
from workers.brokers.answering import answered
from workers.brokers.broker import Answered, Call, Guard, Page
from workers.brokers.clearstreet import answers, requests
from workers.brokers.redaction import without

T = TypeVar("T")

CLOCKS_DIFFER = 3600.0
"""Seconds. How wrong our clock may be without a fill being missed."""


class ClearStreet:
    """One Clear Street key, over REST."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._key = settings.secrets["api_key"]
        self._timeouts = http.Timeouts(settings.connect_timeout, settings.read_timeout, settings.deadline)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def venue(self) -> Venue:
        return self._settings.venue

    def release(self) -> None:
        """Nothing is kept open between calls."""

    def accounts(self, page: str | None = None) -> Call[Page[str]]:
        return self._call(requests.accounts_request(page), lambda answer: answers.accounts_of(answer, page))

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        """The open positions of an account; raises ValueError without one."""
        if account is None:
            raise ValueError("Clear Street lists positions by the account")
        request = requests.positions_request(account, page)
        return self._call(request, lambda answer: answers.positions_of(answer, account, page))

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        request = requests.orders_request(account, page)
        return self._call(request, lambda answer: answers.orders_of(answer, account, page))

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> Call[Order | None]:
        """One order, by the venue's id or else by ours; raises ValueError without either."""
        if order_id is not None:
            wanted = order_id
            request = requests.order_request(account, wanted)
            return self._call(request, lambda answer: answers.found_order(answer, account, wanted))
        if client_id is None:
            raise ValueError("an order is looked up by an id")
        ours = client_id
        request = requests.orders_with_client_id_request(account, ours)
        return self._call(request, lambda answer: answers.found_order_of_ours(answer, account, ours))

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        """The executions of the last so many seconds by the venue's clock: asked for generously, and then sorted out.

        A page's name begins with the start of the whole list, so that all its pages ask for the same.
        """
        start, token = _start_and_token(page, seconds)
        request = requests.executions_request(account, start, token)

        def parse(answer: http.HttpAnswer) -> Page[Fill]:
            since = answers.present(answer, datetime.now(UTC)) - timedelta(seconds=seconds)
            fills = answers.fills_of(answer, account, since, token)
            following = None if fills.next is None else f"{start.isoformat()} {fills.next}"
            return replace(fills, next=following)

        return self._call(request, parse)

    def terms(self, position: Position) -> None:
        return None

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        """Close all of a position, or this much of it. Raises ValueError without the position."""
        if holding is None:
            raise ValueError("Clear Street closes a position that was read")
        account = holding.account
        instrument_id = holding.handle.get("instrument_id")
        if quantity is None:
            instrument = holding.instrument if instrument_id is None else instrument_id
            request = requests.close_request(account, instrument, command.cancel_orders)
            return self._call(request, lambda answer: answers.closed(answer, account))
        ours = f"flatwire-{uuid.uuid4().hex}"
        request = requests.reduce_request(
            account, holding.instrument, instrument_id, holding.side, quantity, ours
        )
        call = self._call(request, lambda answer: answers.reduced(answer, account, ours))
        return replace(call, client_id=ours)

    def flatten(self, command: FlattenMatching) -> Call[Report] | None:
        """The one call there is closes all of an account; anything narrower is a close for each position."""
        account = command.account
        if account is None or command.instrument or command.side or not command.cancel_orders:
            return None
        request = requests.close_account_request(account)
        return self._call(request, lambda answer: answers.closed(answer, account))

    def flatten_everything(self, command: FlattenEverything) -> None:
        return None

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        """Cancel one order, or all of an instrument if none is given; raises ValueError for several."""
        if len(orders) > 1:
            raise ValueError("Clear Street cancels one order, or all of an instrument")
        if orders:
            order_id = orders[0].order_id
            request = requests.cancel_order_request(account, order_id)
            return self._call(request, lambda answer: answers.cancelled(answer, account, order_id))
        request = requests.cancel_orders_request(account, instrument)
        return self._call(request, lambda answer: answers.cancelled_all(answer, account))

    def _call(self, request: http.HttpRequest, parse: Callable[[http.HttpAnswer], T]) -> Call[T]:
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        address = replace(request, url=self._settings.base_url + request.url, headers=headers)

        def make(guard: Guard) -> Answered[T]:
            answer = without(http.send(address, self._timeouts, guard), [self._key])
            return answered("Clear Street", answer, parse)

        return Call(address.for_the_record(), make)


def _start_and_token(page: str | None, seconds: float) -> tuple[datetime, str | None]:
    if page is None:
        return datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds + CLOCKS_DIFFER), None
    start, _, token = page.partition(" ")
    return datetime.fromisoformat(start), token
