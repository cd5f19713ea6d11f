"""Finding a secret in what was said, however it is spelled, and whole or in part."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

PIECE = 8
"""As many characters in a row of a secret are a leak."""
OTHERWISE_SPELLED = 12
"""As many of another spelling: what is odd in a secret takes up to six, and would be found anywhere."""
PIECE_OF_HEX = 16


def leaks(said: Mapping[str, str], secrets: Mapping[str, str]) -> list[str]:
    """Where a piece of which secret is to be read."""
    pieces = {
        spelled[at : at + length]: name
        for name, secret in secrets.items()
        for spelled, length in spellings(secret)
        for at in range(len(spelled) - length + 1)
    }
    return [
        f"{pieces[found]} in {place}: …{text[max(0, at - 60) : at + 60]!r}…"
        for place, text in said.items()
        for length in {len(piece) for piece in pieces}
        for at, found in _first(text, length, pieces)
    ]


def spellings(secret: str) -> Iterator[tuple[str, int]]:
    """Each way to write a secret, and how many characters of that give it away."""
    yield secret, PIECE
    for spelled in (
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        html.escape(secret),
        *_base64(secret.encode()),
    ):
        yield spelled, OTHERWISE_SPELLED
    yield secret.encode().hex(), PIECE_OF_HEX
    if secret.startswith("whsec_"):
        yield base64.b64decode(secret.removeprefix("whsec_")).decode("latin-1"), PIECE


def _base64(secret: bytes) -> Iterator[str]:
    """As it looks wherever it begins in what is encoded, like `user:password`."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        begins = -(-before * 8 // 6)
        whole = (before + len(secret)) * 8 // 6
        yield encoded[begins:whole]


def _first(text: str, length: int, pieces: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The first piece in a text, if there is one."""
    for at in range(len(text) - length + 1):
        if (found := text[at : at + length]) in pieces:
            yield at, found
            return
