"""The JSON API: whose it is, what its lists hold and can be narrowed to, and that no query breaks it."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from app.domain.statuses import Attention, Status
from app.ledger import tables
from tests.conftest import on_both_databases
from tests.web import SECRET, Door, problem

LISTS = ("commands", "alerts", "closed-positions")
PATHS = [*(f"/api/v1/{name}" for name in LISTS), "/api/v1/closed-positions.csv", "/api/v1/openapi.json"]


def command_of(door: Door, text: str, path: str = "/hooks/futures") -> str:
    """Take an alert in that makes one command. The command's id."""
    answer = door.send(text, path)
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["commands"][0]["id"])


def closed(door: Door, command: str, **values: Any) -> None:
    """Record a closed position of that command."""
    row = {
        "command": command,
        "hook": "futures",
        "broker": "nt8",
        "closed_at": datetime(2026, 11, 20, 14, 30, 0, 123456, tzinfo=UTC),
        "account": "Sim101",
        "instrument": "MES 12-26",
        "side": "long",
        "quantity": Decimal(4),
        "average_price": Decimal("5779.8125"),
        "close_price": Decimal("5797.0"),
        "profit_loss": Decimal("-343.75"),
        "currency": None,
        "source": "snapshot",
        "order_ids": ["a1", "b2"],
        "raw": {"accountId": 1},
    }
    with door.ledger.writing() as connection:
        connection.execute(insert(tables.closed_positions).values(row | values))


def ids(document: Any) -> list[str]:
    return [item["id"] for item in document["items"]]


@pytest.mark.parametrize("path", PATHS[:-1])
def test_without_a_known_token_there_is_nothing(door: Door, path: str) -> None:
    for token in (None, "x", "a-token-of-the-api-for-test", "ä"):
        document = problem(door.get(path, token=token), 401)
        assert "API_TOKENS" in document["detail"]


@on_both_databases
def test_a_command_is_told_whole(door: Door) -> None:
    command = command_of(door, "action=close;instrument=MES 12-26;quantity=4")
    closed(door, command)

    document = door.get(f"/api/v1/commands/{command}").get_json()

    assert document["closed_positions"] == [
        {
            "account": "Sim101",
            "instrument": "MES 12-26",
            "side": "long",
            "quantity": "4",
            "average_price": "5779.8125",
            "close_price": "5797.0",
            "profit_loss": "-343.75",
            "currency": None,
            "source": "snapshot",
            "order_ids": ["a1", "b2"],
            "raw": {"accountId": 1},
        }
    ]
    events = document.pop("events")
    assert [event["name"] for event in events] == ["accepted"]
    (listed,) = door.get("/api/v1/commands").get_json()["items"]
    assert listed == document
    assert (document["status"], document["quantity"], document["percent"]) == ("queued", "4", None)
    assert document["next_attempt_at"]
    assert document["accepted_at"].endswith("Z")


@on_both_databases
def test_lists_are_newest_first_and_page_without_gaps_while_more_comes_in(door: Door) -> None:
    taken = [command_of(door, f"close {n} MES 12-26") for n in range(1, 8)]

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = door.get("/api/v1/commands", **query).get_json()
        seen += ids(page)
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        command_of(door, f"close {len(seen) + 20} MES 12-26")  # newer than the first page: it shifts nothing

    assert seen == taken[::-1]


@on_both_databases
def test_commands_are_narrowed_by_every_filter(door: Door) -> None:
    first = command_of(door, "close MES 12-26")
    other = command_of(door, '{"action": "close", "instrument": "ES 12-26", "account": "Sim102"}')
    elsewhere = command_of(door, "close NQ 12-26 in Live1", "/hooks/other/the secret of another hook")
    with door.ledger.writing() as connection:
        mine = tables.commands.c.id == other
        connection.execute(
            tables.commands.update().where(mine).values(status=Status.EXPIRED, attention=Attention.EXPIRED)
        )

    def found(**query: str) -> set[str]:
        return set(ids(door.get("/api/v1/commands", **query).get_json()))

    assert found() == {first, other, elsewhere}
    assert found(status="expired") == found(attention="expired") == {other}
    assert found(account="sim102") == {other}
    assert found(instrument="ES 12-26") == {other}
    assert found(hook="other") == {elsewhere}
    assert found(broker="nt8", hook="futures") == {first, other}
    assert found(broker="okx") == set()
    assert found(since="2026-01-01T00:00:00Z") == {first, other, elsewhere}
    assert found(until="2026-01-01T00:00:00+02:00") == set()


def test_alerts_are_listed_with_their_commands_and_without_their_secret(door: Door) -> None:
    door.send(json.dumps({"action": "close", "instrument": "MES 12-26", "secret": SECRET}), secret=None)
    door.send("klose MES 12-26")

    page = door.get("/api/v1/alerts").get_json()
    assert len(page["items"]) == 2
    assert SECRET not in json.dumps(page)
    refused = door.get("/api/v1/alerts", outcome="refused").get_json()["items"]
    assert refused[0]["text"] == "klose MES 12-26"
    assert refused[0]["errors"]
    assert refused[0]["commands"] == []
    taken = door.get("/api/v1/alerts", outcome="accepted", hook="futures").get_json()["items"][0]
    assert len(taken["commands"]) == 1
    assert door.get(f"/api/v1/alerts/{taken['id']}").get_json() == taken


@pytest.mark.parametrize("name", ["commands", "alerts"])
def test_an_id_that_is_not_there_is_404(door: Door, name: str) -> None:
    for unknown in ("0" * 32, "x", "%00", "%ff", "..", "a" * 3000):
        assert door.get(f"/api/v1/{name}/{unknown}").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("status=closed&status=queued", "status"),
        ("stauts=closed", "stauts"),
        ("attention=yes", "attention"),
        ("account=", "account"),
        ("account=a%00b", "account"),
        ("account=" + "a" * 201, "account"),
        ("since=yesterday", "since"),
        ("since=2026-11-20T14:30:00", "since"),
        ("since=0001-01-01T00:00:00%2B23:59", "since"),
        ("until=9999-12-31T23:59:59-23:59", "until"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1e400", "limit"),
        ("cursor=-1", "cursor"),
        ("cursor=" + "9" * 30, "cursor"),
        ("cursor=" + "9" * 5000, "cursor"),
    ],
)
def test_a_query_that_can_not_be_meant_is_refused_with_its_place(door: Door, query: str, field: str) -> None:
    answer = door.get(f"/api/v1/commands?{query}"[:4000])

    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]


anything = st.text(max_size=20) | st.sampled_from(["1", "-1", "NaN", "1e9", "2026-11-20T14:30:00Z", "\x00"])
names = st.sampled_from(["status", "attention", "account", "hook", "since", "until", "limit", "cursor"])


@on_both_databases
@given(query=st.lists(st.tuples(names | st.text(max_size=8), anything), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_no_query_makes_the_api_fail(door: Door, query: list[tuple[str, str]]) -> None:
    text = urlencode(
        [(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in query]
    )
    for path in PATHS[:-1]:
        assert door.get(f"{path}?{text}").status_code in (200, 422)


@on_both_databases
def test_the_sheet_holds_everything_and_runs_nothing(door: Door) -> None:
    command = command_of(door, "close MES 12-26")
    for n in range(1203):
        closed(door, command, quantity=Decimal(n + 1))
    hostile = '=HYPERLINK("http://x","a")'
    closed(door, command, account=hostile, instrument="@SUM(1),\n2", quantity=Decimal(9999), currency="-1")

    answer = door.get("/api/v1/closed-positions.csv")

    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="closed-positions.csv"'
    newest, *rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["quantity"] for row in rows] == [str(n + 1) for n in reversed(range(1203))]
    assert (newest["account"], newest["instrument"]) == (f"'{hostile}", "'@SUM(1),\n2")
    assert newest["currency"] == "'-1"
    assert rows[0] == {
        "closed_at": "2026-11-20T14:30:00.123Z",
        "command": command,
        "hook": "futures",
        "broker": "nt8",
        "account": "Sim101",
        "instrument": "MES 12-26",
        "side": "long",
        "quantity": "1203",
        "average_price": "5779.8125",
        "close_price": "5797.0",
        "profit_loss": "-343.75",  # a number stays one
        "currency": "",
        "source": "snapshot",
        "order_ids": "a1 b2",
    }


def test_the_sheet_is_narrowed_like_the_list(door: Door) -> None:
    command = command_of(door, "close MES 12-26")
    closed(door, command)
    closed(door, command, account="Sim102")

    answer = door.get("/api/v1/closed-positions.csv", account="SIM102")

    assert [row["account"] for row in csv.DictReader(io.StringIO(answer.text))] == ["Sim102"]
    assert len(door.get("/api/v1/closed-positions", account="sim102").get_json()["items"]) == 1
    problem(door.get("/api/v1/closed-positions.csv", limit=5), 422, "limit")


def test_without_its_ledger_the_api_says_so(door: Door) -> None:
    with door.ledger.writing() as connection:
        connection.execute(tables.closed_positions.delete())
        connection.exec_driver_sql("ALTER TABLE closed_positions RENAME TO gone")

    for path in ("/api/v1/closed-positions", "/api/v1/closed-positions.csv"):
        document = problem(door.get(path), 503)
        assert "SELECT" not in json.dumps(document)


def test_the_description_names_every_path_filter_and_status(door: Door) -> None:
    document = door.get("/api/v1/openapi.json", token=None).get_json()

    assert set(document["paths"]) == {
        "/api/v1/commands",
        "/api/v1/commands/{command_id}",
        "/api/v1/alerts",
        "/api/v1/alerts/{alert_id}",
        "/api/v1/closed-positions",
        "/api/v1/closed-positions.csv",
        "/api/v1/hooks",
        "/api/v1/failed-authentications",
        "/api/v1/positions",
        "/api/v1/overview",
        "/api/v1/system",
        "/api/v1/flatten",
        *(f"/api/v1/commands/{{command_id}}/{act}" for act in ("retry", "cancel", "acknowledge", "resolve")),
        "/api/v1/pause",
    }
    parameters = document["paths"]["/api/v1/commands"]["get"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {
        *("status", "attention", "broker", "account", "instrument", "hook", "since", "until"),
        *("limit", "cursor"),
    }
    (status,) = (parameter for parameter in parameters if parameter["name"] == "status")
    assert status["schema"]["enum"] == [str(status) for status in Status]
    assert "text/csv" in str(document["paths"]["/api/v1/closed-positions.csv"]["get"]["responses"]["200"])
