"""A call's arguments, read strictly: the docs know one answer to a wrong one, `Invalid request`."""

from collections.abc import Mapping
from typing import Any

from .errors import InvalidRequest
from .records import MarketPosition

Arguments = Mapping[str, Any]


def required_text(args: Arguments, name: str) -> str:
    value = optional_text(args, name)
    if value is None:
        raise InvalidRequest(f"{name} is missing")
    return value


def optional_text(args: Arguments, name: str) -> str | None:
    """The text, or None when it is absent, null or blank: on a flatten the docs leave that reading open."""
    value = args.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is not a text")
    return value if value.strip() else None


def optional_side(args: Arguments, name: str) -> MarketPosition | None:
    # XT docs, flatten everything: "long" or "short", in lower case.
    value = optional_text(args, name)
    if value is None:
        return None
    if value not in ("long", "short"):
        raise InvalidRequest(f"{name} is neither long nor short")
    return MarketPosition(value.title())


def optional_integer(args: Arguments, name: str) -> int | None:
    value = args.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} is not an integer")
    return value


def optional_number(args: Arguments, name: str) -> float | None:
    value = args.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{name} is not a number")
    return value


def flag(args: Arguments, name: str) -> bool:
    """A boolean, as JSON or as a query spells it; false when absent."""
    value = args.get(name)
    if value is None:
        return False
    spelled = str(value).lower()
    if spelled not in ("true", "false"):
        raise InvalidRequest(f"{name} is neither true nor false")
    return spelled == "true"


def seconds(args: Arguments, name: str, default: int, most: int) -> int:
    value = args.get(name, default)
    try:
        return min(max(int(value), 0), most)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{name} is not a number of seconds") from None
