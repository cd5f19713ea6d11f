"""Single values as Clear Street writes them: texts, numbers in texts, moments in two spellings. Pure.

Pages: https://docs.clearstreet.com/guides/api-fundamentals and the specification beside it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from workers.brokers.clearstreet.names import account_id
from workers.brokers.fields import FIRST_MOMENT, LARGEST, LAST_MOMENT, Unreadable, text_of, within_reach
from workers.brokers.names import named, segment

_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


def account_of(item: Mapping[str, Any], name: str) -> str:
    """The account of a field, as text. Raises Unreadable."""
    value = item.get(name)
    try:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(name)
        return account_id(str(value))
    except ValueError as exc:
        raise Unreadable(f"{name} is not an account") from exc


def optional_text_of(item: Mapping[str, Any], name: str) -> str | None:
    """A text; None where it is null, absent or empty. Raises Unreadable for what is no text."""
    return None if item.get(name) in (None, "") else text_of(item, name)


def name_of(item: Mapping[str, Any], name: str) -> str:
    """A name that a later request, or the ledger, is to hold. Raises Unreadable."""
    value = optional_name_of(item, name)
    if value is None:
        raise Unreadable(f"{name} is missing")
    return value


def optional_name_of(item: Mapping[str, Any], name: str) -> str | None:
    """Such a name; None where it is null, absent or empty. Raises Unreadable for what is no name."""
    value = optional_text_of(item, name)
    try:
        return None if value is None else named(value)
    except ValueError as exc:
        raise Unreadable(f"{name} is no name") from exc


def id_of(item: Mapping[str, Any], name: str) -> str:
    """An id that can be a segment of a later request's path. Raises Unreadable."""
    value = text_of(item, name)
    try:
        segment(value)
    except ValueError as exc:
        raise Unreadable(f"{name} is no id") from exc
    return value


def number_of(item: Mapping[str, Any], name: str) -> Decimal:
    """A number that must be there. The venue writes numbers as texts, so a JSON fraction is none. Raises Unreadable."""
    value = item.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    if not whole and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise Unreadable(f"{name} is not a number")
    return within_reach(Decimal(str(value)), name)


def optional_number_of(item: Mapping[str, Any], name: str) -> Decimal | None:
    """A number; None where it is null or absent. Raises Unreadable for what is no number."""
    return None if item.get(name) is None else number_of(item, name)


def moment_of(item: Mapping[str, Any], name: str) -> datetime:
    """A moment, in UTC. Raises Unreadable.

    The pages spell it `2025-10-03T14:01:15.000000000Z` and `2025-10-03 14:01:15+00:00`; what is finer than a
    microsecond is cut off.
    """
    value = text_of(item, name)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not FIRST_MOMENT < moment < LAST_MOMENT:
            raise ValueError(value)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise Unreadable(f"{name} is no moment of our time") from exc
