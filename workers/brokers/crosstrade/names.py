"""Quantities as they may stand in a request to CrossTrade. Pure."""

from decimal import Decimal


def contracts(quantity: Decimal) -> int:
    """A quantity as the whole number that the venue takes; raises ValueError rather than round."""
    if not quantity.is_finite() or quantity <= 0 or quantity != quantity.to_integral_value():
        raise ValueError(f"not a number of contracts: {quantity}")
    return int(quantity)
