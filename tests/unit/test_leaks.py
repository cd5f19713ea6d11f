"""What looks for secrets in the product's words finds them in every spelling; else it would prove nothing."""

import base64
import html
import json
from urllib.parse import quote

import pytest

from tests.leaks import leaks

SECRET = "aB3+/x9\"Zq<&é'TTr0mK"


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"key={SECRET[:8]}",
        f"…{SECRET[-8:]}",
        SECRET[5:14],
        quote(SECRET, safe=""),
        json.dumps({"token": SECRET}),
        json.dumps({"token": SECRET}, ensure_ascii=False),
        html.escape(f"<b>{SECRET}</b>"),
        base64.b64encode(SECRET.encode()).decode(),
        *(base64.b64encode(f"{user}:{SECRET}".encode()).decode() for user in ("a", "ad", "ada")),
        SECRET.encode().hex(),
        repr([SECRET]),
    ],
)
def test_a_secret_is_found(said: str) -> None:
    assert leaks({"it": f"before {said} after"}, {"a secret": SECRET})


def test_the_key_in_a_signing_secret_is_found() -> None:
    secret = "whsec_" + base64.b64encode(b"a key that signs what is sent").decode()

    assert leaks({"it": "a key that signs what is sent"}, {"a secret": secret})


def test_nothing_else_is_found() -> None:
    assert not leaks({"it": f"{SECRET[:7]} *** {SECRET[8:15]}"}, {"a secret": SECRET})
