"""The overview: what needs a person, first and large; then what is open, on its way, done, and how all of it fares."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Response, current_app, request

from app.domain.commands import Action
from app.ledger import questions, readers, statistics
from app.ledger.pauses import paused
from app.ledger.readers import Record
from app.ledger.statistics import Latency
from app.web import looking, vitals
from app.web.acting import ledger
from app.web.pages import charts
from app.web.pages.base import dashboard, live
from app.web.pages.rows import shown
from app.web.presentation import pause_document

ASKING, IN_FLIGHT, LATEST = 5, 8, 12
"""Commands of each block; all of them have pages of their own."""
PLOTTED = 60
"""Closes whose times are plotted, the latest."""


@dashboard.get("/")
def overview() -> Response:
    page = readers.commands_page(ledger(), {}, limit=LATEST)
    by_hour = vitals.outcomes()
    closed, took = statistics.closed_since(ledger(), vitals.HOURS), statistics.latencies(ledger())
    return live(
        "overview",
        asking=shown(readers.asking_for_attention(ledger(), ASKING)),
        flying=shown(readers.in_flight(ledger(), IN_FLIGHT)),
        commands=shown(page.rows),
        pauses=[pause_document(row) for row in paused(ledger())],
        open_now=open_now(),
        brokers=vitals.brokers(),
        outcomes=vitals.OUTCOMES,
        by_hour={hour: counted for hour, counted in by_hour.items() if counted},
        closes=charts.stacked(list(by_hour), list(vitals.OUTCOMES), by_hour),
        profits=vitals.profits(closed),
        gains=_gains(list(by_hour), closed),
        latencies=_latencies(took),
        example=example(),
        notified=current_app.extensions["flatwire_notify"] is not None,
    )


def known_now(reading: dict[str, Any]) -> bool:
    """Whether a reading says what is open now: of all accounts, and not of long ago."""
    if reading["problem"] or reading["unreadable"] or not reading["read_at"]:
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(reading["read_at"])
    return age.total_seconds() < 5 * questions.FRESH


def open_now() -> list[dict[str, Any]]:
    """What is open at each broker, as it was last read. Nobody waits for it here: the next look shows it."""
    read = looking.positions(patience=0.0)
    return [
        reading
        | {
            "positions": [it for it in read["items"] if it["broker"] == reading["broker"]],
            "known": known_now(reading),
        }
        for reading in read["brokers"]
    ]


def _gains(hours: Sequence[datetime], closed: Sequence[Record]) -> dict[str, Any]:
    series: dict[str, list[tuple[datetime, Decimal]]] = {}
    for row in closed:
        if row.profit_loss is not None:
            series.setdefault(vitals.currency(row), []).append((row.closed_at, row.profit_loss))
    return {"names": list(series), "plot": charts.cumulated(hours, series)}


def _latencies(took: Sequence[Latency]) -> dict[str, Any]:
    """Median and 95th percentile of the latest closes, and how they ran."""
    found = vitals.percentiles(took)
    to_broker = [it.to_broker for it in took if it.to_broker is not None]
    to_closed = [it.to_closed for it in took]
    return {
        "count": len(took),
        "table": [("Alert → broker", found["to_broker"]), ("Alert → closed", found["to_closed"])],
        "plot": charts.percentiles([to_broker[-PLOTTED:], to_closed[-PLOTTED:]], ["0", "1"]),
    }


def example() -> dict[str, str] | None:
    """A hook's address, and a text that it would take: what to do when nothing has come yet."""
    for hook in current_app.extensions["flatwire_hooks"].values():
        base = current_app.config["PUBLIC_URL"] or request.host_url.rstrip("/")
        account = hook.default_account or next(iter(hook.accounts), None)
        where = "" if account in (None, "*") or not hook.venue.names_accounts else f" in {account}"
        names = [*hook.symbols.values(), hook.venue.example]
        instrument = next((name for name in names if hook.allows_instrument(name)), None)
        if instrument is None or Action.CLOSE not in hook.allow:
            continue
        return {"address": f"{base}/hooks/{hook.name}/SECRET", "text": f"close {instrument}{where}"}
    return None
