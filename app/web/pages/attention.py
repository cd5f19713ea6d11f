"""Whatever a person must look at, grouped by its cause, until somebody acknowledges."""

from typing import Any

from flask import Response

from app.domain.statuses import GRAVEST_FIRST
from app.ledger import readers
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.pages.commands import possible
from app.web.pages.rows import shown

SHOWN = 200


@dashboard.get("/attention")
def attention() -> Response:
    rows = readers.asking_for_attention(ledger(), SHOWN + 1)
    groups: dict[str, list[dict[str, Any]]] = {}
    for command in shown(rows[:SHOWN]):
        acts = possible(command["status"], command["attention"], command["dry_run"])
        groups.setdefault(command["attention"], []).append(command | {"acts": acts})
    order = [str(cause) for cause in GRAVEST_FIRST if cause in groups]
    return live("attention", groups=[(cause, groups[cause]) for cause in order], more=len(rows) > SHOWN)
