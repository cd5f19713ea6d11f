"""The fields of CrossTrade's objects, read strictly. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from app.domain.positions import Side

_SIDES = {"long": Side.LONG, "short": Side.SHORT}
_LARGEST = Decimal(10) ** 15  # no quantity, price or profit is larger; what the ledger's columns take
_FIRST_MOMENT, _LAST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """Raised when an answer has not the shape that the pages promise."""


def text_of(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing")
    return value


def number_of(item: Mapping[str, Any], name: str) -> Decimal:
    value = item.get(name)
    try:
        if value is None or isinstance(value, bool):
            raise InvalidOperation
        number = Decimal(str(value))
        if not number.is_finite() or abs(number) >= _LARGEST:
            raise InvalidOperation
    except InvalidOperation as exc:
        raise Unreadable(f"{name} is not a number") from exc
    return number


def optional_number_of(item: Mapping[str, Any], name: str) -> Decimal | None:
    return None if item.get(name) is None else number_of(item, name)


def side_of(item: Mapping[str, Any]) -> Side | None:
    """The side of the market; None is flat. A word that decides what is open must be one we know."""
    word = text_of(item, "marketPosition")
    if word.lower() == "flat":
        return None
    if word.lower() not in _SIDES:
        raise Unreadable(f"an unknown side of the market: {word[:40]!r}")
    return _SIDES[word.lower()]


def moment_of(item: Mapping[str, Any]) -> datetime:
    """The vendor's sample has milliseconds, older pages have seconds. Its `time` is the trader's local clock."""
    epoch = number_of(item, "epoch")
    seconds = epoch / 1000 if epoch > 10**11 else epoch
    if not _FIRST_MOMENT.timestamp() < seconds < _LAST_MOMENT.timestamp():
        raise Unreadable(f"no moment of our time: {epoch}")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=float(seconds))
