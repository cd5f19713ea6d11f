"""How new alerts are written down with their commands: however many they are, in one statement for each table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, insert, select

from app.domain.commands import Command
from app.domain.statuses import Attention, Status
from app.ledger import tables
from app.ledger.delivery import Delivery, Taken, Wish, digest, new_id
from app.ledger.encoding import columns_of
from app.ledger.events import record
from app.ledger.transaction import moment_of
from app.ledger.types import Json

# Statements are made once: to make one takes longer than to carry it out.
_earlier = tables.alerts.alias("earlier")
_of_sender = exists(
    select(_earlier.c.seq).where(
        _earlier.c.hook == bindparam("at"), _earlier.c.sender_id == bindparam("sender")
    )
)
_WARNED, _WARNED_OF_ID = bindparam("warned", type_=Json()), bindparam("warned_of_id", type_=Json())
# With its warnings as they are if the sender's id was there before: to ask for that would be one more way and back.
_ALERTS = (
    insert(tables.alerts)
    .values(warnings=case((_of_sender, _WARNED_OF_ID), else_=_WARNED))
    .returning(tables.alerts.c.id, tables.alerts.c.warnings)
)
_COMMANDS = insert(tables.commands).inline()
_BLANK: dict[str, Any] = dict.fromkeys(tables.commands.c.keys())

_ID_REUSED = {
    "field": "id",
    "message": "id_reused",
    "hint": "make it unique: {{strategy.order.id}}-{{timenow}}",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """An alert that is new."""

    delivery: Delivery
    wish: Wish
    alert: str = field(default_factory=new_id)
    outcome: str = "accepted"
    reason: str | None = None
    errors: Sequence[dict[str, Any]] = ()
    actor: str | None = None
    """Who asks for its commands; None: its hook."""


def write(connection: Connection, arrivals: Sequence[Arrival]) -> list[Taken]:
    """Write alerts down in their order, each with its commands. One more warning if a sender's id is not new to the hook."""
    if not arrivals:
        return []
    moment = moment_of(connection)
    kept = connection.execute(_ALERTS, _warned([_alert(it, moment) for it in arrivals]))
    warnings = {row.id: row.warnings for row in kept}
    asked = [[_command(it, command, moment) for command in it.wish.commands] for it in arrivals]
    if rows := [row for mine in asked for row in mine]:
        connection.execute(_COMMANDS, rows)
    for it, mine in zip(arrivals, asked, strict=True):
        _record(connection, it, mine)
    return [
        Taken(it.alert, [SimpleNamespace(**_BLANK | row) for row in mine], warnings=warnings[it.alert])
        for it, mine in zip(arrivals, asked, strict=True)
    ]


def _alert(arrival: Arrival, moment: datetime) -> dict[str, Any]:
    delivery, wish = arrival.delivery, arrival.wish
    sender = None if wish.sender_id is None else digest(wish.sender_id)
    warnings = [*wish.warnings, *_stale(wish, moment)]
    return {
        "id": arrival.alert,
        "hook": delivery.hook,
        "received_at": moment,
        "outcome": arrival.outcome,
        "reason": arrival.reason,
        "errors": list(arrival.errors),
        "warned": warnings,
        "warned_of_id": [_ID_REUSED, *warnings],
        "text": delivery.text,
        "size": len(delivery.body),
        "source_address": delivery.source_address,
        "secret_label": delivery.secret_label,
        "sender_id": sender,
        "at": delivery.hook,
        "sender": sender,
        "deliveries": 1,
    }


def _warned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same alerts: who has the sender's id of an earlier one of them is told so, as the statement sees none of them."""
    seen = set()
    for row in rows:
        sender = (row["at"], row["sender"])
        if row["sender"] is not None and sender in seen:
            row["warned"] = row["warned_of_id"]
        seen.add(sender)
    return rows


def _stale(wish: Wish, moment: datetime) -> list[dict[str, Any]]:
    if not wish.too_old(moment):
        return []
    hint = wish.stale_hint or "check the sender's clock, and what delays its alerts"
    return [{"field": "time", "message": "too_old", "hint": hint}]


def _command(arrival: Arrival, command: Command, moment: datetime) -> dict[str, Any]:
    wish = arrival.wish
    status, reason, attention = _at_first(wish, moment)
    return {
        "id": new_id(),
        "alert": arrival.alert,
        "hook": arrival.delivery.hook,
        **columns_of(command, moment.date()),
        "status": status,
        "reason": reason,
        "attention": attention,
        "accepted_at": moment,
        "expires_at": (wish.fired_at or moment) + timedelta(seconds=wish.max_age),
        "settled_at": moment if status.final else None,
        "due_at": None if status.final else moment,
        "fence": 0,
        "fixed": False,
        "dry_run": wish.dry_run,
    }


def _at_first(wish: Wish, moment: datetime) -> tuple[Status, str | None, Attention | None]:
    """The status of a new command, the reason, and whether somebody must look."""
    if wish.too_old(moment):
        hint = f"; {wish.stale_hint}" if wish.stale_hint else ""
        reason = f"too old: it fired at {wish.fired_at:%Y-%m-%dT%H:%M:%SZ}{hint}"
        return Status.EXPIRED, reason, None if wish.dry_run else Attention.EXPIRED
    if wish.dry_run:
        return Status.CANCELLED, "shadow mode: its hook has dry_run = true, and sends nothing", None
    return Status.QUEUED, None, None


def _record(connection: Connection, arrival: Arrival, rows: Sequence[dict[str, Any]]) -> None:
    wish, actor = arrival.wish, arrival.actor or arrival.delivery.hook
    symbol = {"symbol": wish.symbol} if wish.symbol else None
    for row in rows:
        record(connection, row["id"], "accepted", actor, symbol, alert=arrival.alert)
        if row["status"].final:
            record(connection, row["id"], "status", actor, {"from": Status.QUEUED, "to": row["status"]})
