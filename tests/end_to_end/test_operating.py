"""What operators do in a browser: find what needs them, settle it, flatten, pause; and what a viewer can't."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import OpenTab
from tests.running import Product, eventually
from tests.simulators.crosstrade import Fault

PHONE = {"viewport": {"width": 360, "height": 740}}
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
PAGES = ("/", "/attention", "/positions", "/closes", "/alerts", "/hooks", "/system")


@pytest.fixture
def doubt(venue_day: Product) -> Iterator[str]:
    """A part whose answer was lost: only a person can tell."""
    venue_day.venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")
    command = venue_day.accepted("close 1 MES 12-26")
    eventually(lambda: venue_day.command(command)["attention"], what="it asks for attention")
    yield command
    if not venue_day.command(command)["settled_at"]:  # what comes next would wait for it
        venue_day.act(f"commands/{command}/resolve", outcome="not_done")


def serious(page: Page) -> list[str]:
    """What axe-core finds that would keep somebody out."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{it['id']}: {it['nodes'][0]['html'][:120]}"
        for it in found
        if it["impact"] in ("serious", "critical")
    ]


def test_a_doubt_is_found_resolved_and_gone_from_the_list(
    open_tab: OpenTab, venue_day: Product, doubt: str
) -> None:
    page = open_tab().sign_in().page
    page.locator(f"#ask{doubt} a").click()
    expect(page.get_by_role("heading", name="Close 1 MES 12-26")).to_be_visible()
    expect(page.locator("#timeline")).to_contain_text("outcome unknown")
    page.get_by_role("link", name="Resolve as not done").click()
    expect(page.get_by_role("heading", name="Resolve as not done 1 command?")).to_be_visible()
    page.get_by_label("Why").fill("NinjaTrader shows no fill")
    page.get_by_role("button", name="Resolve as not done").click()

    expect(page.locator("#closes .badge")).to_have_text("Cancelled")
    expect(page.locator("#timeline")).to_contain_text("NinjaTrader shows no fill")
    expect(page.locator("#timeline")).to_contain_text("by ada")
    assert venue_day.command(doubt)["status"] == "cancelled"
    page.goto("/attention")
    expect(page.locator(f"#k{doubt}")).to_have_count(0)


def test_an_account_is_flattened_from_a_phone(open_tab: OpenTab, venue_day: Product) -> None:
    tab = open_tab(**PHONE).sign_in()
    page = tab.page
    page.get_by_role("link", name="Positions").click()
    expect(page.locator("#broker-nt8")).to_contain_text("MES 12-26")
    page.get_by_role("link", name="Flatten the account Sim101").click()

    expect(page.locator(".picked")).to_contain_text("Long 10 MES 12-26")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_label("Why").fill("the session ends")
    page.get_by_role("button", name="Flatten now").click()
    expect(page.locator("#closes .badge").first).to_have_text("Closed")
    expect(page.locator("#timeline")).to_contain_text("by ada")
    assert venue_day.venue.book.quantity("Sim101", "MES 12-26") == 0
    page.goto("/positions")
    expect(page.locator("#broker-nt8")).not_to_contain_text("MES 12-26")
    assert (tab.complaints, tab.strangers) == ([], [])


def test_many_are_acknowledged_at_once_and_the_count_is_asked_back(
    open_tab: OpenTab, venue_day: Product
) -> None:
    for _ in range(2):
        venue_day.venue.bad_day(Fault.REFUSE, on="close", error="no market data")
        venue_day.settled(venue_day.accepted("close MES 12-26"))
    page = open_tab().sign_in().page
    page.goto("/attention")
    group = page.locator("#g-rejected")
    expect(group.locator(".pick")).to_have_count(2)
    for box in group.get_by_role("checkbox").all():
        box.check()
    group.get_by_role("button", name="Acknowledge").click()

    expect(page.get_by_role("heading", name="Acknowledge 2 commands?")).to_be_visible()
    page.get_by_label("Why").fill("closed by hand")
    page.get_by_role("button", name="Acknowledge all 2").click()
    expect(page.get_by_role("status").first).to_contain_text("Acknowledge: 2 commands.")
    expect(page.locator("#calm")).to_be_visible()


def test_what_is_ticked_stays_so_while_its_row_changes(open_tab: OpenTab, doubt: str) -> None:
    page = open_tab().sign_in().page
    page.goto("/attention")
    box = page.locator(f"#k{doubt}").get_by_role("checkbox")
    box.uncheck()
    took = page.locator(f"#k{doubt} .took")
    before = took.inner_text()
    expect(took).not_to_have_text(before)

    expect(box).not_to_be_checked()


def test_a_broker_is_paused_and_resumed_with_a_reason(open_tab: OpenTab, venue_day: Product) -> None:
    page = open_tab().sign_in().page
    page.goto("/system")
    page.get_by_role("link", name="Pause broker nt8").click()
    page.get_by_label("Why").fill("roll-over")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("link", name="Resume broker nt8")).to_be_visible()
    expect(page.locator("#acts")).to_contain_text("roll-over")
    command = venue_day.accepted("close MES 12-26")
    page.goto("/")
    expect(page.locator(f"#c{command} .badge")).to_have_text("Queued")
    page.goto("/system")
    page.get_by_role("link", name="Resume broker nt8").click()
    page.get_by_label("Why").fill("done")
    page.get_by_role("button", name="Resume").click()

    assert venue_day.settled(command)["status"] == "closed"


def test_a_viewer_sees_everything_and_can_do_nothing(open_tab: OpenTab, doubt: str) -> None:
    page = open_tab().sign_in(name="vic").page
    expect(page.locator(".who")).to_contain_text("vic")
    for path in (*PAGES, f"/commands/{doubt}"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator("a.button:not([href*='.csv']), .acts button").count() == 0, path
    for path in (
        f"/act/retry?command={doubt}",
        "/flatten?broker=nt8&account=Sim101",
        "/pause?scope=all&paused=1",
    ):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 403


def test_the_tester_says_what_a_text_would_ask_and_a_worker_what_would_go_out(
    open_tab: OpenTab, venue_day: Product
) -> None:
    tab = open_tab().sign_in()
    page = tab.page
    page.goto("/hooks")
    page.get_by_label("Text").fill("close 4 MES 12-26")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#outcome")).to_contain_text("Accepted: 1 command")
    expect(page.locator(".preview")).to_contain_text("10 → 6")
    expect(page.locator(".preview")).to_contain_text("/v1/api/accounts/Sim101/positions/close")
    page.get_by_label("Text").fill('{"action": "close", "ticker": "MES1!",}')
    page.get_by_role("button", name="Try it again").click()

    expect(page.locator(".picked")).to_contain_text('{"action": "close", "ticker": "MES1!"}')
    assert venue_day.venue.book.quantity("Sim101", "MES 12-26") == 10
    assert (tab.complaints, tab.strangers) == ([], [])


def test_closes_are_filtered_paged_and_downloaded(open_tab: OpenTab, venue_day: Product) -> None:
    venue_day.settled(venue_day.accepted("close 1 MES 12-26"))
    venue_day.settled(venue_day.accepted("close MNQ 12-26"))
    page = open_tab().sign_in().page
    page.goto("/closes")
    expect(page.locator("#closed tbody").first).to_contain_text("MNQ 12-26")
    everything = page.locator("#closed tbody").count()
    page.get_by_label("Instrument").fill("MNQ 12-26")
    page.get_by_role("button", name="Show").click()

    expect(page).to_have_url(re.compile("instrument=MNQ"))
    expect(page.locator("#closed tbody .place").first).to_contain_text("MNQ 12-26")
    found = page.locator("#closed tbody .place").all_inner_texts()
    assert 0 < len(found) < everything
    assert all(text.startswith("MNQ 12-26") for text in found)
    expect(page.locator("#totals")).to_contain_text(f"over {len(found)} close")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 1 + len(found)
    assert all("MNQ 12-26" in line for line in lines[1:])


@pytest.mark.parametrize(
    "hostile", ["<img src=x onerror=alert(1)>", "\N{RIGHT-TO-LEFT OVERRIDE}" + "W" * 300]
)
def test_hostile_texts_are_shown_as_text(open_tab: OpenTab, venue_day: Product, hostile: str) -> None:
    venue_day.send(f"close MES 12-26 in {hostile}")
    tab = open_tab(**PHONE).sign_in()
    page = tab.page
    page.goto("/alerts")

    expect(page.locator("#alerts article").first).to_contain_text(hostile[:20])
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert tab.complaints == []


@pytest.mark.parametrize(("context", "scheme"), [({}, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_nobody_is_kept_out(
    open_tab: OpenTab, venue_day: Product, doubt: str, context: dict[str, Any], scheme: str
) -> None:
    venue_day.settled(venue_day.accepted("flatten Sim102"))
    venue_day.send("close MES 12-26 in Nowhere")
    page = open_tab(color_scheme=scheme, reduced_motion="reduce", bypass_csp=True, **context).sign_in().page
    found = {}
    asked = (
        f"/commands/{doubt}",
        f"/act/resolve_done?command={doubt}",
        "/flatten?broker=nt8&account=Sim101",
    )
    for path in (*PAGES, *asked):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        found[path] = serious(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

    assert {path: faults for path, faults in found.items() if faults} == {}
