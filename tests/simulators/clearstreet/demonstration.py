"""A small book to show the product with."""

from decimal import Decimal

from .book import Book
from .holdings import PricePath, steady

FILL_SECONDS = 0.5
TICK = Decimal("0.05")
SWING_TICKS = 8
SECONDS_A_TICK = 3


def demonstration_book(moving: bool = False) -> Book:
    """Two accounts, five positions, a stop; with `moving`, prices swing around where they were set."""
    book = Book((19816, 19817), fill_delay=FILL_SECONDS, price_path=_path(moving))
    book.set_position(19816, "AAPL", "long", 100, "145.00", "151.00", "150.50", "2025-10-31")
    book.work_order(19816, "AAPL", "SELL", 100, price="140.00")
    book.set_position(19816, "TSLA", "short", 50, "180.00", "178.50", "180.00", "2025-10-30")
    book.set_position(19816, "AAPL260320P00180000", "long", 2, "6.20", "5.85")
    book.set_position(19817, "GOOG", "long", 25, "168.40", "171.15")
    book.set_position(19817, "BRK.B", "long", "12.5", "451.10", "449.80")
    return book


def _path(moving: bool) -> PricePath:
    return swinging if moving else steady


def swinging(price: Decimal, now: float) -> Decimal:
    """Up and down by whole ticks, never further than the swing: a triangle over time."""
    step = int(now / SECONDS_A_TICK) % (4 * SWING_TICKS)
    return price + (SWING_TICKS - abs(step - 2 * SWING_TICKS)) * TICK
