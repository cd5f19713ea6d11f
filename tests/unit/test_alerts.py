"""From an alert's bytes to commands: what is taken, what is refused, and that nothing ever asks for more than it says."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.alerts.errors import AlertRefused, NotAllowed, UnreadableAlert, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text
from app.alerts.schemas import ALIASES, FIELD_NAMES, SECRET_FIELDS
from app.domain.commands import (
    Action,
    ClosePosition,
    Command,
    FlattenEverything,
    Fraction,
    Quantity,
    Whole,
    action_of,
)
from app.domain.venues import VENUES

CORPORA = Path(__file__).resolve().parents[1] / "alerts"
NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
REFUSED = {"unreadable": UnreadableAlert, "wrong": WrongAlert, "not_allowed": NotAllowed}


def hook(name: str, **settings: Any) -> Hook:
    return Hook(name=name, broker="nt8", venue=VENUES["crosstrade"], **settings)


HOOKS = {
    "futures": hook(
        "futures",
        accounts=("Sim101", "Sim102"),
        default_account="Sim101",
        symbols={"MES1!": "MES 12-26"},
    ),
    "everything": hook("everything", accounts=("*",), allow=frozenset(Action)),
    "careful": hook(
        "careful", accounts=("Sim101",), require=("quantity",), ignore=("price",), instruments=("MES*",)
    ),
}

many = settings(max_examples=200, deadline=None)


def asked(body: str | bytes, hook: str = "futures") -> Request:
    """What a body asks of a hook. Raises AlertRefused."""
    spelled = body.encode() if isinstance(body, str) else body
    return request_of(fields_of(spelled, HOOKS[hook].accounts), HOOKS[hook], NOW)


def document_of(command: Command) -> dict[str, Any]:
    """A command as the canonical JSON object that asks for it."""
    if isinstance(command, FlattenEverything):
        return {"action": "flatten_everything"}
    document: dict[str, Any] = {
        "action": str(action_of(command)),
        "account": command.account,
        "instrument": command.instrument,
        "position": command.side,
    }
    if isinstance(command, ClosePosition):
        match command.size:
            case Quantity(amount):
                document["quantity"] = f"{amount:f}"
            case Fraction(part):
                document["percent"] = f"{part:f}"
    document["cancel_orders"] = command.cancel_orders
    return {name: value for name, value in document.items() if value is not None}


def corpus(name: str) -> list[Any]:
    lines = (CORPORA / f"{name}.jsonl").read_text().splitlines()
    return [pytest.param(json.loads(line), id=f"line {n}") for n, line in enumerate(lines, start=1)]


@pytest.mark.parametrize("line", corpus("accepted"))
def test_an_alert_asks_for_exactly_these_commands(line: dict[str, Any]) -> None:
    request = asked(line["text"], line.get("hook", "futures"))

    assert [document_of(command) for command in request.commands] == line["commands"]
    assert [warning.message for warning in request.warnings] == line.get("warnings", [])


@pytest.mark.parametrize("line", corpus("refused"))
def test_an_alert_is_refused_with_every_fault_and_a_hint_each(line: dict[str, Any]) -> None:
    with pytest.raises(REFUSED[line["refused"]]) as refusal:
        asked(line["text"], line.get("hook", "futures"))

    faults = sorted(refusal.value.faults, key=lambda fault: fault.field)
    expected = sorted(line["faults"], key=lambda fault: fault["field"])
    assert [fault.field for fault in faults] == [fault["field"] for fault in expected]
    for fault, wanted in zip(faults, expected, strict=True):
        assert wanted["hint"] in f"{fault.message} {fault.hint}"
        assert fault.hint


@pytest.mark.parametrize("body", [b"\xff", b"close MES\xff", "close MES 12-26".encode("utf-16")])
def test_bytes_that_are_no_utf_8_text_are_refused(body: bytes) -> None:
    with pytest.raises(UnreadableAlert):
        asked(body)


names = st.sampled_from(FIELD_NAMES)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(
        ["close", "flatten", "long", "MES 12-26", "Sim101", "*", "4", "25%", "{{ticker}}", "NaN"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
objects = st.dictionaries(names | st.text(max_size=12), values, max_size=8).map(json.dumps)
pairs = st.lists(st.tuples(names, st.text(max_size=20)), max_size=6).map(
    lambda found: ";".join(f"{name}={value}" for name, value in found)
)
words = st.sampled_from(
    [
        *("close", "flatten", "everything", "all", "long", "short", "in", "of", "4", "25%", "0"),
        *("MES", "12-26", "Sim101", "Sim102", "{{ticker}}", ".", "/", "*", "\u202e"),
    ]
)
sentences = st.lists(words, max_size=8).map(" ".join)
hostile = st.one_of(objects, pairs, sentences, st.text(), values.map(json.dumps)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


@many
@given(hostile | st.binary(max_size=200), st.sampled_from(sorted(HOOKS)))
def test_whatever_comes_is_understood_or_refused_and_never_wider_than_the_hook(
    body: bytes, name: str
) -> None:
    allowed = HOOKS[name]
    with suppress(AlertRefused):
        request = asked(body, name)
        assert request.commands
        for command in request.commands:
            assert action_of(command) in allowed.allow
            if not isinstance(command, FlattenEverything):
                assert allowed.all_accounts or command.account in allowed.accounts


quantities = st.integers(1, 99).map(str)
extras = st.fixed_dictionaries(
    {},
    optional={
        "account": st.sampled_from(["Sim101", "Sim102", "Sim101,Sim102"]),
        "position": st.sampled_from(["long", "short"]),
        "percent": st.sampled_from(["0.5", "25%", "100%"]),
        "id": st.uuids().map(str),
        "note": st.just("take some off"),
    },
)
garbled = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "{{strategy.order.contracts}}", "NaN", "none", "null", "0", "-4", "4;", "4,", "4\n"]
    ),
)
carriers = st.sampled_from(["json", "semicolons", "lines", "commas"])


def carried(fields: dict[str, str], carrier: str) -> str:
    if carrier == "json":
        return json.dumps(fields)
    mark = {"semicolons": ";", "lines": "\n", "commas": ","}[carrier]
    return mark.join(f"{name}={value}" for name, value in fields.items())


@many
@given(
    quantities, extras, garbled, carriers, st.sampled_from(["quantity", "qty", "contracts"]), st.booleans()
)
def test_a_garbled_quantity_never_closes_more(
    quantity: str, extra: dict[str, str], garble: str, carrier: str, name: str, last: bool
) -> None:
    base = {"action": "close", "instrument": "MES 12-26"}
    assume(carrier != "commas" or "," not in extra.get("account", ""))

    def text(value: str) -> str:
        sized = {name: value}
        return carried({**base, **extra, **sized} if last else {**base, **sized, **extra}, carrier)

    before = asked(text(quantity)).commands
    with suppress(AlertRefused):
        after = asked(text(garble)).commands
        # Whoever writes another plain number asks for another quantity; nothing else may be taken for one.
        meant = Decimal(garble.strip(" ;,\n\r\t") or "NaN")
        assert [command.size for command in after] == [Quantity(meant)] * len(before)


@many
@given(
    st.data(),
    st.sampled_from(["close 4 MES 12-26", "close 25% of MES 12-26", "close 4 of MES 12-26 in Sim101"]),
)
def test_a_garbled_size_of_a_sentence_never_closes_all(data: st.DataObject, sentence: str) -> None:
    verb, _, *rest = sentence.split()
    garble = data.draw(st.text(min_size=1, max_size=6).filter(lambda text: text.strip()))
    assume(garble.split()[0].lower() not in ("long", "short"))

    with suppress(AlertRefused):
        for command in asked(" ".join([verb, garble, *rest])).commands:
            assert isinstance(command, ClosePosition)
            assert not isinstance(command.size, Whole)


@many
@given(
    st.fixed_dictionaries(
        {"action": st.just("close"), "account": st.sampled_from(["Sim101", "Sim102"])}
        | {"instrument": st.sampled_from(["MES 12-26", "MNQ 12-26", "ES"]), "cancel_orders": st.booleans()},
        optional={"position": st.sampled_from(["long", "short"])},
    ),
    st.one_of(
        st.just({}),
        st.integers(1, 10**11).map(lambda n: {"quantity": str(n)}),
        st.decimals("0.0001", "0.9999", places=4).map(lambda part: {"percent": f"{part.normalize():f}"}),
    ),
)
def test_a_canonical_command_asks_for_itself(fields: dict[str, Any], size: dict[str, str]) -> None:
    document = fields | size

    (command,) = asked(json.dumps(document)).commands
    assert document_of(command) == document
    assert asked(json.dumps(document_of(command))).commands == (command,)


secrets = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=12, max_size=40
).filter(lambda text: text == text.strip())
spelled = st.sampled_from([*SECRET_FIELDS, "Secret", "TOKEN"])


@many
@given(secrets, spelled, st.sampled_from([" ", "", "\n"]), st.booleans())
def test_the_secret_of_a_json_text_is_not_kept(secret: str, name: str, space: str, ascii_only: bool) -> None:
    fields = {"action": "close", name: secret, "instrument": "MES 12-26"}
    text = json.dumps(fields, ensure_ascii=ascii_only, separators=(f",{space}", f":{space}"))

    for given_elsewhere in (secret, None):
        kept = kept_text(text.encode(), given_elsewhere)
        assert secret not in kept
        assert json.dumps(secret)[1:-1] not in kept
        assert "MES 12-26" in kept


@many
@given(secrets, spelled)
def test_a_secret_in_escapes_is_not_kept(secret: str, name: str) -> None:
    def escaped(text: str) -> str:
        units = text.encode("utf-16-be")
        return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))

    text = f'{{"action": "close", "{escaped(name)}": "{escaped(secret)}", "note": "{escaped(secret)}"}}'
    kept = kept_text(text.encode(), secret)
    assert secret not in kept
    assert escaped(secret) not in kept
    assert secret not in json.dumps(json.loads(kept), ensure_ascii=False)


@many
@given(
    secrets.filter(lambda text: not set(text) & set(";,=")),
    spelled,
    st.sampled_from([";", "\n", "\r\n", ","]),
)
def test_the_secret_of_pairs_is_not_kept(secret: str, name: str, mark: str) -> None:
    text = mark.join(["action=close", f"{name} = {secret}", "instrument=MES 12-26"])

    for given_elsewhere in (secret, None):
        kept = kept_text(text.encode(), given_elsewhere)
        assert secret not in kept
        assert "MES 12-26" in kept or "\\" in secret  # then it may be escaped JSON, and is withheld


@many
@given(
    secrets,
    st.sampled_from(["note {}", "close MES 12-26 {}", '{{"note": "{}"', "{}", "key={}", "a\0{}", "{}{}"]),
)
def test_a_secret_of_the_path_or_the_bearer_header_is_not_kept_where_the_text_repeats_it(
    secret: str, shape: str
) -> None:
    assume("***" not in secret)

    assert secret not in kept_text(shape.format(secret, secret).encode(), secret)


def test_aliases_and_names_of_secrets_do_not_collide() -> None:
    assert not set(SECRET_FIELDS) & {*ALIASES, *ALIASES.values()}
