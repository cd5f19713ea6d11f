"""What becomes of a close, once it is known what the venue shows of it: each conclusion as the next step.

(design, section 3, 6 and 7)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command, Quantity, Unit
from app.domain.failures import BrokerError
from app.domain.positions import Fill, Holding, OrderState, Position
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim, PastAttempt
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence
from workers.backoff import read_back_delay, retry_delay, retry_within
from workers.brokers.broker import Broker
from workers.closed import closed_by_fills, closed_positions
from workers.findings import Findings, OrdersFound, age_of, last_of, may_ask_for_orders
from workers.observation import NO_ROOM

SURE_BY_NOW = 30.0
"""Seconds of vain reading after which a person is told."""


@dataclass(frozen=True, slots=True)
class Conclusions:
    """The next step of one claim, by what was found."""

    broker: Broker
    settings: BrokerSettings
    claim: Claim
    today: date
    was_seen: Callable[[Command], bool]
    """Whether what a command names was ever seen open there."""

    @property
    def _command(self) -> Command:
        return self.claim.command

    @property
    def _age(self) -> float:
        """Seconds since the last attempt that may have acted."""
        return age_of(last_of(self.claim), self.claim)

    def by_orders(self, found: Findings, orders: OrdersFound) -> Step:
        """Our orders were found: they tell more than the position, which others may trade too."""
        if orders.live:
            return self._while_live(found, orders)
        asked = sum((h.before - h.target for h in found.holdings), evidence.NOTHING)
        if orders.did(found.holdings, self.today):
            reason = None if found.all_reached else "done; what is open now was opened after"
            return self._done_by(found, orders, reason)
        ended = f"its order ended with {orders.filled:f} of {asked:f} filled ({orders.words})"
        if found.all_reached:
            return self._done_by(found, orders, f"{ended}; the position is where it should be all the same")
        if not orders.filled:
            return Step(
                Status.REJECTED, ended, None, Attention.REJECTED, found.holdings, closed=(), fixed=True
            )
        closed = closed_positions(found.holdings, last_of(self.claim).report, self.today, orders.orders)
        return Step(Status.GAVE_UP, ended, None, Attention.GAVE_UP, found.holdings, closed=closed)

    def _while_live(self, found: Findings, orders: OrdersFound) -> Step:
        left = sum((h.after or evidence.NOTHING for h in found.holdings), evidence.NOTHING)
        leaves = sum((order.leaves or evidence.NOTHING for order in orders.live), evidence.NOTHING)
        if self.broker.venue.closing_can_flip and left < leaves:
            reason = "less is open than its order would close: it is cancelled before it opens the other side"
            return replace(self.watch(found.holdings, None, reason), cancel=orders.live)
        step = self.still_open(found.holdings, "taken, and not where it should be")
        if all(order.state is OrderState.HELD for order in orders.live):
            return replace(step, reason=f"the venue holds the order: {orders.words}")
        return step

    def _done_by(self, found: Findings, orders: OrdersFound, reason: str | None) -> Step:
        holdings = evidence.at_target(found.holdings)
        closed = closed_positions(holdings, last_of(self.claim).report, self.today, orders.orders)
        reason = reason or _less_than_asked(self._command, holdings)
        return self._settled(found, Step(Status.CLOSED, reason, holdings=holdings, closed=closed))

    def reached(self, found: Findings) -> Step:
        """All that the venue took of it is where it should be."""
        if found.holdings:
            return self.closed(found, found.holdings)
        return self._closed_unseen(found, taken=True)

    def reached_in_doubt(self, found: Findings) -> Step:
        """The position is where it should be after an answer was lost: an earlier attempt did it."""
        if found.holdings:
            reason = "the answer was lost; the position shows that it was done"
            return self.closed(found, found.holdings, reason)
        return self._closed_unseen(found, taken=False)

    def _closed_unseen(self, found: Findings, *, taken: bool) -> Step:
        """Nothing is open of what nobody saw open: the fills tell what was closed, as far as they can be known."""
        try:
            fills = found.fills()
        except BrokerError:
            fills = None
        if closed := closed_by_fills(fills or (), found.since):
            return Step(Status.CLOSED, "the fills show that it was done", holdings=(), closed=closed)
        if taken or fills is None or fills:
            return Step(Status.CLOSED, "nothing is open any more", holdings=())
        return nothing_open(self._command, found.positions, self.today, self.was_seen)

    def closed(self, found: Findings, holdings: tuple[Holding, ...], reason: str | None = None) -> Step:
        """Done, with what was closed and at which prices; `reason` says how that is known."""
        fills = self.fills_for_prices(found)
        closed = closed_positions(holdings, last_of(self.claim).report, self.today, fills=fills)
        reason = reason or _less_than_asked(self._command, holdings)
        return self._settled(found, Step(Status.CLOSED, reason, holdings=holdings, closed=closed))

    def _settled(self, found: Findings, step: Step) -> Step:
        """Where a closing order can flip a position, the other side is somebody's business to look at."""
        if not (self.broker.venue.closing_can_flip and found.turned):
            return step
        reason = "closed, and the other side is open now: was it opened by somebody, or by our order?"
        return replace(step, reason=reason, attention=Attention.POSITION_CHANGED)

    def fills_for_prices(self, found: Findings) -> tuple[Fill, ...]:
        """Where the answer has no prices the fills do. A second opinion, which may fail to be read."""
        if not self.broker.venue.tells_prices_later:
            return ()
        try:
            return found.fills() or ()
        except BrokerError:
            return ()

    def somebody_else(self, found: Findings) -> Step:
        """What moved the position was not we alone: a person is told, and nothing more is sent."""
        reason = "the position is not what it was: somebody else is trading; nothing more is sent"
        return self.doubtful(reason, Attention.POSITION_CHANGED, found.holdings, self.next_look())

    def still_open(self, holdings: tuple[Holding, ...], reason: str) -> Step:
        """Taken, and not there: a person is told when it should have been."""
        if self._age <= self.settings.verify_for:
            return self.watch(holdings, None, None)
        reason = f"{reason} after {self.settings.verify_for:g} s"
        return self.watch(holdings, Attention.STILL_OPEN, reason)

    def watch(self, holdings: tuple[Holding, ...], attention: Attention | None, reason: str | None) -> Step:
        """Taken, and read back again, ever more slowly."""
        return Step(Status.WORKING, reason, read_back_delay(self._age), attention, holdings or None)

    def doubtful(
        self,
        reason: str,
        attention: Attention | None = None,
        holdings: tuple[Holding, ...] = (),
        due_in: float | None = None,
    ) -> Step:
        """Not known. It is looked into again in so many seconds; None: only a person can still tell."""
        return Step(Status.IN_DOUBT, reason, due_in, attention, holdings or None, fixed=True)

    def next_look(self) -> float | None:
        """Seconds until a doubt is looked into again; None when only a person can still tell."""
        still_reading = self._age < self.settings.settle_window + self.settings.verify_for
        still_reading = still_reading or may_ask_for_orders(self.claim)  # an order may turn up at any time
        return read_back_delay(self._age) if still_reading else None

    def read_again(self, status: Status, exc: BrokerError) -> Step:
        """The broker can't be read now. Nothing is concluded from that, and a person is told if it lasts."""
        if exc.detail == NO_ROOM:
            return Step(status, self.claim.reason, exc.retry_after, self.claim.attention)
        attention = self.claim.attention
        if self._age - self.settings.settle_window > SURE_BY_NOW:
            attention = Attention.IN_DOUBT if status is Status.IN_DOUBT else Attention.STILL_OPEN
        due_in = max(read_back_delay(self._age), exc.retry_after or 0)
        return Step(status, f"can't be read back now: {exc.detail}", due_in, attention)

    def again(
        self, holdings: tuple[Holding, ...] | None, reason: str | None = None, *, fixed: bool = True
    ) -> Step:
        """Nothing was done: try again, unless time ran out."""
        left = self.settings.retry_for - (self.claim.since_first_attempt or 0)
        delay = retry_within(retry_delay(len(self.claim.closes)), left)
        if delay is None:
            why = reason or "proved not done"
            return gave_up(f"{why}; no time is left to try again", holdings, last_of(self.claim), self.today)
        reason = reason or "proved not done: no fill, no order, and the position as it was"
        return Step(Status.QUEUED, reason, delay, None, holdings, fixed=fixed)


def nothing_open(
    command: Command, positions: Sequence[Position], today: date, was_seen: Callable[[Command], bool]
) -> Step:
    """There is nothing to close; suspect if something like it is open, or never was: a typo looks just like flat."""
    if alike := evidence.alike(command, positions, today):
        open_now = ", ".join(f"{p.side} {p.instrument} in {p.account}" for p in alike[:3])
        reason = f"nothing was open under that name, but this is: {open_now}"
    elif not was_seen(command):
        reason = "nothing was open, and nothing of that name was ever seen open there: is the name right?"
    else:
        return Step(Status.NOTHING_OPEN, "nothing was open", holdings=())
    return Step(Status.NOTHING_OPEN, reason, attention=Attention.NOTHING_OPEN_SUSPECT, holdings=())


def gave_up(reason: str, holdings: tuple[Holding, ...] | None, last: PastAttempt | None, today: date) -> Step:
    """Tries or time ran out; what was closed by then is recorded."""
    closed = closed_positions(holdings or (), last.report if last else None, today)
    return Step(Status.GAVE_UP, reason, None, Attention.GAVE_UP, holdings, closed=closed)


def _less_than_asked(command: Command, holdings: Sequence[Holding]) -> str | None:
    match command:
        case ClosePosition(size=Quantity(amount, Unit.CONTRACTS)) if holdings and amount > holdings[0].before:
            return f"asked for {amount:f}, and {holdings[0].before:f} was open: all of it was closed"
    return None
