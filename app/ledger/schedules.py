"""Since when each schedule is looked after: what came due while nobody did was missed, what was due before never was."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, tuple_, update

from app.ledger import tables
from app.ledger.connection import Ledger, insert_once
from app.ledger.types import now

_schedules = tables.schedules


def known_until(ledger: Ledger, name: str, timetable: str) -> datetime:
    """Up to when a schedule was looked after; it is from now on, if it was not known with this timetable."""
    mine = (_schedules.c.name == name) & (_schedules.c.timetable == timetable)
    with ledger.writing() as connection:
        moment: datetime = connection.execute(select(now())).scalar_one()
        insert_once(connection, _schedules, {"name": name, "timetable": timetable, "looked_until": moment})
        until: datetime = connection.execute(select(_schedules.c.looked_until).where(mine)).scalar_one()
        return until


def looked(ledger: Ledger, name: str, timetable: str, until: datetime) -> None:
    """All that came due up to then was seen to."""
    row = {"name": name, "timetable": timetable, "looked_until": until}
    mine = (_schedules.c.name == name) & (_schedules.c.timetable == timetable)
    with ledger.writing() as connection:
        if not insert_once(connection, _schedules, row):  # a worker that knows it no more may have deleted it
            older = _schedules.c.looked_until < until
            connection.execute(update(_schedules).where(mine, older).values(looked_until=until))


def forget_others(ledger: Ledger, known: Collection[tuple[str, str]]) -> None:
    """Forget what is in the file no more: put back there, it begins anew and has missed nothing."""
    name_and_timetable = tuple_(_schedules.c.name, _schedules.c.timetable)
    with ledger.writing() as connection:
        connection.execute(delete(_schedules).where(name_and_timetable.not_in(list(known))))
