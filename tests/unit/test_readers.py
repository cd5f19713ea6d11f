"""What is read of the ledger: pages that hold still while alerts come in, filters, health; and never a whole table."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from app.domain.commands import ClosePosition, Command, FlattenMatching, Quantity
from app.domain.statuses import Attention, Status
from app.ledger import condition, due, readers, tables
from app.ledger.claims import Claims
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.intake import refuse
from app.ledger.journal import Journal
from app.ledger.step import Step
from app.ledger.types import from_now, now
from tests.conftest import on_both_databases
from tests.taking import accept
from tests.unit.test_claims import begun, claim, set_on


def taken_in(ledger: Ledger, *commands: Command, hook: str = "futures") -> list[str]:
    came = Delivery(hook, new_id().encode(), "a text", "main")
    return [row.id for row in accept(ledger, came, Wish(commands)).commands]


def closes(count: int) -> list[Command]:
    return [ClosePosition("nt8", "Sim101", f"L{n} 12-26") for n in range(count)]


def ids(page: readers.Page) -> list[str]:
    return [row.id for row in page.rows]


# Pages


@on_both_databases
@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
def test_pages_show_each_once_newest_first_while_others_come_in(ledger: Ledger, limit: int) -> None:
    there = taken_in(ledger, *closes(10))
    shown: list[str] = []
    before = None
    while True:
        page = readers.commands_page(ledger, {}, before=before, limit=limit)
        assert len(page.rows) <= limit
        shown += ids(page)
        taken_in(ledger, *closes(1))
        before = page.next
        if before is None:
            break

    assert shown == there[::-1]


def test_a_page_that_ends_the_list_says_so(ledger: Ledger) -> None:
    taken_in(ledger, *closes(4))

    assert readers.commands_page(ledger, {}, limit=4).next is None
    page = readers.commands_page(ledger, {}, limit=2)
    assert readers.commands_page(ledger, {}, before=page.next, limit=2).next is None
    nothing = readers.commands_page(ledger, {}, before=1, limit=2)
    assert (list(nothing.rows), nothing.next) == ([], None)
    assert len(readers.commands_page(ledger, {}, before=2**62).rows) == 4


# Filters


@on_both_databases
def test_commands_are_found_by_what_they_are(ledger: Ledger) -> None:
    plain, other, flat = taken_in(
        ledger,
        ClosePosition("nt8", "Sim101", "MES 12-26"),
        ClosePosition("okx", "ΣIM Ä1", "BTC-USDT", Quantity(Decimal(2))),
        FlattenMatching("nt8", "SIM102"),
    )
    (elsewhere,) = taken_in(ledger, ClosePosition("nt8", "Sim101", "ES 12-26"), hook="other")
    set_on(ledger, flat, status=Status.IN_DOUBT, attention=Attention.IN_DOUBT)

    for filters, expected in (
        ({}, [elsewhere, flat, other, plain]),
        ({"status": "queued"}, [elsewhere, other, plain]),
        ({"status": ["in_doubt", "closed"]}, [flat]),
        ({"status": []}, []),
        ({"broker": "okx"}, [other]),
        ({"broker": "nt8", "hook": "futures"}, [flat, plain]),
        ({"account": "sim101"}, [elsewhere, plain]),
        ({"account": "sim102"}, [flat]),
        ({"account": "ΣIM Ä1"}, [other]),
        ({"instrument": "MES 12-26"}, [plain]),
        ({"hook": "other", "account": None}, [elsewhere]),
        ({"attention": "in_doubt"}, [flat]),
        ({"hook": "\x00", "account": "\ud800"}, []),
    ):
        assert ids(readers.commands_page(ledger, filters)) == expected, filters


@on_both_databases
def test_since_is_inclusive_and_until_is_not(ledger: Ledger) -> None:
    (command,) = taken_in(ledger, *closes(1))
    moment = datetime(2026, 3, 2, 14, 31, 0, 123456, tzinfo=UTC)
    set_on(ledger, command, accepted_at=moment)
    later = moment + timedelta(microseconds=1)

    assert ids(readers.commands_page(ledger, {"since": moment, "until": later})) == [command]
    assert ids(readers.commands_page(ledger, {"since": later})) == []
    assert ids(readers.commands_page(ledger, {"until": moment})) == []


@on_both_databases
def test_alerts_are_found_by_hook_outcome_and_time_with_their_commands(ledger: Ledger) -> None:
    taken_in(ledger, *closes(2))
    refused = refuse(ledger, Delivery("other", b"x", "x", "main"), "unreadable", [])
    (accepted,) = readers.alerts_page(ledger, {"outcome": "accepted"}).rows

    assert ids(readers.alerts_page(ledger, {"hook": "other"})) == [refused]
    assert ids(readers.alerts_page(ledger, {"since": datetime(2099, 1, 1, tzinfo=UTC)})) == []
    commands = readers.commands_of_alerts(ledger, [accepted.id, refused])
    assert [len(commands[it]) for it in (accepted.id, refused)] == [2, 0]
    assert readers.commands_of_alerts(ledger, []) == {}


@on_both_databases
@pytest.mark.parametrize("unknown", ["0" * 32, "", "\x00", "\ud800", "x" * 1000])
def test_what_is_not_there_is_nothing(ledger: Ledger, unknown: str) -> None:
    assert readers.command_history(ledger, unknown) is None
    assert readers.alert(ledger, unknown) is None


def test_a_list_has_the_histories_of_its_own_commands_in_their_order(ledger: Ledger) -> None:
    taken_in(ledger, *closes(3))
    held = claim(ledger)
    assert held is not None
    begun(ledger, held)
    page = readers.commands_page(ledger, {})

    histories = readers.histories(ledger, page.rows)
    assert [it.command.id for it in histories] == ids(page)
    assert [len(it.attempts) for it in histories] == [0, 0, 1]
    assert readers.histories(ledger, []) == []


# Health


@on_both_databases
def test_health_counts_what_is_open_and_what_needs_a_person(ledger: Ledger) -> None:
    empty = condition.health(ledger)
    assert (empty.workers, empty.unsettled, empty.oldest_unsettled, empty.attention) == (0, 0, None, 0)
    old, done, _new = taken_in(ledger, *closes(3))
    set_on(ledger, old, accepted_at=from_now(-90), status=Status.IN_DOUBT, attention=Attention.IN_DOUBT)
    ended = {"status": Status.GAVE_UP, "attention": Attention.GAVE_UP, "settled_at": from_now(-800)}
    set_on(ledger, done, accepted_at=from_now(-900), **ended)

    health = condition.health(ledger)
    assert (health.unsettled, health.attention) == (2, 2)
    assert health.oldest_unsettled == pytest.approx(90, abs=5)
    condition.check_writable(ledger)


@on_both_databases
def test_the_next_due_is_the_nearest_that_is_still_to_come(ledger: Ledger) -> None:
    assert due.seconds_to_next_due(ledger) is None
    _due, soon, later = taken_in(ledger, *closes(3))
    set_on(ledger, soon, due_at=from_now(20))
    set_on(ledger, later, due_at=from_now(40))

    assert due.seconds_to_next_due(ledger) == pytest.approx(20, abs=2)


# What grows must not slow down


@pytest.fixture
def grown(ledger: Ledger) -> Ledger:
    """A ledger after a long time: all is settled but a few."""
    taken_in(ledger, *closes(1))
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    copied = [it.name for it in tables.commands.c if it.name not in COUNTED]
    with ledger.writing() as connection:
        connection.execute(
            text(
                f"INSERT INTO commands (id, status, settled_at, due_at, {', '.join(copied)}) "
                f"{numbers} SELECT 'settled' || i, 'closed', 1, NULL, {', '.join(copied)} FROM n, commands"
            )
        )
        for table, columns, values in (
            ("events", "command, at, name, actor, detail", "1, 'accepted', 'x', '{}'"),
            ("attempts", "command, number, kind, request, sent_at, settles_at", "1, 'close', '{}', 1, 1"),
        ):
            connection.execute(
                text(f"INSERT INTO {table} ({columns}) {numbers} SELECT 'settled' || i, {values} FROM n")
            )
        connection.execute(insert(tables.closed_positions).values(CLOSED))
    if not ledger.sqlite:
        with ledger.writing() as connection:
            connection.execute(text("ANALYZE"))
    taken_in(ledger, *closes(30))
    return ledger


COUNTED = ("seq", "id", "status", "settled_at", "due_at")
CLOSED = {
    "command": "settled1",
    "hook": "h",
    "broker": "nt8",
    "closed_at": now(),
    "account": "Sim101",
    "instrument": "MES",
    "source": "fills",
    "order_ids": [],
    "raw": {},
}


def one_step(ledger: Ledger) -> None:
    held = Claims(ledger, "one").take(["nt8"])
    assert held is not None
    begun(ledger, held)
    Journal(ledger).move(held, Step(Status.WORKING, due_in=0))
    Claims(ledger, "one").recover()
    Claims(ledger, "one").recover(owner="one")
    Claims(ledger, "one").expire()
    Claims(ledger, "one").tell_of_blocked(["nt8"], 10)


def take_read_backs(ledger: Ledger) -> None:
    taken_in(ledger, *closes(1))
    first = Claims(ledger, "one").take(["nt8"])
    assert first is not None
    for account in (None, "Sim101"):
        Claims(ledger, "one").take_read_backs(first, account, 20)


def alert_with_an_id(ledger: Ledger) -> None:
    accept(ledger, Delivery("futures", b"close", "close", "main"), Wish(closes(1), sender_id="one"))


EVERY_SECOND: dict[str, Callable[[Ledger], object]] = {
    "a step": one_step,
    "next due": due.seconds_to_next_due,
    "an alert": alert_with_an_id,
    "health": condition.health,
    "in flight": lambda ledger: readers.in_flight(ledger, 8),
    "what one list reads back": take_read_backs,
    "anything due": lambda ledger: due.something_is_due(ledger, "nt8"),
    "a page": lambda ledger: readers.histories(ledger, readers.commands_page(ledger, {}, limit=20).rows),
    "the next page": lambda ledger: readers.commands_page(ledger, {}, before=15_000, limit=20),
    "by status": lambda ledger: readers.commands_page(ledger, {"status": "queued"}),
    "by attention": lambda ledger: readers.commands_page(ledger, {"attention": "in_doubt"}),
    "a command": lambda ledger: readers.command_history(ledger, "settled7"),
}


@on_both_databases
def test_no_question_of_every_second_reads_what_is_settled(grown: Ledger) -> None:
    for name, ask in EVERY_SECOND.items():
        asked = statements_of(grown, ask)
        assert asked
        for statement, parameters in asked:
            plan = plan_of(grown, statement, parameters)
            sorted_first = any(re.search("Sort|B-TREE", line) for line in plan)
            walks_by_key = "LIMIT" in statement and not sorted_first  # and stops when the page is full
            assert walks_by_key or not whole_tables(plan), (name, statement, plan)


@on_both_databases
def test_claims_look_at_the_unsettled_alone(grown: Ledger) -> None:
    asked = statements_of(grown, lambda ledger: Claims(ledger, "one").take(["nt8"]))
    choices = [it for it in asked if "EXISTS" in it[0]]
    plans = [plan_of(grown, *choice) for choice in choices]

    assert len(plans) == 2  # what is due; and of the foremost, whose turn it is
    for plan in plans:
        named = {name for line in plan for name in re.findall(r"ix_\w+|uq_\w+", line)}
        assert "ix_commands_urgency" in named, plan
        assert named <= {"ix_commands_lane", "ix_commands_urgency"}, plan
        assert not whole_tables(plan)


@pytest.mark.newest_postgresql
@on_both_databases
@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: Claims(ledger, "one").take(["nt8"], ["nt8"]),
        lambda ledger: due.next_in_lanes(ledger, "settled7", 9),
    ],
    ids=["whose turn it is", "who waited"],
)
def test_the_others_of_a_lane_are_found_by_its_names(grown: Ledger, ask: Callable[[Ledger], object]) -> None:
    (asked,) = (it for it in statements_of(grown, ask) if " AS others" in it[0])
    plan = plan_of(grown, *asked)

    by_name = r"ix_commands_lane \(broker=\? AND <expr>=\? AND <expr>=\?\)"
    if not grown.sqlite:
        by_name = r"Index Cond: .*COALESCE\(lane_root.*COALESCE\(lane_account"
    assert any(re.search(by_name, line) for line in plan), "\n".join(plan)


def statements_of(ledger: Ledger, ask: Callable[[Ledger], object]) -> list[tuple[str, Any]]:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SELECT" in statement or statement.startswith(("UPDATE", "DELETE")):
            asked.append((statement, parameters))

    event.listen(ledger.engine, "before_cursor_execute", note)
    ask(ledger)
    event.remove(ledger.engine, "before_cursor_execute", note)
    return asked


def plan_of(ledger: Ledger, statement: str, parameters: Any) -> Sequence[str]:
    explain = "EXPLAIN QUERY PLAN" if ledger.sqlite else "EXPLAIN"
    with ledger.reading() as connection:
        return [row[-1] for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)]


BIG = ("commands", "others", "attempts", "events")


def whole_tables(plan: Sequence[str]) -> list[str]:
    """The big tables that are read from end to end."""
    read = [re.search(r"(?:Seq Scan on|^SCAN) (\w+)(?! USING)", line) for line in plan]
    return [match[1] for match in read if match and match[1] in BIG]
