"""An alert's text as it may be kept: without its secrets."""

import json
import re
from typing import Any

from app.alerts.schemas import SECRET_FIELDS

STARS = "***"

_NAMES = "|".join(SECRET_FIELDS)
_JSON_FIELD = re.compile(rf'("(?:{_NAMES})"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}}\]]+)', re.IGNORECASE)
_PAIR = re.compile(rf"((?:^|[;,\n])\s*(?:{_NAMES})\s*=\s*)[^;\n]*?(?=[;,\n]|$)", re.IGNORECASE)


def kept_text(body: bytes, secret: str | None) -> str:
    """The text to keep: the secret fields' values, and `secret` wherever it stands, are stars."""
    text = body.decode("utf-8", "replace").replace("\0", "�")
    if secret:
        text = text.replace(secret, STARS)
    text = _PAIR.sub(rf"\g<1>{STARS}", _JSON_FIELD.sub(rf'\g<1>"{STARS}"', text))
    return _without_escaped(text, secret)


def _without_escaped(text: str, secret: str | None) -> str:
    r"""JSON can spell a name or a secret in escapes (`"s\u0065cret"`): such a text is kept as parsed, starred."""
    if "\\u" not in text:
        return text
    try:
        parsed = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return "(withheld: not JSON, and its escapes may hide a secret)"
    return json.dumps(_starred(parsed, secret), ensure_ascii=True)


def _starred(value: Any, secret: str | None) -> Any:
    if isinstance(value, dict):
        return {
            name: STARS if name.lower() in SECRET_FIELDS else _starred(below, secret)
            for name, below in value.items()
        }
    if isinstance(value, list):
        return [_starred(item, secret) for item in value]
    if isinstance(value, str) and secret:
        return value.replace(secret, STARS)
    return value
