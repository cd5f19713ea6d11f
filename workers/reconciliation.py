"""After a call that may have acted: is the close reached, may it be tried again, or must a person decide?

(design, section 3, 6 and 7)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.domain.commands import ClosePosition, Command, FlattenEverything, Quantity
from app.domain.failures import BrokerError, Refused
from app.domain.positions import Fill, Holding, Position
from app.domain.statuses import Attention, Status
from app.ledger.claims import Claim, PastAttempt
from app.ledger.journal import Step
from config.file import BrokerSettings
from workers import evidence
from workers.backoff import read_back_delay, retry_delay
from workers.brokers.broker import Broker
from workers.observation import Observation

SURE_BY_NOW = 30.0
"""Seconds of vain reading after which a person is told."""

ROUNDING = 5.0
"""Seconds by which the fills are asked for further back where there must be none: venues round their times."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Decides the next step of one claim by reading its broker back."""

    broker: Broker
    settings: BrokerSettings
    claim: Claim
    today: date

    @property
    def command(self) -> Command:
        return self.claim.command

    @property
    def last(self) -> PastAttempt:
        return self.claim.closes[-1]

    def verify(self) -> Step:
        """The next step of a command that the broker took."""
        try:
            positions = self.observation.positions()
        except BrokerError as exc:
            return self._read_again(Status.WORKING, exc)
        if self._said_nothing_open():
            return self._check_nothing_open(positions)
        holdings = self._with_after(positions)
        if self._all_reached(holdings, positions):
            return self._closed(holdings) if holdings else self._closed_unseen(taken=True)
        if self._seems_done_by_fills(holdings, positions):
            return self._closed(
                _at_target(holdings), "the fills did all of it; what is open now was opened after"
            )
        if any(evidence.grew(holding) for holding in holdings):
            return self._watch(
                holdings, Attention.POSITION_CHANGED, "the position grew: somebody else is trading"
            )
        late = self.last.age > self.settings.verify_for
        reason = f"taken, and not where it should be after {self.settings.verify_for:g} s" if late else None
        return self._watch(holdings, Attention.STILL_OPEN if late else None, reason)

    def judge(self) -> Step:
        """The next step of a command that may have been carried out; `queued` if it may be tried again."""
        wait = self.settings.settle_window - self.last.age
        if wait > 0:
            return self._doubtful(due_in=wait)
        try:
            positions = self.observation.positions()
            holdings = self._with_after(positions)
            if self._all_reached(holdings, positions):
                return self._reached_in_doubt(holdings)
            if self._done_by_fills(holdings, positions):
                return self._closed(_at_target(holdings), "an earlier attempt did it, as the fills show")
            if self._is_another(holdings, positions):
                reason = "the position is not what it was: somebody else is trading; nothing more is sent"
                return self._doubtful(reason, Attention.POSITION_CHANGED, holdings)
            if self._may_repeat(holdings, positions):
                return self._again(
                    holdings or evidence.plan(self.command, self._mine(positions), self.broker.venue.lot)
                )
        except BrokerError as exc:
            return self._read_again(Status.IN_DOUBT, exc)
        reason = "the answer was lost, and nothing proves what became of the request"
        still_reading = self.last.age < self.settings.settle_window + self.settings.verify_for
        due_in = read_back_delay(self.last.age) if still_reading else None
        return self._doubtful(reason, Attention.IN_DOUBT, holdings, due_in)

    @property
    def observation(self) -> Observation:
        return Observation(self.broker, self.claim)

    def _mine(self, positions: Sequence[Position]) -> tuple[Position, ...]:
        return evidence.matching(self.command, positions, self.today)

    def _with_after(self, positions: Sequence[Position]) -> tuple[Holding, ...]:
        return evidence.with_after(self.claim.holdings or (), positions, self.today)

    def _all_reached(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> bool:
        """Whether each position is at its target; of a flatten also, whether nothing matches any more."""
        if holdings and isinstance(self.command, ClosePosition):
            return all(evidence.reached(holding) for holding in holdings)
        return not self._mine(positions)

    def _seems_done_by_fills(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> bool:
        """The same of a close that was taken: the fills are a second opinion, and may fail to be read."""
        try:
            return self._done_by_fills(holdings, positions)
        except BrokerError:
            return False

    def _done_by_fills(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> bool:
        """Whether the fills since the attempt did it all, whatever is open by now."""
        strangers = [
            position
            for position in self._mine(positions)
            if not any(evidence.same_position(holding, position, self.today) for holding in holdings)
        ]
        if not holdings or strangers:
            return False
        fills = self._fills(holdings, positions)
        sent_at = self._first_that_may_have_left().sent_at
        missing = [holding for holding in holdings if not evidence.reached(holding)]
        return all(evidence.accounted_for(h, fills or (), sent_at, self.today) for h in missing)

    def _is_another(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> bool:
        return any(
            evidence.grew(holding) or evidence.replaced(holding, positions, self.today)
            for holding in holdings
        )

    def _first_that_may_have_left(self) -> PastAttempt:
        left = [a for a in self.claim.closes if a.outcome not in ("not_sent", "throttled", "refused")]
        return left[0] if left else self.last

    def _fills(
        self, holdings: Sequence[Holding], positions: Sequence[Position], further_back: float = 0.0
    ) -> tuple[Fill, ...] | None:
        """The fills since the first attempt that may have left; None if they can't be known (any more)."""
        accounts = self._accounts(holdings, positions)
        if not accounts:
            return None
        since_claim = time.monotonic() - self.claim.taken_at
        age = self._first_that_may_have_left().age + since_claim
        try:
            return self.observation.fills(accounts, age + further_back)
        except Refused:
            return None

    def _accounts(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> list[str]:
        named = [] if isinstance(self.command, FlattenEverything) else [self.command.account]
        seen = [h.account for h in holdings] + [p.account for p in self._mine(positions)]
        return [account for account in (*named, *seen) if account]

    def _may_repeat(self, holdings: Sequence[Holding], positions: Sequence[Position]) -> bool:
        """Whether nothing can have happened and nothing may still, and all there is was to be closed.

        A partial close is never repeated without proof: this venue keeps no id of ours to look it up by.
        """
        if isinstance(self.command, ClosePosition) and not self.command.whole:
            return False
        if self.broker.venue.closing_can_flip:
            return False
        # A request takes up to its deadline to reach the venue, which counts the seconds from then.
        fills = self._fills(holdings, positions, self.settings.deadline + ROUNDING)
        mine = self._mine(positions)
        if fills is None or not all(evidence.untouched(position, fills, self.today) for position in mine):
            return False
        orders = self.observation.working_orders(self._accounts(holdings, positions))
        # Stops and targets may work on; a market order could be the one of our lost request.
        return not any(
            order.market and evidence.same_position(position, order, self.today)
            for order in orders
            for position in mine
        )

    def _said_nothing_open(self) -> bool:
        return self.last.report is not None and self.last.report.nothing_open

    def _check_nothing_open(self, positions: Sequence[Position]) -> Step:
        """The broker said that nothing was open. The list decides whether that is so."""
        earlier = [
            attempt
            for attempt in self.claim.closes[:-1]
            if attempt.outcome == "outcome_unknown" or (attempt.report and not attempt.report.nothing_open)
        ]
        if self._mine(positions):
            seen = "the broker says that nothing is open, and its list shows the position"
            return self._again(self.claim.holdings if earlier else None, seen, fixed=bool(earlier))
        if earlier:
            return self._reached_in_doubt(self._with_after(positions))
        return nothing_open(self.command, positions, self.today)

    def _reached_in_doubt(self, holdings: tuple[Holding, ...]) -> Step:
        """The position is where it should be after an answer was lost: an earlier attempt did it."""
        if holdings:
            return self._closed(holdings, "the answer was lost; the position shows that it was done")
        return self._closed_unseen(taken=False)

    def _closed_unseen(self, *, taken: bool) -> Step:
        """Nothing is open of what nobody saw open: the fills tell what was closed, as far as they can be known."""
        try:
            fills = self._fills((), ())
        except BrokerError:
            fills = None
        since = self._first_that_may_have_left().sent_at
        closed = tuple(
            one
            for one in evidence.closed_by_fills(fills or (), since)
            if evidence.is_closed_by(self.command, one, self.today)
        )
        if closed:
            return Step(Status.CLOSED, "the fills show that it was done", holdings=(), closed=closed)
        if taken or fills is None or fills:
            return Step(Status.CLOSED, "nothing is open any more", holdings=())
        reason = "the answer was lost; nothing was filled, and nothing is open"
        return Step(Status.NOTHING_OPEN, reason, holdings=())

    def _closed(self, holdings: tuple[Holding, ...], reason: str | None = None) -> Step:
        closed = evidence.closed_positions(holdings, self.last.report, self.today)
        if not closed and holdings:
            return Step(Status.NOTHING_OPEN, reason, holdings=holdings)
        return Step(
            Status.CLOSED,
            reason or _less_than_asked(self.command, holdings),
            holdings=holdings,
            closed=closed,
        )

    def _watch(self, holdings: tuple[Holding, ...], attention: Attention | None, reason: str | None) -> Step:
        return Step(Status.WORKING, reason, read_back_delay(self.last.age), attention, holdings or None)

    def _doubtful(
        self,
        reason: str | None = "the answer was lost; its effect may still come",
        attention: Attention | None = None,
        holdings: tuple[Holding, ...] = (),
        due_in: float | None = None,
    ) -> Step:
        return Step(Status.IN_DOUBT, reason, due_in, attention, holdings or None, fixed=True)

    def _read_again(self, status: Status, exc: BrokerError) -> Step:
        """The broker can't be read now. Nothing is concluded from that, and a person is told if it lasts."""
        waited = self.last.age - self.settings.settle_window
        attention = self.claim.attention
        if waited > SURE_BY_NOW:
            attention = Attention.IN_DOUBT if status is Status.IN_DOUBT else Attention.STILL_OPEN
        due_in = max(read_back_delay(self.last.age), exc.retry_after or 0)
        return Step(status, f"can't be read back now: {exc.detail}", due_in, attention)

    def _again(
        self, holdings: tuple[Holding, ...] | None, reason: str | None = None, *, fixed: bool = True
    ) -> Step:
        """Nothing was done: try again, unless time ran out."""
        delay = retry_delay(len(self.claim.closes))
        if (self.claim.since_first_attempt or 0) + delay >= self.settings.retry_for:
            why = reason or "proved not done"
            return gave_up(f"{why}; no time is left to try again", holdings, self.last, self.today)
        reason = reason or "proved not done: no fill, no order, and the position as it was"
        return Step(Status.QUEUED, reason, delay, None, holdings, fixed=fixed)


def nothing_open(command: Command, positions: Sequence[Position], today: date) -> Step:
    """There is nothing to close; suspect if something like it is open: a typo looks just like flat."""
    alike = evidence.alike(command, positions, today)
    if not alike:
        return Step(Status.NOTHING_OPEN, "nothing was open", holdings=())
    open_now = ", ".join(f"{p.side} {p.instrument} in {p.account}" for p in alike[:3])
    reason = f"nothing was open under that name, but this is: {open_now}"
    return Step(Status.NOTHING_OPEN, reason, attention=Attention.NOTHING_OPEN_SUSPECT, holdings=())


def gave_up(reason: str, holdings: tuple[Holding, ...] | None, last: PastAttempt | None, today: date) -> Step:
    """Tries or time ran out; what was closed by then is recorded."""
    closed = evidence.closed_positions(holdings or (), last.report if last else None, today)
    return Step(Status.GAVE_UP, reason, None, Attention.GAVE_UP, holdings, closed=closed)


def _at_target(holdings: Sequence[Holding]) -> tuple[Holding, ...]:
    return tuple(h if evidence.reached(h) else replace(h, after=h.target) for h in holdings)


def _less_than_asked(command: Command, holdings: Sequence[Holding]) -> str | None:
    match command:
        case ClosePosition(size=Quantity(amount)) if holdings and amount > holdings[0].before:
            return f"asked for {amount:f}, and {holdings[0].before:f} was open: all of it was closed"
    return None
