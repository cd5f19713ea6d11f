r"""Our credential, taken out of what a venue says: it may echo what it was sent, and answers get into the ledger.

JSON can spell a text in many ways (`a\/b`, `a\u002Fb`), and a text can be JSON once more. So a body is cleaned after it
was parsed, and a text in every spelling that a parser would read as the secret.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from config.secrets import Secret
from workers.brokers.http import HttpAnswer

STARS = "***"


def without(answer: HttpAnswer, secrets: Sequence[Secret]) -> HttpAnswer:
    """An answer with these as stars."""
    return replace(answer, text=text_without(answer.text, secrets), body=body_without(answer.body, secrets))


def text_without(text: str, secrets: Sequence[Secret]) -> str:
    """A text with these as stars, however JSON would spell them."""
    plain = sorted({secret.reveal() for secret in secrets} - {""}, key=len, reverse=True)
    if "\\" not in text:  # as most are, and looking for the other spellings takes longer
        for secret in plain:
            text = text.replace(secret, STARS)
    else:
        for secret in plain:
            text = re.sub("".join(map(_spellings, secret)), STARS, text)
    return text


def body_without(body: Any, secrets: Sequence[Secret]) -> Any:
    """Parsed JSON with these as stars; None, which is no body, if it nests deeper than any venue's answer does."""
    try:
        return _cleaned(body, secrets)
    except RecursionError:
        return None


def _cleaned(value: Any, secrets: Sequence[Secret]) -> Any:
    if isinstance(value, str):
        return text_without(value, secrets)
    if isinstance(value, list):
        return [_cleaned(item, secrets) for item in value]
    if isinstance(value, dict):
        return {_cleaned(name, secrets): _cleaned(item, secrets) for name, item in value.items()}
    return value


def _spellings(character: str) -> str:
    """A character in JSON, or in JSON in JSON: by its number, or as it is, after backslashes."""
    units = character.encode("utf-16-be")
    numbers = "".join(rf"\\{{1,3}}u(?i:{units[i : i + 2].hex()})" for i in range(0, len(units), 2))
    return rf"(?:{numbers}|\\{{0,3}}{re.escape(character)})"
