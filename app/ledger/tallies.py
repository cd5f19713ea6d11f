"""What Prometheus counts: sums over all processes that only grow.

Nothing is counted as it happens, so no alert and no close pays for it. Whoever asks counts what the ledger took in since
somebody asked last, and keeps the sums there.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from app.domain.statuses import Status
from app.ledger import tables
from app.ledger.connection import Ledger, insert_once
from app.ledger.types import from_now

LATE = -5.0
"""Seconds: what is older has its number, and none below it can still be committed; see `TRANSACTION_SECONDS`."""
AT_ONCE = 4000
"""Rows that are counted in one transaction."""
MOST_TIMES = 10
"""Transactions of one asking; what is left is counted by the next."""
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, float("inf"))
"""Upper bounds of the histograms, in seconds."""

Labels = tuple[tuple[str, str], ...]
"""Names and values; of a bucket `le` too, its upper bound."""
Sums = Mapping[tuple[str, Labels], int]

_tallies = tables.tallies
_events, _commands, _alerts = tables.events, tables.commands, tables.alerts


def counted(ledger: Ledger) -> Sums:
    """Every sum, by its name and labels, brought up to a few seconds ago. Times are microseconds."""
    for _ in range(MOST_TIMES):
        with ledger.writing() as connection:
            more = [_count_alerts(connection), _count_events(connection)]
        if not any(more):
            break
    with ledger.reading() as connection:
        rows = connection.execute(select(_tallies).where(_tallies.c.name.not_like("mark %"))).all()
    return {(row.name, tuple(map(tuple, json.loads(row.labels)))): row.value for row in rows}


def add(ledger: Ledger, sums: Sums) -> None:
    """Add what a process counted by itself."""
    with ledger.writing(awaited=True) as connection:
        _add(connection, sums)


def observed(name: str, of: tuple[str, str], seconds: float) -> dict[tuple[str, Labels], int]:
    """One more of a histogram, whose buckets each hold all that is below their bound."""
    found: dict[tuple[str, Labels], int] = {(f"{name}_sum", (of,)): round(seconds * 1_000_000)}
    for bound in BUCKETS:
        if seconds <= bound:
            found[name, (of, ("le", str(bound)))] = 1
    return found


def _count_alerts(connection: Connection) -> bool:
    """Whether there are more."""
    after = _mark(connection, "mark alerts", _alerts.c.seq)
    wanted = select(_alerts.c.seq, _alerts.c.outcome).where(_alerts.c.seq > after)
    settled = _alerts.c.received_at <= select(from_now(LATE)).scalar_subquery()
    rows = connection.execute(wanted.where(settled).order_by(_alerts.c.seq).limit(AT_ONCE)).all()
    _add(connection, Counter(("alerts", (("outcome", row.outcome),)) for row in rows))
    return _moved(connection, "mark alerts", after, rows)


def _count_events(connection: Connection) -> bool:
    after = _mark(connection, "mark events", _events.c.seq)
    wanted = (
        select(_events, _commands.c.broker, _commands.c.accepted_at, _commands.c.first_attempt_at)
        .join_from(_events, _commands, _events.c.command == _commands.c.id)
        .where(_events.c.seq > after, _events.c.at <= select(from_now(LATE)).scalar_subquery())
        .order_by(_events.c.seq)
        .limit(AT_ONCE)
    )
    rows = connection.execute(wanted).all()
    sums: Counter[tuple[str, Labels]] = Counter()
    for row in rows:
        sums.update(_of_event(row))
    _add(connection, sums)
    return _moved(connection, "mark events", after, rows)


def _of_event(row: Any) -> Counter[tuple[str, Labels]]:
    """What one event adds to which sums."""
    broker = ("broker", row.broker)
    match row.name:
        case "accepted":
            return Counter({("commands_accepted", (broker,)): 1})
        case "answered":
            return Counter({("attempts", (broker, ("outcome", str(row.detail["outcome"])))): 1})
        case "taken_back":
            return Counter({("taken_back", (broker,)): 1})
        case "status" if Status(row.detail["to"]).final and row.detail["from"] != row.detail["to"]:
            status = Status(row.detail["to"])
            found: Counter[tuple[str, Labels]] = Counter()
            found["commands_settled", (broker, ("status", str(status)))] = 1
            if status is Status.CLOSED:
                found.update(observed("alert_to_closed", broker, (row.at - row.accepted_at).total_seconds()))
                if row.first_attempt_at is not None:
                    sent = row.first_attempt_at - row.accepted_at
                    found.update(observed("alert_to_broker", broker, sent.total_seconds()))
            return found
    return Counter()


def _mark(connection: Connection, name: str, seq: Any) -> int:
    """Up to where rows are counted. Others who count wait here. What is older than the first asking is not counted."""
    newest = connection.execute(select(func.max(seq))).scalar() or 0
    insert_once(connection, _tallies, {"name": name, "labels": "[]", "value": newest})
    mark = select(_tallies.c.value).where(_tallies.c.name == name).with_for_update()
    return int(connection.execute(mark).scalar_one())


def _moved(connection: Connection, name: str, after: int, rows: Sequence[Any]) -> bool:
    if rows:
        _add(connection, {(name, ()): rows[-1].seq - after})
    return len(rows) == AT_ONCE


def _add(connection: Connection, sums: Mapping[tuple[str, Labels], int]) -> None:
    insert_into = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for (name, labels), more in _in_order(sums):
        row = {"name": name, "labels": json.dumps(labels), "value": more}
        add = insert_into(_tallies).values(row)
        grown = {"value": _tallies.c.value + add.excluded.value}
        connection.execute(add.on_conflict_do_update(index_elements=["name", "labels"], set_=grown))


def _in_order(sums: Mapping[tuple[str, Labels], int]) -> Iterable[tuple[tuple[str, Labels], int]]:
    return sorted(sums.items())
