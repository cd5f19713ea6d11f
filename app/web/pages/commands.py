"""One command: what it asked, did and left, as one timeline from the alert to the last read-back."""

from datetime import datetime
from typing import Any

from flask import Response, abort

from app.domain.statuses import UNSETTLED, Status
from app.ledger import readers
from app.ledger.operators import RETRYABLE
from app.ledger.readers import CommandHistory
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.pages.rows import shown_command
from app.web.presentation import alert_document, attempt_document, event_document

ATTEMPTED = ("sending", "answered")
"""Events that the attempts tell better."""


@dashboard.get("/commands/<command_id>")
def command(command_id: str) -> Response:
    history = readers.command_history(ledger(), command_id)
    if history is None:
        abort(404)
    alert = readers.alert(ledger(), history.command.alert)
    assert alert is not None, "a command without an alert can't be kept"
    return live(
        "command",
        c=shown_command(history),
        alert=alert_document(alert, readers.commands_of_alerts(ledger(), [alert.id])[alert.id]),
        acts=possible(history.command.status, history.command.attention, history.command.dry_run),
        timeline=_timeline(history),
    )


def possible(status: str, attention: str | None, dry_run: bool) -> list[str]:
    """What an operator may try with a command. The ledger has the last word."""
    found = []
    if status in (Status.QUEUED, Status.WORKING, Status.IN_DOUBT):
        found += ["resolve_done", "resolve_not_done"] if status != Status.QUEUED else ["cancel"]
    if status in RETRYABLE and status not in UNSETTLED and not dry_run:
        found.append("retry")
    if attention:
        found.append("acknowledge")
    return found


def _timeline(history: CommandHistory) -> list[dict[str, Any]]:
    """Events and attempts in the order of time, each with the seconds since the one before."""
    entries: list[tuple[datetime, int, dict[str, Any]]] = []
    for row in history.events:
        if row.name not in ATTEMPTED and row.detail.get("to") != Status.SENDING:
            entries.append((row.at, 1, {"event": event_document(row)}))
    for row in history.attempts:
        entries.append((row.sent_at, 0, {"attempt": attempt_document(row) | {"seconds": _seconds(row)}}))
    entries.sort(key=lambda entry: entry[:2])
    found, before = [], history.command.accepted_at
    for at, _, entry in entries:
        found.append(entry | {"at": at.isoformat(), "after": max(0.0, (at - before).total_seconds())})
        before = at
    return found


def _seconds(row: Any) -> float | None:
    return (row.answered_at - row.sent_at).total_seconds() if row.answered_at else None
