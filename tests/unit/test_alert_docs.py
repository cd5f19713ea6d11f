"""The examples of docs/alerts.md: each text does what the line under it says."""

import re

import pytest

from app.alerts.dialects import DIALECTS
from app.alerts.errors import AlertRefused, NoExit, NotAllowed, UnreadableAlert
from app.alerts.schemas import ALIASES, SCHEMAS
from app.domain.commands import ClosePosition, Command, FlattenEverything, Fraction, Quantity, Unit
from app.web.problems import STATUS
from tests.unit.test_alerts import HOOKS, asked, fields_in
from tests.unit.test_docs import DOCS

PAGE = (DOCS / "alerts.md").read_text()
EXAMPLES = re.findall(r"```(?:text|json)\n((?:(?!```).)*?)\n```\n→ at `(\w+)`: ([^\n]*)\n", PAGE, re.DOTALL)


def outcome(text: str, hook: str) -> str:
    """What becomes of a text, as the page words it."""
    try:
        request = asked(text, hook)
    except NoExit as exc:
        return f"ignored: {exc}"
    except AlertRefused as exc:
        status = 403 if isinstance(exc, NotAllowed) else 400 if isinstance(exc, UnreadableAlert) else 422
        faults = (f"{it.field} {it.message}".strip() + f" ({it.hint})" for it in exc.faults)
        # How Python words what is wrong with JSON changes with its version.
        return f"{status}: " + re.sub(r"is not JSON: .*? \(it has", "is not JSON (it has", "; ".join(faults))
    warnings = "".join(f", warning `{warning.message}`" for warning in request.warnings)
    return " and ".join(spoken(command) for command in request.commands) + warnings


def spoken(command: Command) -> str:
    if isinstance(command, FlattenEverything):
        return "flatten everything"
    orders = "cancelling its orders" if command.cancel_orders else "keeping its orders"
    guard = f" if {command.side}" if command.side else ""
    where = f"in {command.account or 'every account'}"
    if not isinstance(command, ClosePosition):
        return f"flatten {command.instrument or 'all'} {where}{guard}, {orders}"
    match command.size:
        case Quantity(amount, unit):
            size = f"{amount:f}" + (" coins" if unit is Unit.BASE else "")
        case Fraction(part):
            size = f"{(part * 100).normalize():f} %"
        case _:
            size = "all"
    return f"close {size} of {command.instrument} {where}{guard}, {orders}"


@pytest.mark.parametrize(("text", "hook", "said"), EXAMPLES)
def test_an_example_does_what_the_page_says(text: str, hook: str, said: str) -> None:
    assert outcome(text, hook) == said


def test_every_field_verb_and_alias_has_an_example() -> None:
    taken = [dict(fields_in(text)) for text, _, said in EXAMPLES if not said.startswith("4")]
    used = {name for fields in taken for name in fields}
    known = {name for schema in SCHEMAS.values() for name in schema.known_names()}
    ours = [fields.get("action", fields.get("command")) for fields in taken]

    assert known | {"action"} <= used
    assert set(ALIASES) - {"market_position_size", "prev_market_position_size"} <= used
    assert set(SCHEMAS) <= set(ours)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_has_examples_of_exits_of_what_is_none_and_of_what_can_not_be_done(name: str) -> None:
    _, _, section = PAGE.partition(f"### `{name}`")
    section = re.split(r"\n##", section)[0]
    said = re.findall(r"\n→ at `(\w+)`: (.*)\n", section)

    assert all(name in HOOKS[hook].dialects for hook, _ in said)
    assert {"close", "ignored:"} <= {line.split()[0] for _, line in said}
    assert DIALECTS[name].source in PAGE


def test_every_answer_of_the_door_is_in_the_table() -> None:
    told = {int(row) for row in re.findall(r"^\| (\d{3}) ", PAGE, re.MULTILINE)}

    assert told == {200, 202, 413, 429} | {status for status, _ in STATUS.values()}
