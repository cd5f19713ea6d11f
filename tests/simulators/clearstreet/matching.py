"""In which parts an order fills."""

from decimal import ROUND_FLOOR, Decimal


def in_parts(quantity: Decimal, parts: int) -> list[Decimal]:
    """The quantity in so many parts of whole units, none of them empty; the last has the rest."""
    units = int(quantity.to_integral_value(ROUND_FLOOR))
    parts = max(1, min(parts, units))
    each = Decimal(units // parts)
    return [each] * (parts - 1) + [quantity - each * (parts - 1)]
