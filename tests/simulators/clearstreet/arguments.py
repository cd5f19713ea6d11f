"""A call's arguments out of its path, its query and its body, read as strictly as the venue does."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from .errors import InvalidRequest, WrongShape

LARGEST_ACCOUNT = 2**63 - 1
LONGEST_ID = 64


def account(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_ACCOUNT:
        raise InvalidRequest(f"Invalid URL: Cannot parse `account_id` with value `{text}` to a `i64`")
    return int(text)


# The query


def several(query: Mapping[str, str], name: str) -> list[str]:
    """The comma-separated values; none when the filter is not there."""
    return [value.strip() for value in query.get(name, "").split(",") if value.strip()]


def one_of(query: Mapping[str, str], name: str, choices: Collection[str]) -> list[str]:
    values = several(query, name)
    for value in values:
        if value not in choices:
            raise InvalidRequest(f"Failed to deserialize query string: {name}: unknown variant `{value}`")
    return values


def moment(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        read = datetime.fromisoformat(query[name])
    except ValueError:
        raise InvalidRequest(f"Failed to deserialize query string: {name}: invalid datetime") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def known_filters(query: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse what the simulator does not have, so that no test trusts a filter that was not applied."""
    for name in query:
        if name not in known:
            raise InvalidRequest(f"The simulator has no query parameter {name}")


# The body


def json_body(content: bytes) -> Any:
    """The body's JSON; None when it is absent or null."""
    if not content:
        return None
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError:
        raise InvalidRequest("Failed to parse the request body as JSON: invalid unicode") from None
    except json.JSONDecodeError as exc:
        what = f"{_expected(exc.msg)} at line {exc.lineno} column {exc.colno}"
        raise InvalidRequest(f"Failed to parse the request body as JSON: {what}") from None


def _expected(message: str) -> str:
    """Python's words for what is wrong, in the vendor's."""
    match message:
        case "Expecting ':' delimiter":
            return "expected `:`"
        case "Expecting ',' delimiter":
            return "expected `,` or `}`"
        case "Extra data":
            return "trailing characters"
        case _:
            return "expected value"


def cancels_orders(content: bytes) -> bool:
    body = json_body(content)
    if body is None:
        return False
    if not isinstance(body, dict):
        raise WrongShape(f"invalid type: {_kind(body)}, expected struct ClosePositionRequest")
    flag = body.get("cancel_orders")
    if flag is not None and not isinstance(flag, bool):
        raise WrongShape(f"cancel_orders: invalid type: {_kind(flag)}, expected a boolean")
    return bool(flag)


class Fields:
    """One object of an array in a body, with the place that the venue names when it is wrong."""

    def __init__(self, number: int, values: Any, line: int, column: int) -> None:
        self._at = f"at line {line} column {column}"
        self._number = number
        if not isinstance(values, dict):
            raise self.wrong(f"invalid type: {_kind(values)}, expected struct NewOrderRequest")
        self._values: dict[str, Any] = values

    def wrong(self, what: str) -> WrongShape:
        return WrongShape(f"[{self._number}]: {what} {self._at}")

    def required(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            raise self.wrong(f"missing field `{name}`")
        return value

    def optional(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"{name}: invalid type: {_kind(value)}, expected a string")
        return value

    def choice(self, name: str, choices: Collection[str]) -> str:
        value = self.required(name)
        if value not in choices:
            raise self._unknown(name, value, choices)
        return value

    def optional_choice(self, name: str, choices: Collection[str]) -> str | None:
        value = self.optional(name)
        if value is not None and value not in choices:
            raise self._unknown(name, value, choices)
        return value

    def amount(self, name: str) -> Decimal:
        return self._positive(name, self.required(name))

    def optional_amount(self, name: str) -> Decimal | None:
        value = self.optional(name)
        return None if value is None else self._positive(name, value)

    def _positive(self, name: str, text: str) -> Decimal:
        try:
            amount = Decimal(text)
        except InvalidOperation:
            raise self.wrong(f"{name}: invalid decimal `{text}`") from None
        if not amount.is_finite() or amount <= 0:
            raise InvalidRequest(f"{name} must be greater than zero")
        return amount

    def _unknown(self, name: str, value: str, choices: Collection[str]) -> WrongShape:
        expected = ", ".join(f"`{choice}`" for choice in choices)
        return self.wrong(f"{name}: unknown variant `{value}`, expected one of {expected}")


def array(content: bytes) -> list[Fields]:
    """The objects of a body that is an array."""
    body = json_body(content)
    if not isinstance(body, list):
        raise WrongShape(f"invalid type: {_kind(body)}, expected a sequence at line 1 column 0")
    return [
        Fields(number, values, *place)
        for number, (values, place) in enumerate(zip(body, _ends(content.decode()), strict=True))
    ]


def _ends(text: str) -> list[tuple[int, int]]:
    """The line and the column, from 1, of the last character of each item of an array."""
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    places: list[tuple[int, int]] = []
    while True:
        while at < len(text) and (text[at].isspace() or text[at] == ","):
            at += 1
        if text[at] == "]":
            return places
        _, at = decoder.raw_decode(text, at)
        before = text[: at - 1]
        places.append((before.count("\n") + 1, len(before) - before.rfind("\n")))


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{json.dumps(value)}`"
        case int() | float():
            return f"number `{value}`"
        case str():
            return f"string {json.dumps(value)}"
        case dict():
            return "map"
        case _:
            return "sequence"
