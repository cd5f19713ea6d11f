"""A simulator of CrossTrade's contract (brokers.md, section 2): a book, its HTTP and WebSocket faces, and bad days."""

from tests.simulators.line import FillPlan

from .book import Book
from .faults import Fault
from .records import MarketPosition, OrderState, Position
from .server import CrossTradeSimulator

__all__ = ["Book", "CrossTradeSimulator", "Fault", "FillPlan", "MarketPosition", "OrderState", "Position"]
