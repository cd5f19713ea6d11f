"""`python -m tests.screenshots`: each page, wide and on a phone, light and dark, into `var/screenshots/`."""

import shutil
import sys
import tempfile
from pathlib import Path

import requests
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
PAGES = (
    ("overview", "/"),
    ("positions", "/positions"),
    ("closes", "/closes"),
    ("alerts", "/alerts"),
    ("command", "/commands/{command}"),
    ("attention", "/attention"),
    ("hooks", "/hooks"),
    ("system", "/system"),
    ("flatten", "/flatten?broker=nt8&account=Sim101"),
)
SHOWN = ("overview-wide", "overview-phone-dark", "positions-phone", "command-wide")
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
            stuck = trade(product)
            for name, path in PAGES:
                shoot(browser, product, folder, name, path.format(command=stuck))


def trade(product: Product) -> str:
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
    for text in ('{"action": "close", "ticker": "MES1!",}', "close 2 MES 12-26 in Live7"):
        product.send(text)
    requests.post(f"{product.url}/hooks/futures/not-the-secret", data=b"close MES 12-26", timeout=10)
    return lost


def shoot(
    browser: Browser,
    product: Product,
    folder: Path,
    name: str,
    path: str = "/",
    signed_in: bool = True,
) -> None:
    for size, context in SIZES.items():
        for scheme in ("light", "dark"):
            tab = Tab(browser, product, color_scheme=scheme, reduced_motion="reduce", **NEW_YORK, **context)
            if signed_in:
                tab.sign_in()
                tab.page.goto(path)
                tab.page.wait_for_selector("h1")
                tab.page.wait_for_timeout(2500)  # what a worker reads is there by then
            else:
                tab.page.goto("/login")
            suffix = "" if scheme == "light" else "-dark"
            picture = folder / f"{name}-{size}{suffix}.png"
            tab.page.screenshot(path=picture, full_page=size == "wide")
            if picture.stem in SHOWN:
                shutil.copy(picture, ROOT / "docs" / "screenshots")
            tab.close()


if __name__ == "__main__":
    main(ROOT / "var" / "screenshots")
