"""Closed positions as CSV (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from app.ledger import readers
from app.ledger.connection import Ledger
from app.ledger.readers import Record
from app.web.presentation import CLOSED_POSITION, listed_closed_position

COLUMNS = ("closed_at", "command", "hook", "broker", *CLOSED_POSITION)
_NUMBERS = {"quantity", "average_price", "close_price", "profit_loss"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PAGE = 500


def lines_of(ledger: Ledger, filters: Mapping[str, Any]) -> Iterator[str]:
    """The header and a line for each closed position. The first page is read at once, so that its failure is told.

    Pages are read as they are needed: a slow reader holds no transaction open.
    """
    page = readers.closed_positions_page(ledger, filters, limit=_PAGE)

    def pages() -> Iterator[Sequence[Record]]:
        current = page
        yield current.rows
        while current.next is not None:
            current = readers.closed_positions_page(ledger, filters, before=current.next, limit=_PAGE)
            yield current.rows

    return chain([_line(COLUMNS)], (_line(_cells(row)) for rows in pages() for row in rows))


def _cells(row: Record) -> list[str]:
    document = listed_closed_position(row)
    document["order_ids"] = " ".join(document["order_ids"])
    return [_cell(name, document[name]) for name in COLUMNS]


def _cell(name: str, value: str | None) -> str:
    """Names come from venues and alerts: one that a spreadsheet would run as a formula is quoted as text.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if value is None:
        return ""
    return f"'{value}" if name not in _NUMBERS and value.startswith(_FORMULA) else value


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
