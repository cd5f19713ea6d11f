"""A small book to show the product with."""

from .book import Book
from .holdings import PricePath, steady

FRONT_MONTHS = {"ES": "12-26", "MES": "12-26", "NQ": "12-26", "MNQ": "12-26"}
FILL_SECONDS = 0.5
TICK = 0.25
SWING_TICKS = 8
SECONDS_A_TICK = 3


def demonstration_book(moving: bool = False) -> Book:
    """Two accounts, three positions, a stop; with `moving`, prices swing around where they were set."""
    book = Book(
        ("Sim101", "Sim102"), fill_delay=FILL_SECONDS, front_months=FRONT_MONTHS, price_path=_path(moving)
    )
    book.set_position("Sim101", "MES 12-26", "long", 10, 5779.8125, 5797.0, 5.0)
    book.work_order("Sim101", "MES 12-26", 10, 5760.0)
    book.set_position("Sim101", "MNQ 12-26", "short", 4, 20605.25, 20588.5, 2.0)
    book.set_position("Sim102", "ES 12-26", "long", 2, 5780.125, 5797.0, 50.0)
    return book


def _path(moving: bool) -> PricePath:
    return swinging if moving else steady


def swinging(price: float, now: float) -> float:
    """Up and down by whole ticks, never further than the swing: a triangle over time."""
    step = int(now / SECONDS_A_TICK) % (4 * SWING_TICKS)
    return price + (SWING_TICKS - abs(step - 2 * SWING_TICKS)) * TICK
