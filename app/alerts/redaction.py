"""An alert's text as it may be kept, and the messages that quote it: without its secrets."""

import json
import re
from typing import Any

from app.alerts.schemas import SECRET_FIELDS

STARS = "***"

_NAMES = "|".join(SECRET_FIELDS)
_FOLDED = frozenset(name.lower() for name in SECRET_FIELDS)
_QUOTES = "\"'“”„‟‘’"
# Curly and single quotes, or none, are how texts go wrong; what stands in such a text is a secret all the same.
_JSON_FIELD = re.compile(
    rf"(?P<name>(?<!\w)[{_QUOTES}]?(?:{_NAMES})[{_QUOTES}]?\s*:\s*)"
    rf"""(?P<value>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[“”„‟‘’][^“”„‟‘’]*[“”„‟‘’]?|[^\s,}}\]{_QUOTES}]+)""",
    re.IGNORECASE | re.DOTALL,
)
_PAIR = rf"((?:^|[;,\n\r{_QUOTES}])[^\S\n\r]*[{_QUOTES}]?(?:{_NAMES})[{_QUOTES}]?[^\S\n\r]*=)"
_PAIRS_BY_COMMA = re.compile(_PAIR + r"(?P<value>[^,]*)", re.IGNORECASE)
_PAIRS_BY_LINE = re.compile(_PAIR + r"(?P<value>[^;\n\r]*)", re.IGNORECASE)
_BELOW_SECRET = re.compile(rf'"(?:{_NAMES})"\s*:\s*[\[{{]', re.IGNORECASE)
_MAY_BE_ESCAPED = set('"\\/\b\f\n\r\t')
_LEAST_PIECE = 4
"""As many first letters of a secret, where a text was cut, are taken for a piece of it."""


def kept_text(body: bytes, secret: str | None) -> str:
    """The text to keep: the secret fields' values, and `secret` wherever it stands, are stars."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").replace("\0", "�")
    starred = without(text, secret)
    starred = _pairs_of(starred).sub(rf"\g<1>{STARS}", _JSON_FIELD.sub(_starred_field, starred))
    return _as_parsed(text, secret) if _needs_parsing(text, secret) else starred


def secret_named_in(body: bytes) -> str | None:
    """What stands for the secret in a text that can't be read; None if nothing does, or several things do.

    Whoever sends a broken text with the right secret is told what is wrong with it.
    """
    text = body.decode("utf-8-sig", "replace")
    found = {match["value"].strip().strip(_QUOTES) for match in _JSON_FIELD.finditer(text)}
    found |= {match["value"].strip() for match in _pairs_of(text).finditer(text)}
    return found.pop() if len(found) == 1 else None


def without(text: str, secret: str | None) -> str:
    """A text or a message without the secret, or the beginning of it that was left where the text was cut."""
    if not secret:
        return text
    text = text.replace(secret, STARS)
    cut = "…" if text.endswith(("…", '…"')) else ""
    head, _, tail = text.rpartition(cut) if cut else (text, "", "")
    for length in range(min(len(secret) - 1, len(head)), _LEAST_PIECE - 1, -1):
        if head.endswith(secret[:length]):
            return head[:-length] + STARS + cut + tail
    return text


def _pairs_of(text: str) -> re.Pattern[str]:
    return _PAIRS_BY_LINE if re.search(r"[;\n\r]", text.strip()) else _PAIRS_BY_COMMA


def _starred_field(match: re.Match[str]) -> str:
    quoted = match["name"][0] in _QUOTES or match["value"][0] in _QUOTES
    return match["name"] + (f'"{STARS}"' if quoted else STARS)


def _needs_parsing(text: str, secret: str | None) -> bool:
    r"""JSON can spell a name or a secret in escapes (`"s\u0065cret"`), and a secret can be a whole object."""
    if "\\u" in text or _BELOW_SECRET.search(text):
        return True
    return "\\" in text and bool(secret and _MAY_BE_ESCAPED & set(secret))


def _as_parsed(text: str, secret: str | None) -> str:
    """The text as JSON reads it, starred; nothing of it if it is not JSON."""
    try:
        return json.dumps(_starred(json.loads(text), secret), ensure_ascii=True)
    except (ValueError, RecursionError):
        return "(withheld: not JSON, and it may hide a secret)"


def _starred(value: Any, secret: str | None) -> Any:
    if isinstance(value, dict):
        return {
            without(name, secret): STARS if name.lower() in _FOLDED else _starred(below, secret)
            for name, below in value.items()
        }
    if isinstance(value, list):
        return [_starred(item, secret) for item in value]
    return without(value, secret) if isinstance(value, str) else value
