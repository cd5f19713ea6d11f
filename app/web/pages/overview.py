"""The overview: what needs a person, first and large; then what is open, on its way, done, and how all of it fares."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import Response, current_app, request

from app.domain.commands import Action
from app.ledger import readers, statistics
from app.ledger.pauses import paused
from app.ledger.readers import Record
from app.ledger.statistics import Latency
from app.web import looking
from app.web.acting import ledger
from app.web.pages import charts
from app.web.pages.base import dashboard, live
from app.web.pages.rows import shown
from app.web.presentation import pause_document, plain

ASKING, IN_FLIGHT, LATEST = 5, 8, 12
"""Commands of each block; all of them have pages of their own."""
HOURS = 24
OUTCOMES = {
    "closed": "Closed",
    "nothing_open": "Nothing open",
    "failed": "Rejected, gave up, expired",
    "ended": "Cancelled, superseded",
}
_OUTCOME_OF = {
    "closed": "closed",
    "nothing_open": "nothing_open",
    "rejected": "failed",
    "gave_up": "failed",
    "expired": "failed",
    "cancelled": "ended",
    "superseded": "ended",
}


@dashboard.get("/")
def overview() -> Response:
    page = readers.commands_page(ledger(), {}, limit=LATEST)
    now, by_hour = statistics.settled_by_hour(ledger(), HOURS)
    hours = [now - timedelta(hours=HOURS - 1 - at) for at in range(HOURS)]
    closed, took = statistics.closed_since(ledger(), HOURS), statistics.latencies(ledger())
    return live(
        "overview",
        asking=shown(readers.asking_for_attention(ledger(), ASKING)),
        flying=shown(readers.in_flight(ledger(), IN_FLIGHT)),
        commands=shown(page.rows),
        pauses=[pause_document(row) for row in paused(ledger())],
        open_now=open_now(),
        brokers=brokers(),
        outcomes=OUTCOMES,
        by_hour=_outcomes(hours, by_hour),
        closes=_closes(hours, by_hour),
        profits=profits(closed),
        gains=_gains(hours, closed),
        latencies=_latencies(took),
        example=example(),
    )


def open_now() -> list[dict[str, Any]]:
    """What is open at each broker, as it was last read. Nobody waits for it here: the next look shows it."""
    read = looking.positions(patience=0.0)
    return [
        reading | {"positions": [it for it in read["items"] if it["broker"] == reading["broker"]]}
        for reading in read["brokers"]
    ]


def brokers() -> list[dict[str, Any]]:
    """Each broker of the file, and how it answered lately."""
    health = statistics.broker_health(ledger())
    stopped = {(row.scope, row.name) for row in paused(ledger())}
    return [
        {
            "name": name,
            "title": settings.venue.title,
            "transport": settings.transport,
            "live": settings.live,
            "health": health.get(name),
            "last_success": plain(health[name].last_success) if name in health else None,
            "paused": ("all", "") in stopped or ("broker", name) in stopped,
        }
        for name, settings in current_app.extensions["flatwire_brokers"].items()
    ]


def profits(closed: Sequence[Record]) -> list[dict[str, Any]]:
    """The sum of each currency; an estimate if one of its closes is."""
    found: dict[str, dict[str, Any]] = {}
    for row in closed:
        if row.profit_loss is None:
            continue
        of = found.setdefault(currency(row), {"sum": Decimal(0), "estimate": False, "closes": 0})
        of["sum"] += row.profit_loss
        of["closes"] += 1
        of["estimate"] |= row.source == "snapshot"
    return [{"currency": name, **of, "sum": plain(of["sum"])} for name, of in sorted(found.items())]


def currency(row: Record) -> str:
    """What a profit is counted in. Where the venue does not say, only what is of one broker is summed."""
    return row.currency or f"at {row.broker}"


def _outcomes(
    hours: Sequence[datetime], by_hour: Mapping[datetime, Mapping[str, int]]
) -> dict[datetime, dict[str, int]]:
    found: dict[datetime, dict[str, int]] = {}
    for hour in hours:
        for status, count in by_hour.get(hour, {}).items():
            of = found.setdefault(hour, {})
            kind = _OUTCOME_OF[status]
            of[kind] = of.get(kind, 0) + count
    return found


def _closes(hours: Sequence[datetime], by_hour: Mapping[datetime, Mapping[str, int]]) -> charts.Plot:
    return charts.stacked(hours, list(OUTCOMES), _outcomes(hours, by_hour))


def _gains(hours: Sequence[datetime], closed: Sequence[Record]) -> dict[str, Any]:
    series: dict[str, list[tuple[datetime, Decimal]]] = {}
    for row in closed:
        if row.profit_loss is not None:
            series.setdefault(currency(row), []).append((row.closed_at, row.profit_loss))
    return {"names": list(series), "plot": charts.cumulated(hours, series)}


def _latencies(took: Sequence[Latency]) -> dict[str, Any]:
    """Median and 95th percentile of the latest closes, and how they ran."""
    to_broker = [it.to_broker for it in took if it.to_broker is not None]
    to_closed = [it.to_closed for it in took]
    return {
        "count": len(took),
        "table": [
            ("Alert → broker", charts.percentile(to_broker, 0.5), charts.percentile(to_broker, 0.95)),
            ("Alert → closed", charts.percentile(to_closed, 0.5), charts.percentile(to_closed, 0.95)),
        ],
        "plot": charts.percentiles([to_broker[-60:], to_closed[-60:]], ["0", "1"]),
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
