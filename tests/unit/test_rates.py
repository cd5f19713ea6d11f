"""The room that is left in the venues' limits, counted together over a real Redis and apart without it."""

import threading
import time
from dataclasses import replace

import pytest

from app.domain.failures import NotSent, Throttled
from app.domain.venues import VENUES
from config.file import BrokerSettings
from tests.desk import Desk
from tests.running import RedisServer, free_port
from tests.shop import MES, SIM
from workers.brokers.broker import Call, Limit
from workers.brokers.metered import Metered
from workers.observation import wait_for_room
from workers.rates import LONGEST_HOLD, Rates


class FreshClaim:
    """What the wait for room looks at."""

    calls = 0
    paused = 0.0


NT8 = BrokerSettings("nt8", VENUES["crosstrade"], {}, "")
OTHER = replace(NT8, name="other")
FIVE = (Limit("orders", 5, 60),)


def go(rates: Rates, calls: int, limits: tuple[Limit, ...] = FIVE, broker: BrokerSettings = NT8) -> int:
    """How many of so many calls find room now."""
    return sum(rates.wait(broker, limits, patient=False) == 0 for _ in range(calls))


def test_a_limit_lets_so_many_through_and_tells_the_others_how_long_to_wait() -> None:
    rates = Rates()

    assert go(rates, 9) == 5
    assert 55 < rates.wait(NT8, FIVE, patient=False) <= 60


def test_room_comes_back_with_time() -> None:
    rates, limits = Rates(), (Limit("orders", 4, 1),)
    assert go(rates, 5, limits) == 4
    time.sleep(rates.wait(NT8, limits, patient=False))

    assert go(rates, 1, limits) == 1


def test_each_broker_and_each_limit_is_counted_apart() -> None:
    rates = Rates()

    assert go(rates, 9) == 5
    assert go(rates, 9, broker=OTHER) == 5
    assert go(rates, 9, (Limit("positions", 4, 60),)) == 4


def test_a_call_goes_only_if_every_limit_has_room() -> None:
    rates = Rates()

    assert go(rates, 9, (*FIVE, Limit("account", 4, 60))) == 4


def test_who_reads_with_time_to_spare_leaves_room_for_closes() -> None:
    rates, limits = Rates(), (Limit("all", 16, 60),)

    patient = sum(rates.wait(NT8, limits, patient=True) == 0 for _ in range(20))

    assert patient == 14
    assert go(rates, 20, limits) == 2


@pytest.mark.parametrize(
    ("rate", "burst", "at_once"), [(2.0, 7.0, 7), (9.0, None, 9), (0.5, None, 4), (0.01, 5.0, 5)]
)
def test_a_brokers_own_rate_comes_on_top(rate: float, burst: float | None, at_once: int) -> None:
    broker = replace(NT8, rate=rate, burst=burst)

    assert go(Rates(), 20, (Limit("orders", 1000, 1),), broker) == at_once


def test_without_redis_each_of_several_workers_keeps_to_its_share() -> None:
    limits = (Limit("all", 20, 60),)

    assert go(Rates(workers=4), 20, limits) == 5
    assert go(Rates(workers=40), 20, limits) == 4  # what a step may need, in so much more time


@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_of_several_calls_gets_through_a_narrow_limit(workers: int) -> None:
    """Put back at each call without room, steps would begin with their reads again and never come to their close."""
    broker, ended = replace(NT8, rate=8.0), []
    rates = Rates()

    def step() -> None:
        claim = FreshClaim()
        desk = Metered(Desk(), broker, rates)
        calls = [desk.positions(), desk.orders(SIM), desk.fills(SIM, 1.0), desk.positions()]
        while any(wait_for_room(claim, call) for call in calls):  # type: ignore[arg-type]
            claim.calls, claim.paused = 0, 0.0
            time.sleep(0.05)
        ended.append(True)

    threads = [threading.Thread(target=step) for _ in range(3 * workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)

    assert len(ended) == 3 * workers


def test_nobody_calls_while_the_venue_wants_silence() -> None:
    rates = Rates()
    rates.hold(NT8, 30)

    assert 28 < rates.wait(NT8, FIVE, patient=False) <= 30
    assert rates.wait(OTHER, FIVE, patient=False) == 0


def test_a_silence_ends_and_is_never_longer_than_a_wrong_header_may_make_it() -> None:
    rates = Rates()
    rates.hold(NT8, 0.2)
    time.sleep(1.1)
    assert rates.wait(NT8, FIVE, patient=False) == 0
    rates.hold(NT8, 86_400)
    assert rates.wait(NT8, FIVE, patient=False) <= LONGEST_HOLD


def test_workers_count_together_over_redis(redis_server: RedisServer) -> None:
    workers = [Rates(redis_server.url, workers=4) for _ in range(4)]
    through: list[int] = []
    threads = [threading.Thread(target=lambda rates=rates: through.append(go(rates, 9))) for rates in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(through) == 5
    workers[0].hold(OTHER, 20)
    assert workers[1].wait(OTHER, FIVE, patient=False) > 15


def test_a_redis_that_is_killed_leaves_each_worker_its_share(redis_server: RedisServer) -> None:
    rates = Rates(redis_server.url, workers=2)
    limits = (Limit("all", 8, 60),)
    assert go(rates, 3, limits) == 3
    redis_server.kill()

    started = time.monotonic()
    assert go(rates, 20, limits) == 4
    assert time.monotonic() - started < 2


def test_a_redis_that_is_full_or_only_lets_us_read_leaves_each_worker_its_share(
    redis_server: RedisServer,
) -> None:
    limits = (Limit("all", 8, 60),)
    redis_server.client.config_set("maxmemory", "1mb")
    assert go(Rates(redis_server.url, workers=2), 20, limits) == 4
    redis_server.client.config_set("maxmemory", "0")
    redis_server.client.replicaof("127.0.0.1", str(free_port()))

    assert go(Rates(redis_server.url, workers=2), 20, limits) == 4


def test_a_redis_that_comes_back_empty_is_counted_with_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.rates.ALONE", 0.1)
    rates = Rates(redis_server.url, workers=2)
    redis_server.kill()
    go(rates, 1)
    redis_server.start()
    time.sleep(0.2)

    assert go(rates, 9) == 5


def test_what_a_venue_throttles_holds_back_every_call_to_it() -> None:
    desk, rates = Desk(), Rates()
    desk.script("positions", lambda act: (_ for _ in ()).throw(Throttled("too fast", retry_after=9)))
    metered = Metered(desk, NT8, rates)

    with pytest.raises(Throttled):
        metered.positions().make(lambda seconds: None)

    assert 7 < metered.orders(SIM).room(False) <= 9


def test_what_a_venue_puts_off_for_its_own_sake_holds_back_nothing_else() -> None:
    """A contract that is suspended must not keep another from being closed."""
    desk, rates = Desk(), Rates()
    suspended = Throttled("the contract is suspended", retry_after=9, others_too=False)
    desk.script("positions", lambda act: (_ for _ in ()).throw(suspended))
    metered = Metered(desk, NT8, rates)

    with pytest.raises(Throttled) as caught:
        metered.positions().make(lambda seconds: None)

    assert caught.value.retry_after == 9
    assert metered.orders(SIM).room(False) == 0


def test_a_call_that_was_never_sent_holds_nobody_back() -> None:
    desk, rates = Desk(), Rates()
    desk.hold(SIM, MES, 1)
    metered = Metered(desk, NT8, rates)

    def hold_back(seconds: float) -> None:
        raise NotSent("the lease ran out")

    with pytest.raises(NotSent):
        metered.positions().make(hold_back)

    call: Call[object] = metered.positions()
    assert call.room(True) == 0


def test_the_calls_of_one_step_wait_no_longer_together_than_its_lease_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flatten has a call for each position: so many pauses would outlast the lease, and nothing would be sent."""
    monkeypatch.setattr("workers.observation.LONGEST_PAUSE", 0.3)
    claim, narrow = FreshClaim(), replace(Desk().positions(), room=lambda patient: 0.1)
    claim.calls = 1

    waits = [wait_for_room(claim, narrow) for _ in range(20)]  # type: ignore[arg-type]

    assert waits == [0.1] * 20
    assert claim.paused <= 0.3
