"""The dashboard's pages in one process: who gets in, what an address can say, and what stands on them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app import passwords
from app.alerts.authentication import without_secret
from app.alerts.grammar import fields_of
from app.alerts.mapping import request_of
from app.domain.commands import Action, FlattenMatching
from app.ledger import questions, statistics, tables
from app.ledger.connection import Ledger
from app.web import vitals
from app.web.pages import charts
from app.web.pages.hooks import PREVIEWED, texts_for
from app.web.pages.login import TRIES
from config.environment import User
from config.secrets import Secret
from tests.conftest import on_both_databases
from tests.desk import Desk
from tests.running import _HASH, PASSWORD
from tests.shop import MES, SIM, Shop, part, whole
from tests.unit.test_alerts import HOOKS
from tests.web import CLOSE, Door

PAGES = ("/", "/attention", "/positions", "/closes", "/alerts", "/hooks", "/system")


@pytest.fixture(autouse=True)
def users(app: Flask) -> None:
    known = {name: User(name, role, Secret(_HASH)) for name, role in (("ada", "operator"), ("vic", "viewer"))}
    app.extensions["flatwire_users"].update(known)
    app.extensions["flatwire_logins"] = MovingWindowRateLimiter(MemoryStorage())


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


def token_in(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found
    return found[1]


def sign_in(
    client: FlaskClient, name: str = "ada", password: str = PASSWORD, address: str = "127.0.0.1"
) -> Any:
    place = {"REMOTE_ADDR": address}
    form = {"csrf_token": token_in(client.get("/login", environ_base=place).text)}
    return client.post("/login", data=form | {"name": name, "password": password}, environ_base=place)


@pytest.fixture
def ada(door: Door) -> Iterator[FlaskClient]:
    with door.app.test_client() as client:
        assert sign_in(client).status_code == 302
        yield client


def post(client: FlaskClient, path: str, **form: Any) -> Any:
    """What a form on the page sends."""
    return client.post(path, data={"csrf_token": token_in(client.get("/").text)} | form)


# Who gets in


@pytest.mark.parametrize("path", [*PAGES, "/commands/x", "/act/retry?command=x", "/closes.csv"])
def test_a_page_asks_who_is_there_and_leads_back(door: Door, path: str) -> None:
    client = door.app.test_client()
    asked = client.get(path)
    assert (asked.status_code, asked.location.split("?")[0]) == (302, "/login")

    update = client.get(path, headers={"HX-Request": "true"})
    assert (update.status_code, update.headers["HX-Redirect"].split("?")[0]) == (401, "/login")


@pytest.mark.parametrize("after", [User("ada", "operator", Secret("another hash")), None])
def test_a_new_password_or_none_ends_the_sessions_of_the_old(
    door: Door, ada: FlaskClient, after: User | None
) -> None:
    assert ada.get("/").status_code == 200
    users = door.app.extensions["flatwire_users"]
    del users["ada"]
    if after:
        users["ada"] = after

    assert ada.get("/").status_code == 302


def test_a_login_leads_to_the_page_that_was_wanted_and_never_to_another_site(door: Door) -> None:
    client = door.app.test_client()
    for wanted, led in (
        ("/closes?instrument=MES", "/closes?instrument=MES"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("//[", "/"),
        ("/\n\\evil.example", "/"),
    ):
        form = {"csrf_token": token_in(client.get("/login").text), "name": "ada", "password": PASSWORD}
        assert client.post("/login", query_string={"next": wanted}, data=form).location == led
        client.post("/logout", data={"csrf_token": token_in(client.get("/").text)})


def test_wrong_logins_are_throttled_by_address_and_nobody_else_is_locked_out(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "fits", lambda hashed, password: password == PASSWORD)  # in no time
    client = door.app.test_client()
    tries = [sign_in(client, password="wrong").status_code for _ in range(TRIES.amount)]
    assert tries == [401] * TRIES.amount
    throttled = sign_in(client)
    assert (throttled.status_code, int(throttled.headers["Retry-After"]) > 0) == (429, True)
    assert "Too many failed attempts" in throttled.text

    for n in range(40):
        sign_in(client, password="wrong", address=f"198.51.100.{n + 2}")
    assert sign_in(door.app.test_client(), address="203.0.113.1").status_code == 302
    for n in range(TRIES.amount):
        sign_in(client, password="wrong", address=f"2001:db8::{n:x}")
    assert sign_in(door.app.test_client(), address="2001:db8::ffff").status_code == 429


def test_a_form_without_its_token_does_nothing(ada: FlaskClient, door: Door) -> None:
    for path in ("/flatten", "/pause", "/act/retry", "/tester", "/logout"):
        assert ada.post(path, data={"broker": "nt8", "account": SIM, "reason": "x"}).status_code == 400
    assert door.count() == 0


def test_a_viewer_acts_on_nothing(door: Door) -> None:
    client = door.app.test_client()
    sign_in(client, name="vic")
    form = {"broker": "nt8", "account": SIM, "reason": "x", "scope": "all", "paused": "1"}
    for path in ("/flatten", "/pause", "/act/retry"):
        assert post(client, path, **form).status_code == 403
    assert post(client, "/tester", hook="futures", text=CLOSE).status_code == 200
    assert (door.count(), door.count(tables.pauses)) == (0, 0)


def test_cookies_and_headers_keep_others_out(door: Door) -> None:
    client = door.app.test_client()
    answer = client.get("/login", base_url="https://flatwire.example")
    cookie = answer.headers["Set-Cookie"]

    assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in re.sub(r'rel="stylesheet"', "", client.get("/login").text)


# What stands on them


@on_both_databases
def test_every_page_shows_what_there_is(ada: FlaskClient, door: Door, shop: Shop) -> None:
    shop.carried_out(part(4), seconds=30)
    shop.carried_out(FlattenMatching("nt8", account=SIM), seconds=30)
    door.send("close MES 12-26 in Nowhere")
    door.send_to("shadow")
    for path in PAGES:
        answer = ada.get(path)
        assert answer.status_code == 200, path
        assert "Traceback" not in answer.text
        assert 'style="' not in answer.text, path
        update = ada.get(path, headers={"HX-Request": "true"})
        assert update.text.strip() in answer.text or path in ("/positions", "/"), path
        again = ada.get(path, headers={"HX-Request": "true", "If-None-Match": update.headers["ETag"]})
        assert again.status_code in (200, 304)
    assert "Shadow mode" in ada.get("/system").text
    assert "Nowhere" in ada.get("/alerts").text
    assert "is not an account of this hook" in ada.get("/alerts?outcome=refused").text


def test_what_does_not_change_is_not_sent_again(ada: FlaskClient, shop: Shop) -> None:
    shop.carried_out(whole(), seconds=30)
    headers = {"HX-Request": "true"}
    first = ada.get("/closes", headers=headers)

    assert ada.get("/closes", headers=headers | {"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_a_filter_that_can_not_be_read_is_told_and_left_out(ada: FlaskClient, shop: Shop) -> None:
    shop.carried_out(whole(), seconds=30)
    for path in ("/closes", "/alerts"):
        assert ada.get(f"{path}?cursor={'9' * 30}&since=9999-99-99&until=0001-01-01").status_code == 200
    page = ada.get("/closes?since=yesterday&cursor=x&sort=sideways&nonsense=1").text

    assert page.count("It was left out.") == 3
    assert MES in page


def test_closes_are_sorted_and_paged_either_way(
    ada: FlaskClient, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.pages.closes.SHOWN", 2)
    for _ in range(5):
        shop.carried_out(part(1), seconds=10)

    def rows(page: str) -> list[int]:
        return [int(it) for it in re.findall(r'<tbody role="rowgroup" id="p(\d+)"', page)]

    for sort, every in (("newest", [5, 4, 3, 2, 1]), ("oldest", [1, 2, 3, 4, 5])):
        found, path = [], f"/closes?sort={sort}&instrument={MES}"
        while path:
            page = ada.get(path).text
            found += rows(page)
            link = re.search(r'<a href="([^"]+)" rel="next"', page)
            path = link[1].replace("&amp;", "&") if link else ""
        assert found == every


def test_the_story_of_a_command_tells_every_try_and_who_acted(ada: FlaskClient, shop: Shop) -> None:
    history = shop.carried_out(part(4), seconds=30)
    page = ada.get(f"/commands/{history.command.id}").text

    assert "<b>Close</b>" in page
    assert "close 4 MES 12-26 Sim101" in page
    assert "10 → 6 → 6" in page
    assert ada.get("/commands/nope").status_code == 404


def test_what_could_not_be_done_is_said_beside_what_could(ada: FlaskClient, shop: Shop) -> None:
    (waiting,) = shop.take(part(1))
    done = shop.carried_out(whole(), seconds=30).command.id
    page = post(ada, "/act/cancel", command=[waiting, done], reason="not wanted")

    told = ada.get(page.location).text
    assert f"{done[:8]}: it is settled already" in told


@pytest.mark.parametrize("reason", ["", " ", "x" * 501])
def test_nothing_is_done_without_a_reason(ada: FlaskClient, door: Door, reason: str) -> None:
    form = {"broker": "nt8", "account": SIM, "reason": reason, "scope": "all", "paused": "1"}
    for path in ("/flatten", "/pause"):
        assert "Say why" in post(ada, path, **form).text
    assert (door.count(), door.count(tables.pauses)) == (0, 0)


def test_a_flatten_names_a_broker_that_there_is(ada: FlaskClient) -> None:
    assert ada.get("/flatten?broker=nowhere&account=x").status_code == 404
    assert ada.get("/pause?scope=moon").status_code == 404
    assert ada.get("/act/explode?command=x").status_code == 404


@pytest.mark.parametrize("name", HOOKS)
def test_each_text_that_is_offered_is_taken_by_its_hook(name: str) -> None:
    filled = {
        "{{ticker}}": HOOKS[name].venue.example.replace("12-26", "").strip() or "MES",
        "{{timenow}}": "2026-03-02T14:31:50Z",
        "{{strategy.order.id}}": "Long exit",
        "{{strategy.market_position}}": "flat",
        "{{strategy.market_position_size}}": "0",
        "{{strategy.prev_market_position}}": "long",
        "{{strategy.prev_market_position_size}}": "2",
    }
    offered = texts_for(HOOKS[name])
    assert offered
    for title, text in offered:
        if title.startswith("In Pine"):
            text = re.sub(r"' \+ str\.tostring\(timenow\) \+ '", "1772461910000", text)
            text = text.replace("' + syminfo.ticker + '", filled["{{ticker}}"])
            text = text.removeprefix('strategy.close("Long", alert_message = \'').removesuffix("')")
        for placeholder, value in filled.items():
            text = text.replace(placeholder, value)
        fields = fields_of(text.encode(), HOOKS[name].accounts)
        fields |= {"quantity": "1"} if "quantity" in HOOKS[name].require else {}
        fields = {key: value for key, value in fields.items() if key != "percent" or "quantity" not in fields}
        if fields["action"] == "strategy" and "quantity" in HOOKS[name].require:
            continue  # such a hook takes none
        request = request_of(without_secret(fields), HOOKS[name], datetime(2026, 3, 2, 14, 32, tzinfo=UTC))
        assert request.commands
        assert not {it.message for it in request.warnings} & {"undedupable", "too_old"}, title


def a_reading(door: Door, seconds_ago: float, **answer: Any) -> None:
    questions.ask_for_positions(door.ledger, ["nt8"])
    question = questions.take(door.ledger, "nt8")
    assert question is not None
    questions.answer(door.ledger, question, {"positions": [], "unreadable": {}} | answer)
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    (row,) = questions.readings(door.ledger)
    door.change(tables.questions, answer=row.answer | {"read_at": then.isoformat()})


@pytest.mark.parametrize(
    ("ago", "answer", "flat"),
    [(1, {}, True), (3600, {}, False), (1, {"unreadable": {"Sim102": "no right"}}, False)],
    ids=["now", "long ago", "not all of it"],
)
def test_flat_is_only_what_is_known_to_be_so(
    ada: FlaskClient, door: Door, ago: float, answer: dict[str, Any], flat: bool
) -> None:
    a_reading(door, ago, **answer)
    page = ada.get("/positions").text
    asked = ada.get("/flatten?broker=nt8&account=Sim102").text

    assert ("Everything is flat." in page) is flat
    assert ("not known now" in page) is not flat
    assert ("no right" in asked) is bool(answer)


def test_a_flatten_shows_what_an_alias_and_every_account_would_close(ada: FlaskClient, door: Door) -> None:
    position = {"account": SIM, "instrument": MES, "side": "long", "quantity": "10", "profit_loss": None}
    a_reading(door, 1, positions=[position])
    for query in (
        "account=*&instrument=MES",
        "account=sim101&instrument=MES1!",
        f"account={SIM}&instrument={MES}",
    ):
        assert f"Long 10 <bdi>{MES}" in ada.get(f"/flatten?broker=nt8&{query}").text, query
    for query in ("account=*&instrument=ES", "account=Sim102", f"account={SIM}&side=short"):
        assert "Long 10" not in ada.get(f"/flatten?broker=nt8&{query}").text, query


def test_no_more_is_previewed_than_a_worker_answers_in_a_while(ada: FlaskClient, door: Door) -> None:
    names = ",".join(f"Acc{n}" for n in range(300))
    page = post(ada, "/tester", hook="other", preview="1", text=f"action=close;instrument=ES;account={names}")

    assert page.status_code == 200
    assert door.count(tables.questions) <= PREVIEWED + 1
    assert page.text.count("A worker is asked") == PREVIEWED


def test_the_tester_reads_names_as_the_door_does(ada: FlaskClient, door: Door) -> None:
    hook = door.app.extensions["flatwire_hooks"]["other"]
    object.__setattr__(hook, "default_account", "Sim101")
    object.__setattr__(hook, "allow", frozenset(Action))
    try:
        page = post(ada, "/tester", hook="other", text="flatten Sim101").text
    finally:
        object.__setattr__(hook, "default_account", None)
        object.__setattr__(hook, "allow", frozenset({Action.CLOSE, Action.FLATTEN_EVERYTHING}))
    assert "<bdi>Flatten </bdi>" in page


# What the overview counts


@on_both_databases
def test_the_overview_counts_what_ended_in_each_hour(shop: Shop) -> None:
    shop.carried_out(part(4), seconds=30)
    shop.carried_out(whole("ES 12-26"), seconds=30)
    now, found = statistics.settled_by_hour(shop.ledger)

    counted: dict[str, int] = {}
    for statuses in found.values():
        for status, count in statuses.items():
            counted[status] = counted.get(status, 0) + count
    assert counted == {"closed": 1, "nothing_open": 1}
    assert all(hour.minute == 0 and hour <= now for hour in found)
    (latency,) = statistics.latencies(shop.ledger)
    assert latency.to_broker is not None
    assert 0 <= latency.to_broker <= latency.to_closed
    health = statistics.broker_health(shop.ledger)["nt8"]
    assert (health.failed, health.throttled, health.calls > 2) == (0, 0, True)
    (closed,) = statistics.closed_since(shop.ledger)
    assert closed.profit_loss is not None


def test_bars_stand_on_each_other_and_end_at_the_sum() -> None:
    hours = [datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in range(24)]
    plot = charts.stacked(hours, ["a", "b"], {hours[3]: {"a": 3, "b": 1}, hours[20]: {"b": 2}})

    first, second, third = plot.bars
    assert first.y == pytest.approx(second.y + second.height, abs=0.2)
    assert first.height == pytest.approx(3 * second.height, abs=0.3)
    assert second.y == charts.TOP
    assert third.x > first.x
    assert [tick.text for tick in plot.up] == ["0", "2", "4"]


def test_a_line_steps_at_each_close_and_ends_at_the_sum() -> None:
    hours = [datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in range(24)]
    gains = [(hours[6], Decimal(100)), (hours[12] + timedelta(minutes=1), Decimal(-250))]
    plot = charts.cumulated(hours, {"USD": gains})

    ((_, path),) = plot.lines
    assert path.count("L") == 5
    assert plot.zero is not None
    assert float(path.rsplit(" ", 1)[1]) > plot.zero  # a loss ends below
    assert list(charts.cumulated(hours, {}).lines) == []


@pytest.mark.parametrize(
    ("value", "top"), [(0, 0), (1, 1), (3, 4), (4.1, 5), (51, 100), (0.03, 0.04), (-3, -4)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert charts.nice(value) == pytest.approx(top)


def test_percentiles_of_few_and_of_none() -> None:
    assert vitals.percentile([], 0.5) is None
    assert vitals.percentile([3.0], 0.95) == 3
    assert vitals.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3


@on_both_databases
def test_what_the_overview_and_system_show_can_be_asked_for(door: Door, shop: Shop) -> None:
    shop.carried_out(part(4), seconds=30)
    overview = door.get("/api/v1/overview").get_json()

    assert sum(it.get("closed", 0) for it in overview["hours"]) == 1
    assert len(overview["hours"]) == vitals.HOURS
    assert overview["brokers"][0]["failed"] == 0
    assert overview["profits"][0]["closes"] == overview["latencies"]["count"] == 1
    system = door.get("/api/v1/system").get_json()
    assert (system["workers"], system["redis"], system["ledger"]["rows"]["commands"]) == ([], None, 1)
    assert {it["about"]: it["grade"] for it in system["findings"]}["workers"] == "fault"


def test_a_long_answer_of_a_venue_is_cut_on_the_page_and_whole_in_the_api(
    ada: FlaskClient, door: Door, shop: Shop
) -> None:
    history = shop.carried_out(part(4), seconds=30)
    door.change(tables.attempts, answer={"words": "W" * 100_000})
    page = ada.get(f"/commands/{history.command.id}").text

    assert "more characters, in the API" in page
    assert len(page) < 100_000 * len(history.attempts)
    document = door.get(f"/api/v1/commands/{history.command.id}").get_json()
    assert len(document["attempts"][0]["answer"]["words"]) == 100_000


def test_the_system_page_says_what_is_not_as_it_should_be(door: Door) -> None:
    client = door.app.test_client()
    client.environ_base["HTTP_X_FORWARDED_FOR"] = "203.0.113.1, 10.0.0.1"
    sign_in(client)
    page = client.get("/system").text

    assert "none is alive" in page
    assert "came through 2, and 0 are trusted" in page
    assert "TRUSTED_PROXIES=2" in page
    assert page.index("none is alive") < page.index("came through 2") < page.index("agree")


def test_nobody_is_notified_is_said(ada: FlaskClient) -> None:
    assert "Nobody is told" in ada.get("/").text
    assert "Nobody is told of anything" in ada.get("/system").text
