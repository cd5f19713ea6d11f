"""From an alert's bytes to commands: what is taken, what is refused, and that nothing ever asks for more than it says."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.alerts.authentication import without_secret
from app.alerts.dialects import has_comments
from app.alerts.errors import AlertRefused, NoExit, NotAllowed, UnreadableAlert, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text
from app.alerts.schemas import ALIASES, FIELD_NAMES, SECRET_FIELDS
from app.domain.commands import (
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Fraction,
    Quantity,
    Whole,
    action_of,
)
from config.file import Role, read

CORPORA = Path(__file__).resolve().parents[1] / "alerts"
NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
REFUSED = {"unreadable": UnreadableAlert, "wrong": WrongAlert, "not_allowed": NotAllowed}


class AnySecret(dict[str, str]):
    """An environment in which each variable is set, each to another value."""

    def get(self, name: str, _otherwise: Any = None) -> str:
        return f"the value of {name}"


HOOKS = read((CORPORA / "hooks.toml").read_text(), Role.CHECK, AnySecret()).hooks

many = settings(max_examples=200, deadline=None)


def asked(body: str | bytes, hook: str = "futures") -> Request:
    """What a body asks of a hook. Raises AlertRefused and NoExit."""
    spelled, own = body.encode() if isinstance(body, str) else body, HOOKS[hook]
    fields = fields_of(spelled, own.accounts, comments=has_comments(own.dialects))
    return request_of(without_secret(fields), own, NOW)


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


def lines(*kinds: str) -> list[Any]:
    """The lines of all corpora that say one of these things."""
    return [
        pytest.param(line, id=f"{path.stem} {number}")
        for path in sorted(CORPORA.glob("*.jsonl"))
        for number, written in enumerate(path.read_text().splitlines(), start=1)
        if (line := json.loads(written)).keys() & set(kinds)
    ]


@pytest.mark.parametrize("line", lines("commands"))
def test_an_alert_asks_for_exactly_these_commands(line: dict[str, Any]) -> None:
    request = asked(line["text"], line.get("hook", "futures"))

    assert [document_of(command) for command in request.commands] == line["commands"]
    assert [warning.message for warning in request.warnings] == line.get("warnings", [])
    assert request.max_lag == line.get("max_lag")


@pytest.mark.parametrize("line", lines("refused"))
def test_an_alert_is_refused_with_every_fault_and_a_hint_each(line: dict[str, Any]) -> None:
    with pytest.raises(REFUSED[line["refused"]]) as refusal:
        asked(line["text"], line.get("hook", "futures"))

    faults = sorted(refusal.value.faults, key=lambda fault: fault.field)
    expected = sorted(line["faults"], key=lambda fault: fault["field"])
    assert [fault.field for fault in faults] == [fault["field"] for fault in expected]
    for fault, wanted in zip(faults, expected, strict=True):
        assert wanted["hint"] in f"{fault.message} {fault.hint}"
        assert fault.hint


@pytest.mark.parametrize("line", lines("ignored"))
def test_what_is_no_exit_is_ignored_with_the_reason(line: dict[str, Any]) -> None:
    with pytest.raises(NoExit, match=re.escape(line["ignored"])):
        asked(line["text"], line.get("hook", "futures"))


def test_each_line_of_the_corpora_says_what_becomes_of_it() -> None:
    told = len(lines("commands")) + len(lines("refused")) + len(lines("ignored"))

    assert told == sum(len(path.read_text().splitlines()) for path in CORPORA.glob("*.jsonl"))


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
    with suppress(AlertRefused, NoExit):
        request = asked(body, name)
        assert request.commands
        for command in request.commands:
            assert action_of(command) in allowed.allow
            if not isinstance(command, FlattenEverything):
                assert allowed.all_accounts or command.account in allowed.accounts


def fields_in(text: str) -> list[tuple[str, Any]]:
    """The fields of a text in the order in which they stand there; of a sentence none."""
    with suppress(ValueError):
        found = json.loads(text)
        return list(found.items()) if isinstance(found, dict) else []
    pieces = [piece.partition("=") for piece in re.split("[;\r\n]", text) if "=" in piece]
    return [(name.strip(), value.strip()) for name, _, value in pieces]


def written(fields: list[tuple[str, Any]], text: str) -> str:
    """The same fields as the text carries them; a name may stand there twice."""
    if text.lstrip("\ufeff \r\n").startswith("{"):
        return "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields) + "}"
    return "\n".join(f"{name}={value}" for name, value in fields)


MUTABLE = [
    line
    for param in lines("commands")
    if len(fields_in((line := param.values[0])["text"])) > 1  # type: ignore[index]
]
BLANKS = ("", " ", "{{strategy.order.contracts}}", "NaN", "\u00a0")


@settings(max_examples=600, deadline=None)
@given(st.data(), st.sampled_from(MUTABLE), st.sampled_from(["blank", "misspell", "double", "both"]))
def test_no_mutation_of_a_valid_text_makes_it_wider(data: st.DataObject, line: Any, mutation: str) -> None:
    """Blanked, misspelt, corrupted or doubled: it is refused, or asks for the very same."""
    text, name = line["text"], line.get("hook", "futures")
    fields = fields_in(text)
    before = asked(text, name).commands
    at = data.draw(st.integers(0, len(fields) - 1), label="field")
    key, value = fields[at]
    if mutation in ("misspell", "both"):
        cut = data.draw(st.integers(0, len(key) - 1), label="letter")
        edits = (
            key[:cut] + key[cut + 1 :],
            key[:cut] + key[cut] + key[cut:],
            key[:cut] + "x" + key[cut + 1 :],
        )
        key = data.draw(st.sampled_from(edits))
        assume(key and key not in FIELD_NAMES)
    if mutation in ("blank", "both"):
        value = data.draw(st.sampled_from([*BLANKS, None]))
        assume(value is not None or text.lstrip("\ufeff").startswith("{"))
    fields[at : at + 1] = [(key, value)] * (2 if mutation == "double" else 1)

    with suppress(AlertRefused, NoExit):
        assert asked(written(fields, text), name).commands == before


@pytest.mark.parametrize("carried", ["action=close;instrument=MES 12-26", "close MES 12-26"])
def test_what_a_hook_demands_can_not_be_left_out(carried: str) -> None:
    with pytest.raises(WrongAlert, match="quantity: is missing"):
        asked(carried, "careful")


@pytest.mark.parametrize(
    ("text", "position"),
    [("flatten Sim101", None), ("flatten long in Sim101", "long"), ("flatten MES 12-26 in Sim102", None)],
)
def test_a_flatten_carries_the_most_that_its_hook_lets_it_close(text: str, position: str | None) -> None:
    (command,) = asked(text, "limited").commands

    assert isinstance(command, FlattenMatching)
    assert (command.max_positions, command.side) == (3, position)


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
    spelled = {
        name: str(value).lower() if value in (True, False) else value for name, value in document.items()
    }
    for carrier in ("semicolons", "lines", "commas"):
        assert asked(carried(spelled, carrier)).commands == (command,)


@many
@given(
    st.sampled_from(["", "4 ", "0.25% ", "100% of ", "12 of "]),
    st.sampled_from(["", "long ", "short "]),
    st.sampled_from(["MES 12-26", "MNQ 12-26", "ES"]),
    st.sampled_from(["Sim101", "Sim102"]),
)
def test_a_canonical_sentence_asks_for_the_same_as_its_fields(
    size: str, side: str, instrument: str, account: str
) -> None:
    (command,) = asked(f"close {size}{side}{instrument} in {account}").commands

    assert asked(json.dumps(document_of(command))).commands == (command,)
    assert isinstance(command, ClosePosition)
    assert (command.instrument, command.account) == (instrument, account)
    assert command.side == (side.strip() or None)


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
