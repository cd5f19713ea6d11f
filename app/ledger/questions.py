"""What the dashboard asks the workers: what is open now, and what a text would send. The web process reaches no broker.

A question is a row; whichever worker may call that broker takes it, and writes the answer beside it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import from_now, now

FRESH = 4.0
"""Seconds for which a reading of positions is not asked for anew, however many look."""
TAKEN = 25.0
"""Seconds after which a question is asked of another worker: its first one must have died."""
KEPT = 600.0
"""Seconds that the answer of a preview is kept."""

_questions = tables.questions


class Kind(StrEnum):
    """What can be asked."""

    POSITIONS = "positions"
    """What is open at a broker. One row a broker; the answer is the last reading."""
    PREVIEW = "preview"
    """The requests that a command would send, and what they would leave."""


@dataclass(frozen=True, slots=True)
class Question:
    """One that a worker took."""

    id: str
    kind: Kind
    broker: str
    detail: Mapping[str, Any]


def ask_for_positions(ledger: Ledger, brokers: Collection[str]) -> None:
    """Have what is open read anew at these brokers, unless it was read a moment ago or is being read."""
    insert_into = sqlite.insert if ledger.sqlite else postgresql.insert
    answered = _questions.c.answered_at >= _questions.c.asked_at
    stale = and_(answered, _questions.c.answered_at < from_now(-FRESH))
    if brokers and not _any_due(ledger, brokers, stale):
        return
    with ledger.writing(awaited=True) as connection:
        for broker in sorted(brokers):
            row = {"id": f"positions {broker}", "kind": Kind.POSITIONS, "broker": broker, "detail": {}}
            ask = insert_into(_questions).values(**row, asked_at=now())
            connection.execute(
                ask.on_conflict_do_update(
                    index_elements=[_questions.c.id], set_={"asked_at": now()}, where=stale
                )
            )


def ask_for_previews(ledger: Ledger, asked: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """Have a worker say what commands would send: each by the id of its question, with its broker."""
    with ledger.writing(awaited=True) as connection:
        old = and_(_questions.c.kind == Kind.PREVIEW, _questions.c.asked_at < from_now(-KEPT))
        connection.execute(delete(_questions).where(old))
        for question_id, (broker, detail) in asked.items():
            row = {"id": question_id, "kind": Kind.PREVIEW, "broker": broker, "detail": dict(detail)}
            connection.execute(_questions.insert().values(**row, asked_at=now()))


def readings(ledger: Ledger) -> Sequence[Row[Any]]:
    """The last reading of each broker that was ever asked for, by its name; `answer` is null before the first."""
    with ledger.reading() as connection:
        wanted = select(_questions).where(_questions.c.kind == Kind.POSITIONS)
        return connection.execute(wanted.order_by(_questions.c.broker)).all()


def answer_of(ledger: Ledger, question_id: str) -> Row[Any] | None:
    with ledger.reading() as connection:
        return connection.execute(select(_questions).where(_questions.c.id == question_id)).first()


def _open() -> ColumnElement[bool]:
    it = _questions.c
    unanswered = or_(it.answered_at.is_(None), it.answered_at < it.asked_at)
    free = or_(it.taken_at.is_(None), it.taken_at < it.asked_at, it.taken_at < from_now(-TAKEN))
    return and_(unanswered, free)


# Every worker looks each second. What is open comes first ("positions" before "preview"), then what was asked first.
_NEXT = (
    select(_questions)
    .where(_open(), _questions.c.broker == bindparam("of"))
    .order_by(_questions.c.kind, _questions.c.asked_at)
    .limit(1)
)


def take(ledger: Ledger, broker: str) -> Question | None:
    """A question about a broker that nobody answers yet. None: there is none."""
    with ledger.reading() as connection:
        row = connection.execute(_NEXT, {"of": broker}).first()
    if row is None:
        return None
    with ledger.writing() as connection:
        mine = update(_questions).where(_questions.c.id == row.id, _open()).values(taken_at=now())
        if connection.execute(mine).rowcount != 1:
            return None
    return Question(row.id, Kind(row.kind), row.broker, row.detail)


def put_back(ledger: Ledger, question: Question) -> None:
    """There was no room for it now."""
    with ledger.writing() as connection:
        mine = _questions.c.id == question.id
        connection.execute(update(_questions).where(mine).values(taken_at=None))


def answer(ledger: Ledger, question: Question, found: Mapping[str, Any]) -> None:
    """Write the answer. A reading that failed keeps what was read before, beside its `problem`."""
    with ledger.writing() as connection:
        mine = _questions.c.id == question.id
        if question.kind is Kind.POSITIONS:
            before = connection.execute(select(_questions.c.answer).where(mine)).scalar() or {}
            moment: datetime = connection.execute(select(now())).scalar_one()
            read = {"read_at": moment.isoformat()} if not found.get("problem") else {}
            found = {**before, "problem": None, **found, **read}
        values = {"answered_at": now(), "answer": dict(found)}
        connection.execute(update(_questions).where(mine).values(**values))


def _any_due(ledger: Ledger, brokers: Collection[str], stale: ColumnElement[bool]) -> bool:
    """Most who look come while a reading is fresh: they must not write."""
    with ledger.reading() as connection:
        known = connection.execute(
            select(_questions.c.broker, stale).where(
                _questions.c.kind == Kind.POSITIONS, _questions.c.broker.in_(brokers)
            )
        ).all()
    return len(known) < len(brokers) or any(due for _, due in known)
