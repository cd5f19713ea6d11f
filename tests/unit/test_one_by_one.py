"""A flatten that is made of several calls, beside others and while the clock jumps: each leg keeps the rules of a close."""

import time
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.commands import ClosePosition, FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, NotSent, Refused, Throttled
from app.domain.positions import Holding, Position, Report
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, came_to, whole
from tests.unit.test_clock import HOLD, Jumping, clock, held_for_a_moment  # noqa: F401 (fixtures)
from workers.brokers.broker import Call, Page

MNQ = "MNQ 12-26"
FLATTEN = FlattenMatching("nt8", account=SIM)


class OneByOne(Desk):
    """A venue that has no call for a flatten."""

    def flatten(self, command: FlattenMatching) -> None:  # type: ignore[override]
        return None

    def flatten_everything(self, command: FlattenEverything) -> None:  # type: ignore[override]
        return None


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    return Shop(ledger, desk)


@pytest.mark.parametrize("acted", [True, False])
def test_a_flatten_in_doubt_that_a_wider_one_took_over_is_superseded(shop: Shop, acted: bool) -> None:
    shop.desk.script("close", *[raises(LOST, after_acting=acted)] * 2)
    (narrow,) = shop.take(FLATTEN)
    shop.work()
    (wide,) = shop.take(FlattenEverything("nt8"))
    shop.wait(60)

    assert came_to(shop.history(wide))[0] in ("closed", "nothing_open")
    assert came_to(shop.history(narrow)) in (("superseded", None), ("closed", None))
    assert shop.desk.book == {}


def test_a_leg_is_sent_again_only_when_it_is_its_turn(ledger: Ledger, shop: Shop) -> None:
    shop.desk.script("close", *[raises(LOST)] * 2)
    shop.take(FLATTEN)
    shop.work()
    other = Shop(ledger, shop.desk)
    (rescue,) = shop.take(whole())
    meanwhile: list[Any] = []

    def in_flight(act: Any) -> Any:
        shop.let_pass(13)  # the doubt is due
        with ledger.writing() as connection:
            held = tables.commands.c.lease_until.is_not(None)
            connection.execute(update(tables.commands).where(held).values(lease_until=from_now(30)))
        before = len(shop.desk.sent)
        while other.execution.step():
            pass
        meanwhile.append((shop.history(rescue).command.status, shop.desk.sent[before:]))
        return act()

    shop.desk.script("close", in_flight)
    shop.work()

    ((status, sent),) = meanwhile
    assert (status, sent) == ("sending", [])
    shop.wait(60)
    assert shop.desk.book == {}


@pytest.mark.usefixtures("held_for_a_moment")
def test_a_leg_in_doubt_is_not_judged_when_the_clock_jumps(
    clock: Jumping,  # noqa: F811 (the fixture)
    ledger: Ledger,
) -> None:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    shop = Shop(ledger, desk)
    shop.work()
    shop.desk.script("close", raises(LOST), raises(Throttled("too fast", retry_after=1)))
    (command_id,) = shop.take(FLATTEN)
    shop.work()
    assert shop.history(command_id).command.status == "queued"
    sent = len(desk.sent)
    clock.seconds += 100
    shop.work()

    assert len(desk.sent) == sent
    time.sleep(HOLD)
    shop.wait(60)
    assert desk.book == {}


@pytest.mark.parametrize(
    ("then", "ends"),
    [
        (Throttled("too fast", retry_after=1), ("closed", None)),
        (NotSent("refused to connect"), ("closed", None)),
        (Refused("no such market"), ("rejected", "rejected")),
    ],
    ids=["throttled", "not sent", "refused"],
)
def test_a_leg_that_is_tried_again_after_a_doubt_and_not_sent_is_not_taken_for_done(
    ledger: Ledger, then: BrokerError, ends: tuple[str, str | None]
) -> None:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.script("close", raises(LOST), raises(then))
    shop = Shop(ledger, desk)
    (flatten,) = shop.take(FLATTEN)
    shop.wait(60)

    assert came_to(shop.history(flatten)) == ends


class TwoAccounts(OneByOne):
    """Read account by account; at the first a close is filled late."""

    refused = False

    def accounts(self, page: str | None = None) -> Call[Page[str]]:  # type: ignore[override]
        return self._call("accounts", "accounts", lambda: Page(("A", "B")))

    def positions(self, account: str | None = None, page: str | None = None) -> Call[Page[Position]]:
        def listed() -> Page[Position]:
            if self.refused and account == "B":
                raise Refused("403: not yours")
            return Page(tuple(it for it in self._positions() if it.account == account))

        return self._call("positions", f"positions {account}", listed)

    def close(
        self, command: ClosePosition, holding: Holding | None, quantity: Decimal | None
    ) -> Call[Report]:
        late = command.account == "A"
        return self._call("close", "close A", Report) if late else super().close(command, holding, quantity)


def test_a_position_whose_account_cant_be_read_for_a_while_is_not_taken_for_closed(ledger: Ledger) -> None:
    desk = TwoAccounts()
    desk.hold("A", MES, 10)
    desk.hold("B", MES, 7)
    desk.script("close", lambda act: act(), raises(Throttled("too fast", retry_after=1)))
    shop = Shop(ledger, desk)
    (flatten,) = shop.take(FlattenEverything("nt8"))
    shop.execution.step()
    desk.refused = True
    shop.wait(1)
    desk.refused = False
    shop.wait(3)
    desk.trade("A", MES, -10)
    shop.wait(120)

    assert desk.book == {}
    assert came_to(shop.history(flatten)) == ("closed", None)
