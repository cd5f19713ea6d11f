"""A small book to show the product with."""

from decimal import Decimal

from .book import Book
from .holdings import PricePath, steady

FILL_SECONDS = 0.5
SWING_TICKS = 80
TICKS_A_STEP = 10
SECONDS_A_STEP = 3


def demonstration_book(moving: bool = False) -> Book:
    """Three positions in net mode, a closing order; with `moving`, prices swing around where they were set."""
    book = Book(fill_delay=FILL_SECONDS, price_path=_path(moving))
    book.set_position("BTC-USDT-SWAP", "long", "12.5", average_price="102840.5", mark_price="103500")
    book.set_position("ETH-USDT-SWAP", "short", 40, average_price="3498.2", mark_price="3450")
    book.set_position("BTC-USDT-270326", "long", 3, margin_mode="isolated", average_price="106750")
    book.work_order("ETH-USDT-SWAP", "short", 10, "3300")
    return book


def _path(moving: bool) -> PricePath:
    return swinging if moving else steady


def swinging(price: Decimal, now: float, tick: Decimal) -> Decimal:
    """Up and down by whole ticks, never further than the swing: a triangle over time."""
    steps = SWING_TICKS // TICKS_A_STEP
    step = int(now / SECONDS_A_STEP) % (4 * steps)
    return price + (steps - abs(step - 2 * steps)) * TICKS_A_STEP * tick
