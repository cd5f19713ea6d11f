"""Calls at the door that nobody authenticated: counted by address, hook and reason, and no more than so many kept."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import now

KEPT = 500
"""The latest of them; whoever tries from ever new addresses must not fill the disk."""

_strangers = tables.strangers


def note(ledger: Ledger, address: str, hook: str, reason: str, times: int = 1) -> None:
    """Count calls that were turned away. `hook` is empty if there is none of that name."""
    with ledger.writing(awaited=True) as connection:
        insert_into = sqlite.insert if ledger.sqlite else postgresql.insert
        row = insert_into(_strangers).values(
            address=address, hook=hook, reason=reason, first_at=now(), last_at=now(), times=times
        )
        again = {"last_at": now(), "times": _strangers.c.times + times}
        key = [_strangers.c.address, _strangers.c.hook, _strangers.c.reason]
        connection.execute(row.on_conflict_do_update(index_elements=key, set_=again))
        oldest_kept = (
            select(_strangers.c.last_at).order_by(_strangers.c.last_at.desc()).offset(KEPT - 1).limit(1)
        )
        connection.execute(delete(_strangers).where(_strangers.c.last_at < oldest_kept.scalar_subquery()))


def latest(ledger: Ledger, limit: int = KEPT) -> Sequence[Row[Any]]:
    """Those kept, the last one first."""
    with ledger.reading() as connection:
        return connection.execute(select(_strangers).order_by(_strangers.c.last_at.desc()).limit(limit)).all()
