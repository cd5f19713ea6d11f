"""After a call that may have acted: is the close reached, may it be tried again, or must a person decide?

(design, section 3, 6 and 7)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command
from app.domain.failures import BrokerError
from app.domain.positions import Holding
from app.domain.statuses import Attention, Status
from app.ledger.claim import Claim
from app.ledger.step import Step
from config.file import BrokerSettings
from workers import evidence
from workers.backoff import read_back_delay
from workers.brokers.broker import Broker
from workers.closed import closed_positions
from workers.conclusions import Conclusions, nothing_open
from workers.findings import Findings, age_of, last_of, may_ask_for_orders, settles_in, that_may_have_acted
from workers.observation import NO_ROOM, Observation

SOON = 5.0
"""Seconds after which the venue is asked again at the latest, while an operator waits for the answer."""


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
    def age(self) -> float:
        """Seconds since the last attempt that may have acted."""
        return age_of(last_of(self.claim), self.claim)

    @property
    def partial(self) -> bool:
        return isinstance(self.command, ClosePosition) and not self.command.whole

    @property
    def _conclude(self) -> Conclusions:
        return Conclusions(self.broker, self.settings, self.claim, self.today, self.was_seen)

    def verify(self) -> Step:
        """The next step of a command that the broker took."""
        try:
            found = self._look()
            if self._said_nothing_open():
                return self._check_nothing_open(found)
            orders = found.orders()
            if orders and orders.orders:
                return self._conclude.by_orders(found, orders)
        except BrokerError as exc:
            return self._conclude.read_again(Status.WORKING, exc)
        if found.all_reached:
            return self._conclude.reached(found)
        if self._seems_done(found):
            reason = "done; what is open now was opened after"
            return self._conclude.closed(found, evidence.at_target(found.holdings), reason)
        if found.another:
            reason = "the position is not what it was: somebody else is trading"
            return self._conclude.watch(found.holdings, Attention.POSITION_CHANGED, reason)
        return self._conclude.still_open(found.holdings, "taken, and not where it should be")

    def judge(self) -> Step:
        """The next step of a command that may have been carried out; `queued` if it may be tried again."""
        wait = settles_in(that_may_have_acted(self.claim.closes) or (last_of(self.claim),), self.claim)
        try:
            if wait > 0:
                return self._found_early() or self._conclude.doubtful(
                    "the answer was lost; its effect may still come", due_in=self._next_question(wait)
                )
            found = self._look()
            if step := self._found_or_never_placed(found) or self._taken_over(found):
                return step
            if found.all_reached:
                return self._conclude.reached_in_doubt(found)
            if found.done_by_fills():
                reason = "an earlier attempt did it, as the fills show; what is open now was opened after"
                return self._conclude.closed(found, evidence.at_target(found.holdings), reason)
            if found.another:
                return self._conclude.somebody_else(found)
            if self._may_repeat(found):
                planned = evidence.plan(self.command, found.mine, self.broker.venue.lot or evidence.NOTHING)
                return self._conclude.again(found.holdings or planned)
        except BrokerError as exc:
            return self._conclude.read_again(Status.IN_DOUBT, exc)
        reason = "the answer was lost, and nothing proves what became of the request"
        return self._conclude.doubtful(reason, Attention.IN_DOUBT, found.holdings, self._conclude.next_look())

    def resolved(self, resolution: str) -> Step:
        """An operator says that it was done: it was, if a fresh read agrees."""
        wait = settles_in(that_may_have_acted(self.claim.closes), self.claim)
        if wait > 0 and self.claim.status is not Status.WORKING:
            return self._conclude.doubtful(f"{resolution}; its effect may still come", due_in=wait)
        try:
            found = self._look()
            orders = found.orders()
        except BrokerError as exc:
            step = self._conclude.read_again(self.claim.status, exc)
            return replace(step, due_in=min(step.due_in or SOON, SOON))  # somebody waits for it
        if orders and orders.live:
            # It asks for attention until it is gone: a venue may refuse to cancel it.
            reason = f"{resolution}; its order is cancelled first: {orders.words}"
            watched = self._conclude.watch(found.holdings, Attention.STILL_OPEN, reason)
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
        fills, ours = self._conclude.fills_for_prices(found), orders.orders if orders else ()
        closed = closed_positions(
            self._unwritten(found), last_of(self.claim).report, self.today, ours, fills=fills
        )
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
            return self._conclude.doubtful(reason, attention, found.holdings, read_back_delay(self.age))
        return None

    def _found_early(self) -> Step | None:
        """The order of a lost answer, found before its settle window is over: there is nothing to wait for then."""
        if not may_ask_for_orders(self.claim):
            return None
        found = self._look()
        orders = found.orders()
        return None if orders is None or orders.missing else self._conclude.by_orders(found, orders)

    def _next_question(self, wait: float) -> float:
        """Where the venue can be asked for our order it is asked early, and ever more slowly."""
        return min(wait, read_back_delay(self.age)) if may_ask_for_orders(self.claim) else wait

    def _found_or_never_placed(self, found: Findings) -> Step | None:
        orders = found.orders()
        if orders is None:
            return None
        if not orders.never_placed(self.claim):
            return self._may_still_come(found) if self.broker.venue.closing_can_flip else None
        if orders.orders:
            return self._conclude.by_orders(found, orders)
        if found.another:
            return self._conclude.somebody_else(found)
        if found.all_reached:
            return self._conclude.reached_in_doubt(found)
        return self._conclude.again(found.holdings, "the venue knows no such order, and takes it no more")

    def _may_still_come(self, found: Findings) -> Step:
        """Wherever the position is now, it was not our order that brought it there."""
        reason = "the answer was lost and the venue knows no such order; if it comes late, it could open the other side"
        return self._conclude.doubtful(reason, Attention.IN_DOUBT, found.holdings, self._conclude.next_look())

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
                return self._conclude.reached_in_doubt(found)
            return nothing_open(self.command, found.positions, self.today, self.was_seen)
        seen = "the broker says that nothing is open, and its list shows the position"
        try:
            if not earlier and self._was_opened_since(found):
                if not self._is_still_so(found):
                    return self._conclude.still_open(found.holdings, seen)
                reason = "nothing was open; what is open now was opened after, and is left alone"
                suspect = Attention.NOTHING_OPEN_SUSPECT
                return Step(Status.NOTHING_OPEN, reason, attention=suspect, holdings=())
            if self.partial and not self._did_nothing(found):
                return self._conclude.still_open(found.holdings, seen)
        except BrokerError as exc:
            return self._conclude.read_again(Status.WORKING, exc)
        return self._conclude.again(self.claim.holdings if earlier else None, seen, fixed=earlier)

    def _was_opened_since(self, found: Findings) -> bool:
        """A new position is not what the close was for. Where the venue does not show the fills, the list is believed."""
        try:
            return found.opened_since()
        except BrokerError as exc:
            if exc.detail == NO_ROOM:
                raise  # it is our own limit that keeps us from knowing, for seconds
            return False

    def _is_still_so(self, found: Findings) -> bool:
        """As the fills say, by a second list. Where our limits leave no room for one they are believed: a person looks."""
        try:
            return found.still_so()
        except BrokerError as exc:
            if exc.detail != NO_ROOM:
                raise
            return True

    def _did_nothing(self, found: Findings) -> bool:
        """Who says two things at once is not believed at once: a part that was closed all the same would be doubled."""
        return settles_in((last_of(self.claim),), self.claim) <= 0 and found.nothing_was_reduced()
