"""A simulator of Clear Street's trading API (brokers.md, section 3): a book, an HTTP face, and bad days."""

from tests.simulators.line import FillPlan

from .book import Book
from .faults import Fault
from .presentation import Timestamps
from .records import Ending, Execution, Order, OrderStatus, Position, QueueState, Side
from .server import ClearStreetSimulator

__all__ = [
    "Book",
    "ClearStreetSimulator",
    "Ending",
    "Execution",
    "Fault",
    "FillPlan",
    "Order",
    "OrderStatus",
    "Position",
    "QueueState",
    "Side",
    "Timestamps",
]
