"""Taking alerts in: each becomes one row, however often it is delivered, in one transaction with its commands."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, insert, select, update

from app.domain.commands import Command
from app.domain.statuses import Attention, Status
from app.ledger import once, tables
from app.ledger.connection import Ledger, insert_once
from app.ledger.encoding import columns_of
from app.ledger.events import record
from app.ledger.once import Key
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
_ALERT = (
    insert(tables.alerts)
    .values(warnings=case((_of_sender, _WARNED_OF_ID), else_=_WARNED))
    .returning(tables.alerts.c.warnings)
)
_COMMAND = insert(tables.commands).inline()
_BLANK: dict[str, Any] = dict.fromkeys(tables.commands.c.keys())

OPERATORS_HOOK = "(operator)"
"""What stands for the hook of what an operator asks for: no hook can be named so."""
_ID_REUSED = {
    "field": "id",
    "message": "id_reused",
    "hint": "make it unique: {{strategy.order.id}}-{{timenow}}",
}
BY_SCHEDULE = "(schedule) "
"""What stands before a schedule's name where an alert says by which secret it came."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of an alert, authenticated."""

    hook: str
    body: bytes
    text: str
    """The text to keep: no secret in it."""
    secret_label: str
    source_address: str | None = None
    header_key: str | None = None
    """The sender's `Idempotency-Key` or `webhook-id`, if there was one."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def keyed(self, key: str) -> "Delivery":
        """The same delivery with the sender's key of a header."""
        return replace(self, header_key=key)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an accepted alert asks for, and for how long it is wanted."""

    commands: Sequence[Command]
    warnings: Sequence[dict[str, Any]] = ()
    sender_id: str | None = None
    fired_at: datetime | None = None
    max_age: float = 300
    max_lag: float | None = None
    """Seconds from firing to arrival after which the sender wants it no more; None: `max_age` decides."""
    stale_hint: str | None = None
    """What to change in the alert, should it be too old."""
    dedupe_window: float = 30
    symbol: str | None = None
    """The sender's name of the instrument, where the venue has another."""
    ignored: str | None = None
    """Why it asks for nothing; None: it does."""
    dry_run: bool = False
    """Its commands are kept to be shown, and are never sent."""

    def too_old(self, moment: datetime) -> bool:
        longest = self.max_age if self.max_lag is None else min(self.max_age, self.max_lag)
        return self.fired_at is not None and self.fired_at + timedelta(seconds=longest) <= moment


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery."""

    alert: str
    commands: Sequence[Any]
    """Their columns as attributes."""
    duplicate: bool = False
    warnings: Sequence[dict[str, Any]] = ()


def accept(ledger: Ledger, delivery: Delivery, wish: Wish) -> Taken:
    """The alert and its commands, committed; or the first one, if this is a repeat of it. Raises KeyReused."""
    with ledger.writing(awaited=True) as connection:
        moment = moment_of(connection)
        alert = new_id()
        key, shown_only = _key(delivery, wish), wish.dry_run
        first = once.claim(connection, key, alert, moment, asks=bool(wish.commands), dry_run=shown_only)
        if first is not None:
            _count_delivery(connection, first)
            return Taken(first, once.commands_of(connection, first), duplicate=True)
        warnings = [*wish.warnings, *_stale(wish, moment)]
        outcome = "ignored" if wish.ignored else "accepted"
        warnings = _insert_alert(
            connection, alert, delivery, moment, outcome, warnings, wish.sender_id, wish.ignored
        )
        rows = [_insert_command(connection, alert, delivery, it, wish, moment) for it in wish.commands]
        return Taken(alert, rows, warnings=warnings)


def accept_of_operator(
    ledger: Ledger, command: Command, actor: str, reason: str, text: str, max_age: float
) -> Taken:
    """An operator's own command, through the same ledger: an alert of its own at no hook."""
    delivery = Delivery(OPERATORS_HOOK, text.encode(), text, secret_label=actor, source_address=None)
    with ledger.writing() as connection:
        moment = moment_of(connection)
        alert, wish = new_id(), Wish([command], max_age=max_age)
        _insert_alert(connection, alert, delivery, moment, "accepted", (), None, reason)
        return Taken(alert, [_insert_command(connection, alert, delivery, command, wish, moment, actor)])


def accept_of_schedule(
    ledger: Ledger, delivery: Delivery, wish: Wish, name: str, run: datetime
) -> Taken | None:
    """A run of a schedule as an alert to its hook; None: somebody has seen to this run already."""
    with ledger.writing() as connection:
        moment = moment_of(connection)
        alert = new_id()
        key = {"key": f"{BY_SCHEDULE}{name} {run.isoformat()}", "alert": alert, "body": delivery.digest}
        if not insert_once(connection, tables.alert_keys, key):
            return None
        warnings = [*wish.warnings, *_stale(wish, moment)]
        _insert_alert(connection, alert, delivery, moment, "accepted", warnings, None)
        actor = f"schedule {name}"
        rows = [_insert_command(connection, alert, delivery, it, wish, moment, actor) for it in wish.commands]
        return Taken(alert, rows, warnings=warnings)


def refuse(ledger: Ledger, delivery: Delivery, reason: str, errors: Sequence[dict[str, Any]]) -> str:
    """Keep an alert that was authenticated and not taken, with the reason. Its id."""
    with ledger.writing(awaited=True) as connection:
        alert = new_id()
        moment = moment_of(connection)
        _insert_alert(connection, alert, delivery, moment, "refused", (), None, reason, errors)
        return alert


def new_id() -> str:
    return secrets.token_hex(16)


def _key(delivery: Delivery, wish: Wish) -> Key:
    """What tells this alert from others, and for how long (design, Once)."""
    hook, body = delivery.hook, delivery.digest
    if delivery.header_key is not None:
        return Key(f"{hook} header {_digest(delivery.header_key)}", body, None)
    if wish.sender_id is not None:
        lasts = max(wish.max_age, wish.dedupe_window)
        return Key(f"{hook} id {_digest(wish.sender_id)} {body}", body, lasts)
    return Key(f"{hook} body {body}", body, wish.dedupe_window)


def _stale(wish: Wish, moment: datetime) -> list[dict[str, Any]]:
    if not wish.too_old(moment):
        return []
    hint = wish.stale_hint or "check the sender's clock, and what delays its alerts"
    return [{"field": "time", "message": "too_old", "hint": hint}]


def _count_delivery(connection: Connection, alert: str) -> None:
    alerts = tables.alerts
    connection.execute(update(alerts).where(alerts.c.id == alert).values(deliveries=alerts.c.deliveries + 1))
    for row in once.commands_of(connection, alert):
        record(connection, row.id, "delivered_again", row.hook, alert=alert)


def _insert_alert(
    connection: Connection,
    alert: str,
    delivery: Delivery,
    moment: datetime,
    outcome: str,
    warnings: Sequence[dict[str, Any]],
    sender_id: str | None,
    reason: str | None = None,
    errors: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The warnings that were kept: one more if the sender's id is not new to the hook."""
    sender = None if sender_id is None else _digest(sender_id)
    row = {
        "id": alert,
        "hook": delivery.hook,
        "received_at": moment,
        "outcome": outcome,
        "reason": reason,
        "errors": list(errors),
        "warned": list(warnings),
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
    kept: list[dict[str, Any]] = connection.execute(_ALERT, row).scalar_one()
    return kept


def _insert_command(
    connection: Connection,
    alert: str,
    delivery: Delivery,
    command: Command,
    wish: Wish,
    moment: datetime,
    actor: str | None = None,
) -> SimpleNamespace:
    """What was written. `actor` is who asks for it; None: its hook."""
    actor = actor or delivery.hook
    expires_at = (wish.fired_at or moment) + timedelta(seconds=wish.max_age)
    status, reason, attention = _at_first(wish, moment)
    command_id = new_id()
    row = {
        "id": command_id,
        "alert": alert,
        "hook": delivery.hook,
        **columns_of(command, moment.date()),
        "status": status,
        "reason": reason,
        "attention": attention,
        "accepted_at": moment,
        "expires_at": expires_at,
        "settled_at": moment if status.final else None,
        "due_at": None if status.final else moment,
        "fence": 0,
        "fixed": False,
        "dry_run": wish.dry_run,
    }
    connection.execute(_COMMAND, row)
    symbol = {"symbol": wish.symbol} if wish.symbol else None
    record(connection, command_id, "accepted", actor, symbol, alert=alert)
    if status.final:
        record(connection, command_id, "status", actor, {"from": Status.QUEUED, "to": status})
    return SimpleNamespace(**_BLANK | row)


def _at_first(wish: Wish, moment: datetime) -> tuple[Status, str | None, Attention | None]:
    """The status of a new command, the reason, and whether somebody must look."""
    if wish.too_old(moment):
        hint = f"; {wish.stale_hint}" if wish.stale_hint else ""
        reason = f"too old: it fired at {wish.fired_at:%Y-%m-%dT%H:%M:%SZ}{hint}"
        return Status.EXPIRED, reason, None if wish.dry_run else Attention.EXPIRED
    if wish.dry_run:
        return Status.CANCELLED, "shadow mode: its hook has dry_run = true, and sends nothing", None
    return Status.QUEUED, None, None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
