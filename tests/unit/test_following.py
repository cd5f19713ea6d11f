"""One command can be followed through the log by its id, whatever carries it on; what is not committed is not told."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.domain.commands import FlattenEverything, FlattenMatching
from app.ledger import operators, tables
from app.ledger.connection import Ledger
from app.ledger.events import record, told_last
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, part, whole

Lines = list[MutableMapping[str, Any]]
MNQ = "MNQ 12-26"


class OneByOne(Desk):
    """A venue that has no call for a flatten, and whose calls log something, as the layers below do."""

    def flatten(self, command: FlattenMatching) -> None:  # type: ignore[override]
        return None

    def _call(self, kind: str, request: str, act: Callable[[], Any]) -> Any:
        def logging() -> Any:
            structlog.get_logger("a layer below").info("called", request=request)
            return act()

        return super()._call(kind, request, logging)


@contextmanager
def logged() -> Iterator[Lines]:
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = OneByOne()
    desk.hold(SIM, MES, 10)
    desk.hold(SIM, MNQ, -5)
    return Shop(ledger, desk)


def of(lines: Lines, command: str) -> list[str]:
    """What is told of a command."""
    return [line["event"] for line in lines if line.get("command") == command]


def moves(lines: Lines, command: str) -> list[tuple[str, str]]:
    mine = (line for line in lines if line["event"] == "command_status" and line["command"] == command)
    return [(line["from"], line["to"]) for line in mine]


def test_a_close_is_told_from_its_acceptance_to_its_end(shop: Shop) -> None:
    with logged() as lines:
        (command,) = shop.take(whole())
        shop.work()

    told = [line for line in of(lines, command) if line != "called"]
    assert told == [
        "command_accepted",
        "command_sending",
        "command_answered",
        "command_status",
        "command_status",
    ]
    assert moves(lines, command) == [("sending", "working"), ("working", "closed")]
    assert {line["alert"] for line in lines if line["event"] == "command_accepted"} == {
        shop.history(command).command.alert
    }


def test_each_line_of_a_step_names_the_command_in_threads_too(shop: Shop) -> None:
    with logged() as lines:
        (command,) = shop.take(FlattenMatching("nt8", account=SIM))
        shop.work()

    assert sum(line["event"] == "called" and "close" in line["request"] for line in lines) == 2
    assert {line.get("command") for line in lines} == {command}


def test_an_answer_that_was_lost_and_what_it_came_to_are_told(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    with logged() as lines:
        (command,) = shop.take(part())
        shop.work()
        shop.wait(60)

    (answered,) = (line for line in lines if line["event"] == "command_answered")
    (doubt,) = (line for line in lines if line.get("to") == "in_doubt" and line["from"] == "sending")
    assert (answered["command"], answered["outcome"]) == (command, "outcome_unknown")
    assert (doubt["command"], doubt["reason"]) == (command, LOST.detail)
    assert "command_waits" in of(lines, command)


def test_what_ends_without_a_step_of_its_own_is_told(shop: Shop) -> None:
    (old,) = shop.take(whole(MNQ), max_age=1)
    (narrow,) = shop.take(part())
    shop.let_pass(2)
    with logged() as lines:
        (wide,) = shop.take(whole())
        shop.work()

    assert moves(lines, old) == [("queued", "expired")]
    assert moves(lines, narrow) == [("queued", "superseded")]
    assert wide in next(line["reason"] for line in lines if line.get("to") == "superseded")


def test_what_a_dead_worker_held_and_what_operators_do_is_told(ledger: Ledger, shop: Shop) -> None:
    (command,) = shop.take(FlattenEverything("nt8"))
    dead = Shop(ledger, shop.desk).execution.claims
    assert dead.take(["nt8"])
    with logged() as lines:
        dead.recover(owner="worker-1")
        operators.cancel(ledger, command, "ada", "a mistake")
        again = operators.retry(ledger, command, "ada", "after all", 300)

    assert of(lines, command) == ["command_taken_back", "command_status", "command_retried"]
    assert of(lines, again) == ["command_accepted"]
    assert lines[-1]["actor"] == "ada"


def test_what_is_to_be_told_last_is_told_though_the_block_fails(ledger: Ledger, shop: Shop) -> None:
    (command,) = shop.take(whole())

    def failing() -> None:
        with told_last():
            operators.cancel(ledger, command, "ada", "a mistake")
            assert lines == []
            raise ZeroDivisionError

    with logged() as lines, pytest.raises(ZeroDivisionError):
        failing()

    assert [line["event"] for line in lines] == ["command_status"]


def test_what_was_rolled_back_is_not_told(ledger: Ledger, shop: Shop) -> None:
    (command,) = shop.take(whole())

    def fail(connection: Connection) -> None:
        record(connection, command, "status", "worker-1", {"to": "closed"})
        raise ZeroDivisionError

    with logged() as lines, pytest.raises(ZeroDivisionError), ledger.writing() as connection:
        fail(connection)

    assert lines == []
    with ledger.reading() as connection:
        assert len(connection.execute(tables.events.select()).all()) == 1
