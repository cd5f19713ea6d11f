"""An alert is taken in once, however often and however simultaneously it is delivered, and is kept as it came."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, Any

import pytest
from sqlalchemy import event, insert, select, update

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Fraction, Quantity
from app.domain.positions import Side
from app.domain.statuses import Status
from app.ledger import readers, tables
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Taken, Wish, new_id
from app.ledger.encoding import command_of
from app.ledger.intake import refuse
from app.ledger.once import KeyReused
from app.ledger.types import from_now, now
from tests.conftest import on_both_databases
from tests.running import ROOT
from tests.taking import accept
from tests.unit.test_claims import set_on

CLOSE = ClosePosition("nt8", "Sim101", "MES 12-26")


def delivery(body: str = "close MES 12-26", **changes: Any) -> Delivery:
    given = {"hook": "futures", "body": body.encode(), "text": body, "secret_label": "main"} | changes
    return Delivery(**given)


def window_ran_out(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        ends = tables.alert_keys.c.expires_at.is_not(None)
        connection.execute(update(tables.alert_keys).where(ends).values(expires_at=from_now(-1)))


def rows(ledger: Ledger, table: Any) -> Any:
    with ledger.reading() as connection:
        return connection.execute(select(table).order_by(table.c.seq)).all()


@on_both_databases
def test_the_same_bytes_are_one_alert_within_the_window_and_two_after_it(ledger: Ledger) -> None:
    first = accept(ledger, delivery(), Wish([CLOSE]))
    again = accept(ledger, delivery(), Wish([CLOSE]))
    assert again.duplicate
    assert again.alert == first.alert
    assert [row.id for row in again.commands] == [row.id for row in first.commands]
    window_ran_out(ledger)

    later = accept(ledger, delivery(), Wish([CLOSE]))
    assert not later.duplicate
    assert accept(ledger, delivery(), Wish([CLOSE])).alert == later.alert
    assert [row.deliveries for row in rows(ledger, tables.alerts)] == [2, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (delivery("close MES 12-26"), delivery("close  MES 12-26")),
        (delivery(hook="futures"), delivery(hook="other")),
        (delivery(header_key="a"), delivery(header_key="b")),
        (delivery(header_key="a"), delivery(header_key="a", hook="other")),
        (delivery(header_key="a"), delivery()),
    ],
)
def test_what_differs_in_bytes_hook_or_key_is_not_a_repeat(
    ledger: Ledger, one: Delivery, other: Delivery
) -> None:
    for each in (one, other):
        assert not accept(ledger, each, Wish([CLOSE])).duplicate


@on_both_databases
def test_a_key_of_a_header_lasts_and_is_not_for_another_body(ledger: Ledger) -> None:
    first = accept(ledger, delivery(header_key="k" * 10_000), Wish([CLOSE]))
    window_ran_out(ledger)

    assert accept(ledger, delivery(header_key="k" * 10_000), Wish([CLOSE])).alert == first.alert
    with pytest.raises(KeyReused) as told:
        accept(ledger, delivery("flatten Sim101", header_key="k" * 10_000), Wish([CLOSE]))
    assert told.value.alert == first.alert
    assert len(rows(ledger, tables.alerts)) == 1


@on_both_databases
def test_an_id_counts_with_the_bytes_and_its_reuse_is_told(ledger: Ledger) -> None:
    big = str(2**64) + "\ud83d\x00" + "9" * 10_000
    first = accept(ledger, delivery("one"), Wish([CLOSE], sender_id=big))
    assert accept(ledger, delivery("one"), Wish([CLOSE], sender_id=big)).alert == first.alert

    other = accept(ledger, delivery("two"), Wish([CLOSE], sender_id=big))
    assert not other.duplicate
    assert [it["message"] for it in other.warnings] == ["id_reused"]
    assert first.warnings == []
    with ledger.reading() as connection:
        expires_at = connection.execute(select(tables.alert_keys.c.expires_at)).scalars().first()
        moment = connection.execute(select(now())).scalar_one()
    assert (expires_at - moment).total_seconds() == pytest.approx(300, abs=5)  # max_age, not the window


# At the same instant

Deliver = Callable[[int], Taken]


def at_once(count: int, deliver: Deliver) -> list[Taken]:
    barrier = threading.Barrier(count)

    def one(number: int) -> Taken:
        barrier.wait(10)
        return deliver(number)

    with ThreadPoolExecutor(count) as pool:
        return [it.result() for it in [pool.submit(one, number) for number in range(count)]]


@on_both_databases
@pytest.mark.parametrize("key", [{}, {"header_key": "k"}])
def test_thirty_deliveries_at_the_same_instant_make_one_alert(
    database_url: str, ledger: Ledger, key: dict[str, str]
) -> None:
    webs = [Ledger(database_url, threads=15), Ledger(database_url, threads=15)]

    def deliver(number: int) -> Taken:
        return accept(webs[number % 2], delivery(**key), Wish([CLOSE, CLOSE]))

    for alerts in (1, 1 if key else 2):
        taken = at_once(30, deliver)
        assert len({it.alert for it in taken}) == 1
        assert sum(not it.duplicate for it in taken) == (0 if key and ledger_has_seen(ledger, 60) else 1)
        assert len(rows(ledger, tables.alerts)) == alerts
        window_ran_out(ledger)
    for web in webs:
        web.dispose()
    assert len(rows(ledger, tables.commands)) == 2 * alerts
    assert sum(row.deliveries for row in rows(ledger, tables.alerts)) == 60


def ledger_has_seen(ledger: Ledger, deliveries: int) -> bool:
    return sum(row.deliveries for row in rows(ledger, tables.alerts)) == deliveries


@on_both_databases
def test_different_alerts_at_the_same_instant_are_all_taken(database_url: str, ledger: Ledger) -> None:
    web = Ledger(database_url, threads=28)
    taken = at_once(30, lambda number: accept(web, delivery(f"alert {number}"), Wish([CLOSE])))
    web.dispose()

    assert not any(it.duplicate for it in taken)
    assert len(rows(ledger, tables.commands)) == 30


def out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout
    return process.stdout


WEB = """
import sys
from concurrent.futures import ThreadPoolExecutor
from app.domain.commands import ClosePosition
from app.ledger import waiting

waiting.TRANSACTION_SECONDS, waiting.STATEMENT_SECONDS = 25.0, 20.0  # the machine may be busy
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish
from tests.taking import accept
from config.logging import configure_logging

configure_logging("ERROR", "text")
ledger = Ledger(sys.argv[1], threads=8)
wish = Wish([ClosePosition("nt8", "Sim101", "MES 12-26")])
accept(ledger, Delivery("futures", sys.argv[2].encode(), "to fill the pool", "main"), wish)
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    for taken in pool.map(lambda _: accept(ledger, Delivery("futures", b"close", "close", "main"), wish), range(8)):
        print(taken.alert, taken.duplicate)
"""
"""What a web process of its own makes of eight deliveries at once: each alert's id, and whether it is a repeat."""


@on_both_databases
def test_the_same_instant_in_several_processes_makes_one_alert(database_url: str, ledger: Ledger) -> None:
    def started(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WEB, database_url, name]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
        )

    with started("one") as one, started("two") as two:
        for web in (one, two):
            assert out(web).readline() == "ready\n"
        told: list[str] = []
        for web in (one, two):
            assert web.stdin
            web.stdin.write("\n")
            web.stdin.flush()
        for web in (one, two):
            told += out(web).read().splitlines()

    assert len({line.split()[0] for line in told}) == 1
    assert sorted(line.split()[1] for line in told) == ["False", *["True"] * 15]
    assert [row.deliveries for row in rows(ledger, tables.alerts) if row.text == "close"] == [16]


@on_both_databases
def test_an_alert_that_came_to_nothing_is_taken_anew_once_by_many_at_the_same_instant(ledger: Ledger) -> None:
    first = accept(ledger, delivery(), Wish([CLOSE]))
    set_on(ledger, first.commands[0].id, status=Status.EXPIRED)
    taken = at_once(6, lambda _: accept(ledger, delivery(), Wish([CLOSE])))

    assert len({it.alert for it in taken} | {first.alert}) == 2
    assert [it.duplicate for it in taken].count(False) == 1


# When a repeat is wanted again


@pytest.mark.parametrize(
    ("status", "left", "anew"),
    [
        (Status.EXPIRED, None, True),
        (Status.NOTHING_OPEN, "reported", True),
        (Status.GAVE_UP, None, True),
        (Status.GAVE_UP, "not_sent", True),
        (Status.GAVE_UP, "throttled", True),
        (Status.GAVE_UP, "reported", False),
        (Status.GAVE_UP, "outcome_unknown", False),
        (Status.QUEUED, None, False),
        (Status.SENDING, None, False),
        (Status.WORKING, "reported", False),
        (Status.IN_DOUBT, "outcome_unknown", False),
        (Status.CLOSED, "reported", False),
        (Status.REJECTED, "refused", False),
        (Status.CANCELLED, None, False),
        (Status.SUPERSEDED, None, False),
    ],
)
def test_a_repeat_is_taken_anew_only_if_nothing_came_of_the_first(
    ledger: Ledger, status: Status, left: str | None, anew: bool
) -> None:
    first = accept(ledger, delivery(header_key="k"), Wish([CLOSE]))
    (command,) = first.commands
    set_on(ledger, command.id, status=status)
    if left:
        attempt = {"number": 1, "kind": "close", "request": {}, "sent_at": now(), "settles_at": now()}
        with ledger.writing() as connection:
            connection.execute(insert(tables.attempts).values(command=command.id, outcome=left, **attempt))

    again = accept(ledger, delivery(header_key="k"), Wish([CLOSE]))
    assert again.duplicate is not anew
    assert (again.alert == first.alert) is not anew
    if anew:  # and the new one is now what a repeat is a repeat of
        assert accept(ledger, delivery(header_key="k"), Wish([CLOSE])).alert == again.alert


def test_a_repeat_is_not_taken_anew_if_one_of_its_commands_did_something(ledger: Ledger) -> None:
    first = accept(ledger, delivery(), Wish([CLOSE, CLOSE]))
    set_on(ledger, first.commands[0].id, status=Status.EXPIRED)

    assert accept(ledger, delivery(), Wish([CLOSE, CLOSE])).duplicate


# What is kept


@on_both_databases
@pytest.mark.parametrize(
    "odd",
    ["a\x00b", "half of it \ud83d", "x" * 16_384, "\N{GRINNING FACE}" * 4096, "\u202e'\";--\r\n\t", ""],
    ids=["nul", "surrogate", "16 KiB", "emoji", "signs", "empty"],
)
def test_no_text_is_refused_by_the_database(ledger: Ledger, odd: str) -> None:
    kept = odd.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")
    came = Delivery("futures", odd.encode("utf-8", "surrogatepass"), odd, "main", odd)
    fault = {"field": odd, "message": odd, "hint": odd}
    taken = accept(ledger, came, Wish([CLOSE], warnings=[fault]))
    assert accept(ledger, came, Wish([CLOSE])).alert == taken.alert
    refused = refuse(ledger, came, odd, [fault])

    first, second = rows(ledger, tables.alerts)
    assert (first.text, first.source_address, first.warnings) == (kept, kept, [fault])
    assert first.size == len(odd.encode("utf-8", "surrogatepass"))
    assert (second.id, second.outcome, second.reason, second.errors) == (refused, "refused", kept, [fault])
    assert len(rows(ledger, tables.commands)) == 1


COMMANDS: list[Command] = [
    CLOSE,
    ClosePosition(
        "nt8", "Sim101", "MES 12-26", Quantity(Decimal("99999999999999999.000000001")), Side.LONG, False
    ),
    ClosePosition("nt8", "sim 101 \N{GREEK CAPITAL LETTER SIGMA}", "ES1!", Quantity(Decimal("1E+3"))),
    ClosePosition("nt8", "Sim101", "MES 12-26", Fraction(Decimal("0.333333333333333333333333333"))),
    FlattenMatching("nt8", side=Side.SHORT, cancel_orders=False),
    FlattenMatching("nt8", "Sim101", "MES"),
    FlattenEverything("nt8"),
]


@on_both_databases
def test_commands_come_back_as_they_were_asked_for_in_their_order(ledger: Ledger) -> None:
    taken = accept(ledger, delivery(), Wish(COMMANDS))

    assert [command_of(row) for row in taken.commands] == COMMANDS
    assert len({row.id for row in taken.commands}) == len(COMMANDS)
    assert {row.status for row in taken.commands} == {"queued"}


def test_a_command_that_is_too_old_already_is_kept_as_expired(ledger: Ledger) -> None:
    fired_at = datetime.now(UTC) - timedelta(seconds=301)
    (row,) = accept(ledger, delivery(), Wish([CLOSE], fired_at=fired_at)).commands

    assert (row.status, row.attention) == ("expired", "expired")
    assert row.settled_at == row.accepted_at
    assert row.due_at is None
    history = readers.command_history(ledger, row.id)
    assert history is not None
    assert [it.name for it in history.events] == ["accepted", "status"]


@on_both_databases
def test_an_alert_that_breaks_off_leaves_nothing_and_can_come_again(ledger: Ledger) -> None:
    def break_off(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO events"):  # the last of it
            raise ZeroDivisionError

    event.listen(ledger.engine, "before_cursor_execute", break_off)
    with pytest.raises(ZeroDivisionError):
        accept(ledger, delivery(), Wish([CLOSE, CLOSE]))
    event.remove(ledger.engine, "before_cursor_execute", break_off)

    assert rows(ledger, tables.alerts) == []
    assert not accept(ledger, delivery(), Wish([CLOSE, CLOSE])).duplicate
    assert new_id() != new_id()
