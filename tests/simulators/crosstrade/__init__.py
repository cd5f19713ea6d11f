"""A simulator of CrossTrade's REST contract (brokers.md, section 2): a book, an HTTP face, and bad days."""

from tests.simulators.line import FillPlan

from .book import Book
from .faults import Fault
from .records import MarketPosition, OrderState, Position
from .server import CrossTradeSimulator

__all__ = ["Book", "CrossTradeSimulator", "Fault", "FillPlan", "MarketPosition", "OrderState", "Position"]
