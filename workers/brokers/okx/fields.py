"""The values of OKX's rows, read strictly: every one is a text, empty where it does not apply. Pure.

Page: https://www.okx.com/docs-v5/en.
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from workers.brokers.fields import FIRST_MOMENT, LAST_MOMENT, Unreadable, text_of, within_reach
from workers.brokers.okx.names import identified, named

Row = Mapping[str, Any]

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def optional_text_of(row: Row, name: str) -> str | None:
    """A text; None where it is empty or absent. Raises Unreadable for what is no text, and for null."""
    return None if row.get(name, "") == "" else text_of(row, name)


def instrument_of(row: Row) -> str:
    """An instrument's id, fit for a request. Raises Unreadable."""
    try:
        return named(text_of(row, "instId"))
    except ValueError as exc:
        raise Unreadable(str(exc)) from exc


def id_of(row: Row, name: str) -> str:
    """An id, fit for a request. Raises Unreadable."""
    try:
        return identified(text_of(row, name))
    except ValueError as exc:
        raise Unreadable(str(exc)) from exc


def one_of(row: Row, name: str, known: Collection[str]) -> str:
    """A word that decides what is open, or what became of an order, must be one we know. Raises Unreadable."""
    word = text_of(row, name)
    if word not in known:
        raise Unreadable(f"an unknown {name}: {word[:40]!r}")
    return word


def number_of(row: Row, name: str) -> Decimal:
    """A number that must be there. Raises Unreadable."""
    value = row.get(name)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Unreadable(f"{name} is not a number")
    return within_reach(Decimal(value), name)


def optional_number_of(row: Row, name: str) -> Decimal | None:
    """A number; None where it is empty or absent. Raises Unreadable for what is no number."""
    return None if row.get(name, "") == "" else number_of(row, name)


def milliseconds_of(row: Row, name: str) -> int:
    """A moment in milliseconds since 1970. Raises Unreadable."""
    value = text_of(row, name)
    if not (value.isascii() and value.isdecimal() and len(value) == 13):
        raise Unreadable(f"{name} is no moment")
    if not FIRST_MOMENT.timestamp() < int(value) / 1000 < LAST_MOMENT.timestamp():
        raise Unreadable(f"{name} is no moment of our time")
    return int(value)


def moment_of(row: Row, name: str) -> datetime:
    """A moment, in UTC. Raises Unreadable."""
    return _EPOCH + timedelta(milliseconds=milliseconds_of(row, name))
