"""How the product fares, as the pages and the API both show it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from flask import current_app, request

from app import __version__, doctor
from app.doctor import GRAVEST_FIRST, Finding
from app.ledger import condition, statistics
from app.ledger.pauses import paused
from app.ledger.readers import Record
from app.ledger.statistics import Latency
from app.web.acting import ledger
from app.web.presentation import plain
from config.file import Configuration

HOURS = 24
OUTCOMES = {
    "closed": "Closed",
    "nothing_open": "Nothing open",
    "failed": "Rejected, gave up, expired",
    "ended": "Cancelled, superseded",
}
"""The kinds in which statuses are counted, and what they are called."""
_OUTCOME_OF = {
    "closed": "closed",
    "nothing_open": "nothing_open",
    "rejected": "failed",
    "gave_up": "failed",
    "expired": "failed",
    "cancelled": "ended",
    "superseded": "ended",
}


def brokers() -> list[dict[str, Any]]:
    """Each broker of the file, and how it answered lately."""
    health = statistics.broker_health(ledger())
    stopped = {(row.scope, row.name) for row in paused(ledger())}
    found = []
    for name, settings in current_app.extensions["flatwire_brokers"].items():
        lately = health.get(name)
        found.append(
            {
                "name": name,
                "title": settings.venue.title,
                "transport": settings.transport,
                "live": settings.live,
                "paused": ("all", "") in stopped or ("broker", name) in stopped,
                "last_success": plain(lately.last_success) if lately else None,
                "calls": lately.calls if lately else 0,
                "failed": lately.failed if lately else 0,
                "throttled": lately.throttled if lately else 0,
            }
        )
    return found


def outcomes() -> dict[datetime, dict[str, int]]:
    """Of each of the last hours, the oldest first, how many commands ended as what."""
    now, by_hour = statistics.settled_by_hour(ledger(), HOURS)
    hours = [now - timedelta(hours=HOURS - 1 - at) for at in range(HOURS)]
    return {hour: _counted(by_hour.get(hour, {})) for hour in hours}


def _counted(statuses: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for status, count in statuses.items():
        kind = _OUTCOME_OF[status]
        found[kind] = found.get(kind, 0) + count
    return found


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


def percentiles(took: Sequence[Latency]) -> dict[str, dict[str, float | None]]:
    """Seconds from the alert to the broker, and to the end of its close."""
    series = {
        "to_broker": [it.to_broker for it in took if it.to_broker is not None],
        "to_closed": [it.to_closed for it in took],
    }
    return {
        name: {"median": percentile(values, 0.5), "p95": percentile(values, 0.95)}
        for name, values in series.items()
    }


def percentile(values: Sequence[float], part: float) -> float | None:
    """The value below which this part of them lies; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def overview() -> dict[str, Any]:
    """What the overview plots, as numbers."""
    took = statistics.latencies(ledger())
    return {
        "brokers": brokers(),
        "hours": [{"hour": plain(hour), **counted} for hour, counted in outcomes().items()],
        "profits": profits(statistics.closed_since(ledger(), HOURS)),
        "latencies": {"count": len(took), **percentiles(took)},
    }


def system() -> dict[str, Any]:
    """The processes, the doorbell and the ledger."""
    return {
        "version": __version__,
        "workers": [
            {"name": row.name, "version": row.version, "started_at": plain(row.started_at)}
            for row in condition.workers_alive(ledger())
        ],
        "redis": current_app.extensions["flatwire_doorbell"].vitals(),
        "ledger": condition.size(ledger()),
        "findings": [asdict(it) for it in findings()],
    }


def findings() -> list[Finding]:
    """What doctor would say, and whether the request came through as many proxies as are trusted."""
    known = current_app.extensions
    found = doctor.findings(
        ledger(),
        known["flatwire_doorbell"],
        Configuration(
            known["flatwire_hooks"],
            known["flatwire_brokers"],
            known["flatwire_schedules"],
            known["flatwire_notify"],
            frozenset(),
        ),
        current_app.config["PUBLIC_URL"],
    )
    return sorted([*found, _of_proxies()], key=lambda it: GRAVEST_FIRST.index(it.grade))


def _of_proxies() -> Finding:
    """A proxy adds the address that called it: fewer than are trusted, and a sender could say any address."""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    seen = len([address for address in forwarded if address.strip()])
    trusted = current_app.config["TRUSTED_PROXIES"]
    if seen == trusted:
        return doctor.fine("proxies", f"{seen} seen, and as many trusted")
    do = f"set TRUSTED_PROXIES={seen}, if nobody reaches the web process past them"
    return doctor.warning("proxies", f"this request came through {seen}, and {trusted} are trusted", do)
