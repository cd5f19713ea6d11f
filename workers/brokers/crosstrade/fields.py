"""The fields of CrossTrade's objects, read strictly. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from app.domain.positions import Side
from workers.brokers.fields import FIRST_MOMENT, LAST_MOMENT, Unreadable, text_of, within_reach

_SIDES = {"long": Side.LONG, "short": Side.SHORT}


def number_of(item: Mapping[str, Any], name: str) -> Decimal:
    """A number that must be there, written as one or as a text. Raises Unreadable."""
    value = item.get(name)
    try:
        if value is None or isinstance(value, bool):
            raise InvalidOperation
        number = Decimal(str(value))
    except InvalidOperation as exc:
        raise Unreadable(f"{name} is not a number") from exc
    return within_reach(number, name)


def optional_number_of(item: Mapping[str, Any], name: str) -> Decimal | None:
    """A number; None where it is null or absent. Raises Unreadable for what is no number."""
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
    if not FIRST_MOMENT.timestamp() < seconds < LAST_MOMENT.timestamp():
        raise Unreadable(f"no moment of our time: {epoch}")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=float(seconds))
