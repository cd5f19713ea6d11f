"""A flatten that is made of several calls, beside others and while the clock jumps: each leg keeps the rules of a close."""

import time
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.commands import FlattenEverything, FlattenMatching
from app.domain.failures import BrokerError, NotSent, Refused, Throttled
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, came_to, whole
from tests.unit.test_clock import HOLD, Jumping, clock, held_for_a_moment  # noqa: F401 (fixtures)

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
