"""What Prometheus reads: true over all processes, counted once, and never less than before."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.ledger import tallies
from app.ledger.connection import Ledger
from app.ledger.heartbeats import Heartbeat
from app.web.answers import Answers
from app.web.metrics import COUNTERS, GAUGES, HISTOGRAMS
from tests.conftest import on_both_databases
from tests.desk import Desk
from tests.shop import MES, SIM, Shop, part, whole
from tests.unit.test_docs import DOCS, missing
from tests.web import CLOSE, Door


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now is counted too: nobody else writes here."""
    monkeypatch.setattr(tallies, "LATE", 1.0)


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


def read(door: Door) -> dict[str, float]:
    """Each sample as it stands in the text."""
    answer = door.app.test_client().get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return {
        f"{sample.name}{dict(sample.labels) or ''}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@on_both_databases
def test_what_happened_since_the_first_look_is_counted_once(door: Door, shop: Shop) -> None:
    shop.carried_out(part())  # before anybody looked
    first = read(door)
    assert not any(name.startswith("flatwire_attempts_total") for name in first)

    shop.carried_out(part(), seconds=30)
    shop.carried_out(whole(), seconds=30)
    assert door.send("cloze").status_code == 400
    for _ in range(2):
        found = read(door)
    assert found["flatwire_alerts_total{'outcome': 'accepted'}"] == 2
    assert found["flatwire_alerts_total{'outcome': 'refused'}"] == 1
    assert found["flatwire_commands_accepted_total{'broker': 'nt8'}"] == 2
    assert found["flatwire_commands_settled_total{'broker': 'nt8', 'status': 'closed'}"] >= 2
    assert found["flatwire_attempts_total{'broker': 'nt8', 'outcome': 'reported'}"] >= 2
    assert found["flatwire_alert_to_closed_seconds_count{'broker': 'nt8'}"] >= 2
    assert found["flatwire_alert_to_broker_seconds_bucket{'broker': 'nt8', 'le': '+Inf'}"] >= 2


@on_both_databases
def test_the_buckets_of_a_histogram_grow(door: Door, shop: Shop) -> None:
    read(door)
    shop.carried_out(whole(), seconds=30)
    found = read(door)
    buckets = [
        found[f"flatwire_alert_to_closed_seconds_bucket{{'broker': 'nt8', 'le': '{le}'}}"] for le in LES
    ]

    assert buckets == sorted(buckets)
    assert buckets[-1] == found["flatwire_alert_to_closed_seconds_count{'broker': 'nt8'}"] == 1
    assert found["flatwire_alert_to_closed_seconds_sum{'broker': 'nt8'}"] > 0


LES = [*(str(bound) for bound in tallies.BUCKETS[:-1]), "+Inf"]


@on_both_databases
def test_many_that_look_at_once_count_once(ledger: Ledger, shop: Shop) -> None:
    tallies.counted(ledger)
    for _ in range(5):
        shop.take(part(1))
    begin = threading.Barrier(6)

    def look(_: int) -> tallies.Sums:
        begin.wait()
        return tallies.counted(ledger)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(look, range(6)))
    assert tallies.counted(ledger)["commands_accepted", (("broker", "nt8"),)] == 5


def test_a_long_absence_is_counted_in_several_steps(
    ledger: Ledger, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tallies.counted(ledger)
    monkeypatch.setattr(tallies, "AT_ONCE", 2)
    monkeypatch.setattr(tallies, "MOST_TIMES", 3)
    for _ in range(9):
        shop.take(part(1))
    found = [dict(tallies.counted(ledger))["commands_accepted", (("broker", "nt8"),)] for _ in range(3)]

    assert found == [6, 9, 9]


@on_both_databases
def test_what_is_now_is_told(door: Door, shop: Shop) -> None:
    Heartbeat(shop.ledger, "worker-1").beat("1")
    assert door.send(CLOSE).status_code == 202
    found = read(door)

    assert (found["flatwire_workers_alive"], found["flatwire_commands_unsettled"]) == (1, 1)
    assert found["flatwire_oldest_unsettled_seconds"] >= 0
    assert found["flatwire_redis_up"] == 0


def test_an_unsettled_write_is_not_counted_yet(
    ledger: Ledger, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tallies.counted(ledger)
    monkeypatch.setattr(tallies, "LATE", -5.0)
    shop.take(part(1))
    assert tallies.counted(ledger) == {}


def names() -> Iterator[str]:
    yield from (f"flatwire_{name}_total" for name in COUNTERS)
    yield from (f"flatwire_{name}_seconds" for name in HISTOGRAMS)
    yield from (f"flatwire_{name}" for name in GAUGES)


def test_each_metric_is_documented() -> None:
    assert missing(DOCS / "operating.md", list(names())) == []


# Answers


@on_both_databases
def test_each_answer_of_the_door_is_timed_by_its_status(door: Door) -> None:
    assert door.send(CLOSE).status_code == 202
    assert door.send("cloze").status_code == 400
    for _ in range(21):
        turned_away = door.app.test_client().post("/hooks/futures/wrong", data="x")
    assert turned_away.status_code == 429

    for _ in range(2):  # once added, they are not added again
        found = read(door)
    assert found["flatwire_answer_seconds_count{'status': '202'}"] == 1
    assert found["flatwire_answer_seconds_count{'status': '400'}"] == 1
    assert found["flatwire_answer_seconds_count{'status': '401'}"] == 20
    assert found["flatwire_answer_seconds_count{'status': '429'}"] == 1
    assert 0 < found["flatwire_answer_seconds_sum{'status': '202'}"] < 60


def test_answers_are_added_every_few_seconds_after_one_was_sent(
    door: Door, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> int:
        return tallies.counted(ledger).get(("answer", (("status", "202"), ("le", "inf"))), 0)

    door.send(CLOSE)
    assert kept() == 0
    waiting = door.app.extensions["flatwire_answers"]
    waiting._added_at -= 6
    door.app.test_client().get("/healthz").close()
    assert kept() == 1


def test_answers_that_the_ledger_does_not_take_now_are_added_later(ledger: Ledger) -> None:
    answers = Answers()
    answers.took(202, 0.004)
    silent = Ledger("postgresql://nobody@127.0.0.1:1/none")
    answers.add_to(silent, after=0)
    answers.add_to(ledger, after=0)
    silent.dispose()

    assert tallies.counted(ledger)["answer", (("status", "202"), ("le", "0.01"))] == 1
