"""The sole right to call a broker: one process has it, and loses it when it does not renew."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.ledger.broker_leases import LEASE_SECONDS, BrokerLease, give_up_all
from app.ledger.connection import Ledger
from tests.conftest import on_both_databases
from tests.desk import Desk
from tests.shop import SETTINGS, SIM, TODAY, Shop, came_to, whole
from workers.execution import Execution
from workers.tenure import Tenure

SOCKET = replace(SETTINGS, transport="websocket")


def let_pass(ledger: Ledger, seconds: float) -> None:
    with ledger.writing() as connection:
        connection.execute(
            text("UPDATE broker_leases SET until = until - :passed"), {"passed": int(seconds * 1e6)}
        )


@on_both_databases
def test_one_of_two_has_it_until_it_gives_it_up(ledger: Ledger) -> None:
    mine, yours = BrokerLease(ledger, "nt8", "one"), BrokerLease(ledger, "nt8", "two")

    assert (mine.renew(), yours.renew(), mine.renew()) == (True, False, True)
    assert (mine.holds(LEASE_SECONDS - 1), mine.holds(LEASE_SECONDS + 1), yours.holds()) == (
        True,
        False,
        False,
    )
    mine.give_up()
    assert not mine.holds()
    assert yours.renew()
    assert not mine.renew()


@on_both_databases
def test_who_does_not_renew_it_loses_it(ledger: Ledger) -> None:
    mine, yours = BrokerLease(ledger, "nt8", "one"), BrokerLease(ledger, "nt8", "two")
    mine.renew()
    let_pass(ledger, LEASE_SECONDS)

    assert yours.renew()
    assert not mine.renew()
    assert not mine.holds()


@on_both_databases
def test_of_many_who_ask_at_once_one_has_it(ledger: Ledger) -> None:
    got: list[bool] = []
    # As many as have a connection each: none waits for another's.
    leases = [BrokerLease(ledger, "nt8", f"worker-{number}") for number in range(6)]
    threads = [threading.Thread(target=lambda lease=lease: got.append(lease.renew())) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [False] * 5 + [True]


def test_each_broker_has_its_own(ledger: Ledger) -> None:
    assert BrokerLease(ledger, "nt8", "one").renew()
    assert BrokerLease(ledger, "other", "two").renew()


def test_what_a_dead_process_held_is_free(ledger: Ledger) -> None:
    BrokerLease(ledger, "nt8", "dead").renew()
    BrokerLease(ledger, "other", "alive").renew()

    give_up_all(ledger, "dead")

    assert BrokerLease(ledger, "nt8", "next").renew()
    assert not BrokerLease(ledger, "other", "next").renew()


class Trader:
    """One worker process, as its tenure sees it."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.desk: Desk = shop.desk
        brokers = {"nt8": (self.desk, SOCKET)}
        self.tenure = Tenure(shop.ledger, name, brokers)
        self.execution = Execution(shop.ledger, name, brokers, lambda: TODAY, self.tenure)


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, "MES 12-26", 10)
    return Shop(ledger, desk)


def test_only_who_holds_the_lease_takes_the_brokers_commands(shop: Shop) -> None:
    first, second = Trader(shop, "one"), Trader(shop, "two")
    first.tenure.renew()
    second.tenure.renew()
    (command_id,) = shop.take(whole())

    assert not second.execution.step()
    assert first.execution.step()
    assert came_to(shop.history(command_id)) == ("closed", None)


def test_another_takes_over_when_the_holder_is_gone(shop: Shop) -> None:
    first, second = Trader(shop, "one"), Trader(shop, "two")
    first.tenure.renew()
    (command_id,) = shop.take(whole())
    let_pass(shop.ledger, LEASE_SECONDS)
    second.tenure.renew()
    first.tenure.renew()

    assert not first.execution.step()
    assert second.execution.step()
    assert came_to(shop.history(command_id)) == ("closed", None)


def test_a_call_that_could_outlast_the_lease_is_not_sent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    trader = Trader(shop, "one")
    trader.tenure.renew()
    monkeypatch.setattr(trader.tenure, "may_call", lambda broker, seconds=0.0: seconds == 0.0)
    (command_id,) = shop.take(whole())
    trader.execution.step()

    history = shop.history(command_id)
    assert came_to(history) == ("queued", None)
    assert [attempt.outcome for attempt in history.attempts] == ["not_sent"]
    assert shop.desk.held() == 10


def test_a_lease_that_is_lost_or_ended_closes_the_socket(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    monkeypatch.setattr(Desk, "release", lambda desk: released.append("closed"), raising=False)
    first, second = Trader(shop, "one"), Trader(shop, "two")
    first.tenure.renew()
    assert released == []
    let_pass(shop.ledger, LEASE_SECONDS)
    second.tenure.renew()
    first.tenure.renew()
    assert released == ["closed"]
    second.tenure.stop()

    assert released == ["closed", "closed"]
    first.tenure.renew()
    assert first.tenure.may_call("nt8")


def test_a_broker_that_anybody_may_call_needs_no_lease(shop: Shop) -> None:
    tenure = Tenure(shop.ledger, "one", {"nt8": (shop.desk, SETTINGS)})

    assert tenure.may_call("nt8", 1000)
    assert not tenure.serves("nt8")
    tenure.start()
    tenure.stop()
