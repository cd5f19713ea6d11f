"""A real browser for what only a browser can tell: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.running import PASSWORD, Product

MISSING = "NO CHROMIUM: apt-get install chromium"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_program() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless browser with a fresh profile, closed with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the product, with all that it asked for and complained about."""

    def __init__(self, browser: Browser, product: Product, **context: Any) -> None:
        self._context = browser.new_context(base_url=product.url, **context)
        self._own = urlsplit(product.url).netloc
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(8000)
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != self._own:
            self.strangers.append(request.url)

    def sign_in(self, password: str = PASSWORD, name: str = "ada") -> "Tab":
        self.page.goto("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        return self

    def forget_session(self) -> None:
        self._context.clear_cookies()

    def close(self) -> None:
        self._context.close()


OpenTab = Callable[..., Tab]
"""Opens a tab of the shared product, with the settings of a browser's context."""
