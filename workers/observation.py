"""Reading a venue on behalf of a claim: each read is made once, under the lease, and kept for the record."""

import time
from collections.abc import Iterable
from typing import TypeVar

from app.domain.failures import REPORTED, BrokerError, NotSent
from app.domain.instruments import account_key
from app.domain.positions import Fill, Position, WorkingOrder
from app.ledger.claims import Claim, Read
from app.ledger.sightings import sightings_in
from workers.brokers.broker import Broker, Call, Guard

T = TypeVar("T")


class Observation:
    """What one claim gets to see of its broker."""

    def __init__(self, broker: Broker, claim: Claim) -> None:
        self._broker = broker
        self._claim = claim

    def positions(self) -> tuple[Position, ...]:
        """All open positions. Raises BrokerError."""
        positions = self._read(self._broker.positions())
        self._claim.seen |= sightings_in(positions)
        return positions

    def fills(self, accounts: Iterable[str], seconds: float) -> tuple[Fill, ...]:
        """The fills of these accounts in the last so many seconds, by the venue's clock. Raises BrokerError."""
        return tuple(
            fill for name in _distinct(accounts) for fill in self._read(self._broker.fills(name, seconds))
        )

    def working_orders(self, accounts: Iterable[str]) -> tuple[WorkingOrder, ...]:
        """The orders of these accounts that may still fill. Raises BrokerError."""
        return tuple(
            order for name in _distinct(accounts) for order in self._read(self._broker.working_orders(name))
        )

    def _read(self, call: Call[T]) -> T:
        started = time.monotonic()

        def keep(outcome: str, answer: object, detail: str | None) -> None:
            seconds = time.monotonic() - started
            self._claim.reads.append(Read(call.request, outcome, seconds, answer, detail))

        try:
            answered = call.make(guard(self._claim))
        except BrokerError as exc:
            keep(exc.outcome, exc.answer, exc.detail)
            raise
        keep(REPORTED, answered.answer, None)
        return answered.result


def guard(claim: Claim) -> Guard:
    """Asked right before the first byte: a request whose lease could run out during the call stays here."""

    def check(seconds: float) -> None:
        if not claim.holds(seconds):
            raise NotSent("the lease ran out before the first byte: another worker goes on")

    return check


def _distinct(accounts: Iterable[str]) -> list[str]:
    return list({account_key(name): name for name in accounts}.values())
