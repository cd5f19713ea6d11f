"""OKX over REST: build, sign, call, parse."""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, NotSent, Refused
from app.domain.positions import Fill, Holding, Order, Position, Report
from app.domain.venues import Venue
from config.file import BrokerSettings
from config.secrets import Secret
from workers.brokers import http
from workers.brokers.answering import answered
from workers.brokers.broker import Answered, Call, Guard, Limit, Page, Terms
from workers.brokers.fields import Unreadable
from workers.brokers.okx import answers, requests
from workers.brokers.okx.clock import VenueClock
from workers.brokers.okx.envelope import clock_is_off
from workers.brokers.okx.names import family_of
from workers.brokers.okx.signing import Credential, signed
from workers.brokers.redaction import without

T = TypeVar("T")

TIME_LIMIT = Limit("okx time", 10, 2)
"""https://www.okx.com/docs-v5/en/#public-data-rest-api-get-system-time: of an address, so of all keys used from it."""

Finish = Callable[[http.HttpRequest, int, float], http.HttpRequest]
"""Makes a request whole when it is about to be sent, at the venue's time (ms), with so many seconds left."""


class Okx:
    """One API key of OKX, which is one account: `accounts` is None, and everything is the account of the broker's name.

    A call may ask the venue for its time first, unsigned; all that it does is within the settings' deadline.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._credential = Credential(
            settings.secrets["api_key"], settings.secrets["api_secret"], settings.secrets["passphrase"]
        )
        self._clock = VenueClock()

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
        parse = partial(answers.positions_of, account=self.name, margin_mode=self._settings.margin_mode)
        return self._call(requests.positions_request(), parse, Limit("okx positions", 10, 2))

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        """The stops and targets that OKX calls algo orders are in another list, and not in this one."""
        parse = partial(answers.orders_of, account=self.name)
        return self._call(requests.orders_request(page), parse, Limit("okx orders", 60, 2))

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> Call[Order | None]:
        request = requests.order_request(instrument, order_id, client_id)
        parse = partial(
            answers.looked_up_of,
            account=self.name,
            instrument=instrument,
            order_id=order_id,
            client_id=client_id,
        )
        return self._call(request, parse, Limit("okx order lookup", 60, 2))

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        if seconds > requests.FILLS_REACH:
            raise Refused(f"OKX shows fills of the last {requests.FILLS_REACH} s only")
        since, _, bill = (page or "").partition("/")  # every page of a list begins at the same moment

        def finish(request: http.HttpRequest, moment: int, left: float) -> http.HttpRequest:
            nonlocal since
            since = since or str(moment - math.ceil(seconds * 1000))
            return requests.fills_request(since, bill or None)

        def parse(answer: http.HttpAnswer) -> Page[Fill]:
            items, following = answers.fills_of(answer, self.name)
            return Page(items, None if following is None else f"{since}/{following}")

        told = requests.fills_request(since or f"now-{seconds:g}s", bill or None)
        return self._call(told, parse, Limit("okx fills", 60, 2), finish=finish)

    def terms(self, position: Position) -> Call[Terms]:
        request = requests.instrument_request(position)
        parse = partial(answers.terms_of, instrument=position.instrument)
        return self._call(request, parse, Limit("okx instruments", 20, 2), public=True)

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        """All of it by the call that closes positions, a part by an order that can only reduce and that expires.

        The order expires before the call's deadline is over, and so before the settle window is: an order that can't
        be found by its id after that was not placed. The call that closes positions knows no expiry.
        """
        assert holding is not None, "the venue's own words for the position stand in the request"
        client_id = f"fw{secrets.token_hex(15)}"
        parse = partial(answers.report_of, client_id=client_id)
        if quantity is None:
            request = requests.close_position_request(holding, client_id, cancel_orders=command.cancel_orders)
            limit = Limit(f"okx close-position {_counted_by(holding.instrument)}", 20, 2)
            return self._call(request, parse, limit, client_id=client_id)
        if not requests.can_be_reduced(holding):
            return _never(
                f"OKX has no order that surely closes just a part of this {holding.side} position: close all of it"
            )
        return self._call(
            requests.reduce_request(holding, quantity, client_id),
            parse,
            Limit(f"okx order {_counted_by(holding.instrument)}", 60, 2),
            finish=self._expiring,
            client_id=client_id,
            lapses=True,
        )

    def flatten(self, command: FlattenMatching) -> None:
        return None

    def flatten_everything(self, command: FlattenEverything) -> None:
        return None

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        """Raises ValueError for none, for more than twenty, and for orders of another instrument."""
        request = requests.cancel_request(instrument, orders)
        parse = partial(answers.cancelled_of, order_ids=tuple(order.order_id for order in orders))
        # 300 orders in 2 s, each of a cancel counted: so many that are full.
        return self._call(request, parse, Limit(f"okx cancel {_counted_by(instrument)}", 15, 2))

    def _call(
        self,
        request: http.HttpRequest,
        parse: Callable[[http.HttpAnswer], T],
        limit: Limit,
        *,
        finish: Finish | None = None,
        public: bool = False,
        client_id: str | None = None,
        lapses: bool = False,
    ) -> Call[T]:
        def make(guard: Guard) -> Answered[T]:
            ends_at = time.monotonic() + self._settings.deadline
            whole = request
            unprintable: tuple[Secret, ...] = self._credential.secrets
            if not public:
                moment = self._moment()
                if finish is not None:
                    whole = finish(request, moment, ends_at - time.monotonic())
                whole, sign = signed(whole, self._credential, moment)
                unprintable = (*unprintable, sign)
            answer = without(self._send(whole, ends_at - time.monotonic(), guard), unprintable)
            if clock_is_off(answer):
                self._clock.forget()
            return answered("OKX", answer, parse)

        told = replace(request, url=self._settings.base_url + request.url)
        asks_the_time = not public and self._clock.now is None
        limits = (TIME_LIMIT, limit) if asks_the_time else (limit,)
        return Call(told.for_the_record(), make, client_id, lapses, limits)

    def _send(self, request: http.HttpRequest, left: float, guard: Guard) -> http.HttpAnswer:
        headers = {**request.headers, "Content-Type": "application/json"}
        if self._settings.demo:
            headers["x-simulated-trading"] = "1"
        addressed = replace(request, url=self._settings.base_url + request.url, headers=headers)
        timeouts = http.Timeouts(self._settings.connect_timeout, self._settings.read_timeout, left)
        return http.send(addressed, timeouts, guard)

    def _moment(self) -> int:
        """The venue's time in milliseconds since 1970, read if need be. Raises NotSent: nothing signed has left."""
        if self._clock.now is None:
            try:
                # Half of the deadline is left for what the time is needed for.
                answer = self._send(requests.time_request(), self._settings.deadline / 2, _unguarded)
                self._clock.keep(answers.time_of(without(answer, self._credential.secrets)))
            except BrokerError as exc:
                raise NotSent(f"OKX's clock could not be read: {exc.detail}", answer=exc.answer) from exc
            except Unreadable as exc:
                raise NotSent(f"OKX's clock could not be read: {exc}") from exc
        moment = self._clock.now
        if moment is None:  # another thread's call was told that it is off
            raise NotSent("OKX's clock must be read again")
        return moment

    def _expiring(self, request: http.HttpRequest, moment: int, left: float) -> http.HttpRequest:
        """The venue's time is never ahead of its true one, so an order expires no later than this says.

        That is a while before its settle window is over: one that came in time takes a moment to be on the venue's record.
        """
        earlier = min(3.0, self._settings.deadline / 4)
        return requests.expiring(request, moment + int((left - earlier) * 1000))


def _counted_by(instrument: str) -> str:
    """The pages on each call that closes or cancels: limits are an instrument's, but of options a family's."""
    return family_of(instrument) or instrument


def _never(reason: str) -> Call[Any]:
    """A call that the venue can't be asked for."""

    def make(guard: Guard) -> Answered[Any]:
        raise Refused(reason)

    return Call({}, make)


def _unguarded(left: float) -> None:
    return None
