"""Processes and versions, the doorbell, the ledger, the configuration with its secrets gone; pause and resume."""

from dataclasses import fields
from typing import Any

from flask import Response, current_app

from app.alerts.hooks import Hook
from app.alerts.schedules import Schedule
from app.domain.capabilities import CAPABILITIES
from app.ledger import notices, readers
from app.ledger.intake import BY_SCHEDULE
from app.ledger.pauses import paused
from app.messages import name_of, scheme_of
from app.web import vitals
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.presentation import pause_document, plain
from config.file import BrokerSettings

SHOWN = 20
_SET_UP = {"base_url", "credential", "settings", "transports"}
"""What is no capability of a venue, but how a broker is set up."""
_SECRET = {"secrets", "signing_keys", "venue", "name"}


@dashboard.get("/system")
def system() -> Response:
    notify = current_app.extensions["flatwire_notify"]
    undelivered = notices.undelivered(ledger()) if notify else {}
    stopped = [pause_document(row) for row in paused(ledger())]
    return live(
        "system",
        **vitals.system(),
        pauses=stopped,
        notified=notify.on if notify else (),
        addresses=[
            (scheme_of(url), name_of(url), undelivered.get(name_of(url), 0))
            for url in (notify.urls if notify else ())
        ],
        stopped={(it["scope"], it["name"] or "") for it in stopped},
        brokers=vitals.brokers(),
        settings=[(name, _settings(it)) for name, it in current_app.extensions["flatwire_brokers"].items()],
        hooks=[(name, _settings(it)) for name, it in current_app.extensions["flatwire_hooks"].items()],
        schedules=[
            (name, _of_schedule(it)) for name, it in current_app.extensions["flatwire_schedules"].items()
        ],
        acts=[
            {"at": plain(row.at), "name": row.name, "actor": row.actor, "detail": row.detail}
            for row in readers.acts(ledger(), SHOWN)
        ],
    )


def _settings(of: BrokerSettings | Hook) -> list[tuple[str, str]]:
    """Each setting and its value, secrets as the labels that they go by."""
    found = [
        (field.name, _written(getattr(of, field.name))) for field in fields(of) if field.name not in _SECRET
    ]
    if isinstance(of, Hook):
        return [*found, ("secrets", ", ".join(of.labels))]
    can = [(label, say(of.venue)) for name, (label, say) in CAPABILITIES.items() if name not in _SET_UP]
    return [*found, ("secrets", ", ".join(of.venue.credential)), *can]


def _of_schedule(it: Schedule) -> list[tuple[str, str]]:
    label = f"{BY_SCHEDULE}{it.name}"
    last = readers.last_uses(ledger(), it.hook.name, [label])[label]
    return [
        ("hook", it.hook.name),
        ("text", it.text),
        ("cron", it.timetable.cron),
        ("late", f"{it.late:g}"),
        ("next run", it.next_run()),
        ("last run", f"{last:%Y-%m-%d %H:%M:%S} UTC" if last else "–"),
    ]


def _written(value: Any) -> str:
    match value:
        case None | () | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(f"{name} → {to}" for name, to in value.items()) or "–"
        case tuple() | list() | frozenset():
            return ", ".join(sorted(str(it) for it in value))
    return str(value)
