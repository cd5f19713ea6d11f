"""The door in one process, on a real ledger: every answer of the table (docs/alerts.md), and that nothing breaks it."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.intake import Intake
from app.ledger.waiting import PAUSE
from app.web.delivered import LARGEST_BODY
from tests.conftest import on_both_databases
from tests.running import eventually
from tests.web import CLOSE, NEXT_SECRET, OTHER_SECRET, SECRET, SECRETS_OF, Door, problem


@on_both_databases
def test_an_accepted_alert_is_answered_with_its_commands_and_is_in_the_ledger(door: Door) -> None:
    answer = door.send("action=close;instrument=MES 12-26;quantity=4;account=Sim102")

    assert answer.status_code == 202
    document = answer.get_json()
    (command,) = document["commands"]
    assert (document["status"], document["warnings"][0]["message"]) == ("accepted", "undedupable")
    assert command.pop("url") == f"/api/v1/commands/{command.pop('id')}"
    assert command == {
        "action": "close",
        "broker": "nt8",
        "account": "Sim102",
        "instrument": "MES 12-26",
        "quantity": "4",
        "percent": None,
        "position": None,
        "cancel_orders": False,
        "status": "queued",
    }
    kept = door.alert(document["alert"])
    assert (kept.outcome, kept.secret_label, kept.deliveries) == ("accepted", "main", 1)


def test_a_worker_is_rung_for_once_the_alert_is_kept_and_before_that_is_logged(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[tuple[list[str], int, list[str]]] = []

    def ring(ids: Iterable[str]) -> None:
        rung.append((list(ids), door.count(), [line["event"] for line in lines]))

    intake = Intake(door.app.extensions["flatwire_ledger"], ring)
    monkeypatch.setitem(door.app.extensions, "flatwire_intake", intake)
    with capture_logs() as lines:
        (command,) = door.send().get_json()["commands"]

    assert rung == [([command["id"]], 1, [])]
    assert [line["event"] for line in lines] == ["command_accepted"]


@on_both_databases
def test_a_repeat_is_answered_with_what_became_of_the_first(door: Door) -> None:
    first = door.send().get_json()
    door.change(tables.commands, status=Status.WORKING)
    again = door.send()

    assert again.status_code == 200
    assert again.get_json()["status"] == "duplicate"
    assert again.get_json()["alert"] == first["alert"]
    assert [command["status"] for command in again.get_json()["commands"]] == ["working"]
    assert door.count() == 1
    assert door.alert(first["alert"]).deliveries == 2


@on_both_databases
def test_twenty_deliveries_at_once_make_one_command(door: Door) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: door.send("close 1 MES 12-26").status_code, range(20)))

    assert sorted(answers) == [200] * 19 + [202]
    assert door.count() == 1


@on_both_databases
def test_twenty_alerts_of_their_own_at_once_make_twenty_commands(door: Door) -> None:
    bodies = [f"action=close;instrument=MES 12-26;quantity=1;id={n}" for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: door.send(body).status_code, bodies))

    assert answers == [202] * 20
    assert door.count() == 20


@on_both_databases
def test_the_same_bytes_are_another_alert_once_the_window_is_over(door: Door) -> None:
    first = door.send().get_json()
    door.change(tables.alert_keys, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    later = door.send()

    assert later.status_code == 202
    assert later.get_json()["alert"] != first["alert"]
    assert door.count() == 2


@pytest.mark.parametrize("status", list(Status))
def test_a_repeat_is_carried_out_only_if_the_first_did_nothing(door: Door, status: Status) -> None:
    door.send()
    door.change(tables.commands, status=status)
    harmless = status in (Status.EXPIRED, Status.NOTHING_OPEN, Status.GAVE_UP)

    assert door.send().status_code == (202 if harmless else 200)


def test_an_id_tells_a_second_close_from_a_repeat(door: Door) -> None:
    text = '{"action": "close", "instrument": "MES 12-26", "quantity": %d, "id": "a-1"}'

    assert door.send(text % 1).status_code == 202
    assert door.send(text % 1).status_code == 200
    other = door.send(text % 2)
    assert other.status_code == 202
    assert [warning["message"] for warning in other.get_json()["warnings"]] == ["id_reused"]


@on_both_databases
@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id"])
def test_a_key_of_a_header_stands_for_one_body(door: Door, header: str) -> None:
    assert door.send(**{header: "k1"}).status_code == 202
    assert door.send(**{header: "k1"}).status_code == 200
    assert door.send(**{header: "k2"}).status_code == 202
    document = problem(door.send("close MNQ 12-26", **{header: "k1"}), 409, "")

    assert door.alert(document["alert"]).outcome == "refused"
    assert door.count() == 2


def test_a_key_of_a_header_outlasts_every_window(door: Door) -> None:
    door.send(Idempotency_Key="k1")
    door.change(tables.alerts, received_at=datetime.now(UTC) - timedelta(days=30))

    assert door.send(Idempotency_Key="k1").status_code == 200


def test_a_key_of_one_hook_is_not_that_of_another(door: Door) -> None:
    other = {"path": "/hooks/other", "secret": OTHER_SECRET}

    assert door.send("close MES 12-26 in Sim101", Idempotency_Key="k").status_code == 202
    assert door.send("close MES 12-26 in Sim101", **other, Idempotency_Key="k").status_code == 202


def test_a_blank_key_is_refused(door: Door) -> None:
    problem(door.send(Idempotency_Key=" "), 422, "Idempotency-Key")


@pytest.mark.parametrize(
    "request_of",
    [
        {"path": f"/hooks/futures/{SECRET}", "secret": None},
        {"path": f"/hooks/futures/{SECRET}", "secret": "a wrong one, and the path is first"},
        {"secret": NEXT_SECRET},
        {
            "body": json.dumps({"action": "close", "instrument": "MES 12-26", "secret": SECRET}),
            "secret": None,
        },
        {"body": json.dumps({"action": "close", "instrument": "MES 12-26", "key": SECRET}), "secret": None},
        {"body": f"action=close;instrument=MES 12-26;passphrase={SECRET}", "secret": None},
        {"body": f"action=close\ninstrument=MES 12-26\ntoken={SECRET}", "secret": None},
    ],
)
def test_the_secret_is_taken_from_the_path_the_bearer_header_and_the_text(
    door: Door, request_of: dict[str, Any]
) -> None:
    answer = door.send(**request_of)

    assert answer.status_code == 202, answer.text
    assert SECRET not in door.alert(answer.get_json()["alert"]).text
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "request_of",
    [
        {"secret": None},
        {"secret": ""},
        {"secret": "wrong"},
        {"secret": SECRET + "x"},
        {"secret": OTHER_SECRET},
        {"path": "/hooks/nowhere"},
        {"path": "/hooks/nowhere/wrong", "secret": None},
        {"path": "/hooks/futures/wrong"},
        {"body": '{"action": "close", "instrument": "MES 12-26", "secret": ""}', "secret": None},
        {"body": '{"action": "close", "instrument": "MES 12-26", "secret": ["x"]}', "secret": None},
        {"body": "hello", "secret": "wrong"},
        {"body": "x" * (LARGEST_BODY + 1), "secret": "wrong"},
        {"path": "/hooks/futures?dry_run=1", "secret": "wrong"},
    ],
)
def test_a_wrong_secret_and_an_unknown_hook_look_alike_and_leave_nothing(
    door: Door, request_of: dict[str, Any]
) -> None:
    answer = door.send(**request_of)

    problem(answer, 401)
    assert answer.text == door.send(secret="wrong").text
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert door.count(tables.alerts) == 0


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        ("", 400, [""]),
        ("hello", 400, [""]),
        (b"\xff\xfe", 400, [""]),
        ("close MES 12-26 in Live1", 403, ["account"]),
        ("flatten everything", 403, ["action"]),
        ('{"action": "close", "instrument": "", "quanity": 4}', 422, ["instrument", "quanity"]),
        ("x" * (LARGEST_BODY + 1), 413, [""]),
        ("close MES 12-26 in Sim101 " + " " * LARGEST_BODY, 413, [""]),
    ],
)
def test_a_refused_alert_is_told_why_and_is_kept(
    door: Door, body: str | bytes, status: int, fields: list[str]
) -> None:
    document = problem(door.send(body), status, *fields)

    kept = door.alert(document["alert"])
    assert (kept.outcome, kept.reason) == ("refused", document["detail"])
    assert kept.errors == document["errors"]
    assert door.count() == 0


def test_an_alert_of_16_kib_is_not_too_large(door: Door) -> None:
    body = '{"action": "close", "instrument": "MES 12-26", "note": "%s"}'

    assert door.send(body % ("x" * (LARGEST_BODY - len(body) + 2))).status_code == 202


def corpus(name: str) -> list[Any]:
    lines = (Path(__file__).resolve().parents[1] / "alerts" / f"{name}.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "hook" not in line]


def test_no_refused_text_makes_a_command(door: Door) -> None:
    for line in corpus("refused"):
        answer = door.send(line["text"])
        problem(
            answer,
            {"unreadable": 400, "wrong": 422, "not_allowed": 403}[line["refused"]],
            *faults_of(line, answer),
        )

    assert door.count() == 0


def faults_of(line: dict[str, Any], answer: TestResponse) -> list[str]:
    """The fields at fault, in the order of the answer."""
    fields = [error["field"] for error in json.loads(answer.text)["errors"]]
    assert sorted(fields) == sorted(fault["field"] for fault in line["faults"])
    return fields


def test_a_refusal_does_not_quote_a_secret_that_stands_in_the_wrong_place(door: Door) -> None:
    answer = door.send(
        json.dumps({"action": SECRET, "instrument": SECRET + "/", SECRET: 1, "quantity": SECRET})
    )
    document = problem(answer, 422, *[error["field"] for error in json.loads(answer.text)["errors"]])

    kept = door.alert(document["alert"])
    assert SECRET not in answer.text
    assert SECRET not in f"{kept.text} {kept.reason} {kept.errors}"


@pytest.mark.parametrize(
    "text",
    [
        '{"action": "close", "instrument": "%s"}',
        '{"action": "close", "ticker": "X %s X", "quantity": 1}',
        "action=close;instrument=%s",
        "action=flatten;instrument=%s",
    ],
)
@pytest.mark.parametrize("spell", [str, str.upper])
def test_a_secret_that_stands_for_a_name_is_refused_and_not_shown_as_one(
    door: Door, text: str, spell: Callable[[str], str]
) -> None:
    secret = SECRETS_OF["shadow"]
    answer = door.send_to("shadow", text % spell(secret))
    document = problem(answer, 422, "instrument")

    assert "take it out" in answer.text
    kept = door.alert(document["alert"])
    assert secret not in f"{answer.text} {kept.text} {kept.reason} {kept.errors}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/hooks", 405),
        ("POST", "/hooks/", 404),
        ("POST", f"/hooks/futures/{SECRET}/more", 404),
        ("POST", f"/hooks//futures/{SECRET}", 404),
        ("GET", "/hooks/futures", 405),
        ("PUT", f"/hooks/futures/{SECRET}", 405),
    ],
)
def test_addresses_and_methods_that_are_not_there_are_problems_too(
    door: Door, method: str, path: str, status: int
) -> None:
    answer = door.app.test_client().open(path, method=method, data=CLOSE)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert SECRET not in answer.text


@pytest.mark.parametrize("spelled", ["1", "true", "True"])
def test_a_dry_run_shows_and_keeps_nothing(door: Door, spelled: str) -> None:
    answer = door.send("close 25% of MES 12-26", f"/hooks/futures?dry_run={spelled}", Idempotency_Key="k")

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "dry_run"
    (command,) = answer.get_json()["commands"]
    assert (command["action"], command["account"], command["percent"]) == ("close", "Sim101", "0.25")
    assert [warning["message"] for warning in answer.get_json()["warnings"]] == ["undedupable"]
    assert door.send("close", "/hooks/futures?dry_run=1").status_code == 422
    assert [door.count(table) for table in (tables.alerts, tables.alert_keys, tables.commands)] == [0, 0, 0]


@pytest.mark.parametrize("query", ["dry_run=", "dry_run=yes", "dry-run=1", "dryrun=1", "dry_run=1&dry_run=0"])
def test_a_misspelt_dry_run_does_not_close_for_real(door: Door, query: str) -> None:
    assert door.send(path=f"/hooks/futures?{query}").status_code == 422
    assert door.count() == 0


def test_a_command_that_is_too_old_is_kept_as_expired(door: Door) -> None:
    answer = door.send("action=close;instrument=MES 12-26;time=2020-01-01T00:00:00Z")

    assert answer.status_code == 202
    assert [command["status"] for command in answer.get_json()["commands"]] == ["expired"]


@pytest.mark.of_waiting
@on_both_databases
def test_an_alert_that_cannot_be_recorded_is_to_be_sent_again(door: Door) -> None:
    with door.ledger.writing() as connection:
        if not door.ledger.sqlite:
            connection.execute(text("LOCK TABLE alerts, alert_keys"))
        answer = door.send()

    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert door.count(tables.alerts) == 0
    eventually(lambda: door.send().status_code == 202, within=PAUSE + 2, what="it is taken when sent again")
    assert door.count(tables.alerts) == 1


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"],
)
def test_the_content_type_says_nothing(door: Door, content_type: str) -> None:
    assert (
        door.send('{"action": "close", "instrument": "MES 12-26"}', Content_Type=content_type).status_code
        == 202
    )
    assert door.send("action=close;instrument=MNQ 12-26", Content_Type=content_type).status_code == 202


def test_a_body_that_is_shorter_than_promised_is_not_taken(door: Door) -> None:
    answer = door.app.test_client().post(
        f"/hooks/futures/{SECRET}", data=CLOSE, environ_overrides={"CONTENT_LENGTH": "40"}
    )

    problem(answer, 400)
    assert door.count() == 0


printable = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
any_path = st.one_of(
    st.sampled_from(["/hooks/futures", f"/hooks/futures/{SECRET}", "/hooks/other"]),
    st.text(st.characters(max_codepoint=255), max_size=30).map(lambda end: f"/hooks/{end}"),
)
any_body = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"{", b"[" * 9000, b"\0", b"x" * (LARGEST_BODY + 1), b'{"a": 1e999999999}', b'{"a": ' + b"9" * 5000]
    ),
    st.dictionaries(
        st.sampled_from(
            ["action", "account", "instrument", "quantity", "percent", "id", "time", "secret", "note"]
        ),
        st.one_of(
            st.text(max_size=20), st.none(), st.booleans(), st.floats(), st.sampled_from(["close", "flatten"])
        ),
    ).map(lambda fields: json.dumps(fields).encode()),
)
header_names = (
    "Content-Type Content-Encoding Content-Length Transfer-Encoding Idempotency-Key webhook-id "
    "Accept Host X-Forwarded-For X-Forwarded-Proto Cookie Origin Referer Expect"
)
any_headers = st.dictionaries(st.sampled_from(header_names.split()), printable, max_size=4)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE"]),
    any_path,
    printable,
    any_body,
    any_headers,
    st.booleans(),
)
def test_no_request_makes_the_door_fail(
    door: Door, method: str, path: str, query: str, body: bytes, headers: dict[str, str], authenticated: bool
) -> None:
    bearer = {"Authorization": f"Bearer {SECRET}"} if authenticated else {}
    answer = door.app.test_client().open(
        method=method,
        data=body,
        headers=headers | bearer,
        environ_overrides={"PATH_INFO": path, "QUERY_STRING": query},
    )

    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
