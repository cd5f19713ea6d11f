"""What makes one alert of several deliveries: a key that is somebody's for a while, or as long as the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.connection import insert_once
from app.ledger.delivery import Delivery, Wish, digest
from app.ledger.events import record
from app.ledger.transaction import moment_of

_COMMANDS_OF = (
    select(tables.commands)
    .where(tables.commands.c.alert == bindparam("alert"))
    .order_by(tables.commands.c.seq)
)


@dataclass(frozen=True, slots=True)
class Key:
    """What tells an alert from others."""

    key: str
    body: str
    """SHA-256 of the bytes as received."""
    seconds: float | None
    """How long it is kept; None: as long as the ledger."""


class KeyReused(Exception):
    """Raised when an idempotency key of a header was used before with another body."""

    def __init__(self, alert: str) -> None:
        super().__init__("this idempotency key was used before, with another body")
        self.alert = alert


def key_of(delivery: Delivery, wish: Wish) -> Key:
    """What tells this alert from others, and for how long (design, Once)."""
    hook, body = delivery.hook, delivery.digest
    if delivery.header_key is not None:
        return Key(f"{hook} header {digest(delivery.header_key)}", body, None)
    if wish.sender_id is not None:
        lasts = max(wish.max_age, wish.dedupe_window)
        return Key(f"{hook} id {digest(wish.sender_id)} {body}", body, lasts)
    return Key(f"{hook} body {body}", body, wish.dedupe_window)


def claim(connection: Connection, keys: Mapping[str, Key]) -> set[str]:
    """Those of these alerts that are new: each has its key now. The keys of the others are another's."""
    moment = moment_of(connection)
    rows = [_row(alert, key, moment) for alert, key in keys.items()]
    # In the same order everywhere, lest two transactions wait for each other's.
    rows.sort(key=lambda row: row["key"])
    return {row.alert for row in insert_once(connection, tables.alert_keys, *rows)}


def first_of(connection: Connection, alert: str, key: Key, *, asks: bool, dry_run: bool) -> str | None:
    """The alert that has this key; None: nothing came of it, and now the key is this one's. Raises KeyReused.

    `asks`: whether this one asks for anything; `dry_run`: whether what it asks for is only to be shown.
    Whoever has the key is committed by now, or of this transaction: `claim` waited for it.
    """
    moment = moment_of(connection)
    row = _row(alert, key, moment)
    mine = tables.alert_keys.c.key == row["key"]
    found = connection.execute(select(tables.alert_keys).where(mine).with_for_update()).first()
    if found is None:  # pruned just now
        if insert_once(connection, tables.alert_keys, row):
            return None
        return first_of(connection, alert, key, asks=asks, dry_run=dry_run)
    if found.expires_at is None and found.body != row["body"]:
        raise KeyReused(found.alert)
    ran_out = found.expires_at is not None and found.expires_at <= moment
    # Locked, lest it be pruned just now. One that is not there was settled long ago, or is written with this one.
    first = select(tables.alerts.c.seq).where(tables.alerts.c.id == found.alert).with_for_update()
    if not ran_out and connection.execute(first).first() is None:
        return str(found.alert)
    if not ran_out and not _did_not_happen(connection, found.alert, asks=asks, dry_run=dry_run):
        return str(found.alert)
    if not ran_out:
        _pass_on(connection, found.alert, row["alert"])
    connection.execute(update(tables.alert_keys).where(mine).values(row))
    return None


def _row(alert: str, key: Key, moment: datetime) -> dict[str, Any]:
    ends = None if key.seconds is None else moment + timedelta(seconds=key.seconds)
    return {"key": key.key, "alert": alert, "body": key.body, "expires_at": ends}


def commands_of(connection: Connection, alert: str) -> Sequence[Row[Any]]:
    return connection.execute(_COMMANDS_OF, {"alert": alert}).all()


def accepted_anew(connection: Connection, command: str) -> str | None:
    """The alert as which that of a command was accepted anew; None: it was not."""
    events = tables.events.c
    known = select(events.detail).where(events.command == command, events.name == "accepted_anew")
    detail = connection.execute(known.limit(1)).scalar()
    return detail["alert"] if detail else None


def _pass_on(connection: Connection, first: str, alert: str) -> None:
    """What did not happen is asked for again: the first asks nobody for anything any more."""
    commands = tables.commands
    for row in commands_of(connection, first):
        record(connection, row.id, "accepted_anew", row.hook, {"alert": alert})
        if row.attention is not None:
            noted = update(commands).where(commands.c.id == row.id)
            connection.execute(noted.values(attention=None, acknowledged=row.attention))


def _did_not_happen(connection: Connection, alert: str, *, asks: bool, dry_run: bool) -> bool:
    """Whether nothing that the alert asked for is open, done, or may have happened in part.

    One that was ignored, or only shown, is another when its hook has learnt what to do with it.
    """
    commands, closed, attempts = tables.commands.c, tables.closed_positions.c, tables.attempts.c
    rows = commands_of(connection, alert)
    if not rows:
        return asks
    if all(row.dry_run for row in rows):
        return not dry_run
    harmless = {Status.EXPIRED, Status.NOTHING_OPEN, Status.GAVE_UP}
    if any(row.status not in harmless for row in rows):
        return False
    gave_up = select(commands.id).where(commands.alert == alert, commands.status == Status.GAVE_UP)
    something_closed = select(closed.seq).where(closed.command.in_(gave_up))
    may_have_left = select(attempts.seq).where(
        attempts.command.in_(gave_up),
        attempts.kind == "close",
        attempts.outcome.is_(None) | attempts.outcome.in_(("reported", "outcome_unknown")),
    )
    return (
        not connection.execute(something_closed.limit(1)).first()
        and not connection.execute(may_have_left.limit(1)).first()
    )
