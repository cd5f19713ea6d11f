"""What is open now, as the workers read it: the web process reaches no broker."""

import time
from collections.abc import Collection
from datetime import datetime
from typing import Any

from flask import current_app

from app.ledger import questions
from app.web.acting import ledger
from app.web.presentation import plain

PATIENCE = 0.9
"""Seconds that a view waits for a fresh reading; then it shows the last one."""
LOOK_EVERY = 0.1


def positions(patience: float = PATIENCE) -> dict[str, Any]:
    """What is open at each broker, and when that was read. Asks for a new reading, and waits for it a moment."""
    brokers: Collection[str] = current_app.extensions["flatwire_brokers"].keys()
    questions.ask_for_positions(ledger(), brokers)
    ends_at = time.monotonic() + patience
    while True:
        rows = {row.broker: row for row in questions.readings(ledger())}
        fresh = all(row.answered_at and row.answered_at >= row.asked_at for row in rows.values())
        if fresh or time.monotonic() + LOOK_EVERY > ends_at:
            break
        time.sleep(LOOK_EVERY)
    answers = {name: _as_read(rows[name].answer if name in rows else None) for name in brokers}
    return {
        "items": [
            {"broker": name, **position, "read_at": answer.get("read_at")}
            for name, answer in answers.items()
            for position in answer.get("positions", ())
        ],
        "brokers": [
            {
                "broker": name,
                "read_at": answer.get("read_at"),
                "problem": answer.get("problem"),
                "unreadable": answer.get("unreadable", {}),
            }
            for name, answer in answers.items()
        ],
        "next": None,
    }


def _as_read(answer: dict[str, Any] | None) -> dict[str, Any]:
    if not answer or not answer.get("read_at"):
        return answer or {}
    return {**answer, "read_at": plain(datetime.fromisoformat(answer["read_at"]))}
