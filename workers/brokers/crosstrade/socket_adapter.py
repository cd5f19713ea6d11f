"""CrossTrade over its WebSocket: build, call, parse."""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import FlattenEverything
from app.domain.positions import Order, Position, Report, Side
from config.file import BrokerSettings
from workers.brokers.answering import answered
from workers.brokers.broker import Answered, Call, Guard, Page
from workers.brokers.crosstrade import answers, messages, requests
from workers.brokers.crosstrade.adapter import CrossTrade
from workers.brokers.crosstrade.channel import Channel

T = TypeVar("T")


class CrossTradeSocket(CrossTrade):
    """
    One CrossTrade credential, over the one WebSocket that it may have: the venue ends it when another one opens.

    Orders and executions are read over REST, with the same token: no page names an RPC for those lists.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._channel = Channel(
            settings.name, messages.stream_url(settings.base_url), self._token, self._timeouts
        )

    def release(self) -> None:
        """Close the WebSocket; a later call opens it anew."""
        self._channel.close()

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        return self._rpc(requests.positions_rpc(), answers.whole(answers.positions_of))

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        return self._rpc(requests.flatten_everything_rpc(), answers.report_of)

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        return self._rpc(requests.cancel_orders_rpc(account, instrument), answers.report_of)

    def _close(self, account: str, instrument: str, quantity: Decimal | None) -> Call[Report]:
        return self._rpc(requests.close_rpc(account, instrument, quantity), answers.report_of)

    def _flatten(self, account: str | None, instrument: str | None, side: Side | None) -> Call[Report]:
        return self._rpc(requests.flatten_rpc(account, instrument, side), answers.report_of)

    def _rpc(self, request: requests.RpcRequest, parse: answers.Parse[T]) -> Call[T]:
        message = messages.rpc(request, uuid.uuid4().hex)

        def make(guard: Guard) -> Answered[T]:
            reply = self._channel.ask(message, guard)
            return answered("CrossTrade", reply, lambda said: parse(messages.answer_of(said)))

        return Call(message, make, limits=requests.LIMITS)
