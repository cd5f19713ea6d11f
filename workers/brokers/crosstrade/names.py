"""Names and quantities as they may stand in a request to CrossTrade. Pure."""

from decimal import Decimal
from urllib.parse import quote


def named(name: str) -> str:
    """A name that may go into a request; raises ValueError for one that could change its meaning."""
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"not a name: {name!r}")
    return name


def segment(name: str) -> str:
    """A name as one segment of a path. HTTP clients fold dot segments even when quoted, so those are no names."""
    if named(name) in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"not a name for a path: {name!r}")
    return quote(name, safe="")


def contracts(quantity: Decimal) -> int:
    """A quantity as the whole number that the venue takes; raises ValueError rather than round."""
    if not quantity.is_finite() or quantity <= 0 or quantity != quantity.to_integral_value():
        raise ValueError(f"not a number of contracts: {quantity}")
    return int(quantity)
