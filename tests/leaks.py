"""Finding a secret in what was said, however it is spelled, and whole or in part."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

PIECE = 8
"""As many characters in a row of a secret are a leak."""


def leaks(said: Mapping[str, str], secrets: Mapping[str, str]) -> list[str]:
    """Where which secret is to be read, and how it is spelled there."""
    return [
        f"{name} ({spelling}) in {place}: …{text[max(0, at - 60) : at + 60]!r}…"
        for place, text in said.items()
        for name, secret in secrets.items()
        for spelling, pieces in spellings(secret)
        if (at := next((at for piece in pieces if (at := text.find(piece)) >= 0), -1)) >= 0
    ]


def spellings(secret: str) -> Iterator[tuple[str, list[str]]]:
    """Each way to write a secret, and the pieces that give it away."""
    yield "as it is", _windows(secret)
    yield "in a URL", _halves(quote(secret, safe="")) + _halves(quote_plus(secret))
    yield "in JSON", _halves(json.dumps(secret)[1:-1]) + _halves(repr(secret)[1:-1])
    yield "in HTML", _halves(html.escape(secret))
    yield "in base64", [piece for text in _base64(secret.encode()) for piece in _halves(text)]
    yield "in hexadecimal", _halves(secret.encode().hex())
    if secret.startswith("whsec_"):
        yield "as a key", _halves(base64.b64decode(secret.removeprefix("whsec_")).decode("latin-1"))


def _windows(secret: str) -> list[str]:
    return [secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)]


def _halves(text: str) -> list[str]:
    half = max(PIECE, len(text) // 2)
    return [text[:half], text[-half:]]


def _base64(secret: bytes) -> Iterator[str]:
    """As it looks wherever it begins in what is encoded, like `user:password`."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        begins = -(-before * 8 // 6)
        whole = (before + len(secret)) * 8 // 6
        yield encoded[begins:whole]
