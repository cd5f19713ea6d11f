"""`python -m tests.screenshots`: each page, wide and on a phone, light and dark, into `var/screenshots/`."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser import MISSING, Tab, browser_program, running_browser
from tests.running import ROOT, Product, eventually
from tests.simulators.crosstrade import Fault
from tests.venues import three_venues

SIZES = {
    "wide": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}
NEW_YORK = {"timezone_id": "America/New_York", "locale": "en-US"}
POSITIONS = (
    ("Sim101", "MES 12-26", "Long", 10, 5779.8125, 5797.0, 5),
    ("Sim101", "MNQ 12-26", "Short", 4, 20605.25, 20631.5, 2),
    ("Sim101", "MGC 12-26", "Long", 3, 2651.4, 2649.9, 10),
    ("Sim102", "ES 12-26", "Long", 2, 5780.125, 5797.0, 50),
    ("Sim102", "NQ 12-26", "Short", 1, 20611.0, 20588.5, 20),
    ("Sim102", "MCL 01-27", "Long", 6, 68.42, 68.31, 100),
)
SHOWN = ("closes-wide", "closes-phone-dark")
"""What the docs show."""


def main(folder: Path) -> None:
    if not browser_program():
        sys.exit(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, running_browser() as browser:
        database = f"sqlite:///{place}/flatwire.db"
        with three_venues(
            Path(place), database, None, verify_for=60
        ) as venues:  # a slow fill is still on its way
            product = venues.product
            shoot(browser, product, folder, "login", signed_in=False)
            shoot(browser, product, folder, "empty")
            trade(product)
            shoot(browser, product, folder, "closes")
            shoot(browser, product, folder, "brokers", opened="What each broker can do")


def trade(product: Product) -> None:
    """A morning with what mornings bring: closes, a lost answer, a refusal, a flatten, a doubt, a slow fill."""
    venue = product.venue
    venue.book.clear_positions()
    for position in POSITIONS:
        venue.book.set_position(*position)
    product.settled(product.accepted("close ZN 12-26"))
    product.settled(product.accepted("close 25% of MNQ 12-26"))
    venue.bad_day(Fault.CUT_AFTER_ACTING, on="close")
    product.settled(product.accepted("close 4 MES 12-26"))
    product.settled(product.accepted("flatten Sim102"))
    venue.bad_day(Fault.REFUSE, on="close", error="Order rejected: no market data for MGC 12-26")
    product.settled(product.accepted("close MGC 12-26"))
    venue.bad_day(Fault.CUT_BEFORE_ACTING, on="close")
    lost = product.accepted("close 1 MNQ 12-26")
    eventually(lambda: product.command(lost)["attention"], what="the lost answer asks for attention")
    product.settled(product.accepted("close MES 12-26"))
    for hook, text in (
        ("stocks", "close 30 AAPL"),
        ("crypto", "action=close;instrument=BTCUSDT.P;quantity=0.05;id=1"),
        ("crypto", "flatten short"),
        ("stocks", "close AAPL260320P180.0"),
    ):
        product.settled(product.accepted(text, hook=hook))
    venue.bad_day(Fault.SLOW_FILL, on="close", seconds=50)
    slow = product.accepted("close 3 MGC 12-26")
    eventually(lambda: product.command(slow)["status"] == "working", what="the broker takes it")


def shoot(
    browser: Browser,
    product: Product,
    folder: Path,
    name: str,
    signed_in: bool = True,
    opened: str | None = None,
) -> None:
    for size, context in SIZES.items():
        for scheme in ("light", "dark"):
            tab = Tab(browser, product, color_scheme=scheme, reduced_motion="reduce", **NEW_YORK, **context)
            if signed_in:
                tab.sign_in()
                tab.page.wait_for_selector("#vitals")
            else:
                tab.page.goto("/login")
            if opened:
                tab.page.get_by_text(opened).click()
                tab.page.locator("details[open]").last.evaluate("it => it.scrollIntoView()")
            suffix = "" if scheme == "light" else "-dark"
            path = folder / f"{name}-{size}{suffix}.png"
            tab.page.screenshot(path=path)
            if path.stem in SHOWN:
                shutil.copy(path, ROOT / "docs" / "screenshots")
            tab.close()


if __name__ == "__main__":
    main(ROOT / "var" / "screenshots")
