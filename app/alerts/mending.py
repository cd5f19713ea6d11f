"""What a broken text was probably meant to be: for a hint to paste, never to act on."""

import json
import re
from collections.abc import Callable

_CURLY_DOUBLE, _CURLY_SINGLE = "“”„‟«»", "‘’‚‛"
CURLY = _CURLY_DOUBLE + _CURLY_SINGLE
"""Quotes that word processors write, and no JSON parser reads."""
_LONGEST = 400
"""Letters of a text that is still worth correcting in a hint; of longer ones the patterns below would take long."""


def corrected_json(text: str) -> str | None:
    """A JSON object that says what the text seems to mean; None if that can't be guessed.

    Each mend is of a mistake that people make in an alert box. They are applied one upon the other, until it is JSON. What
    was cut off is not guessed at.
    """
    if len(text) > _LONGEST:
        return None
    for mend in _MENDS:
        text = mend(text)
        if _is_object(text):
            return text
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _straight_quotes(text: str) -> str:
    for curly in _CURLY_DOUBLE:
        text = text.replace(curly, '"')
    for curly in _CURLY_SINGLE:
        text = text.replace(curly, "'")
    return text


def _double_quotes(text: str) -> str:
    return text if '"' in text else text.replace("'", '"')


def _no_trailing_comma(text: str) -> str:
    return re.sub(r",(?:\s*,)*(\s*[}\]])", r"\1", text)


def _commas_between(text: str) -> str:
    """A comma after a value that another name follows."""
    return re.sub(r'("|\d|true|false|null)(\s*\n\s*|\s+)(?="[^"\n]*"\s*:)', r"\1,\2", text)


def _colons(text: str) -> str:
    return re.sub(r'("\w+"\s*)=', r"\1:", text)


def _quoted_names(text: str) -> str:
    return re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', text)


def _quoted_words(text: str) -> str:
    """A value without quotes, as {{ticker}} leaves it where nobody wrote them around it."""

    def quoted(match: re.Match[str]) -> str:
        word = match[2].strip()
        known = re.fullmatch(r"true|false|null|-?\d+(\.\d+)?", word)
        return match[0] if known else f'{match[1]}"{word}"'

    return re.sub(r'("\s*:\s*)([^\s"\[{][^",}\]\[{]*)', quoted, text)


_MENDS: tuple[Callable[[str], str], ...] = (
    _straight_quotes,
    _double_quotes,
    _no_trailing_comma,
    _commas_between,
    _colons,
    _quoted_names,
    _quoted_words,
)
