"""Reading a venue on behalf of a claim: each read is made once, under the lease, and kept for the record."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from app.domain.commands import FlattenEverything
from app.domain.failures import REPORTED, BrokerError, NotSent, OutcomeUnknown, Refused
from app.domain.instruments import account_key
from app.domain.positions import Fill, Holding, Order, Position
from app.domain.statuses import Status
from app.ledger.claim import Claim, PastAttempt, Read
from app.ledger.sightings import sightings_in
from workers.brokers.broker import Broker, Call, Guard, Page, Terms

T = TypeVar("T")

NO_ROOM = "waits for the venue's limit on calls"
LONGEST_PAUSE = 8.0
"""Seconds that a worker waits for room, at most, between the calls of one step: its lease must outlast them all."""
MOST_PAGES = 50
"""No account has more; a venue that says so for ever is not believed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """How a list of positions was read."""

    at: float = 0.0
    """When it was over, by the monotonic clock."""
    reads: tuple[Read, ...] = ()
    failure: BrokerError | None = None
    """Why there is none."""


class Observation:
    """What one claim gets to see of its broker. Raises BrokerError wherever it reads."""

    def __init__(self, broker: Broker, claim: Claim, earlier: "Observation | None" = None) -> None:
        """`earlier` is another claim's, that read nothing before this claim was taken: its list serves this one too."""
        self._broker = broker
        self._claim = claim
        self._earlier = earlier
        self._listed = Listed()
        self._positions: tuple[Position, ...] | None = None
        self._orders: dict[str, tuple[Order, ...]] = {}
        self._all_accounts: tuple[str, ...] | None = None
        self.unreadable: dict[str, str] = {}
        """Accounts, of several, that the venue refuses to show, with its words."""

    def positions(self) -> tuple[Position, ...]:
        """The open positions: where they are read account by account, of the command's alone. One list serves all."""
        if self._positions is None:
            if self._earlier is None or self._earlier._accounts() != self._accounts():
                self._positions = self._read_positions()
            else:
                self._positions = self._positions_of(self._earlier)
            self._claim.seen |= sightings_in(self._positions)
        return self._positions

    def positions_anew(self) -> tuple[Position, ...]:
        """The open positions by another list, though there is one."""
        self._positions = self._earlier = None
        return self.positions()

    @property
    def list_age(self) -> float:
        """Seconds since the open positions were listed, or could not be; endless: they were not asked for."""
        return time.monotonic() - self._listed.at if self._listed.at else math.inf

    def _read_positions(self) -> tuple[Position, ...]:
        before = len(self._claim.reads)
        failure: BrokerError | None = None
        try:
            return self._of_each_account(
                lambda account: self._pages(partial(self._broker.positions, account))
            )
        except BrokerError as exc:
            failure = exc
            raise
        finally:
            self._listed = Listed(time.monotonic(), tuple(self._claim.reads[before:]), failure)

    def _positions_of(self, earlier: "Observation") -> tuple[Position, ...]:
        """What was listed for another claim, or why it could not be."""
        positions = earlier._positions
        if positions is None and earlier._listed.failure is None:
            return self._read_positions()  # it came to nothing before it asked for them
        ago = time.monotonic() - earlier._listed.at
        self._claim.reads += [replace(read, ago=ago) for read in earlier._listed.reads]
        self._claim.calls += 1
        self.unreadable = dict(earlier.unreadable)
        if positions is None:
            assert earlier._listed.failure is not None
            raise earlier._listed.failure
        return positions

    def fills(self, accounts: Iterable[str], seconds: float) -> tuple[Fill, ...]:
        """The fills of these accounts in the last so many seconds, by the venue's clock."""
        since = time.monotonic() - seconds

        def listed(account: str, page: str | None) -> Call[Page[Fill]]:
            return self._broker.fills(account, time.monotonic() - since, page)

        return tuple(
            fill for account in _distinct(accounts) for fill in self._pages(partial(listed, account))
        )

    def orders(self, accounts: Iterable[str]) -> tuple[Order, ...]:
        """The orders of these accounts that may still fill. One list serves all."""
        for account in _distinct(accounts):
            if account not in self._orders:
                self._orders[account] = tuple(self._pages(partial(self._broker.orders, account)))
        return tuple(order for account in _distinct(accounts) for order in self._orders[account])

    def orders_first(self) -> None:
        """Read the orders now that are to be held against positions read later.

        One that fills between the two reads is then still seen, and what it closed is not closed again.
        """
        self._of_each_account(lambda account: self.orders([account or self._broker.name]))

    def orders_of(self, attempt: PastAttempt, holding: Holding) -> tuple[Order, ...] | None:
        """What became of the orders that an attempt sent; None where the venue can't be asked for them.

        Empty: the venue knows none of them.
        """
        order_ids = attempt.report.order_ids if attempt.report else ()
        if not order_ids and attempt.client_id is None:
            return None
        lookup = partial(self._broker.order, holding.account, holding.instrument)
        calls = [lookup(order_id=it) for it in order_ids] or [lookup(client_id=attempt.client_id)]
        return tuple(order for call in calls if call and (order := self._read(call))) if all(calls) else None

    def terms(self, position: Position) -> Terms:
        """How the instrument of a position is counted."""
        call = self._broker.terms(position)
        if call is not None:
            return self._read(call)
        assert self._broker.venue.lot is not None, "a venue has one lot for all, or terms for each instrument"
        return Terms(self._broker.venue.lot)

    def accounts(self) -> tuple[str, ...]:
        """All that the credential reaches."""
        if self._broker.accounts() is None:
            return (self._broker.name,)
        if self._all_accounts is None:
            self._all_accounts = tuple(self._pages(self._broker.accounts))
        return self._all_accounts

    def _of_each_account(self, listed: Callable[[str | None], Iterable[T]]) -> tuple[T, ...]:
        accounts = self._accounts()
        found: list[T] = []
        for account in accounts:
            if account in self.unreadable:
                continue
            try:
                found += listed(account)
            except Refused as exc:
                if len(self.unreadable) + 1 == len(accounts):
                    raise  # there is nothing that can be seen
                self.unreadable[account or self._broker.name] = exc.detail
        return tuple(found)

    def _accounts(self) -> Sequence[str | None]:
        if self._broker.accounts() is None:
            return (None,)
        command = self._claim.command
        if not isinstance(command, FlattenEverything) and command.account is not None:
            return (command.account,)
        return self.accounts()

    def _pages(self, listing: Callable[[str | None], Call[Page[T]] | None]) -> Iterator[T]:
        page: str | None = None
        for _ in range(MOST_PAGES):
            self._find_room(_built(listing, page))
            read = self._make(_built(listing, page))  # anew: it may have waited, and some count back from now
            yield from read.items
            page = read.next
            if page is None:
                return
        raise OutcomeUnknown(f"the list has more than {MOST_PAGES} pages")

    def _read(self, call: Call[T]) -> T:
        self._find_room(call)
        return self._make(call)

    def _find_room(self, call: Call[Any]) -> None:
        # What is read for a close that is to go out comes before what is read to see how one went.
        if wait := wait_for_room(self._claim, call, patient=self._claim.status is not Status.QUEUED):
            raise NotSent(NO_ROOM, retry_after=wait)

    def _make(self, call: Call[T]) -> T:
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


def _built(listing: Callable[[str | None], Call[Page[T]] | None], page: str | None) -> Call[Page[T]]:
    try:
        call = listing(page)
    except ValueError as exc:
        raise Refused(f"no request can be made of it: {exc}") from exc
    assert call is not None
    return call


def wait_for_room(claim: Claim, call: Call[Any], *, patient: bool = False) -> float:
    """Seconds until the limits have room for a call; 0: make it now.

    The first call of a step waits in the ledger. Those that follow are waited for here, as long as that is short: put
    back, the step would begin with its reads again, and spend on them what room there is.
    """
    while (wait := call.room(patient)) and claim.calls and claim.paused + wait <= LONGEST_PAUSE:
        time.sleep(wait)
        claim.paused += wait
    if not wait:
        claim.calls += 1
    return wait


def guard(claim: Claim) -> Guard:
    """Asked right before the first byte: a request whose lease could run out during the call stays here."""

    def check(seconds: float) -> None:
        if not claim.holds(seconds):
            raise NotSent("the lease ran out before the first byte: another worker goes on")

    return check


def _distinct(accounts: Iterable[str]) -> list[str]:
    return list({account_key(name): name for name in accounts}.values())
