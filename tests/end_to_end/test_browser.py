"""The dashboard in a real browser: what a trader and an operator see, and what hostile words can do to it."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import OpenTab
from tests.running import Product
from tests.simulators.crosstrade import Fault

FAINT = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = channels(color).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    const [dark, bright] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${node.data.trim()}`);
  }
  return faint;
}"""
"""The texts of a page whose contrast is below WCAG's AA."""


def row_of(page: Page, command_id: str) -> Locator:
    return page.locator(f"#c{command_id}")


def cells(row: Locator) -> dict[str, str]:
    """The texts of a row's figures by the name of their column."""
    names = ("status", "asked", "position", "side", "quantity", "average", "close", "result")
    return {name: " ".join(row.locator(f"td.{name}").inner_text().split()) for name in names}


def width_of(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


def test_a_wrong_password_is_announced_and_the_right_one_lets_in(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.page.goto("/")
    expect(tab.page.get_by_label("Name")).to_be_focused()
    tab.sign_in(password="wrong")

    expect(tab.page.get_by_role("alert")).to_contain_text("Wrong name or password")
    expect(tab.page.get_by_label("Name")).to_have_value("ada")
    tab.sign_in()
    expect(tab.page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(tab.page.locator(".who")).to_contain_text("ada")


def test_an_alert_becomes_a_closed_row_without_a_reload(open_tab: OpenTab, venue_day: Product) -> None:
    tab = open_tab().sign_in()
    tab.page.evaluate("window.reloaded = false")
    row = row_of(tab.page, venue_day.accepted("close 4 MES 12-26"))
    expect(row.locator(".badge")).to_have_text("Closed")

    assert cells(row) == {
        "status": "Closed",
        "asked": "Close 4 hook futures",
        "position": "10 → 6 → 6",
        "side": "Long",
        "quantity": "4",
        "average": "5,779.8125",
        "close": "5,797.0",
        "result": "+343.75 est.",
    }
    assert tab.page.evaluate("window.reloaded") is False
    assert (tab.complaints, tab.strangers) == ([], [])


def test_what_did_not_change_is_left_alone(open_tab: OpenTab, venue_day: Product) -> None:
    first, second = (venue_day.settled(venue_day.accepted(f"close {n} MES 12-26"))["id"] for n in (1, 2))
    page = open_tab().sign_in().page
    row_of(page, first).evaluate("row => { row.seen = true; getSelection().selectAllChildren(row) }")
    third = venue_day.accepted("close 3 MES 12-26")
    expect(row_of(page, third).locator(".badge")).to_have_text("Closed")

    assert row_of(page, first).evaluate("row => row.seen") is True
    assert "MES 12-26" in page.evaluate("getSelection().toString()")
    order = page.locator("#closes tbody").evaluate_all("rows => rows.map(row => row.id)")
    assert order[:3] == [f"c{command}" for command in (third, second, first)]
    with page.expect_response(lambda answer: answer.status == 304):
        pass


def test_a_flatten_shows_each_of_its_positions(open_tab: OpenTab, venue_day: Product) -> None:
    page = open_tab().sign_in().page
    row = row_of(page, venue_day.accepted("flatten Sim101"))
    expect(row.locator(".badge")).to_have_text("Closed")

    expect(row.locator(".several")).to_have_text("2 positions")
    parts = {part.locator(".place").inner_text(): part for part in row.locator(".part").all()}
    assert set(parts) == {"MES 12-26", "MNQ 12-26"}
    assert parts["MES 12-26"].locator(".position").inner_text().strip() == "10 → 0 → 0"
    assert parts["MNQ 12-26"].locator(".side").inner_text() == "Short"


def test_hostile_words_of_a_venue_are_shown_as_text(open_tab: OpenTab, venue_day: Product) -> None:
    tab = open_tab().sign_in()
    hostile = "<img src=x onerror=alert(1)>"
    venue_day.venue.bad_day(Fault.REFUSE, on="close", error=hostile)
    row = row_of(tab.page, venue_day.accepted("close MES 12-26"))

    expect(row.locator(".badge")).to_have_text("Rejected")
    expect(row.locator(".why")).to_contain_text(hostile)
    expect(row.locator(".why")).to_contain_text("Needs attention")
    assert tab.page.locator("img").count() == 0
    assert tab.complaints == []


def test_a_lost_answer_is_shown_as_in_doubt_and_asks_for_attention(
    open_tab: OpenTab, venue_day: Product
) -> None:
    page = open_tab().sign_in().page
    venue_day.venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")
    row = row_of(page, venue_day.accepted("close 1 MES 12-26"))

    expect(row.locator(".badge")).to_have_text("In doubt")
    expect(row.locator(".why")).to_contain_text("Look at the position at the broker")
    expect(page.locator("#vitals .bad")).to_contain_text("attention")
    expect(page).to_have_title(re.compile(r"^\(\d+\) Overview – Flatwire$"))


def test_a_phone_shows_cards_that_need_no_sideways_scrolling(open_tab: OpenTab, venue_day: Product) -> None:
    venue_day.settled(venue_day.accepted("flatten Sim101"))
    venue_day.venue.bad_day(Fault.REFUSE, on="close", error="\N{RIGHT-TO-LEFT OVERRIDE}" + "W" * 300)
    refused = venue_day.settled(venue_day.accepted("close ES 12-26 in Sim102"))
    tab = open_tab(viewport={"width": 360, "height": 740})
    tab.page.goto("/login")

    assert width_of(tab.page) == 360
    tab.sign_in()
    expect(row_of(tab.page, refused["id"])).to_be_visible()
    assert width_of(tab.page) == 360


def test_the_keyboard_reaches_sign_out_and_shows_where_it_is(open_tab: OpenTab) -> None:
    page = open_tab().sign_in().page
    button = page.get_by_role("button", name="Sign out")
    expect(button).to_be_visible()
    for _ in range(3):  # past the way to the content, and the name
        page.keyboard.press("Tab")

    expect(button).to_be_focused()
    expect(button).to_have_css("outline-style", "solid")
    expect(button).to_have_css("outline-width", "3px")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_times_are_local_and_say_so_and_utc_without_scripts(open_tab: OpenTab, venue_day: Product) -> None:
    command = venue_day.settled(venue_day.accepted("close MES 12-26"))
    utc = command["accepted_at"][11:19]
    page = open_tab(timezone_id="Asia/Kolkata").sign_in().page
    time = row_of(page, command["id"]).locator("time")

    expect(page.locator("#zone")).to_have_text("Times are Asia/Calcutta, UTC+5:30")
    expect(time).not_to_contain_text(utc)
    expect(time).to_have_attribute("title", re.compile(rf"{utc}\.\d+ UTC"))
    page = open_tab(java_script_enabled=False).sign_in().page
    expect(row_of(page, command["id"]).locator("time")).to_contain_text(utc)
    expect(page.locator("#zone")).to_have_text("Times are UTC")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_it_needs(open_tab: OpenTab, venue_day: Product, scheme: str) -> None:
    venue_day.settled(venue_day.accepted("close MES 12-26"))
    tab = open_tab(color_scheme=scheme, reduced_motion="reduce")
    tab.page.goto("/login")
    faint = tab.page.evaluate(FAINT)
    tab.sign_in()
    expect(tab.page.locator("#vitals")).to_be_visible()
    tab.page.wait_for_load_state("load")

    assert faint + tab.page.evaluate(FAINT) == []


def test_the_first_load_is_light(open_tab: OpenTab) -> None:
    tab = open_tab().sign_in()
    expect(tab.page.locator("#vitals")).to_be_visible()
    tab.page.wait_for_load_state("load")
    size = tab.page.evaluate(
        """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
           .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""
    )

    assert 50_000 < size < 150_000


def test_the_end_of_a_session_leads_to_the_login_and_back(open_tab: OpenTab) -> None:
    tab = open_tab().sign_in()
    expect(tab.page.locator("#vitals")).to_be_visible()
    tab.forget_session()

    expect(tab.page.get_by_text("Your session has ended")).to_be_visible()
    expect(tab.page.get_by_label("Name")).to_be_focused()
    tab.sign_in()
    expect(tab.page.locator("#vitals")).to_be_visible()


def test_a_banner_stands_while_the_server_is_away(open_tab: OpenTab, venue_day: Product) -> None:
    page = open_tab().sign_in().page
    expect(page.locator("#vitals")).to_be_visible()
    venue_day.stop("web")

    expect(page.get_by_role("alert")).to_contain_text("can’t be reached")
    expect(page.locator("#vitals")).to_be_visible()
    venue_day.start_web()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_pause_shows_on_the_page_and_holds_what_comes(open_tab: OpenTab, venue_day: Product) -> None:
    page = open_tab().sign_in().page
    venue_day.act("pause", "PUT", scope="broker", name="nt8", paused=True)
    expect(page.locator("#paused")).to_contain_text("broker nt8")
    command_id = venue_day.accepted("close MES 12-26")
    expect(row_of(page, command_id)).to_contain_text("Queued")
    venue_day.act("pause", "PUT", scope="broker", name="nt8", paused=False)

    expect(page.locator("#paused")).to_have_count(0)
    expect(row_of(page, command_id)).to_contain_text("Closed")


def test_a_page_says_when_no_worker_is_alive(open_tab: OpenTab, venue_day: Product) -> None:
    page = open_tab().sign_in().page
    venue_day.stop("worker")

    expect(page.locator("#no-worker")).to_contain_text("python -m workers")
    venue_day.start_workers()
    expect(page.locator("#no-worker")).to_have_count(0)
