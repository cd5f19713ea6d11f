"""How figures are written on pages."""

import json
from decimal import Decimal
from typing import Any

from app.web.pages.base import dashboard

MINUS = "\N{MINUS SIGN}"


@dashboard.app_template_filter()
def grouped(text: str, decimals: int = 0) -> str:
    """A decimal as people read it: `5,779.8125`. Nothing is rounded; so many decimals are there at least."""
    whole, _, rest = text.lstrip("-").partition(".")
    rest = rest.ljust(decimals, "0")
    digits = f"{int(whole or 0):,}" + (f".{rest}" if rest else "")
    return f"{MINUS}{digits}" if text.startswith("-") else digits


@dashboard.app_template_filter()
def signed(text: str) -> str:
    """Money with its sign: `+859.375`, `−80.00`."""
    return ("+" if Decimal(text) > 0 else "") + grouped(text, decimals=2)


@dashboard.app_template_filter()
def lasting(seconds: float, exact: bool = False) -> str:
    """A time span, as coarse as it is long, so that a long wait does not change the page at every look."""
    if exact and 0 <= seconds < 10:
        return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"
    for unit, many, next_unit in (("s", 60, 60), ("min", 60, 60), ("h", 48, 24)):
        if seconds < many:
            return f"{max(seconds, 0):.0f} {unit}"
        seconds /= next_unit
    return f"{seconds:.0f} days"


@dashboard.app_template_filter()
def pretty(value: Any) -> str:
    """A request or an answer, to be read; a long one is cut."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return (
        text
        if len(text) <= LONGEST
        else f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters, in the API)"
    )


LONGEST = 20_000
"""Characters of an answer that a page shows."""
