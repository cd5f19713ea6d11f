"""CrossTrade over its WebSocket: build, call, parse."""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.positions import Holding, Order, Position, Report
from config.file import BrokerSettings
from workers.brokers.broker import Answered, Call, Guard, Page
from workers.brokers.crosstrade import answers, messages, requests
from workers.brokers.crosstrade.adapter import CrossTrade
from workers.brokers.crosstrade.channel import Channel

T = TypeVar("T")


class CrossTradeSocket(CrossTrade):
    """
    One CrossTrade credential, over the one WebSocket that it may have.

    Orders and executions are read over REST, with the same token: no page names an RPC for those lists.
    """

    exclusive = True
    """The venue ends this WebSocket when the credential opens another: only one process may serve it at a time."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._channel = Channel(messages.stream_url(settings.base_url), self._token, self._timeouts)

    def release(self) -> None:
        """Close the WebSocket; a later call opens it anew."""
        self._channel.close()

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        return self._rpc(requests.positions_rpc(), answers.whole(answers.positions_of))

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        instrument = holding.instrument if holding else command.instrument
        if quantity is None and command.side is not None:
            # As over REST: only a flatten checks the side at the venue.
            request = requests.flatten_rpc(command.account, instrument, command.side)
        else:
            request = requests.close_rpc(command.account, instrument, quantity)
        return self._rpc(request, answers.report_of)

    def flatten(self, command: FlattenMatching) -> Call[Report]:
        request = requests.flatten_rpc(command.account, command.instrument, command.side)
        return self._rpc(request, answers.report_of)

    def flatten_everything(self, command: FlattenEverything) -> Call[Report]:
        return self._rpc(requests.flatten_everything_rpc(), answers.report_of)

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        return self._rpc(requests.cancel_orders_rpc(account, instrument), answers.report_of)

    def _rpc(self, request: requests.RpcRequest, parse: answers.Parse[T]) -> Call[T]:
        message = messages.rpc(request, uuid.uuid4().hex)

        def make(guard: Guard) -> Answered[T]:
            return answers.answered(messages.answer_of(self._channel.ask(message, guard)), parse)

        return Call(message, make, limits=requests.LIMITS)
