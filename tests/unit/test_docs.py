"""Documentation that can fail: what exists must be named where a reader looks for it."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.alerts.dialects import DIALECTS
from app.alerts.hooks import Hook
from app.alerts.schemas import ALIASES, SCHEMAS, SECRET_FIELDS, CloseSchema, StrategySchema
from app.cli import _parser
from app.domain.capabilities import CAPABILITIES, TOLD_ELSEWHERE
from app.domain.causes import CAUSES
from app.domain.statuses import Attention, Status
from app.domain.venues import VENUES, Venue
from app.web.documents import AlertQuery, ClosedPositionQuery, CommandQuery
from app.web.pages.hooks import texts_for
from config.environment import EnvironmentSchema
from config.schemas import BrokerSchema, HookSchema, NotifySchema, ScheduleSchema
from tests.capabilities import table, table_on_the_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def missing(page: Path, names: list[str]) -> list[str]:
    """The names that stand nowhere on the page as code."""
    text = page.read_text()
    return [
        name
        for name in names
        if not re.search(rf"`[^`\n]*(?<![\w-]){re.escape(name)}(?![\w-])[^`\n]*`", text)
    ]


def environment_variables() -> list[str]:
    return [str(field.data_key) for field in EnvironmentSchema().fields.values()]


def commands_of_the_command_line() -> list[str]:
    (subparsers,) = (action for action in _parser()._actions if action.dest == "command")
    return [f"python -m app {name}" for name in subparsers.choices]


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("architecture.md", [str(status) for status in Status]),
        ("architecture.md", [str(attention) for attention in Attention]),
        ("alerts.md", [*CloseSchema().known_names(), *StrategySchema().known_names(), *ALIASES]),
        ("alerts.md", [*SECRET_FIELDS, *SCHEMAS, *DIALECTS]),
        ("configuration.md", [*environment_variables(), "FLATWIRE_CONFIG", "FLATWIRE_CONFIG_TOML"]),
        ("configuration.md", [*BrokerSchema().known_names(), *HookSchema().known_names()]),
        ("configuration.md", [*NotifySchema().known_names(), *CAUSES, *ScheduleSchema().known_names()]),
        ("brokers.md", list(VENUES)),
        ("operating.md", commands_of_the_command_line()),
        ("api.md", [*CommandQuery().fields, *AlertQuery().fields, *ClosedPositionQuery().fields]),
    ],
)
def test_what_exists_is_documented(page: str, names: list[str]) -> None:
    assert names
    assert missing(DOCS / page, names) == []


def test_the_table_of_venues_is_made_of_their_rows() -> None:
    assert table_on_the_page() == table(), "run python -m tests.capabilities"


def test_each_capability_has_a_line_in_the_table() -> None:
    fields = {field.name for field in dataclasses.fields(Venue)}

    assert fields == CAPABILITIES.keys() | TOLD_ELSEWHERE


def test_each_make_target_has_a_line_of_help() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony

    assert set(phony[1].split()) == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


def rows(page: str, heading: str) -> set[str]:
    """What the tables below a heading have rows for."""
    text = (DOCS / page).read_text()
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section
    cells = re.findall(r"^\| ([^|]*)\|", section[1], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_each_status_each_attention_and_each_notification_says_what_to_do() -> None:
    told = rows("troubleshooting.md", "Attention") | rows("troubleshooting.md", "Notifications")

    assert rows("troubleshooting.md", "Statuses") == set(Status)
    assert set(Attention) <= rows("troubleshooting.md", "Attention")
    assert set(CAUSES) <= told


def test_the_glossary_has_the_words_that_a_newcomer_meets() -> None:
    defined = set(re.findall(r"\*\*([^*]+)\*\*", (DOCS / "glossary.md").read_text()))
    words = (
        "hook alert command attempt report settled status attention ledger venue broker close flatten target "
        "worker supervisor doorbell ring sweep claim lease fence lane overlap supersede evidence dialect"
    )

    assert {*words.split(), "closed position", "settle window", "in doubt", "shadow mode"} - defined == set()


def test_the_first_texts_to_paste_are_those_of_the_page_hooks() -> None:
    pasted = re.findall(r"^ *```json\n *(.*)$", (DOCS / "getting-started.md").read_text(), re.MULTILINE)
    futures = Hook("futures", broker="nt8", venue=VENUES["crosstrade"], default_account="Sim101")
    offered = {text for _, text in texts_for(futures)}

    assert pasted
    assert set(pasted) <= offered


PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> Iterator[str]:
    """What a page links to, and the addresses of its pictures."""
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "code", without_blocks(text))
    yield from re.findall(r"\]\(([^)\s]*)\)", text)
    yield from re.findall(r"<img src=\"([^\"]*)\"", text)


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them; the site's own are checked as it is built."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fault_of(page: Path, link: str) -> str | None:
    """What is wrong with a link, or None. Nothing is asked of another host."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        known = parts.scheme == "https" and "." in (parts.hostname or "")
        return None if known else "is no https address"
    target = (page.parent / parts.path).resolve() if parts.path else page
    if not target.is_file():
        return "leads nowhere"
    if parts.fragment and parts.fragment not in anchors(target):
        return "has no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    faults = [f"{link} {fault}" for link in links(page.read_text()) if (fault := fault_of(page, link))]

    assert faults == []


@pytest.mark.parametrize(
    "link",
    [
        "docs/nowhere.md",
        "docs/alerts.md#nowhere",
        "#nowhere",
        "docs",
        "http://example.com",
        "https://example",
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str) -> None:
    assert [link] == list(links(f"see [it]({link})"))
    assert fault_of(ROOT / "README.md", link)


def test_files_named_in_the_architecture_exist() -> None:
    named = re.findall(r"`((?:app|workers|config|tests)/[\w/.]+)`", (DOCS / "architecture.md").read_text())
    assert named

    assert [name for name in named if not (ROOT / name).exists()] == []
