"""Probes for the platform: is the process there, and can it do its work?"""

from typing import Any

from flask import Blueprint, current_app

from app.ledger import condition

probes = Blueprint("probes", __name__)


@probes.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@probes.get("/readyz")
def readyz() -> dict[str, Any]:
    """503 only when the ledger can't be written. Redis or the workers may be away: alerts are still taken and kept."""
    ledger = current_app.extensions["flatwire_ledger"]
    condition.check_writable(ledger)
    health = condition.health(ledger)
    redis = current_app.extensions["flatwire_doorbell"].answers()
    return {
        "status": "ready",
        "redis": {True: "ok", False: "unreachable", None: "not configured"}[redis],
        "workers": health.workers,
        "unsettled": health.unsettled,
        "oldest_unsettled_seconds": health.oldest_unsettled,
        "attention": health.attention,
    }
