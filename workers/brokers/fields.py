"""The fields of a venue's objects, read strictly: what all venues' readers have in common. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

LARGEST = Decimal(10) ** 15
"""No quantity, price or profit reaches it; what the ledger's columns take."""
FIRST_MOMENT, LAST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""What an answer tells of lies between them; anything else is another unit, or nonsense."""


class Unreadable(Exception):
    """Raised when an answer has not the shape that the venue's pages promise."""


def text_of(item: Mapping[str, Any], name: str) -> str:
    """A text that must be there, and is not empty. Raises Unreadable."""
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing, or is not a text")
    return value


def within_reach(number: Decimal, name: str) -> Decimal:
    """A number that the ledger can keep. Raises Unreadable."""
    if not number.is_finite() or abs(number) >= LARGEST:
        raise Unreadable(f"{name} is too large")
    return number
