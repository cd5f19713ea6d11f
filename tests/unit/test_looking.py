"""What people look at: what is open now, read by a worker; a preview of what a text would send; an operator's flatten."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Fraction, Quantity
from app.domain.failures import Refused, Throttled
from app.domain.positions import Side
from app.ledger import questions, tables
from app.ledger.connection import Ledger
from app.ledger.encoding import command_json, command_of_json
from app.ledger.types import from_now
from tests.conftest import on_both_databases
from tests.desk import Desk, raises
from tests.shop import MES, SIM, Shop, came_to, part, whole
from tests.unit.test_one_by_one import MNQ, OneByOne
from tests.web import VIEWER_TOKEN, Door, problem
from workers.looking import Looking
from workers.observation import NO_ROOM


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    return Shop(ledger, desk)


def looking(shop: Shop, may_call: bool = True) -> Looking:
    brokers = shop.execution._brokers
    return Looking(shop.ledger, brokers, lambda: date(2026, 11, 20), lambda broker, seconds: may_call)


@contextmanager
def answering(shop: Shop) -> Iterator[None]:
    """A worker looks for questions meanwhile."""
    stopped = threading.Event()

    def answer() -> None:
        while not stopped.wait(0.02):
            looking(shop).once("nt8")

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    stopped.set()
    thread.join()


def some_time_later(door: Door) -> None:
    then = datetime.now(UTC) - timedelta(seconds=questions.FRESH + 1)
    door.change(tables.questions, asked_at=then, taken_at=then, answered_at=then)


# What is open now


@on_both_databases
def test_what_is_open_is_read_by_a_worker_with_the_time_of_the_reading(door: Door, shop: Shop) -> None:
    with answering(shop):
        document = door.get("/api/v1/positions").get_json()

    shown = {(it["instrument"], it["side"], it["quantity"]) for it in document["items"]}
    assert shown == {(MES, "long", "10"), (MNQ, "short", "5")}
    (broker,) = document["brokers"]
    assert (broker["broker"], broker["problem"], broker["unreadable"]) == ("nt8", None, {})
    age = datetime.now(UTC) - datetime.fromisoformat(broker["read_at"])
    assert timedelta(seconds=-1) < age < timedelta(seconds=5)
    assert {it["read_at"] for it in document["items"]} == {broker["read_at"]}
    (row,) = questions.readings(shop.ledger)
    assert 0 <= row.answer["slowest"] < 5


def test_without_a_worker_the_view_says_that_nothing_was_read_within_a_second(door: Door) -> None:
    began = datetime.now(UTC)
    document = door.get("/api/v1/positions", token=VIEWER_TOKEN).get_json()

    assert datetime.now(UTC) - began < timedelta(seconds=1.5)
    assert document["items"] == []
    assert document["brokers"] == [{"broker": "nt8", "read_at": None, "problem": None, "unreadable": {}}]


def test_however_many_look_it_is_read_once_in_a_while(door: Door, shop: Shop) -> None:
    reads = []
    shop.desk.script("positions", *[lambda act: (reads.append(1), act())[1]] * 20)
    with answering(shop):
        for _ in range(5):
            door.get("/api/v1/positions")
    assert len(reads) == 1

    some_time_later(door)
    with answering(shop):
        door.get("/api/v1/positions")
    assert len(reads) == 2


def test_a_reading_that_fails_keeps_the_last_one_beside_the_reason(door: Door, shop: Shop) -> None:
    with answering(shop):
        before = door.get("/api/v1/positions").get_json()
        shop.desk.script("positions", raises(Refused("the add-on is not connected")))
        some_time_later(door)
        after = door.get("/api/v1/positions").get_json()

    assert after["items"] == before["items"]
    assert after["brokers"][0]["problem"] == "the add-on is not connected"
    assert after["brokers"][0]["read_at"] == before["brokers"][0]["read_at"]


def test_a_question_waits_for_room_and_for_a_worker_that_may_call(shop: Shop) -> None:
    questions.ask_for_positions(shop.ledger, ["nt8"])
    looking(shop, may_call=False).once("nt8")
    shop.desk.script("positions", raises(Throttled(NO_ROOM, retry_after=1)))
    looking(shop).once("nt8")
    (row,) = questions.readings(shop.ledger)
    assert (row.answered_at, row.taken_at) == (None, None)

    looking(shop).once("nt8")
    (row,) = questions.readings(shop.ledger)
    assert len(row.answer["positions"]) == 2


@on_both_databases
def test_one_worker_answers_and_another_takes_over_from_a_dead_one(shop: Shop) -> None:
    questions.ask_for_positions(shop.ledger, ["nt8"])
    taken = questions.take(shop.ledger, "nt8")
    assert taken is not None
    assert questions.take(shop.ledger, "nt8") is None
    with shop.ledger.writing() as connection:
        connection.execute(update(tables.questions).values(taken_at=from_now(-60), asked_at=from_now(-61)))

    assert questions.take(shop.ledger, "nt8") == taken


# Previews


@pytest.mark.parametrize(
    "command",
    [
        whole(),
        whole(side=Side.LONG, cancel_orders=False),
        part(3),
        ClosePosition("nt8", SIM, MES, Fraction(Decimal("0.25"))),
        FlattenMatching("nt8", account=SIM, side=Side.SHORT, max_positions=3),
        FlattenEverything("nt8"),
    ],
    ids=str,
)
def test_a_command_stays_itself_as_json(command: Command) -> None:
    assert command_of_json(command_json(command)) == command


def preview(shop: Shop, command: Command) -> dict[str, Any]:
    questions.ask_for_previews(shop.ledger, {"p1": ("nt8", command_json(command))})
    looking(shop).once("nt8")
    row = questions.answer_of(shop.ledger, "p1")
    assert row is not None
    answer: dict[str, Any] = row.answer
    return answer


@on_both_databases
def test_a_preview_shows_the_request_and_what_it_would_leave_and_sends_nothing(shop: Shop) -> None:
    found = preview(shop, part(4))

    assert [it["asks"] for it in found["requests"]] == ["close 4 MES 12-26 Sim101"]
    assert [(it["before"], it["target"]) for it in found["positions"]] == [("10", "6")]
    assert (found["ends"], shop.desk.sent, shop.desk.held()) == (None, [], 10)


def test_a_preview_of_a_close_that_goes_out_unread_tells_what_it_would_leave(shop: Shop) -> None:
    found = preview(shop, whole())

    assert len(found["requests"]) == 1
    assert [(it["before"], it["target"]) for it in found["positions"]] == [("10", "0")]


def test_a_preview_shows_the_cancel_that_goes_first(shop: Shop) -> None:
    found = preview(shop, part(4, cancel_orders=True))

    assert [it["asks"].split()[0] for it in found["requests"]] == ["cancel", "close"]


def test_a_preview_of_a_flatten_of_several_calls_shows_each(ledger: Ledger) -> None:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    found = preview(Shop(ledger, desk), FlattenMatching("nt8", account=SIM))

    assert len(found["requests"]) == len(found["positions"]) == 2
    assert desk.sent == []


def test_a_preview_takes_no_room_from_what_is_to_be_sent(ledger: Ledger) -> None:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    shop, counted = Shop(ledger, desk), []
    close = desk.close
    desk.close = lambda *a: replace(close(*a), room=lambda patient: counted.append(a) or 60.0)  # type: ignore[method-assign, func-returns-value]
    found = preview(shop, FlattenMatching("nt8", account=SIM))

    assert (len(found["requests"]), counted) == (2, [])


def test_a_preview_of_more_than_a_flatten_may_close_says_so(ledger: Ledger) -> None:
    for desk in (Desk(), OneByOne()):
        desk.hold(SIM, MES, 10)
        desk.hold(SIM, MNQ, -5)
        found = preview(Shop(ledger, desk), FlattenMatching("nt8", account=SIM, max_positions=1))
        with ledger.writing() as connection:
            connection.execute(tables.questions.delete())

        assert (found["requests"], found["ends"]["status"]) == ([], "gave_up")


def test_a_preview_says_why_nothing_would_be_sent(shop: Shop) -> None:
    found = preview(shop, ClosePosition("nt8", SIM, "ES 12-26", Quantity(Decimal(1))))

    assert found["requests"] == []
    assert found["ends"]["status"] == "nothing_open"


# An operator's own flatten


@on_both_databases
def test_an_operators_flatten_goes_through_the_ledger_with_who_and_why(door: Door, shop: Shop) -> None:
    body = {"broker": "nt8", "account": SIM, "reason": "session ends"}
    answer = door.act("flatten", body)
    (command,) = answer.get_json()["commands"]
    shop.wait(30)

    assert answer.status_code == 201
    assert (command["hook"], command["action"], command["account"]) == ("(operator)", "flatten", SIM)
    history = shop.history(command["id"])
    assert came_to(history) == ("closed", None)
    assert shop.desk.book == {}
    alert = door.get(f"/api/v1/alerts/{command['alert']}").get_json()
    assert alert["secret_label"].startswith("api token ")
    assert (alert["reason"], alert["text"]) == ("session ends", "action=flatten;account=Sim101")


def test_an_operators_flatten_is_as_narrow_as_it_says(door: Door, shop: Shop) -> None:
    body = {"broker": "nt8", "account": SIM, "instrument": "MNQ 12-26", "side": "short", "reason": "out"}
    door.act("flatten", body)
    shop.wait(30)

    assert list(shop.desk.book) == [(SIM, MES)]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"broker": "nt9"}, 422, "broker"),
        ({"account": "*"}, 422, "account"),
        ({"account": ""}, 422, "account"),
        ({"instrument": "a/b"}, 422, "instrument"),
        ({"side": "both"}, 422, "side"),
        ({"sid": "long"}, 422, "sid"),
        ({"reason": ""}, 422, "reason"),
    ],
)
def test_a_flatten_that_is_not_clear_is_refused(
    door: Door, change: dict[str, Any], status: int, field: str
) -> None:
    body = {"broker": "nt8", "account": SIM, "reason": "session ends"} | change
    document = problem(door.act("flatten", body), status, field)

    assert door.count() == 0
    assert document["errors"][0]["hint"]


def test_a_viewer_flattens_nothing(door: Door) -> None:
    body = {"broker": "nt8", "account": SIM, "reason": "session ends"}

    assert door.act("flatten", body, token=VIEWER_TOKEN).status_code == 403
    assert door.count() == 0
