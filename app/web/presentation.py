"""The ledger's rows as the outside sees them (design, section 6): decimal strings, ISO 8601 in UTC, opaque ids."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import current_app, url_for

from app.alerts.hooks import Hook
from app.ledger.readers import CommandHistory, Record
from app.ledger.types import decimal_text

_ASKED = ("quantity", "percent", "position", "cancel_orders")

POSITION = (
    "account",
    "instrument",
    "side",
    "before",
    "target",
    "after",
    "average_price",
    "market_price",
    "profit_loss",
    "currency",
)
"""Of a position in a flatten; what else is kept of it is for the workers."""

CLOSED_POSITION = (
    "account",
    "instrument",
    "side",
    "quantity",
    "average_price",
    "close_price",
    "profit_loss",
    "currency",
    "source",
    "order_ids",
)


def command_summary(row: Record) -> dict[str, Any]:
    """A command as the answer to an alert shows it."""
    return {
        "id": row.id,
        "action": row.action,
        "broker": row.broker,
        "account": row.account,
        "instrument": row.instrument,
        **{name: plain(getattr(row, name)) for name in _ASKED},
        "status": row.status,
        "url": command_url(row.id),
    }


def planned_summary(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A command that is not kept, as a dry run shows it."""
    names = ("action", "broker", "account", "instrument", *_ASKED)
    return {name: plain(columns.get(name)) for name in names}


def command_url(command_id: str) -> str:
    """Relative, unless PUBLIC_URL says where we are."""
    path = url_for("commands.Command", command_id=command_id)
    return f"{current_app.config['PUBLIC_URL'] or ''}{path}"


def command_document(history: CommandHistory) -> dict[str, Any]:
    """A command as the API shows it."""
    row = history.command
    holdings = row.holdings or []
    single = holdings[0] if row.action == "close" and holdings else {}
    names = ("id", "alert", "retry_of", "hook", "broker", "account", "instrument", "action", *_ASKED)
    return {
        **{name: plain(getattr(row, name)) for name in names},
        "quantity_unit": row.quantity_unit,
        "status": row.status,
        "reason": row.reason,
        "attention": row.attention,
        "dry_run": row.dry_run,
        "accepted_at": plain(row.accepted_at),
        "settled_at": plain(row.settled_at),
        "next_attempt_at": plain(row.due_at),
        "before": single.get("before"),
        "target": single.get("target"),
        "after": single.get("after"),
        "positions": [] if row.action == "close" else [position_document(it) for it in holdings],
        "attempts": [attempt_document(attempt) for attempt in history.attempts],
        "closed_positions": [closed_position_document(closed) for closed in history.closed_positions],
    }


def position_document(holding: Mapping[str, Any]) -> dict[str, Any]:
    return {name: holding.get(name) for name in POSITION}


def attempt_document(row: Record) -> dict[str, Any]:
    names = (
        "number",
        "kind",
        "client_id",
        "sent_at",
        "answered_at",
        "outcome",
        "request",
        "answer",
        "detail",
    )
    return {name: plain(getattr(row, name)) for name in names}


def closed_position_document(row: Record) -> dict[str, Any]:
    return {name: plain(getattr(row, name)) for name in (*CLOSED_POSITION, "raw")}


def listed_closed_position(row: Record) -> dict[str, Any]:
    """A closed position in a list of its own: also whose it is, and when."""
    whose = {"command": row.command, "hook": row.hook, "broker": row.broker}
    return {**whose, "closed_at": plain(row.closed_at), **closed_position_document(row)}


def pause_document(row: Record) -> dict[str, Any]:
    return {
        "scope": row.scope,
        "name": row.name or None,
        "paused": True,
        "reason": row.reason,
        "actor": row.actor,
        "since": plain(row.since),
    }


def alert_document(row: Record, commands: list[str]) -> dict[str, Any]:
    names = (
        "id",
        "hook",
        "received_at",
        "outcome",
        "reason",
        "errors",
        "warnings",
        "text",
        "size",
        "source_address",
        "secret_label",
        "deliveries",
    )
    return {**{name: plain(getattr(row, name)) for name in names}, "commands": commands}


def hook_document(hook: Hook, last_used: Mapping[str, datetime | None]) -> dict[str, Any]:
    """A hook as its owner looks at it: what it may do, and which of its secrets are in use."""
    return {
        "name": hook.name,
        "url": hook_url(hook),
        "broker": hook.broker,
        "live": hook.live,
        "dry_run": hook.dry_run,
        "accounts": list(hook.accounts),
        "allow": sorted(hook.allow),
        "instruments": list(hook.instruments),
        "dialects": list(hook.dialects),
        "sources": [str(network) for network in hook.sources],
        "secrets": [{"label": label, "last_used_at": plain(at)} for label, at in last_used.items()],
    }


def hook_url(hook: Hook) -> str:
    """Where its alerts go, without a secret; relative, unless PUBLIC_URL says where we are."""
    return f"{current_app.config['PUBLIC_URL'] or ''}{url_for('hooks.take', name=hook.name)}"


def stranger_document(row: Record) -> dict[str, Any]:
    return {
        "address": row.address,
        "hook": row.hook or None,
        "reason": row.reason,
        "first_at": plain(row.first_at),
        "last_at": plain(row.last_at),
        "times": row.times,
    }


def event_document(row: Record) -> dict[str, Any]:
    return {name: plain(getattr(row, name)) for name in ("at", "name", "actor", "detail")}


def plain(value: Any) -> Any:
    match value:
        case Decimal():
            return decimal_text(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
