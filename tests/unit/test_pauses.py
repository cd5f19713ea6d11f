"""Pause and resume: nothing is sent that is paused, from the next call on; reads, reconciling and time go on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.domain.commands import Command, FlattenMatching
from app.domain.failures import Throttled
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import now
from tests.conftest import on_both_databases
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, came_to, part, whole
from tests.web import VIEWER_TOKEN, Door, problem

ALL = {"scope": "all"}
BROKER = {"scope": "broker", "name": "nt8"}
HOOK = {"scope": "hook", "name": "futures"}


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


def pause(door: Door, scope: dict[str, str], paused: bool = True) -> Any:
    body = {**scope, "paused": paused, "reason": "the platform is being updated"}
    answer = door.act("pause", body, method="PUT")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


@on_both_databases
@pytest.mark.parametrize("scope", [ALL, BROKER, HOOK], ids=lambda scope: scope["scope"])
@pytest.mark.parametrize("command", [whole(), part(4), FlattenMatching("nt8", account=SIM)], ids=type)
def test_what_is_paused_is_held_and_runs_on_resume(
    door: Door, shop: Shop, scope: dict[str, str], command: Command
) -> None:
    pause(door, scope)
    (command_id,) = shop.take(command)
    shop.wait(30)
    assert shop.desk.sent == []
    assert came_to(shop.history(command_id)) == ("queued", None)
    pause(door, scope, paused=False)
    shop.work()

    assert shop.history(command_id).command.status == "closed"


@pytest.mark.parametrize(
    "scope", [{"scope": "broker", "name": "okx"}, {"scope": "hook", "name": "other"}], ids=["broker", "hook"]
)
def test_a_pause_of_something_else_holds_nothing(ledger: Ledger, shop: Shop, scope: dict[str, str]) -> None:
    row = {"since": now(), "actor": "ada", "reason": "why", **scope}
    with ledger.writing() as connection:
        connection.execute(tables.pauses.insert().values(**row))

    assert came_to(shop.carried_out(whole())) == ("closed", None)


@on_both_databases
def test_time_goes_on_during_a_pause(door: Door, shop: Shop) -> None:
    pause(door, BROKER)
    (command_id,) = shop.take(whole(), max_age=60)
    shop.let_pass(61)
    shop.work()

    assert came_to(shop.history(command_id)) == ("expired", "expired")
    pause(door, BROKER, paused=False)
    shop.wait(30)
    assert shop.desk.sent == []


def test_tries_end_during_a_pause_like_else(door: Door, shop: Shop) -> None:
    shop.desk.script("close", raises(Throttled("too fast", retry_after=5)))
    (command_id,) = shop.take(whole())
    shop.work()
    pause(door, BROKER)
    shop.wait(130)

    assert came_to(shop.history(command_id))[0] == "gave_up"
    assert len(shop.desk.sent) == 1


@on_both_databases
def test_a_pause_that_comes_in_mid_step_stops_the_close(door: Door, shop: Shop) -> None:
    (command_id,) = shop.take(part(4))
    shop.desk.script("positions", lambda act: (pause(door, BROKER), act())[1])
    shop.wait(30)

    assert shop.desk.sent == []
    history = shop.history(command_id).command
    assert (history.status, history.reason) == ("queued", "paused by an operator")
    pause(door, BROKER, paused=False)
    shop.wait(3)
    assert shop.history(command_id).command.status == "closed"
    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]


def test_a_position_whose_orders_went_before_the_pause_is_told(door: Door, shop: Shop) -> None:
    shop.desk.script("cancel", lambda act: (act(), pause(door, BROKER))[0])
    (command_id,) = shop.take(part(4, cancel_orders=True))
    shop.work()

    assert came_to(shop.history(command_id)) == ("queued", "unprotected")
    assert [words.split()[0] for words in shop.desk.sent] == ["cancel"]


@pytest.mark.parametrize("done", [True, False])
def test_what_may_have_left_is_settled_during_a_pause(door: Door, shop: Shop, done: bool) -> None:
    shop.desk.script("close", raises(LOST, after_acting=done))
    (command_id,) = shop.take(whole())
    shop.work()
    pause(door, ALL)
    shop.wait(30)

    history = shop.history(command_id)
    assert history.command.status == ("closed" if done else "queued")
    assert len(shop.desk.sent) == 1
    assert [it.kind for it in history.attempts].count("read") >= 1
    pause(door, ALL, paused=False)
    shop.wait(20)
    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == (1 if done else 2)


def test_a_paused_flatten_does_not_hold_up_another_hooks_close(door: Door, shop: Shop) -> None:
    pause(door, HOOK)
    (held,) = shop.take(FlattenMatching("nt8", account=SIM))
    (other,) = shop.take(whole())
    with shop.ledger.writing() as connection:
        mine = tables.commands.c.id == other
        connection.execute(tables.commands.update().where(mine).values(hook="other"))
    shop.work()

    assert shop.history(other).command.status == "closed"
    assert shop.history(held).command.status == "queued"


def test_alerts_are_taken_during_a_pause(door: Door) -> None:
    pause(door, ALL)

    assert door.send().status_code == 202


@on_both_databases
def test_pauses_are_told_and_recorded(door: Door) -> None:
    pause(door, BROKER)
    told = pause(door, BROKER)  # again
    listed = door.get("/api/v1/pause").get_json()
    ended = pause(door, BROKER, paused=False)
    pause(door, BROKER, paused=False)

    assert listed["items"] == [told]
    assert (told["scope"], told["name"], told["paused"]) == ("broker", "nt8", True)
    assert told["actor"].startswith("api token ")
    assert ended["paused"] is False
    assert door.get("/api/v1/pause").get_json()["items"] == []
    with door.ledger.reading() as connection:
        acts = connection.execute(tables.acts.select().order_by(tables.acts.c.seq)).all()
    assert [act.name for act in acts] == ["paused", "paused", "resumed"]
    assert {act.detail["reason"] for act in acts} == {"the platform is being updated"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "nt9"}, "name"),
        ({"name": None}, "name"),
        ({"scope": "all"}, "name"),
        ({"scope": "alles"}, "scope"),
        ({"scope": []}, "scope"),
        ({"paused": "yes"}, "paused"),
        ({"paused": 1}, "paused"),
        ({"reason": ""}, "reason"),
        ({"brokr": "x"}, "brokr"),
    ],
)
def test_a_pause_that_is_not_meant_is_refused(door: Door, changes: dict[str, Any], field: str) -> None:
    body = {**BROKER, "paused": True, "reason": "why"} | changes

    problem(door.act("pause", body, method="PUT"), 422, field)
    assert door.get("/api/v1/pause").get_json()["items"] == []


def test_what_left_the_file_while_it_was_paused_can_go_on(door: Door, ledger: Ledger) -> None:
    row = {"since": now(), "actor": "ada", "reason": "why", "scope": "hook", "name": "gone"}
    with ledger.writing() as connection:
        connection.execute(tables.pauses.insert().values(**row))
    pause(door, {"scope": "hook", "name": "gone"}, paused=False)

    assert door.get("/api/v1/pause").get_json()["items"] == []


@on_both_databases
def test_operators_who_pause_at_the_same_moment_make_one_pause(door: Door) -> None:
    with ThreadPoolExecutor(8) as together:
        told = list(together.map(lambda _: pause(door, BROKER), range(8)))

    assert len({it["since"] for it in told}) == 1
    assert len(door.get("/api/v1/pause").get_json()["items"]) == 1


def test_a_viewer_sees_pauses_and_makes_none(door: Door) -> None:
    problem(door.act("pause", {**ALL, "paused": True, "reason": "why"}, VIEWER_TOKEN, "PUT"), 403)

    assert door.get("/api/v1/pause", VIEWER_TOKEN).status_code == 200
