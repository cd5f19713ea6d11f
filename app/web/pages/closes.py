"""Every executed close, with filters that stay in the address, totals of what is filtered, and as CSV."""

from collections.abc import Sequence
from typing import Any

from flask import Response, request, url_for
from marshmallow import fields, validate

from app.ledger import readers
from app.ledger.readers import Record
from app.web import spreadsheet
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.pages.queries import Query, asked
from app.web.presentation import listed_closed_position
from app.web.vitals import profits

SHOWN = 50
SUMMED = 1000
"""Closed positions of which totals are made, the newest: more would keep who looks waiting."""


class CloseQuery(Query):
    sort = fields.String(validate=validate.OneOf(["newest", "oldest"]))


@dashboard.get("/closes")
def closes() -> Response:
    query, faults = asked(CloseQuery)
    cursor, oldest = query.pop("cursor", None), query.pop("sort", "newest") == "oldest"
    page = readers.closed_positions_page(ledger(), query, before=cursor, limit=SHOWN, oldest_first=oldest)
    summed, more = readers.gains(ledger(), query, SUMMED)
    return live(
        "closes",
        closes=[_shown(row, took) for row, took in zip(page.rows, _took(page.rows), strict=True)],
        next=_at(cursor=page.next) if page.next else None,
        first=_at(cursor=None) if cursor else None,
        csv=url_for("closed_positions.ClosedPositionsSheet"),
        totals=profits(summed),
        counted=len(summed),
        more=more,
        faults=faults,
        filtered=bool(query),
    )


@dashboard.get("/closes.csv")
def closes_sheet() -> Response:
    """What is filtered, for a spreadsheet."""
    query, _ = asked()
    query.pop("cursor", None)
    headers = {"Content-Disposition": 'attachment; filename="closes.csv"'}
    return Response(
        spreadsheet.lines_of(ledger(), query), content_type="text/csv; charset=utf-8", headers=headers
    )


def _took(rows: Sequence[Record]) -> list[float | None]:
    """Seconds from the alert to the end of each one's command; None: that goes on."""
    commands = {row.id: row for row in readers.commands_named(ledger(), [row.command for row in rows])}
    ends = [(commands[row.command].accepted_at, commands[row.command].settled_at) for row in rows]
    return [(settled - accepted).total_seconds() if settled else None for accepted, settled in ends]


def _shown(row: Record, took: float | None) -> dict[str, Any]:
    return listed_closed_position(row) | {"seq": row.seq, "took": took}


def _at(**changes: Any) -> str:
    """This page with other filters."""
    given = {name: value for name, value in request.args.items() if value} | changes
    return url_for("dashboard.closes", **{name: value for name, value in given.items() if value is not None})
