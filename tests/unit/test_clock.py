"""The ledger's clock jumps, for an hour forward or back: nothing is sent twice for it, and nothing waits for an hour."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from app.domain.failures import NotSent
from app.ledger import claims
from app.ledger.claims import Claims
from app.ledger.clock import A_JUMP, Clock
from app.ledger.connection import Ledger
from app.ledger.pauses import Scope, pause, resume
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, came_to, part, whole

HOUR = 3600.0
HOLD = 0.3
"""Seconds for which nothing is judged after a jump; in earnest as long as a lease."""


class Jumping:
    """An SQLite ledger's clock, which is the machine's, with so many seconds added."""

    def __init__(self, ledger: Ledger) -> None:
        self.seconds = 0.0
        event.listen(ledger.engine, "connect", self._replace_clock)
        ledger.dispose()

    def _replace_clock(self, connection: Any, _record: Any) -> None:
        connection.create_function(
            "julianday", 1, lambda _now: (time.time() + self.seconds) / 86400 + 2440587.5
        )


@pytest.fixture
def clock(ledger: Ledger) -> Jumping:
    return Jumping(ledger)


@pytest.fixture
def held_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is judged after a jump is judged soon."""
    monkeypatch.setattr(claims, "Clock", lambda hold: Clock(HOLD))


@pytest.fixture
def shop(ledger: Ledger, clock: Jumping, held_for_a_moment: None) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    shop = Shop(ledger, desk)
    shop.work()  # it has seen what time it was
    return shop


def working_until(shop: Shop, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        shop.work()
        time.sleep(0.02)


def test_what_is_in_flight_when_the_clock_jumps_is_not_judged_by_another(shop: Shop, clock: Jumping) -> None:
    other = Shop(shop.ledger, shop.desk)
    other.work()
    found = []

    def meanwhile(act: Any) -> Any:
        clock.seconds += HOUR
        found.append(other.execution.claims.recover())
        found.append(other.execution.step())
        return act()

    shop.desk.script("close", meanwhile)
    (command_id,) = shop.take(part(4))
    shop.work()

    assert found == [[], False]
    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]
    working_until(shop, lambda: shop.history(command_id).command.settled_at is not None)
    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 1


def test_a_process_that_knows_no_time_before_waits_for_the_whole_window(shop: Shop, clock: Jumping) -> None:
    def meanwhile(act: Any) -> Any:
        clock.seconds += HOUR
        stranger = Claims(shop.ledger, "started after the jump")
        assert stranger.recover() == [command_id]
        taken = stranger.take(["nt8"])
        assert taken is not None
        assert taken.status == "in_doubt"
        assert 11 < taken.closes[0].settles_in <= 12
        stranger.release(taken)
        return act()

    shop.desk.script("close", meanwhile)
    (command_id,) = shop.take(part(4))
    shop.work()

    assert len(shop.desk.sent) == 1


def test_a_pause_holds_while_the_clock_can_not_be_believed(shop: Shop, clock: Jumping) -> None:
    pause(shop.ledger, Scope.BROKER, "nt8", "jane", "a look first")
    shop.take(whole())
    clock.seconds += 10
    shop.work()

    assert shop.desk.sent == []
    resume(shop.ledger, Scope.BROKER, "nt8", "jane", "all is well")
    shop.work()
    assert shop.desk.sent == ["close all MES 12-26 Sim101"]


def test_a_lost_answer_is_not_judged_early(shop: Shop, clock: Jumping) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    clock.seconds += HOUR
    shop.work()
    reads = [attempt.kind for attempt in shop.history(command_id).attempts]

    assert reads == ["close"]
    assert len(shop.desk.sent) == 1


def test_a_retry_does_not_wait_for_an_hour_that_comes_again(shop: Shop, clock: Jumping) -> None:
    shop.desk.script("close", raises(NotSent("refused to connect")))
    (command_id,) = shop.take(whole())
    shop.work()
    clock.seconds -= HOUR
    working_until(shop, lambda: shop.history(command_id).command.settled_at is not None)

    assert came_to(shop.history(command_id)) == ("closed", None)


def test_what_a_dead_worker_held_is_taken_back_though_its_lease_lies_an_hour_ahead(
    shop: Shop, clock: Jumping
) -> None:
    (command_id,) = shop.take(whole())
    assert Claims(shop.ledger, "dead").take(["nt8"]) is not None
    clock.seconds -= HOUR
    shop.execution.claims.recover()
    assert shop.history(command_id).command.lease_owner == "dead"  # it may be alive, and in mid-call
    time.sleep(HOLD)
    shop.execution.claims.recover()
    shop.work()

    assert came_to(shop.history(command_id)) == ("closed", None)


def test_a_doubt_of_an_hour_that_comes_again_is_settled_after_its_window(shop: Shop, clock: Jumping) -> None:
    shop.desk.script("close", raises(LOST, after_acting=True))
    (command_id,) = shop.take(part(4))
    shop.work()
    clock.seconds -= HOUR
    shop.work()
    time.sleep(HOLD)
    shop.wait(60)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 1


def test_a_slow_look_is_no_jump() -> None:
    clock = Clock(hold=10)
    moment = datetime.now(UTC)

    assert clock.look(moment) == 0
    assert clock.look(moment - timedelta(seconds=A_JUMP * 0.9)) == 0
    assert clock.trusted
    assert clock.look(moment + timedelta(seconds=HOUR)) > HOUR
    assert not clock.trusted
