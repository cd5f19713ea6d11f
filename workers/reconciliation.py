"""After a call that may have acted: is the close reached, may it be tried again, or must a person decide?

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
from workers.findings import Findings, OrdersFound, age_of, settles_in, that_may_have_acted
from workers.observation import NO_ROOM, Observation

SOON = 5.0
"""Seconds after which the venue is asked again at the latest, while an operator waits for the answer."""
SURE_BY_NOW = 30.0
"""Seconds of vain reading after which a person is told."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Decides the next step of one claim by reading its broker back."""

    broker: Broker
    settings: BrokerSettings
    claim: Claim
    today: date
    was_seen: Callable[[Command], bool]
    """Whether what a command names was ever seen open there."""
    observation: Observation | None = None
    """One that several share, so that one list serves all; None: each look reads anew."""

    @property
    def command(self) -> Command:
        return self.claim.command

    @property
    def last(self) -> PastAttempt:
        """The last attempt that may have acted: what was proved unsent or refused has no effect to wait for."""
        return (self.claim.closes[-1], *that_may_have_acted(self.claim.closes))[-1]

    @property
    def age(self) -> float:
        """Seconds since the last attempt that may have acted."""
        return age_of(self.last, self.claim)

    @property
    def partial(self) -> bool:
        return isinstance(self.command, ClosePosition) and not self.command.whole

    def verify(self) -> Step:
        """The next step of a command that the broker took."""
        try:
            found = self._look()
            if self._said_nothing_open():
                return self._check_nothing_open(found)
            orders = found.orders()
            if orders and orders.orders:
                return self._by_orders(found, orders)
        except BrokerError as exc:
            return self._read_again(Status.WORKING, exc)
        if found.all_reached:
            return self._reached(found)
        if self._seems_done(found):
            reason = "done; what is open now was opened after"
            return self._closed(found, evidence.at_target(found.holdings), reason)
        if found.another:
            reason = "the position is not what it was: somebody else is trading"
            return self._watch(found.holdings, Attention.POSITION_CHANGED, reason)
        return self._still_open(found.holdings, "taken, and not where it should be")

    def judge(self) -> Step:
        """The next step of a command that may have been carried out; `queued` if it may be tried again."""
        wait = settles_in(that_may_have_acted(self.claim.closes) or (self.last,), self.claim)
        try:
            if wait > 0:
                return self._found_early() or self._doubtful(
                    "the answer was lost; its effect may still come", due_in=self._next_question(wait)
                )
            found = self._look()
            if step := self._found_or_never_placed(found) or self._taken_over(found):
                return step
            if found.all_reached:
                return self._reached_in_doubt(found)
            if found.done_by_fills():
                reason = "an earlier attempt did it, as the fills show; what is open now was opened after"
                return self._closed(found, evidence.at_target(found.holdings), reason)
            if found.another:
                return self._somebody_else(found)
            if self._may_repeat(found):
                planned = evidence.plan(self.command, found.mine, self.broker.venue.lot or evidence.NOTHING)
                return self._again(found.holdings or planned)
        except BrokerError as exc:
            return self._read_again(Status.IN_DOUBT, exc)
        reason = "the answer was lost, and nothing proves what became of the request"
        return self._doubtful(reason, Attention.IN_DOUBT, found.holdings, self._next_look())

    def resolved(self, resolution: str) -> Step:
        """An operator says that it was done: it was, if a fresh read agrees."""
        wait = settles_in(that_may_have_acted(self.claim.closes), self.claim)
        if wait > 0 and self.claim.status is not Status.WORKING:
            return self._doubtful(f"{resolution}; its effect may still come", due_in=wait)
        try:
            found = self._look()
            orders = found.orders()
        except BrokerError as exc:
            step = self._read_again(self.claim.status, exc)
            return replace(step, due_in=min(step.due_in or SOON, SOON))  # somebody waits for it
        if orders and orders.live:
            # It asks for attention until it is gone: a venue may refuse to cancel it.
            reason = f"{resolution}; its order is cancelled first: {orders.words}"
            watched = self._watch(found.holdings, Attention.STILL_OPEN, reason)
            tried = (self.claim.reason or "").startswith(resolution)
            due_in = watched.due_in if tried else 1.0
            return replace(watched, cancel=orders.live, due_in=due_in)
        if unreadable := found.observation.unreadable:
            reason = f"{resolution}; that can't be checked, as {', '.join(unreadable)} can't be read"
            return Step(Status.CANCELLED, reason, None, Attention.STILL_OPEN, found.holdings)
        if not found.all_reached:
            open_now = ", ".join(f"{p.side} {p.quantity:f} {p.instrument} in {p.account}" for p in found.mine)
            reason = f"{resolution}; but this is open: {open_now}"
            return Step(Status.CANCELLED, reason, None, Attention.STILL_OPEN, found.holdings)
        fills, ours = self._fills_for_prices(found), orders.orders if orders else ()
        closed = closed_positions(self._unwritten(found), self.last.report, self.today, ours, fills=fills)
        return Step(Status.CLOSED, resolution, holdings=found.holdings, closed=closed)

    def _unwritten(self, found: Findings) -> Sequence[Holding]:
        """Of a flatten, what was at its target before is among the closed positions already."""
        if isinstance(self.command, ClosePosition):
            return found.holdings
        written = [holding.place for holding in self.claim.holdings or () if evidence.reached(holding)]
        return [holding for holding in found.holdings if holding.place not in written]

    def _taken_over(self, found: Findings) -> Step | None:
        """What a close of all of the position, sent later, left of a doubt."""
        taker = self.claim.overtaken
        if taker is None:
            return None
        if taker.after_the_doubt or not found.mine:
            reason = f"a wider close took over: {taker.by}"
            return Step(Status.SUPERSEDED, reason, holdings=found.holdings or None)
        if taker.under_way:
            reason = "the answer was lost; a wider close is under way"
            late = self.age > self.settings.settle_window + self.settings.verify_for
            attention = Attention.IN_DOUBT if late else None
            return self._doubtful(reason, attention, found.holdings, read_back_delay(self.age))
        return None

    def _found_early(self) -> Step | None:
        """The order of a lost answer, found before its settle window is over: there is nothing to wait for then."""
        if not self._may_ask_for_orders():
            return None
        found = self._look()
        orders = found.orders()
        return None if orders is None or orders.missing else self._by_orders(found, orders)

    def _next_question(self, wait: float) -> float:
        """Where the venue can be asked for our order it is asked early, and ever more slowly."""
        return min(wait, read_back_delay(self.age)) if self._may_ask_for_orders() else wait

    def _may_ask_for_orders(self) -> bool:
        return all(attempt.client_id for attempt in that_may_have_acted(self.claim.closes))

    def _found_or_never_placed(self, found: Findings) -> Step | None:
        orders = found.orders()
        if orders is None:
            return None
        if not orders.never_placed(self.claim):
            return self._may_still_come(found) if self.broker.venue.closing_can_flip else None
        if orders.orders:
            return self._by_orders(found, orders)
        if found.another:
            return self._somebody_else(found)
        if found.all_reached:
            return self._reached_in_doubt(found)
        return self._again(found.holdings, "the venue knows no such order, and takes it no more")

    def _may_still_come(self, found: Findings) -> Step:
        """Wherever the position is now, it was not our order that brought it there."""
        reason = "the answer was lost and the venue knows no such order; if it comes late, it could open the other side"
        return self._doubtful(reason, Attention.IN_DOUBT, found.holdings, self._next_look())

    def _by_orders(self, found: Findings, orders: OrdersFound) -> Step:
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
        closed = closed_positions(found.holdings, self.last.report, self.today, orders.orders)
        return Step(Status.GAVE_UP, ended, None, Attention.GAVE_UP, found.holdings, closed=closed)

    def _while_live(self, found: Findings, orders: OrdersFound) -> Step:
        left = sum((h.after or evidence.NOTHING for h in found.holdings), evidence.NOTHING)
        leaves = sum((order.leaves or evidence.NOTHING for order in orders.live), evidence.NOTHING)
        if self.broker.venue.closing_can_flip and left < leaves:
            reason = "less is open than its order would close: it is cancelled before it opens the other side"
            return replace(self._watch(found.holdings, None, reason), cancel=orders.live)
        step = self._still_open(found.holdings, "taken, and not where it should be")
        if all(order.state is OrderState.HELD for order in orders.live):
            return replace(step, reason=f"the venue holds the order: {orders.words}")
        return step

    def _done_by(self, found: Findings, orders: OrdersFound, reason: str | None) -> Step:
        holdings = evidence.at_target(found.holdings)
        closed = closed_positions(holdings, self.last.report, self.today, orders.orders)
        reason = reason or _less_than_asked(self.command, holdings)
        return self._settled(found, Step(Status.CLOSED, reason, holdings=holdings, closed=closed))

    def _settled(self, found: Findings, step: Step) -> Step:
        """Where a closing order can flip a position, the other side is somebody's business to look at."""
        if not (self.broker.venue.closing_can_flip and found.turned):
            return step
        reason = "closed, and the other side is open now: was it opened by somebody, or by our order?"
        return replace(step, reason=reason, attention=Attention.POSITION_CHANGED)

    def _somebody_else(self, found: Findings) -> Step:
        reason = "the position is not what it was: somebody else is trading; nothing more is sent"
        return self._doubtful(reason, Attention.POSITION_CHANGED, found.holdings, self._next_look())

    def _look(self) -> Findings:
        observation = self.observation or Observation(self.broker, self.claim)
        return Findings(self.claim, self.settings, self.today, observation, observation.positions())

    def _seems_done(self, found: Findings) -> bool:
        """Of a close that was taken, the fills are a second opinion, and may fail to be read."""
        try:
            return found.done_by_fills()
        except BrokerError:
            return False

    def _may_repeat(self, found: Findings) -> bool:
        """Whether nothing can have happened and nothing may still, and all there is was to be closed.

        A partial close is never repeated without a venue's own word that it did nothing: there is no id of ours to look
        it up by, and one that is late could still come.
        """
        return not self.partial and not self.broker.venue.closing_can_flip and found.nothing_happened()

    def _said_nothing_open(self) -> bool:
        report = self.claim.closes[-1].report
        return report is not None and report.nothing_open

    def _check_nothing_open(self, found: Findings) -> Step:
        """The broker said that nothing was open. The list decides whether that is so."""
        earlier = bool(that_may_have_acted(self.claim.closes))
        if not found.mine:
            if earlier:
                return self._reached_in_doubt(found)
            return nothing_open(self.command, found.positions, self.today, self.was_seen)
        seen = "the broker says that nothing is open, and its list shows the position"
        try:
            if not earlier and self._was_opened_since(found):
                reason = "nothing was open; what is open now was opened after, and is left alone"
                suspect = Attention.NOTHING_OPEN_SUSPECT
                return Step(Status.NOTHING_OPEN, reason, attention=suspect, holdings=())
            if self.partial and not self._did_nothing(found):
                return self._still_open(found.holdings, seen)
        except BrokerError as exc:
            return self._read_again(Status.WORKING, exc)
        return self._again(self.claim.holdings if earlier else None, seen, fixed=earlier)

    def _was_opened_since(self, found: Findings) -> bool:
        """A new position is not what the close was for. Where the venue does not show the fills, the list is believed."""
        try:
            return found.opened_since()
        except BrokerError as exc:
            if exc.detail == NO_ROOM:
                raise  # it is our own limit that keeps us from knowing, for seconds
            return False

    def _did_nothing(self, found: Findings) -> bool:
        """Who says two things at once is not believed at once: a part that was closed all the same would be doubled."""
        return settles_in((self.last,), self.claim) <= 0 and found.nothing_was_reduced()

    def _reached(self, found: Findings) -> Step:
        if found.holdings:
            return self._closed(found, found.holdings)
        return self._closed_unseen(found, taken=True)

    def _reached_in_doubt(self, found: Findings) -> Step:
        """The position is where it should be after an answer was lost: an earlier attempt did it."""
        if found.holdings:
            reason = "the answer was lost; the position shows that it was done"
            return self._closed(found, found.holdings, reason)
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
        return nothing_open(self.command, found.positions, self.today, self.was_seen)

    def _closed(self, found: Findings, holdings: tuple[Holding, ...], reason: str | None = None) -> Step:
        fills = self._fills_for_prices(found)
        closed = closed_positions(holdings, self.last.report, self.today, fills=fills)
        reason = reason or _less_than_asked(self.command, holdings)
        return self._settled(found, Step(Status.CLOSED, reason, holdings=holdings, closed=closed))

    def _fills_for_prices(self, found: Findings) -> tuple[Fill, ...]:
        """Where the answer has no prices the fills do. A second opinion, which may fail to be read."""
        if not self.broker.venue.tells_prices_later:
            return ()
        try:
            return found.fills() or ()
        except BrokerError:
            return ()

    def _still_open(self, holdings: tuple[Holding, ...], reason: str) -> Step:
        """Taken, and not there: a person is told when it should have been."""
        if self.age <= self.settings.verify_for:
            return self._watch(holdings, None, None)
        reason = f"{reason} after {self.settings.verify_for:g} s"
        return self._watch(holdings, Attention.STILL_OPEN, reason)

    def _watch(self, holdings: tuple[Holding, ...], attention: Attention | None, reason: str | None) -> Step:
        return Step(Status.WORKING, reason, read_back_delay(self.age), attention, holdings or None)

    def _doubtful(
        self,
        reason: str,
        attention: Attention | None = None,
        holdings: tuple[Holding, ...] = (),
        due_in: float | None = None,
    ) -> Step:
        return Step(Status.IN_DOUBT, reason, due_in, attention, holdings or None, fixed=True)

    def _next_look(self) -> float | None:
        """Seconds until a doubt is looked into again; None when only a person can still tell."""
        still_reading = self.age < self.settings.settle_window + self.settings.verify_for
        still_reading = still_reading or self._may_ask_for_orders()  # an order may turn up at any time
        return read_back_delay(self.age) if still_reading else None

    def _read_again(self, status: Status, exc: BrokerError) -> Step:
        """The broker can't be read now. Nothing is concluded from that, and a person is told if it lasts."""
        if exc.detail == NO_ROOM:
            return Step(status, self.claim.reason, exc.retry_after, self.claim.attention)
        attention = self.claim.attention
        if self.age - self.settings.settle_window > SURE_BY_NOW:
            attention = Attention.IN_DOUBT if status is Status.IN_DOUBT else Attention.STILL_OPEN
        due_in = max(read_back_delay(self.age), exc.retry_after or 0)
        return Step(status, f"can't be read back now: {exc.detail}", due_in, attention)

    def _again(
        self, holdings: tuple[Holding, ...] | None, reason: str | None = None, *, fixed: bool = True
    ) -> Step:
        """Nothing was done: try again, unless time ran out."""
        left = self.settings.retry_for - (self.claim.since_first_attempt or 0)
        delay = retry_within(retry_delay(len(self.claim.closes)), left)
        if delay is None:
            why = reason or "proved not done"
            return gave_up(f"{why}; no time is left to try again", holdings, self.last, self.today)
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
