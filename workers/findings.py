"""What a venue shows of one claim: one reading of the positions, and the fills and orders that speak for or against it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import combinations

from app.domain.commands import ClosePosition, FlattenEverything
from app.domain.failures import OutcomeUnknown, Refused
from app.domain.positions import Fill, Holding, Order, OrderState, Position, Side
from app.ledger.claim import Claim, PastAttempt
from config.file import BrokerSettings
from workers import evidence
from workers.observation import Observation

ROUNDING = 5.0
"""Seconds by which the fills are asked for further back where there must be none: venues round their times."""


def age_of(attempt: PastAttempt, claim: Claim) -> float:
    """Seconds since it was sent, by now."""
    return attempt.age + time.monotonic() - claim.taken_at


def settles_in(attempts: Sequence[PastAttempt], claim: Claim) -> float:
    """Seconds until nothing of these attempts can come any more, by now; 0 or less: nothing can."""
    latest = max((attempt.settles_in for attempt in attempts), default=0.0)
    return latest - (time.monotonic() - claim.read_at)


def that_may_have_acted(attempts: Sequence[PastAttempt]) -> tuple[PastAttempt, ...]:
    """Those that the venue took, and those whose answer is not known."""
    return tuple(
        attempt
        for attempt in attempts
        if attempt.outcome in (None, OutcomeUnknown.outcome)
        or (attempt.report is not None and not attempt.report.nothing_open)
    )


def last_of(claim: Claim) -> PastAttempt:
    """The last attempt that may have acted: what was proved unsent or refused has no effect to wait for."""
    return (claim.closes[-1], *that_may_have_acted(claim.closes))[-1]


def may_ask_for_orders(claim: Claim) -> bool:
    """Whether the venue can be asked, by ids of ours, for each order that may have acted."""
    return all(attempt.client_id for attempt in that_may_have_acted(claim.closes))


@dataclass(frozen=True, slots=True)
class OrdersFound:
    """The orders of the attempts that may have acted, and the attempts of which the venue knows none."""

    orders: tuple[Order, ...]
    missing: tuple[PastAttempt, ...]

    @property
    def live(self) -> tuple[Order, ...]:
        return tuple(order for order in self.orders if order.state.live)

    @property
    def filled(self) -> Decimal:
        return sum((order.filled for order in self.orders), Decimal(0))

    def did(self, holdings: Sequence[Holding], today: date) -> bool:
        """Whether they were filled whole, and made each of these positions as small as it should be."""
        if any(order.state is OrderState.ENDED for order in self.orders):
            return False
        if len(holdings) == 1:  # they are ours by their ids, whatever they call it
            return self.filled >= holdings[0].before - holdings[0].target
        return all(
            sum(order.filled for order in self.orders if evidence.same_position(holding, order, today))
            >= holding.before - holding.target
            for holding in holdings
        )

    @property
    def words(self) -> str:
        """What the venue says of them."""
        return "; ".join(sorted({order.detail or str(order.state) for order in self.orders}))

    def never_placed(self, claim: Claim) -> bool:
        """Whether those that are missing were surely never placed, and never will be."""
        return all(it.lapses for it in self.missing) and settles_in(self.missing, claim) <= 0


@dataclass(frozen=True, slots=True)
class Findings:
    """One reading of the open positions. Fills and orders are read when they are asked for, which raises BrokerError."""

    claim: Claim
    settings: BrokerSettings
    today: date
    observation: Observation
    positions: tuple[Position, ...]

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """What the command is to reduce, with what is left of each; empty if nobody saw it before."""
        return evidence.with_after(self.claim.holdings or (), self.positions, self.today)

    @property
    def mine(self) -> tuple[Position, ...]:
        """What is open of what the command is about."""
        return evidence.matching(self.claim.command, self.positions, self.today)

    @property
    def all_reached(self) -> bool:
        """Whether each position is at its target; of a flatten also, whether nothing matches any more."""
        if self.holdings and isinstance(self.claim.command, ClosePosition):
            return all(evidence.reached(holding) for holding in self.holdings)
        return not self.mine

    @property
    def another(self) -> bool:
        """Whether a position is not what it was: somebody else is trading it."""
        return any(
            evidence.grew(holding) or evidence.replaced(holding, self.positions, self.today)
            for holding in self.holdings
        )

    def done_by_fills(self) -> bool:
        """Whether the close was done all the same, and the fills since explain all that is open now."""
        if not self.holdings:
            return False
        strangers = [
            evidence.opened_after(position)
            for position in self.mine
            if not any(evidence.same_position(holding, position, self.today) for holding in self.holdings)
        ]
        to_explain = [holding for holding in self.holdings if not evidence.reached(holding)] + strangers
        if not to_explain:
            return True
        fills = self._fills() or ()
        return all(evidence.accounted_for(holding, fills, self.since, self.today) for holding in to_explain)

    def opened_since(self) -> bool:
        """Whether the fills show that all that is open now was opened after the attempt."""
        fills = self._fills() or ()
        explained = all(evidence.opened_since(it, fills, self.since, self.today) for it in self.mine)
        # One fill must not count for two.
        alike = (evidence.could_be_of(one, other, self.today) for one, other in combinations(self.mine, 2))
        return explained and not any(alike)

    def still_so(self) -> bool:
        """Whether another list shows the same: what was filled after the first explains nothing that stands in it."""
        again = evidence.matching(self.claim.command, self.observation.positions_anew(), self.today)
        return Counter(map(_standing, again)) == Counter(map(_standing, self.mine))

    @property
    def turned(self) -> bool:
        """Whether the other side of a position is open now."""
        return any(evidence.turned(holding, self.positions, self.today) for holding in self.holdings)

    def orders(self) -> OrdersFound | None:
        """What became of the orders that our attempts sent; None where the venue can't be asked for all of them."""
        holdings = self.claim.holdings
        if not holdings:
            return None
        orders: list[Order] = []
        missing: list[PastAttempt] = []
        for attempt in that_may_have_acted(self.claim.closes):
            own = next((it for it in holdings if it.place == attempt.place), holdings[0])
            found = self.observation.orders_of(attempt, own)
            if found is None:
                return None
            orders += found
            if not found:
                missing.append(attempt)
        return OrdersFound(tuple(orders), tuple(missing))

    def nothing_happened(self) -> bool:
        """Whether it is proved that nothing was filled of what is open now, and that no close of ours still works."""
        return self._proved(evidence.untouched)

    def nothing_was_reduced(self) -> bool:
        """The same, whatever was opened: enough where the venue itself says that it did nothing."""
        return self._proved(evidence.unreduced)

    def fills(self) -> tuple[Fill, ...] | None:
        """The fills of what the command is about; None if they can't be known (any more)."""
        fills = self._fills()
        if fills is None:
            return None
        command = self.claim.command
        return tuple(fill for fill in fills if evidence.is_about(command, fill, fill.reduces, self.today))

    @property
    def since(self) -> datetime:
        """When the first attempt that may have acted was sent."""
        return self._first.sent_at

    def _proved(self, unharmed: Callable[[Position, Sequence[Fill], date], bool]) -> bool:
        # Orders before fills: one that fills between the two reads must not escape both.
        # Stops and targets may work on; a market order could be the one of our request.
        orders = [order for order in self.observation.orders(self._accounts()) if order.market]
        if any(
            evidence.could_be_of(position, order, self.today) for order in orders for position in self.mine
        ):
            return False
        # A request takes up to its deadline to reach the venue, which counts the seconds from then.
        fills = self._fills(self.settings.deadline + ROUNDING)
        return fills is not None and all(unharmed(position, fills, self.today) for position in self.mine)

    @property
    def _first(self) -> PastAttempt:
        """The first attempt that may have acted."""
        return (*that_may_have_acted(self.claim.closes), self.claim.closes[-1])[0]

    def _fills(self, further_back: float = 0.0) -> tuple[Fill, ...] | None:
        """The fills since the first attempt that may have acted; None if they can't be known (any more)."""
        accounts, age = self._accounts(), age_of(self._first, self.claim)
        if not accounts or age < 0:  # the ledger's clock went back: nobody knows since when to ask
            return None
        try:
            return self.observation.fills(accounts, age + further_back)
        except Refused:
            return None

    def _accounts(self) -> list[str]:
        command = self.claim.command
        named = [] if isinstance(command, FlattenEverything) else [command.account]
        seen = [h.account for h in self.holdings] + [p.account for p in self.mine]
        return [account for account in (*named, *seen) if account]


def _standing(position: Position) -> tuple[str, str, Side, Decimal]:
    return position.account, position.instrument, position.side, position.quantity
