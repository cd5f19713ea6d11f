"""Since when each schedule is looked after: what came due while nobody did was missed, what was due before never was."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, select, tuple_, update

from app.ledger import tables
from app.ledger.connection import Ledger, insert_once

_schedules = tables.schedules


def known_until(ledger: Ledger, name: str, timetable: str, moment: datetime) -> datetime:
    """Up to when a schedule was looked after: from this moment on, if it was not known with this timetable."""
    with ledger.writing() as connection:
        insert_once(connection, _schedules, {"name": name, "timetable": timetable, "looked_until": moment})
        known = select(_schedules.c.looked_until).where(_is(name, timetable))
        until: datetime = connection.execute(known).scalar_one()
        return until


def looked(ledger: Ledger, name: str, timetable: str, until: datetime) -> None:
    """All that came due up to then was seen to. What another worker forgot, whose file is newer, stays forgotten."""
    older = _schedules.c.looked_until < until
    with ledger.writing() as connection:
        connection.execute(update(_schedules).where(_is(name, timetable), older).values(looked_until=until))


def forget_others(ledger: Ledger, known: Collection[tuple[str, str]]) -> None:
    """Forget what is in the file no more: put back there, it begins anew and has missed nothing."""
    name_and_timetable = tuple_(_schedules.c.name, _schedules.c.timetable)
    with ledger.writing() as connection:
        connection.execute(delete(_schedules).where(name_and_timetable.not_in(list(known))))


def _is(name: str, timetable: str) -> ColumnElement[bool]:
    return and_(_schedules.c.name == name, _schedules.c.timetable == timetable)
