"""All that came to the door: refused and ignored alerts too, with the reason, and who was turned away."""

from typing import Any

from flask import Response, request, url_for
from marshmallow import fields, validate

from app.ledger import readers, strangers
from app.ledger.readers import Record
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.pages.queries import Query, asked
from app.web.pages.rows import asked as in_words
from app.web.presentation import alert_document, plain, stranger_document

SHOWN = 50
STRANGERS = 20


class AlertQuery(Query):
    outcome = fields.String(validate=validate.OneOf(["accepted", "ignored", "refused"]))


@dashboard.get("/alerts")
def alerts() -> Response:
    query, faults = asked(AlertQuery)
    cursor = query.pop("cursor", None)
    for name in ("broker", "account", "instrument"):
        query.pop(name, None)
    page = readers.alerts_page(ledger(), query, before=cursor, limit=SHOWN)
    ids = readers.commands_of_alerts(ledger(), [row.id for row in page.rows])
    commands = {
        row.id: row for row in readers.commands_named(ledger(), [it for of in ids.values() for it in of])
    }
    return live(
        "alerts",
        alerts=[
            alert_document(row, ids[row.id])
            | {"size": row.size, "asked": [_command(commands[it]) for it in ids[row.id]]}
            for row in page.rows
        ],
        strangers=[stranger_document(row) for row in strangers.latest(ledger(), STRANGERS)],
        next=_at(cursor=page.next) if page.next else None,
        first=_at(cursor=None) if cursor else None,
        faults=faults,
        filtered=bool(query),
    )


def _command(row: Record) -> dict[str, Any]:
    names = (
        "id",
        "status",
        "action",
        "quantity",
        "percent",
        "quantity_unit",
        "instrument",
        "account",
        "dry_run",
    )
    document = {name: plain(getattr(row, name)) for name in names}
    return document | {"asked": in_words(document)}


def _at(**changes: Any) -> str:
    given = {name: value for name, value in request.args.items() if value} | changes
    return url_for("dashboard.alerts", **{name: value for name, value in given.items() if value is not None})
