"""Lanes against a model: whatever comes in, settles, waits or dies, the turn is the model's, and everybody gets one."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from app.domain.commands import (
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Quantity,
    urgency_of,
)
from app.domain.positions import Side
from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.claim import Claim
from app.ledger.claims import Claims
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.journal import Journal
from app.ledger.readers import CommandHistory, command_history
from app.ledger.step import Answer, Outgoing, Step
from app.ledger.types import now
from tests.conftest import on_both_databases
from tests.taking import accept
from tests.unit.test_lanes import assert_the_events_tell_it_all

FLIPS = "cs"
"""A broker whose closing orders can open the other side."""
PARTIAL = 2

accounts = st.sampled_from(["Sim101", "Sim102"])
instruments = st.sampled_from(["MES 12-26", "MES 03-27", "MES", "ES 12-26"])
sides = st.none() | st.sampled_from(list(Side))
brokers = st.sampled_from(["nt8", FLIPS])
commands = st.one_of(
    st.builds(
        ClosePosition,
        brokers,
        accounts,
        instruments,
        st.just(Quantity(Decimal(1))),
        sides,
        st.just(False),
    ),
    st.builds(ClosePosition, brokers, accounts, instruments, side=sides),
    st.builds(FlattenMatching, brokers, account=accounts, side=sides),
    st.builds(FlattenMatching, brokers, instrument=instruments),
    st.builds(FlattenEverything, brokers),
)


@dataclass
class Seen:
    """A command as the model knows it."""

    id: str
    order: int
    command: Command
    status: Status = Status.QUEUED
    claim: Claim | None = None
    due: bool = True
    fixed: bool = False

    @property
    def settled(self) -> bool:
        return self.status.final

    @property
    def urgency(self) -> int:
        return urgency_of(self.command)

    @property
    def in_flight(self) -> bool:
        return self.status is Status.SENDING or (self.status is Status.QUEUED and self.claim is not None)


def account_of(command: Command) -> str | None:
    return None if isinstance(command, FlattenEverything) else command.account


def instrument_of(command: Command) -> str | None:
    return None if isinstance(command, FlattenEverything) else command.instrument


def side_of(command: Command) -> Side | None:
    return None if isinstance(command, FlattenEverything) else command.side


def overlap(one: Command, other: Command) -> bool:
    """Whether the two could touch the same position."""
    names = {instrument_of(one), instrument_of(other)}
    same_account = len({account_of(one), account_of(other)} - {None}) < 2
    roots = {name.split()[0] for name in names if name}
    expiries = {name.split()[1] for name in names if name and " " in name}
    return one.broker == other.broker and same_account and len(roots) < 2 and len(expiries) < 2


def contains(wide: Command, narrow: Command) -> bool:
    return (
        wide.broker == narrow.broker
        and account_of(wide) in (None, account_of(narrow))
        and instrument_of(wide) in (None, instrument_of(narrow))
        and side_of(wide) in (None, side_of(narrow))
    )


class Lanes(RuleBasedStateMachine):
    """One worker with many hands over a real ledger, and what the design says of each turn."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self.claims = Claims(self.ledger, "one")
        self.journal = Journal(self.ledger)

    # The model

    def others(self, it: Seen) -> list[Seen]:
        """Those that are not settled and could touch the same position."""
        return [
            other
            for other in self.seen
            if other is not it and not other.settled and overlap(it.command, other.command)
        ]

    def may_still_close(self, it: Seen, other: Seen) -> bool:
        works = other.status is Status.WORKING and it.urgency == PARTIAL
        return it.command.broker == FLIPS and (other.status is Status.IN_DOUBT or works)

    def blocked(self, it: Seen) -> bool:
        return any(self.may_still_close(it, other) for other in self.others(it))

    def in_the_way(self, it: Seen, other: Seen) -> bool:
        earlier = other.order < it.order
        waits = other.status is Status.QUEUED and other.due and not self.blocked(other)
        wider = other.urgency < PARTIAL and other.urgency <= it.urgency
        return (
            other.in_flight
            or (it.urgency == PARTIAL and earlier)
            or self.may_still_close(it, other)
            or (earlier and wider and waits)
        )

    def expected(self) -> Seen | None:
        """Closes before read-backs; then the most urgent, then the oldest."""
        due = [it for it in self.seen if it.due and not it.settled and it.claim is None]
        turns = [
            it
            for it in due
            if it.status is Status.QUEUED and not any(self.in_the_way(it, other) for other in self.others(it))
        ]
        read_backs = [it for it in due if it.status in (Status.WORKING, Status.IN_DOUBT)]
        return min(turns or read_backs, key=lambda it: (it.urgency, it.order), default=None)

    def held(self, *statuses: Status) -> list[Seen]:
        return [it for it in self.seen if it.claim is not None and it.status in statuses]

    def becomes(self, it: Seen, status: Status, later: bool) -> None:
        it.status, it.claim, it.due = status, None, not later and not status.final
        if status is Status.CLOSED and it.urgency < PARTIAL:
            for other in self.seen:
                if other.status is Status.IN_DOUBT and contains(it.command, other.command):
                    other.due = True

    # What happens

    @rule(command=commands)
    def accepted(self, command: Command) -> None:
        delivery = Delivery("futures", new_id().encode(), "a text", "main")
        (row,) = accept(self.ledger, delivery, Wish([command])).commands
        self.seen.append(Seen(row.id, len(self.seen), command))

    @rule()
    def taken(self) -> None:
        expected = self.expected()
        claim = self.claims.take(["nt8", FLIPS], [FLIPS])
        assert (claim and claim.id) == (expected and expected.id)
        if expected is not None:
            expected.claim = claim

    @precondition(lambda self: self.held(Status.QUEUED))
    @rule()
    def sent(self) -> None:
        it = self.held(Status.QUEUED)[0]
        assert it.claim is not None
        self.journal.begin(it.claim, [Outgoing("close", {})], holdings=None, settle_window=0, retry_for=600)
        it.status = Status.SENDING
        for other in self.seen:
            waits = other.status is Status.QUEUED and other.claim is None
            unsent = waits and (isinstance(other.command, ClosePosition) or not other.fixed)
            if other is not it and it.urgency < PARTIAL and unsent and contains(it.command, other.command):
                other.status = Status.SUPERSEDED

    @precondition(lambda self: self.held(Status.SENDING))
    @rule(
        after=st.sampled_from([Status.WORKING, Status.IN_DOUBT, Status.QUEUED, Status.REJECTED]),
        later=st.booleans(),
    )
    def answered(self, after: Status, later: bool) -> None:
        it = self.held(Status.SENDING)[0]
        assert it.claim is not None
        outcome = {
            Status.WORKING: "reported",
            Status.IN_DOUBT: "outcome_unknown",
            Status.QUEUED: "not_sent",
            Status.REJECTED: "refused",
        }[after]
        number = max(attempt.number for attempt in self.history(it).attempts)
        it.fixed = it.fixed or after in (Status.WORKING, Status.IN_DOUBT)
        step = Step(after, due_in=600 if later else 0, fixed=it.fixed)
        self.journal.move(it.claim, step, Answer(number, outcome))
        self.becomes(it, after, later)

    @precondition(lambda self: self.held(Status.WORKING, Status.IN_DOUBT))
    @rule(after=st.sampled_from([Status.CLOSED, Status.QUEUED, None]), later=st.booleans())
    def read_back(self, after: Status | None, later: bool) -> None:
        it = self.held(Status.WORKING, Status.IN_DOUBT)[0]
        assert it.claim is not None
        after = after or it.status
        self.journal.move(it.claim, Step(after, due_in=600 if later else 0))
        self.becomes(it, after, later)

    @precondition(lambda self: self.held(Status.QUEUED))
    @rule()
    def died_before_it_was_sent(self) -> None:
        self.claims.recover(owner="one")
        for it in self.seen:
            if it.claim is not None:
                if it.status is Status.SENDING:
                    it.status, it.fixed = Status.IN_DOUBT, True
                    it.due = True
                it.claim = None

    @rule()
    def time_passes(self) -> None:
        with self.ledger.writing() as connection:
            waiting = tables.commands.c.due_at.is_not(None)
            connection.execute(tables.commands.update().where(waiting).values(due_at=now()))
        for it in self.seen:
            it.due = not it.settled

    # How it ends

    def teardown(self) -> None:
        """When all goes well from now on, everybody gets a turn."""
        self.time_passes()
        for _ in range(4 * len(self.seen) + 4):
            while self.held(Status.QUEUED):
                self.sent()
            while self.held(Status.SENDING):
                self.answered(Status.WORKING, later=False)
            while self.held(Status.WORKING, Status.IN_DOUBT):
                self.read_back(Status.CLOSED, later=False)
            self.taken()
        for it in self.seen:
            history = self.history(it)
            assert history.command.status == it.status
            assert it.settled
            assert_the_events_tell_it_all(history)
        with self.ledger.writing() as connection:  # the next example must not wait behind this one
            settled = {"settled_at": now(), "due_at": None, "lease_owner": None, "lease_until": None}
            connection.execute(tables.commands.update().values(**settled))

    def history(self, it: Seen) -> CommandHistory:
        history = command_history(self.ledger, it.id)
        assert history is not None
        return history


@on_both_databases
def test_every_turn_is_the_models_and_nobody_starves(ledger: Ledger) -> None:
    class LanesHere(Lanes):
        pass

    LanesHere.ledger = ledger
    run_state_machine_as_test(
        LanesHere,
        settings=settings(
            max_examples=10,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
