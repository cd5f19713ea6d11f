"""Flatwire: from a chart alert to a flat position."""

__version__ = "0.1.0"
