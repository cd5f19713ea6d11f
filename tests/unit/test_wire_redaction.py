"""A credential in what a venue says, in every spelling that a parser would read as it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.secrets import Secret
from workers.brokers.http import HttpAnswer, parsed
from workers.brokers.redaction import body_without, text_without, without

KEY = "ab/cd-ef+12"

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=6)


@st.composite
def spelled(draw: st.DrawFn, key: str) -> str:
    """A text as some JSON has it between its quotes."""
    short = {"/": ["\\/"], '"': ['\\"'], "\\": ["\\\\"]}
    plain = {'"': [], "\\": []}
    return "".join(
        draw(
            st.sampled_from(
                [
                    *plain.get(it, [it]),
                    *short.get(it, []),
                    f"\\u{ord(it):04x}",
                    f"\\u{ord(it):04X}",
                ]
            )
        )
        for it in key
    )


@given(st.data(), keys)
def test_no_spelling_of_a_key_gets_through(data: st.DataObject, key: str) -> None:
    text = f'["{data.draw(spelled(key))}", "still here"]'
    assert parsed(text) == [key, "still here"]

    cleaned = without(HttpAnswer(200, {}, parsed(text), text), [Secret(key)])

    assert cleaned.body == ["***", "still here"]
    assert parsed(cleaned.text) == ["***", "still here"]


@given(st.data(), keys)
def test_nor_one_in_json_in_json(data: st.DataObject, key: str) -> None:
    text = json.dumps([f'["{data.draw(spelled(key))}"]'])

    cleaned = without(HttpAnswer(200, {}, parsed(text), text), [Secret(key)])

    assert cleaned.body == ['["***"]']
    assert parsed(cleaned.text) == ['["***"]']


def test_a_key_is_taken_out_of_names_and_from_any_depth() -> None:
    body = {KEY: [{"a": [f"Bearer {KEY}", 1, None, True, 1.5]}]}

    assert body_without(body, [Secret(KEY)]) == {"***": [{"a": ["Bearer ***", 1, None, True, 1.5]}]}


def test_the_longer_of_two_goes_first() -> None:
    assert text_without(f"{KEY}99 {KEY}", [Secret(KEY), Secret(f"{KEY}99")]) == "*** ***"


@pytest.mark.parametrize(
    "text", ["", "ab\\cd", "ab//cd", "\\" * 1000, "AB/CD-EF+12", "ab/cd-ef+1", "u0061b/cd-ef+12"]
)
def test_all_else_stays_as_it_was(text: str) -> None:
    assert text_without(text, [Secret(KEY), Secret("")]) == text


def test_what_nests_too_deep_is_no_body() -> None:
    body: Any = []
    for _ in range(100_000):
        body = [body]

    assert body_without(body, [Secret(KEY)]) is None
