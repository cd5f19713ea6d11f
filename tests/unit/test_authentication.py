"""Who may call a hook, from where, and how often; and that it shows to nobody who may not."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook
from werkzeug.test import TestResponse

from app.alerts.authentication import NotAuthenticated, authenticate, authenticate_signed
from app.alerts.hooks import Hook
from app.domain.venues import VENUES
from app.ledger import strangers, tables
from app.web.strangers import FAILURES, NOTES, Strangers
from tests.conftest import on_both_databases
from tests.web import (
    CLOSE,
    NEXT_SECRET,
    NEXT_SIGNING_SECRET,
    SECRET,
    SECRETS_OF,
    SIGNING_SECRET,
    Door,
    problem,
)

KEY = b"a key that signs what is sent to us"
SIGNED = Hook(name="signed", broker="nt8", venue=VENUES["crosstrade"], signing_keys={"sender": KEY})


def signed(
    body: str = CLOSE, secret: str = SIGNING_SECRET, name: str = "msg_1", age: float = 0
) -> dict[str, str]:
    """The headers of a body, as a sender that follows the specification makes them."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    stamp = datetime.fromtimestamp(int(moment.timestamp()), UTC)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, stamp, body),
    }


def send_signed(door: Door, headers: dict[str, str], body: str = CLOSE, hook: str = "signed") -> TestResponse:
    return door.send(body, f"/hooks/{hook}", None, **headers)


# Secrets


def test_each_secret_of_a_hook_is_known_by_its_label(door: Door) -> None:
    used = {}
    for label, secret in (("main", SECRET), ("next", NEXT_SECRET)):
        answer = door.send(f"{CLOSE} in Sim102" if label == "next" else CLOSE, secret=secret)
        used[label] = door.alert(answer.get_json()["alert"]).secret_label

    assert used == {"main": "main", "next": "next"}
    (futures,) = (it for it in door.get("/api/v1/hooks").get_json()["items"] if it["name"] == "futures")
    assert [it["label"] for it in futures["secrets"]] == ["main", "next"]
    assert all(it["last_used_at"] for it in futures["secrets"])
    assert SECRET not in door.get("/api/v1/hooks").text


@pytest.mark.parametrize(
    "text",
    [
        "{“secret”: “%s”, “action”: “close”, “instrument”: “MES 12-26”}",
        "{'secret': '%s', 'action': 'close', 'instrument': 'MES 12-26'}",
        '{"secret": "%s", "action": "close", "instrument": "MES 12-26",}',
        '{"secret": "%s", "action": "close", "instrument": MES1!}',
    ],
)
def test_who_sends_a_broken_text_with_the_right_secret_is_told_what_is_wrong(door: Door, text: str) -> None:
    document = problem(door.send(text % SECRETS_OF["other"], "/hooks/other", None), 400, "")

    assert '"action": "close"' in document["errors"][0]["hint"]
    kept = door.alert(document["alert"])
    for shown in (str(document), kept.text, str(kept.errors)):
        assert SECRETS_OF["other"] not in shown
    problem(door.send(text % "not the secret", "/hooks/other", None), 401)


def test_a_field_that_stands_there_twice_is_told_to_who_has_the_secret(door: Door) -> None:
    text = f"key={SECRETS_OF['moved']};command=CLOSEPOSITION;account=sim101;instrument=ES;command=FLATTEN"

    problem(door.send(text, "/hooks/moved", None), 422, "command")


def test_a_dialect_has_its_own_name_for_the_secret(door: Door) -> None:
    fields = {"action": "EXIT_LONG", "instrument": "ES1!", "signalToken": SECRETS_OF["moved"]}
    text = json.dumps(fields)

    answer = door.send(text, "/hooks/moved", None)
    assert answer.status_code == 202
    assert SECRETS_OF["moved"] not in door.alert(answer.get_json()["alert"]).text


# Signatures


@on_both_databases
def test_a_signature_authenticates_and_its_id_tells_a_repeat(door: Door) -> None:
    answer = send_signed(door, signed())
    assert answer.status_code == 202
    assert door.alert(answer.get_json()["alert"]).secret_label == "sender"
    assert send_signed(door, signed()).get_json()["status"] == "duplicate"
    problem(send_signed(door, signed("close MNQ 12-26"), "close MNQ 12-26"), 409, "")

    other = send_signed(door, signed(secret=NEXT_SIGNING_SECRET, name="msg_2"))
    assert door.alert(other.get_json()["alert"]).secret_label == "next"


@pytest.mark.parametrize("age", [-400, 400, 86400])
def test_a_signature_of_long_ago_or_of_the_future_is_replayed(door: Door, age: int) -> None:
    problem(send_signed(door, signed(age=age)), 401)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": "a while ago"},
        {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-id": ""},
    ],
    ids=str,
)
def test_a_signature_that_does_not_fit_is_none(door: Door, change: dict[str, str]) -> None:
    if change.get("webhook-timestamp") == "a while ago":  # in the window, and not what was signed
        change = {"webhook-timestamp": str(int(time.time()) - 100)}
    problem(send_signed(door, signed() | change), 401)
    problem(
        send_signed(door, {**signed(), "webhook-signature": signed("close ES")["webhook-signature"]}), 401
    )


def test_a_signing_secret_is_never_taken_as_it_stands(door: Door) -> None:
    problem(door.send(path=f"/hooks/signed/{SIGNING_SECRET}", secret=None), 401)
    problem(door.send(path="/hooks/signed", secret=SIGNING_SECRET), 401)
    assert door.send_to("signed").status_code == 202


def test_what_is_shown_first_decides(door: Door) -> None:
    """A wrong secret is not mended by a right signature."""
    problem(door.send(CLOSE, "/hooks/signed", "not the secret", **signed()), 401)
    problem(send_signed(door, signed(), hook="nowhere"), 401)


headers = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    st.text(max_size=60),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(headers, st.binary(max_size=60))
def test_whatever_stands_in_the_headers_there_is_one_exception(found: dict[str, str], body: bytes) -> None:
    for hook in (SIGNED, None):
        with pytest.raises(NotAuthenticated):
            authenticate_signed(hook, found, body)


@pytest.mark.parametrize("secret", ["", "no such hook", "x"])
def test_a_hook_without_such_secrets_authenticates_nobody(secret: str) -> None:
    """Something is compared all the same, and it must not be what lets in."""
    nobodys = base64.b64encode(b"no such hook" + bytes(20)).decode()
    for hook in (SIGNED, None):
        with pytest.raises(NotAuthenticated):
            authenticate(hook, secret)
    with pytest.raises(NotAuthenticated):
        authenticate_signed(None, signed(secret=nobodys), CLOSE.encode())


# From where, and how often


@pytest.mark.parametrize("address", ["52.89.214.238", "203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"])
def test_a_hook_is_called_from_its_sources(door: Door, address: str) -> None:
    assert door.send_to("near", address=address).status_code == 202


@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.114.9", "::1", "unknown", "", "x" * 500])
def test_a_hook_is_not_called_from_elsewhere(door: Door, address: str) -> None:
    document = problem(door.send_to("near", address=address), 403, "")

    kept = door.alert(document["alert"])
    assert (kept.outcome, len(kept.source_address or "")) == ("refused", min(len(address), 64))
    assert "sources" in document["errors"][0]["hint"]


def test_where_a_call_came_from_is_told_to_nobody_without_the_secret(door: Door) -> None:
    here = door.send(path="/hooks/near", secret="wrong", address="52.89.214.238")
    there = door.send(path="/hooks/near", secret="wrong", address="198.51.100.1")

    assert (here.status_code, here.data) == (there.status_code, there.data) == (401, here.data)


def test_more_alerts_than_a_hooks_own_rate_are_to_be_sent_again(door: Door) -> None:
    """0.3 a second over ten seconds are three."""
    door.app.extensions["flatwire_hook_rates"].storage.reset()
    answers = [door.send_to("calm", f"close MES 12-26 in Sim101{' ' * n}") for n in range(5)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 503, 503]
    assert answers[-1].headers["Retry-After"] == "1"
    assert door.count(tables.alerts) == 3
    assert door.send().status_code == 202  # of another hook


# Those who are turned away


def test_who_fails_too_often_is_told_to_wait_and_a_right_secret_is_still_taken(door: Door) -> None:
    tries = [door.send(secret=f"guess {n}") for n in range(FAILURES.amount + 2)]

    assert [it.status_code for it in tries] == [401] * FAILURES.amount + [429] * 2
    document = problem(tries[-1], 429)
    assert 1 <= int(tries[-1].headers["Retry-After"]) <= 61
    assert "right secret" in document["detail"]
    assert door.send(path="/hooks/nowhere").status_code == 429
    assert door.send().status_code == 202
    assert door.send(secret="wrong", address="198.51.100.1").status_code == 401


def test_who_guesses_tokens_of_the_api_is_told_to_wait_and_noted(door: Door) -> None:
    path = "/api/v1/commands"
    tries = [door.get(path, token=f"guess {n}").status_code for n in range(FAILURES.amount)]
    waits = problem(door.get(path, token=None), 429)

    assert tries == [401] * FAILURES.amount
    assert "right secret or token" in waits["detail"]
    assert problem(door.act("commands/x/acknowledge", {}, token="guess"), 429)
    items = door.get("/api/v1/failed-authentications").get_json()["items"]
    assert [(it["hook"], it["reason"], it["times"]) for it in items] == [
        (None, "wrong_token", FAILURES.amount + 1),
        (None, "no_token", 1),
    ]


def test_a_network_of_one_owner_is_one_address(door: Door) -> None:
    for n in range(FAILURES.amount):
        door.send(secret="wrong", address=f"2001:db8:1:2::{n:x}")

    assert door.send(secret="wrong", address="2001:db8:1:2:ffff::1").status_code == 429
    assert door.send(secret="wrong", address="2001:db8:1:3::1").status_code == 401


@on_both_databases
def test_who_was_turned_away_is_noted_with_where_and_why(door: Door) -> None:
    for _ in range(3):
        door.send(secret="wrong", address="198.51.100.1")
    door.send(secret=None, address="198.51.100.1")
    door.send(path="/hooks/nowhere", secret="wrong", address="198.51.100.2")
    send_signed(door, signed(age=400))

    items: list[dict[str, Any]] = door.get("/api/v1/failed-authentications").get_json()["items"]
    assert [(it["address"], it["hook"], it["reason"], it["times"]) for it in items] == [
        ("127.0.0.1", "signed", "wrong_signature", 1),
        ("198.51.100.2", None, "no_such_hook", 1),
        ("198.51.100.1", "futures", "no_secret", 1),
        ("198.51.100.1", "futures", "wrong_secret", 3),
    ]
    assert door.count(tables.alerts) == 0


@on_both_databases
def test_no_more_are_kept_than_fit(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "KEPT", 3)
    for n in range(6):
        strangers.note(door.ledger, f"198.51.100.{n}", "", "no_such_hook")
        time.sleep(0.002)

    assert [row.address for row in strangers.latest(door.ledger, 10)] == [
        f"198.51.100.{n}" for n in (5, 4, 3)
    ]


def test_what_is_not_written_for_its_number_is_counted_with_the_next(door: Door) -> None:
    turnstile = Strangers()
    for _ in range(NOTES.amount + 5):
        turnstile.turn_away(door.ledger, "198.51.100.1", "futures", "wrong_secret")
    (row,) = strangers.latest(door.ledger)
    assert row.times == NOTES.amount

    turnstile._limiter.storage.reset()
    turnstile.turn_away(door.ledger, "198.51.100.1", "futures", "wrong_secret")
    (row,) = strangers.latest(door.ledger)
    assert row.times == NOTES.amount + 6


@pytest.mark.parametrize(
    "text",
    [
        f"key: {NEXT_SECRET}; command=FLATTEN; account=Sim101",
        f'{{"action": "close", "instrument": "secret={NEXT_SECRET}"}}',
        f'"key"="{NEXT_SECRET}";command=close',
        f"token={NEXT_SECRET} and more;action=close",
    ],
)
def test_another_secret_in_a_text_that_is_refused_is_kept_nowhere(
    door: Door, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = door.send(text)
    assert answer.status_code in (400, 422)
    kept = door.alert(answer.get_json()["alert"] if answer.is_json else json.loads(answer.text)["alert"])

    for shown in (kept.text, kept.reason, str(kept.errors), answer.text, capsys.readouterr().out):
        assert NEXT_SECRET not in shown


def test_a_dry_run_does_not_use_up_a_hooks_rate(door: Door) -> None:
    door.app.extensions["flatwire_hook_rates"].storage.reset()
    secret = SECRETS_OF["calm"]
    tries = [door.send(path="/hooks/calm?dry_run=1", secret=secret).status_code for _ in range(5)]

    assert tries == [200] * 5
    assert door.send_to("calm").status_code == 202
