"""A broker whose calls know how much room there is for them, whatever the venue."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import Throttled
from app.domain.positions import Fill, Holding, Order, Position, Report
from app.domain.venues import Venue
from config.file import BrokerSettings
from workers.brokers.broker import Answered, Broker, Call, Guard, Page, Terms
from workers.rates import Rates

T = TypeVar("T")

WITHOUT_A_WORD = 1.0
"""Seconds to keep still after a "too fast" that does not say for how long."""


class Metered:
    """A broker as it is, each of its calls with `room`; a venue that finds us too fast holds back the others too."""

    def __init__(self, broker: Broker, settings: BrokerSettings, rates: Rates) -> None:
        self._broker = broker
        self._settings = settings
        self._rates = rates

    @property
    def name(self) -> str:
        return self._broker.name

    @property
    def venue(self) -> Venue:
        return self._broker.venue

    def accounts(self, page: str | None = None) -> Call[Page[str]] | None:
        return self._metered(self._broker.accounts(page))

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        return self._with_room(self._broker.positions(account, page))

    def orders(self, account: str, page: str | None = None) -> Call[Page[Order]]:
        return self._with_room(self._broker.orders(account, page))

    def order(
        self, account: str, instrument: str, *, order_id: str | None = None, client_id: str | None = None
    ) -> Call[Order | None] | None:
        return self._metered(self._broker.order(account, instrument, order_id=order_id, client_id=client_id))

    def fills(self, account: str, seconds: float, page: str | None = None) -> Call[Page[Fill]]:
        return self._with_room(self._broker.fills(account, seconds, page))

    def terms(self, position: Position) -> Call[Terms] | None:
        return self._metered(self._broker.terms(position))

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        return self._with_room(self._broker.close(command, holding, quantity))

    def flatten(self, command: FlattenMatching) -> Call[Report] | None:
        return self._metered(self._broker.flatten(command))

    def flatten_everything(self, command: FlattenEverything) -> Call[Report] | None:
        return self._metered(self._broker.flatten_everything(command))

    def cancel_orders(self, account: str, instrument: str, orders: Sequence[Order]) -> Call[Report]:
        return self._with_room(self._broker.cancel_orders(account, instrument, orders))

    def release(self) -> None:
        self._broker.release()

    def _metered(self, call: Call[T] | None) -> Call[T] | None:
        return None if call is None else self._with_room(call)

    def _with_room(self, call: Call[T]) -> Call[T]:
        def room(patient: bool) -> float:
            return self._rates.wait(self._settings, call.limits, patient=patient)

        def make(guard: Guard) -> Answered[T]:
            try:
                return call.make(guard)
            except Throttled as exc:
                if exc.others_too:
                    self._rates.hold(self._settings, exc.retry_after or WITHOUT_A_WORD)
                raise

        return replace(call, room=room, make=make)
