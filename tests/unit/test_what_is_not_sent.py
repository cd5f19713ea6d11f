"""Alerts that are kept and ask for nothing: entries, hooks in shadow mode, and what fired too long ago."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.ledger import tables
from app.ledger.connection import Ledger
from tests.conftest import on_both_databases
from tests.desk import Desk
from tests.shop import MES, SIM, Shop
from tests.web import CLOSE, Door, problem

ENTRY = json.dumps(
    {"action": "strategy", "ticker": "MES", "market_position": "long", "prev_market_position": "flat"}
)
EXIT = json.dumps(
    {"action": "strategy", "ticker": "MES 12-26", "market_position": "flat", "prev_market_position": "long"}
)


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


# Entries


@on_both_databases
def test_an_entry_is_kept_with_the_reason_and_asks_for_nothing(door: Door) -> None:
    answer = door.send(ENTRY)

    assert (answer.status_code, answer.get_json()["status"]) == (200, "ignored")
    document = door.get(f"/api/v1/alerts/{answer.get_json()['alert']}").get_json()
    assert (document["outcome"], document["commands"], document["size"]) == ("ignored", [], len(ENTRY))
    assert document["reason"] == answer.get_json()["reason"]
    assert "enters long" in document["reason"]
    assert door.count() == 0


def test_an_entry_that_comes_again_is_the_same_alert(door: Door) -> None:
    first, again = (door.send(ENTRY).get_json() for _ in range(2))

    assert first == again
    assert door.alert(first["alert"]).deliveries == 2


def test_what_was_ignored_is_carried_out_when_its_hook_has_learnt_to(door: Door) -> None:
    """The same bytes: the file was mended, and the sender sends again."""
    text = "key=x;command=CLOSEPOSITION;account=sim101;instrument=ES;require_market_position=flat"
    assert door.send_to("moved", text).get_json()["status"] == "ignored"
    hook = door.app.extensions["flatwire_hooks"]["moved"]
    object.__setattr__(hook, "ignore", ("require_market_position",))
    try:
        assert door.send_to("moved", text).status_code == 202
    finally:
        object.__setattr__(hook, "ignore", ())


def test_a_dry_run_of_an_entry_keeps_nothing(door: Door) -> None:
    answer = door.send(ENTRY, "/hooks/futures?dry_run=1")

    assert answer.get_json() == {"status": "ignored", "alert": None, "reason": answer.get_json()["reason"]}
    assert door.count(tables.alerts) == 0


def test_the_exit_of_a_strategy_closes_its_side(door: Door, shop: Shop) -> None:
    (command,) = door.send(EXIT).get_json()["commands"]
    assert (command["action"], command["position"], command["quantity"]) == ("close", "long", None)
    shop.work()

    assert shop.desk.held() == 0


# Shadow mode


@on_both_databases
def test_a_hook_in_shadow_mode_shows_what_it_would_close_and_closes_nothing(door: Door, shop: Shop) -> None:
    answer = door.send_to("shadow", CLOSE)
    document = answer.get_json()
    (command,) = document["commands"]
    shop.wait(30)

    assert (answer.status_code, document["status"], command["status"]) == (202, "accepted", "cancelled")
    assert [it["message"] for it in document["warnings"]] == ["dry_run"]
    assert shop.desk.sent == []
    kept = door.get(f"/api/v1/commands/{command['id']}").get_json()
    assert (kept["dry_run"], kept["attention"], kept["attempts"]) == (True, None, [])
    assert "shadow mode" in kept["reason"]
    assert [event["name"] for event in kept["events"]] == ["accepted", "status"]


def test_nothing_of_shadow_mode_can_be_sent_by_a_retry(door: Door, shop: Shop) -> None:
    (command,) = door.send_to("shadow", CLOSE).get_json()["commands"]

    document = problem(door.act(f"commands/{command['id']}/retry", {"reason": "now for real"}), 409, "")
    assert "shadow mode" in document["detail"]


def test_a_repeat_in_shadow_mode_is_one_and_the_first_for_real_is_carried_out(door: Door, shop: Shop) -> None:
    first = door.send_to("shadow", CLOSE).get_json()
    assert door.send_to("shadow", CLOSE).get_json()["status"] == "duplicate"
    hook = door.app.extensions["flatwire_hooks"]["shadow"]
    object.__setattr__(hook, "dry_run", False)
    try:
        second = door.send_to("shadow", CLOSE)
    finally:
        object.__setattr__(hook, "dry_run", True)
    shop.work()

    assert (second.status_code, second.get_json()["alert"] == first["alert"]) == (202, False)
    assert shop.desk.held() == 0


# Too late


def fired(seconds_ago: float, **fields: Any) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return json.dumps({"action": "close", "instrument": "MES 12-26", "time": moment.isoformat()} | fields)


@on_both_databases
def test_the_start_of_a_bar_is_named_where_it_was_taken_for_now(door: Door) -> None:
    bar = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    document = door.send(fired(0, time=bar.isoformat())).get_json()

    (command,), (warning,) = document["commands"], document["warnings"]
    assert (command["status"], warning["message"]) == ("expired", "too_old")
    assert warning["hint"] == "{{time}} is when the bar began: send {{timenow}}"
    kept = door.get(f"/api/v1/commands/{command['id']}").get_json()
    assert kept["reason"].endswith("; {{time}} is when the bar began: send {{timenow}}")
    assert kept["attention"] == "expired"


def test_another_time_is_not_taken_for_the_start_of_a_bar(door: Door) -> None:
    moment = datetime.now(UTC).replace(second=7) - timedelta(hours=1)
    (warning,) = door.send(fired(0, time=moment.isoformat())).get_json()["warnings"]

    assert "clock" in warning["hint"]


@pytest.mark.parametrize(
    ("age", "lag", "status"),
    [
        (5, "10", "queued"),
        (20, "10", "expired"),
        (50, None, "queued"),
        (70, None, "expired"),
        (400, "900", "expired"),
    ],
)
def test_a_senders_own_limit_counts_until_the_alert_arrives(
    door: Door, age: int, lag: str | None, status: str
) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    fields = {"action": "EXIT_LONG", "instrument": "MES 12-26", "timestamp": moment.isoformat()}
    text = json.dumps(fields | ({"maxLag": lag} if lag else {}))
    (command,) = door.send_to("moved", text).get_json()["commands"]

    assert command["status"] == status
