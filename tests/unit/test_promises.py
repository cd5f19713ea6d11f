"""Whatever venues, traders, operators and dying workers do: parts close no more than their sum, and nothing ends untold."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.domain.commands import ClosePosition, FlattenMatching, Quantity
from app.domain.failures import NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.statuses import NEXT, Status
from app.ledger import operators, pauses, tables
from app.ledger.connection import Ledger
from app.ledger.operators import NotPossible
from app.ledger.pauses import Scope
from app.ledger.types import now
from tests.desk import LOST, Desk, Mishap, raises
from tests.shop import MES, SIM, Shop, whole

ES = "ES 12-26"
HELD = 40


class Death(BaseException):
    """The worker is killed here."""


class Ward(Desk):
    """A venue that remembers how much each part closed, by the size that it asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.reduced: dict[Decimal, Decimal] = {}

    def close(self, command: ClosePosition, holding: Any, quantity: Decimal | None) -> Any:
        call = super().close(command, holding, quantity)
        make = call.make

        def remembering(guard: Any) -> Any:
            before = abs(self.held(command.account, command.instrument))
            try:
                return make(guard)
            finally:
                if isinstance(command.size, Quantity):
                    closed = before - abs(self.held(command.account, command.instrument))
                    asked = command.size.amount
                    self.reduced[asked] = self.reduced.get(asked, Decimal(0)) + closed

        return type(call)(call.request, remembering)


mishaps: st.SearchStrategy[Mishap] = st.sampled_from(
    [
        raises(LOST),
        raises(LOST, after_acting=True),
        raises(NotSent("refused to connect")),
        raises(Throttled("too fast", retry_after=3)),
        raises(Refused("the market is closed")),
        raises(Death()),
        raises(Death(), after_acting=True),
    ]
)


class Product(RuleBasedStateMachine):
    """One worker, killed and started again, with an operator at its side."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.desk = Ward()
        self.desk.hold(SIM, MES, HELD)
        self.desk.hold(SIM, ES, -HELD)
        self.shop = Shop(self.ledger, self.desk)
        self.ids: list[str] = []
        self.dying: str | None = None
        self.size = 0
        self.journal: Any = self.shop.execution._journal
        for name in ("begin", "move"):
            setattr(self.journal, name, self.mortal(name, getattr(self.journal, name)))

    def mortal(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        """The worker may be killed right before and right after it commits."""

        def writes(*arguments: Any, **named: Any) -> Any:
            self.die_if("before", name)
            written = write(*arguments, **named)
            self.die_if("after", name)
            return written

        return writes

    def die_if(self, when: str, name: str) -> None:
        if self.dying == f"{when} {name}":
            self.dying = None
            raise Death

    def alive(self, act: Callable[[], Any]) -> None:
        """A worker that is killed is started again, and its supervisor gives back what it held."""
        for _ in range(20):
            try:
                return act()
            except Death:
                self.shop.execution.claims.recover(owner="worker-1")
        raise AssertionError("it dies too often")

    # What happens

    @rule(instrument=st.sampled_from([MES, ES]), cancel_orders=st.booleans())
    def part_is_asked(self, instrument: str, cancel_orders: bool) -> None:
        self.size += 1  # each asks for another size, so that the venue can tell them apart
        command = ClosePosition("nt8", SIM, instrument, Quantity(Decimal(self.size)), None, cancel_orders)
        self.ids += self.shop.take(command)

    @rule(instrument=st.sampled_from([MES, ES]))
    def whole_is_asked(self, instrument: str) -> None:
        self.ids += self.shop.take(whole(instrument))

    @rule()
    def flatten_is_asked(self) -> None:
        self.ids += self.shop.take(FlattenMatching("nt8", account=SIM))

    @rule(mishap=mishaps, kind=st.sampled_from(["close", "close", "cancel"]))
    def a_call_will_go_wrong(self, mishap: Mishap, kind: str) -> None:
        self.desk.script(kind, mishap)

    @rule(kind=st.sampled_from(["positions", "fills", "orders"]), times=st.integers(1, 4))
    def reads_will_fail(self, kind: str, times: int) -> None:
        self.desk.script(kind, *[raises(OutcomeUnknown("cut"))] * times)

    @rule(where=st.sampled_from(["before begin", "after begin", "before move", "after move"]))
    def the_worker_will_be_killed(self, where: str) -> None:
        self.dying = where

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 15.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.alive(lambda: self.shop.wait(seconds))

    @rule(instrument=st.sampled_from([MES, ES]), quantity=st.integers(-6, 6).filter(bool))
    def somebody_trades(self, instrument: str, quantity: int) -> None:
        self.desk.trade(SIM, instrument, quantity)

    @rule(data=st.data(), act=st.sampled_from(["cancel", "done", "not_done", "acknowledge"]))
    def an_operator_acts(self, data: st.DataObject, act: str) -> None:
        if not self.ids:
            return
        command_id = data.draw(st.sampled_from(self.ids))
        try:
            match act:
                case "cancel":
                    operators.cancel(self.ledger, command_id, "ada", "why")
                case "acknowledge":
                    operators.acknowledge(self.ledger, command_id, "ada", "why")
                case _:
                    operators.resolve(self.ledger, command_id, act == "done", "ada", "why")
        except NotPossible:
            pass

    @rule(paused=st.booleans())
    def the_broker_is_paused_or_not(self, paused: bool) -> None:
        (pauses.pause if paused else pauses.resume)(self.ledger, Scope.BROKER, "nt8", "ada", "why")

    # What holds

    @invariant()
    def parts_close_no_more_than_was_asked(self) -> None:
        for asked, reduced in self.desk.reduced.items():
            assert reduced <= asked

    def teardown(self) -> None:
        self.dying = None
        self.desk._script.clear()
        pauses.resume(self.ledger, Scope.BROKER, "nt8", "ada", "why")
        self.alive(lambda: self.shop.wait(700))
        self.parts_close_no_more_than_was_asked()
        for command_id in self.ids:
            self.check(command_id)
        with self.ledger.writing() as connection:  # the next example must not wait behind this one
            settled = {"settled_at": now(), "due_at": None, "lease_owner": None, "lease_until": None}
            connection.execute(tables.commands.update().values(status="cancelled", **settled))

    def check(self, command_id: str) -> None:
        history = self.shop.history(command_id)
        command = history.command
        told = command.attention is not None or command.acknowledged is not None
        assert Status(command.status).final or told, history
        assert command.status != "sending"
        if command.quantity is not None and command.status in ("closed", "gave_up"):
            assert sum(row.quantity or 0 for row in history.closed_positions) <= command.quantity
        if command.status in ("superseded", "expired") and not history.attempts:
            assert history.closed_positions == []
        status = Status.QUEUED
        for event in history.events:
            if "from" in event.detail:
                before, after = Status(event.detail["from"]), Status(event.detail["to"])
                assert before is status
                assert after is before or after in NEXT[before]
                status = after
        assert status == command.status


def test_whatever_happens_the_promises_hold(ledger: Ledger) -> None:
    class ProductHere(Product):
        pass

    ProductHere.ledger = ledger
    run_state_machine_as_test(
        ProductHere,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            # Ids and waits differ from run to run, so that a shorter example is hard to find, and takes minutes.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
