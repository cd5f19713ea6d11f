"""The arithmetic of a close: how many units it takes, and in which parts they fill."""

import math
from fractions import Fraction

from .errors import InvalidRequest


def how_many(open_quantity: int, quantity: int | None, percent: float | None) -> int:
    """The units that a close takes of what is open."""
    # XT docs, close position: quantity is capped at what is open; percent is a fraction of 1, rounds
    # up, and counts only without a quantity; neither means everything.
    if quantity is not None:
        if quantity <= 0:
            raise InvalidRequest("a quantity is above zero")
        return min(quantity, open_quantity)
    if percent is not None:
        if not 0 < percent <= 1:
            raise InvalidRequest("a percent is a fraction of 1")
        # Exactly as written: 0.07 of 100 is 7, though the product of the floats is a little above.
        return math.ceil(Fraction(str(percent)) * open_quantity)
    return open_quantity


def in_parts(quantity: int, parts: int) -> list[int]:
    """The quantity in so many parts, as even as whole units allow, none of them empty."""
    parts = max(1, min(parts, quantity))
    each, over = divmod(quantity, parts)
    return [each + 1] * over + [each] * (parts - over)
