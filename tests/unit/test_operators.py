"""What operators do over the API, and what becomes of the command: each act is recorded, and undoes nothing."""

from decimal import Decimal
from typing import Any

import pytest

from app.domain.commands import FlattenMatching
from app.domain.failures import NotSent, OutcomeUnknown, Refused
from app.domain.positions import Report
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish
from app.ledger.operators import RETRYABLE, NotPossible, retry
from tests.conftest import on_both_databases
from tests.desk import LOST, Desk, acts_in_part, only_says, raises
from tests.shop import MES, SIM, Shop, came_to, closed, part, whole
from tests.taking import accept
from tests.web import API_TOKEN, VIEWER_TOKEN, Door, problem

WHY = {"reason": "looked at NinjaTrader"}
HELD = 10


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, HELD)
    return Shop(ledger, desk)


def stuck(shop: Shop) -> str:
    """A part in doubt that nothing but a person can settle."""
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(part(4))
    shop.wait(200)
    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")
    assert shop.history(command_id).command.due_at is None
    return command_id


def held_back(shop: Shop) -> str:
    """A part that could not be sent yet."""
    shop.desk.script("close", raises(NotSent("refused to connect")))
    (command_id,) = shop.take(part(4))
    shop.work()
    assert shop.history(command_id).command.status == "queued"
    return command_id


def rejected(shop: Shop, command: Any = None) -> str:
    shop.desk.script("close", raises(Refused("the market is closed")))
    (command_id,) = shop.take(command or part(4))
    shop.work()
    assert came_to(shop.history(command_id)) == ("rejected", "rejected")
    return command_id


def events(shop: Shop, command_id: str) -> list[str]:
    return [event.name for event in shop.history(command_id).events]


# Cancel


@on_both_databases
def test_what_waits_to_be_sent_is_cancelled_and_never_sent(door: Door, shop: Shop) -> None:
    command_id = held_back(shop)
    answer = door.act(f"commands/{command_id}/cancel", WHY)
    shop.wait(30)

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "cancelled"
    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]
    history = shop.history(command_id)
    assert history.command.reason.endswith(": looked at NinjaTrader")
    assert history.command.reason.startswith("cancelled by api token ")
    assert history.events[-1].actor.startswith("api token ")


def test_a_worker_that_reads_for_a_command_sends_nothing_once_it_is_cancelled(door: Door, shop: Shop) -> None:
    (command_id,) = shop.take(part(4))
    shop.desk.script("positions", lambda act: (door.act(f"commands/{command_id}/cancel", WHY), act())[1])
    shop.work()

    assert shop.desk.sent == []
    assert shop.history(command_id).command.status == "cancelled"


def test_what_may_have_acted_is_resolved_and_not_cancelled(door: Door, shop: Shop) -> None:
    command_id = stuck(shop)

    document = problem(door.act(f"commands/{command_id}/cancel", WHY), 409, "")
    assert "may have acted" in document["detail"]
    assert "resolve" in document["errors"][0]["hint"]


def test_nothing_is_done_to_a_command_in_mid_call(door: Door, shop: Shop) -> None:
    (command_id,) = shop.take(part(4))
    answers = []

    def meanwhile(act: Any) -> Any:
        for act_of in ("cancel", "retry"):
            answers.append(door.act(f"commands/{command_id}/{act_of}", WHY))
        for outcome in ("done", "not_done"):
            answers.append(door.act(f"commands/{command_id}/resolve", WHY | {"outcome": outcome}))
        return act()

    shop.desk.script("close", meanwhile)
    shop.work()

    assert [answer.status_code for answer in answers] == [409] * 4
    assert shop.history(command_id).command.status == "closed"


def test_a_part_behind_a_cancelled_one_goes_on(door: Door, shop: Shop) -> None:
    first = held_back(shop)
    (second,) = shop.take(part(3))
    shop.work()
    assert shop.history(second).command.status == "queued"
    door.act(f"commands/{first}/cancel", WHY)
    shop.work()

    assert shop.history(second).command.status == "closed"
    assert shop.desk.held() == 7


# Resolve


@on_both_databases
@pytest.mark.parametrize("done", [True, False])
def test_done_is_closed_only_if_a_fresh_read_agrees(door: Door, shop: Shop, done: bool) -> None:
    command_id = stuck(shop)
    if done:
        shop.desk.trade(SIM, MES, -4)  # the operator's own doing, say
    answer = door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "done"})
    assert answer.get_json()["status"] == "in_doubt"  # until a worker has read
    shop.work()

    history = shop.history(command_id)
    assert came_to(history) == (("closed", None) if done else ("cancelled", "still_open"))
    assert closed(history) == ([(MES, Decimal(4), "snapshot")] if done else [])
    assert "looked at NinjaTrader" in history.command.reason
    assert ("this is open: long 10 MES 12-26" in history.command.reason) is not done
    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]


def test_done_waits_for_a_read_that_works(door: Door, shop: Shop) -> None:
    command_id = stuck(shop)
    shop.desk.trade(SIM, MES, -4)
    shop.desk.script("positions", raises(OutcomeUnknown("cut")), raises(OutcomeUnknown("cut")))
    door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "done"})
    shop.wait(15)

    assert came_to(shop.history(command_id)) == ("closed", None)


def test_not_done_ends_it_at_once_and_lets_the_next_go_on(door: Door, shop: Shop) -> None:
    command_id = stuck(shop)
    (behind,) = shop.take(part(3))
    answer = door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "not_done"})
    shop.work()

    assert (answer.get_json()["status"], answer.get_json()["attention"]) == ("cancelled", None)
    assert shop.history(behind).command.status == "closed"
    assert shop.desk.held() == 7


def test_a_flatten_is_resolved_by_what_is_open(door: Door, shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    shop.desk.script("fills", *[raises(Refused("no executions here"))] * 100)
    (command_id,) = shop.take(FlattenMatching("nt8", account=SIM))
    shop.wait(200)
    assert shop.history(command_id).command.status == "in_doubt"
    shop.desk.trade(SIM, MES, -10)
    door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "done"})
    shop.work()

    assert came_to(shop.history(command_id)) == ("closed", None)


def test_what_only_waits_has_nothing_to_resolve(door: Door, shop: Shop) -> None:
    command_id = held_back(shop)

    problem(door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "done"}), 409, "")
    problem(door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "not_done"}), 409, "")


# Acknowledge


@on_both_databases
def test_what_is_acknowledged_does_not_ask_again_for_the_same(door: Door, shop: Shop) -> None:
    shop.desk.script("close", only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.wait(90)
    assert came_to(shop.history(command_id)) == ("working", "still_open")
    answer = door.act(f"commands/{command_id}/acknowledge", WHY)
    shop.wait(60)

    assert answer.get_json()["attention"] is None
    assert came_to(shop.history(command_id)) == ("working", None)
    assert events(shop, command_id).count("acknowledged") == 1
    shop.desk.trade(SIM, MES, 5)  # and something else is wrong
    shop.wait(120)
    assert came_to(shop.history(command_id)) == ("working", "position_changed")


def test_acknowledging_twice_is_one_act_and_nothing_to_acknowledge_is_told(door: Door, shop: Shop) -> None:
    command_id = rejected(shop)
    first, second = (door.act(f"commands/{command_id}/acknowledge", WHY) for _ in range(2))
    (quiet,) = shop.take(part(1))

    assert (first.status_code, second.status_code) == (200, 200)
    assert events(shop, command_id).count("acknowledged") == 1
    problem(door.act(f"commands/{quiet}/acknowledge", WHY), 409, "")


def test_how_it_ends_is_told_though_somebody_took_note_of_what_it_was(door: Door, shop: Shop) -> None:
    shop.desk.script("close", only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.wait(90)
    door.act(f"commands/{command_id}/acknowledge", WHY)
    door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "done"})
    shop.work()

    assert came_to(shop.history(command_id)) == ("cancelled", "still_open")


def test_what_is_noted_before_a_close_leaves_does_not_hush_what_comes_after(door: Door, shop: Shop) -> None:
    shop.desk.script("close", *[raises(NotSent("refused to connect"))] * 3, only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.work()
    with shop.ledger.writing() as connection:
        connection.execute(tables.commands.update().values(attention="still_open"))
    door.act(f"commands/{command_id}/acknowledge", WHY)
    shop.wait(110)

    assert came_to(shop.history(command_id)) == ("working", "still_open")


# What an operator ends


def test_a_position_whose_orders_are_gone_is_told_when_its_close_is_ended(door: Door, shop: Shop) -> None:
    shop.desk.script("close", raises(NotSent("refused to connect")))
    (command_id,) = shop.take(part(4, cancel_orders=True))
    shop.work()
    answer = door.act(f"commands/{command_id}/cancel", WHY)

    assert (answer.get_json()["status"], answer.get_json()["attention"]) == ("cancelled", "unprotected")


def test_what_an_ended_close_took_over_and_never_did_is_told(door: Door, shop: Shop) -> None:
    shop.desk.script("close", raises(NotSent("refused to connect")), raises(NotSent("refused to connect")))
    (narrow,) = shop.take(whole())
    shop.work()
    (wide,) = shop.take(FlattenMatching("nt8", account=SIM))
    shop.work()
    assert shop.history(narrow).command.status == "superseded"
    door.act(f"commands/{wide}/cancel", WHY)
    shop.wait(60)

    assert came_to(shop.history(wide)) == ("cancelled", None)
    assert came_to(shop.history(narrow)) == ("superseded", "gave_up")
    assert shop.desk.held() == HELD


def test_what_a_close_took_over_that_was_resolved_as_not_done_is_told(door: Door, shop: Shop) -> None:
    shop.desk.script("close", raises(NotSent("refused to connect")), raises(LOST))
    (narrow,) = shop.take(part(4))
    shop.work()
    (wide,) = shop.take(whole())
    shop.work()
    assert came_to(shop.history(narrow)) == ("superseded", None)
    door.act(f"commands/{wide}/resolve", WHY | {"outcome": "not_done"})

    assert came_to(shop.history(narrow)) == ("superseded", "gave_up")


# Retry


@on_both_databases
def test_a_retry_is_a_new_command_and_there_is_one(door: Door, shop: Shop) -> None:
    command_id = rejected(shop)
    answer = door.act(f"commands/{command_id}/retry", WHY)
    again = answer.get_json()
    second = problem(door.act(f"commands/{command_id}/retry", WHY), 409, "")
    shop.work()

    assert answer.status_code == 201
    assert (again["retry_of"], again["status"], again["quantity"]) == (command_id, "queued", "4")
    assert again["id"] in second["detail"]
    assert shop.history(again["id"]).command.status == "closed"
    assert shop.history(command_id).command.status == "rejected"
    assert events(shop, command_id)[-1] == "retried"
    assert shop.desk.held() == 6
    assert door.count(tables.alerts) == 1


@pytest.mark.parametrize("outcome", ["done", "not_done"])
def test_a_retry_asks_for_what_is_left_of_a_part(door: Door, shop: Shop, outcome: str) -> None:
    shop.desk.script("close", acts_in_part(shop.desk, 3))
    shop.desk.script("fills", *[raises(Refused("no executions here"))] * 100)
    (command_id,) = shop.take(part(4))
    shop.wait(200)
    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")
    door.act(f"commands/{command_id}/resolve", WHY | {"outcome": outcome})
    shop.work()
    assert shop.history(command_id).command.status == "cancelled"
    again = door.act(f"commands/{command_id}/retry", WHY).get_json()
    shop.work()

    assert again["quantity"] == "1"
    assert shop.desk.held() == 6


def test_a_part_of_which_nobody_saw_what_it_did_is_not_retried(door: Door, shop: Shop) -> None:
    shop.desk.script("close", acts_in_part(shop.desk, 3))
    (command_id,) = shop.take(part(4))
    shop.execution.step()
    door.act(f"commands/{command_id}/resolve", WHY | {"outcome": "not_done"})

    document = problem(door.act(f"commands/{command_id}/retry", WHY), 409, "")
    assert "may still fill" in document["detail"]
    shop.let_pass(30)
    document = problem(door.act(f"commands/{command_id}/retry", WHY), 409, "")
    assert "not known" in document["detail"]


@pytest.mark.parametrize("status", ["closed", "in_doubt", "working", "queued"])
def test_what_is_done_or_goes_on_is_not_retried(door: Door, shop: Shop, status: str) -> None:
    command_id = rejected(shop)
    with shop.ledger.writing() as connection:
        connection.execute(tables.commands.update().values(status=status))

    problem(door.act(f"commands/{command_id}/retry", WHY), 409, "")
    assert status not in RETRYABLE


def test_a_retry_that_nobody_carries_out_expires_like_an_alert(door: Door, shop: Shop) -> None:
    again = door.act(f"commands/{rejected(shop)}/retry", WHY).get_json()["id"]
    shop.let_pass(301)
    shop.work()

    assert came_to(shop.history(again)) == ("expired", "expired")


# Who may, and how


@pytest.mark.parametrize("act_of", ["retry", "cancel", "acknowledge", "resolve"])
def test_a_viewer_may_not_act_nor_may_a_stranger(door: Door, shop: Shop, act_of: str) -> None:
    body = WHY | ({"outcome": "done"} if act_of == "resolve" else {})
    path = f"commands/{rejected(shop)}/{act_of}"

    problem(door.act(path, body, token=VIEWER_TOKEN), 403)
    problem(door.act(path, body, token="wrong"), 401)
    problem(door.act(f"commands/nothing/{act_of}", body), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": 7}, "reason"),
        ({"reason": "why", "quantity": 1}, "quantity"),
    ],
)
def test_an_act_says_why(door: Door, shop: Shop, body: Any, field: str) -> None:
    answer = door.act(f"commands/{rejected(shop)}/acknowledge", body)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json(force=True)["errors"]] == [field]


def test_a_number_that_python_will_not_read_is_refused(door: Door, shop: Shop) -> None:
    path = f"/api/v1/commands/{rejected(shop)}/cancel"
    headers = {"Authorization": f"Bearer {API_TOKEN}", "Content-Type": "application/json"}
    answer = door.app.test_client().post(path, data='{"reason": ' + "9" * 6000 + "}", headers=headers)

    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")


@pytest.mark.parametrize("body", [[], "why", None, 7])
def test_a_body_that_is_no_object_is_refused(door: Door, shop: Shop, body: Any) -> None:
    answer = door.act(f"commands/{rejected(shop)}/cancel", body)

    assert answer.status_code in (400, 415, 422)
    assert answer.content_type == "application/problem+json"


def test_an_outcome_is_one_of_two(door: Door, shop: Shop) -> None:
    answer = door.act(f"commands/{stuck(shop)}/resolve", WHY | {"outcome": "perhaps"})

    assert answer.status_code == 422


def test_what_was_accepted_anew_is_neither_retried_nor_asked_about(ledger: Ledger, shop: Shop) -> None:
    """The sender's own resend did it already: a retry would close as much again."""
    delivery = Delivery("futures", b"close 4", "close 4", "main", header_key="evt-1")
    first = accept(ledger, delivery, Wish([part(4)], max_age=60)).commands[0].id
    shop.let_pass(61)
    shop.work()
    assert came_to(shop.history(first)) == ("expired", "expired")
    anew = accept(ledger, delivery, Wish([part(4)], max_age=60))
    shop.work()

    assert came_to(shop.history(first)) == ("expired", None)
    with pytest.raises(NotPossible, match=anew.alert):
        retry(ledger, first, "ada", "it expired", 300)
    assert shop.desk.held() == HELD - 4
