"""From the bytes of an alert to named fields: a JSON object, `key=value` pairs, or a sentence.

Nothing is interpreted here beyond the carrier; the schemas say what a field may hold.
"""

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any

from app.alerts.errors import UnreadableAlert, WrongAlert
from app.alerts.mending import CURLY, corrected_json
from app.alerts.schemas import FIELD_NAMES
from app.alerts.sentences import fields_of_sentence
from app.alerts.values import NotANumber
from app.strict import Fault, shown

_FIELD_AFTER_COMMA = re.compile(rf",\s*(?:{'|'.join(FIELD_NAMES)})\s*=", re.IGNORECASE)


def fields_of(body: bytes, accounts: tuple[str, ...] = (), *, comments: bool = False) -> dict[str, Any]:
    """The fields of an alert. `accounts` are those the hook knows, for sentences; `comments`: lines of `//` are none.

    Raises UnreadableAlert, or WrongAlert if the carrier was read and a field stands there twice.
    """
    text = decoded(body)
    if text.startswith(("{", "[")):
        return _fields_of_json(text)
    if comments:
        text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("//")).strip()
    if not text:
        raise UnreadableAlert(Fault("", "is nothing but comments", "take // away from the lines that count"))
    if "=" in text:
        return _fields_of_pairs(text)
    return fields_of_sentence(text, accounts)


def decoded(body: bytes) -> str:
    """The text of a body: UTF-8, without a BOM, CRLF as LF, without space around it."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        message = f"is not UTF-8 text (byte {exc.start})"
        raise UnreadableAlert(Fault("", message, "send the alert as plain UTF-8 text")) from exc
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        hint = 'send a text like "close MES 12-26" or {"action": "close", "instrument": "MES 12-26"}'
        raise UnreadableAlert(Fault("", "is empty", hint))
    if "\0" in text:
        raise UnreadableAlert(Fault("", "holds a NUL character", "send the alert as plain text"))
    return text


def _fields_of_json(text: str) -> dict[str, Any]:
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        # Decimal for whole numbers too: int() refuses more than 4,300 digits with an error of its own.
        value = json.loads(
            text, object_pairs_hook=once, parse_float=Decimal, parse_int=Decimal, parse_constant=NotANumber
        )
    except (ValueError, ArithmeticError, RecursionError) as exc:
        raise UnreadableAlert(Fault("", f"is not JSON: {_reason(exc)}", _json_hint(text))) from exc
    if not isinstance(value, dict):
        hint = 'send one object per alert, like {"action": "close", "instrument": "MES 12-26"}'
        raise UnreadableAlert(Fault("", "is JSON, but not an object", hint))
    _refuse_twice(twice)
    return value


def _reason(exc: Exception) -> str:
    return (
        str(exc) if isinstance(exc, json.JSONDecodeError) else "it is nested too deeply or has a wild number"
    )


def _json_hint(text: str) -> str:
    corrected = corrected_json(text)
    return f"{_json_mistake(text)}: {corrected}" if corrected else _json_mistake(text)


def _json_mistake(text: str) -> str:
    squeezed = "".join(text.split())
    if any(quote in text for quote in CURLY):
        return 'it has curly quotes (“ ”); write straight ones (")'
    if ",}" in squeezed or ",]" in squeezed:
        return "it has a comma before a closing bracket; take that comma out"
    if ":," in squeezed or ":}" in squeezed:
        return "a value is missing after a colon: a placeholder may have expanded to nothing"
    return "check quotes, commas and brackets at the place named"


def _fields_of_pairs(text: str) -> dict[str, str]:
    # With semicolons or lines, a comma belongs to a value (several accounts, say); else commas separate.
    pieces = text.replace("\n", ";").split(";") if ";" in text or "\n" in text else text.split(",")
    found: list[tuple[str, str]] = []
    faults: list[Fault] = []
    for piece in filter(None, (piece.strip() for piece in pieces)):
        name, equals, value = piece.partition("=")
        if not equals or not name.strip():
            message = f'"{shown(piece)}" is not a key=value pair'
            faults.append(Fault("", message, "write key=value pairs with ; or a new line between them"))
        elif _FIELD_AFTER_COMMA.search(value):
            # A note would swallow it, and a quantity that is not seen closes everything.
            hint = "write the same between all pairs: ; or a new line, or only commas"
            faults.append(Fault(shown(name.strip()), "holds another field after a comma", hint))
        else:
            found.append((name.strip(), value.strip()))
    if faults:
        raise UnreadableAlert(*faults)
    _refuse_twice([name for name, count in Counter(name for name, _ in found).items() if count > 1])
    return dict(found)


def _refuse_twice(names: list[str]) -> None:
    if names:
        hint = "write each field once; which of the two is meant can't be told"
        raise WrongAlert(*(Fault(shown(name), "stands there more than once", hint) for name in names))
