"""A simulator of OKX's v5 REST contract (brokers.md, section 4): a book, an HTTP face, and bad days."""

from tests.simulators.line import FillPlan

from .book import Book
from .faults import Fault
from .records import AlgoOrder, Fill, Instrument, Order, OrderState, Position, PositionMode
from .server import OkxSimulator
from .signing import signature

__all__ = [
    "AlgoOrder",
    "Book",
    "Fault",
    "Fill",
    "FillPlan",
    "Instrument",
    "OkxSimulator",
    "Order",
    "OrderState",
    "Position",
    "PositionMode",
    "signature",
]
