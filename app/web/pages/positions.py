"""What is open now at each broker and account, with the time of the reading."""

from typing import Any

from flask import Response

from app.web.pages.base import dashboard, live
from app.web.pages.overview import open_now


@dashboard.get("/positions")
def positions() -> Response:
    return live("positions", readings=[_by_account(reading) for reading in open_now()])


def _by_account(reading: dict[str, Any]) -> dict[str, Any]:
    accounts: dict[str, list[dict[str, Any]]] = {}
    for position in sorted(
        reading["positions"], key=lambda it: (it["account"], it["instrument"], it["side"])
    ):
        accounts.setdefault(position["account"], []).append(position)
    return reading | {"accounts": accounts}
