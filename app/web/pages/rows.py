"""A command as the tables of the pages show it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.domain.commands import Unit
from app.ledger import readers
from app.ledger.readers import CommandHistory, Record
from app.web.acting import ledger
from app.web.pages.filters import grouped
from app.web.presentation import command_document


def shown(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """The commands with what they did to each position."""
    return [shown_command(history) for history in readers.histories(ledger(), rows)]


def shown_command(history: CommandHistory) -> dict[str, Any]:
    row, document = history.command, command_document(history)
    lasted = (row.settled_at or datetime.now(UTC)) - row.accepted_at
    return document | {
        "asked": asked(document),
        "lasted": lasted.total_seconds(),
        "lines": _lines(row.holdings or [], document["closed_positions"]),
    }


def asked(document: Mapping[str, Any]) -> str:
    """What a command asks for, in a few words."""
    if document["action"] != "close":
        return str(document["action"]).replace("_", " ")
    if document["quantity"] is not None:
        unit = " in coins" if document.get("quantity_unit") == Unit.BASE else ""
        return f"close {grouped(document['quantity'])}{unit}"
    if document["percent"] is not None:
        percent = (Decimal(document["percent"]) * 100).normalize()
        return f"close {percent:f}\N{NO-BREAK SPACE}%"
    return "close all"


def _lines(
    holdings: Iterable[Mapping[str, Any]], closed: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What a command did to each position, with the numbers of what it closed there."""
    found = list(closed)
    lines = []
    for holding in holdings:
        # A venue can hold two positions of one side: what was closed of them stands in the same order.
        own = next((position for position in found if _place(position) == _place(holding)), None)
        lines.append({**holding, "closed": own})
        if own:
            found.remove(own)
    unseen = dict.fromkeys(("before", "target", "after"))
    return lines + [{**unseen, **position, "closed": position} for position in found]


def _place(position: Mapping[str, Any]) -> tuple[Any, ...]:
    return position["account"], position["instrument"], position["side"]
