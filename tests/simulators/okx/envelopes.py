"""What wraps every answer of OKX (brokers.md, section 4.2)."""

from dataclasses import dataclass
from typing import Any

from tests.simulators.line import Answer

from .codes import CODES, Refusal
from .presentation import Json

ALL_FAILED = "All operations failed"
SOME_FAILED = "Bulk operation partially succeeded"
# ccxt's recordings show these two inside `data` for close-position; where the others stand is not known.
CLOSE_REFUSALS_IN_DATA = frozenset({"51000", "51010"})


@dataclass(frozen=True, slots=True)
class Item:
    """One of the things that a trade call asked for, and whether it went wrong."""

    body: Json
    refusal: Refusal | None = None


def data(rows: list[Json], acted: bool = False) -> Answer:
    return Answer(200, {"code": "0", "msg": "", "data": rows}, acted=acted)


def refused(code: str, message: str | None = None, status: int | None = None) -> Answer:
    """At the top level, with the status of the table unless another is given."""
    known = CODES.get(code)
    if status is None:
        status = known.status if known else 200
    if message is None:
        message = known.message.format("") if known else "Operation failed"
    return Answer(status, {"code": code, "data": [], "msg": message})


def refusal_item(refusal: Refusal, client_id: Any = "", tag: Any = "") -> Item:
    # ccxt's recordings of a refused order.
    body = {
        "clOrdId": client_id or "",
        "ordId": "",
        "sCode": refusal.code,
        "sMsg": refusal.message,
        "tag": tag or "",
    }
    return Item(body, refusal)


def trade(items: list[Item], in_time: str, out_time: str) -> Answer:
    """The answer to a call that asks for one or several things."""
    failed = sum(item.refusal is not None for item in items)
    code = "0" if not failed else "1" if failed == len(items) else "2"
    body = {
        "code": code,
        "data": [item.body for item in items],
        "inTime": in_time,
        "msg": {"0": "", "1": ALL_FAILED, "2": SOME_FAILED}[code],
        "outTime": out_time,
    }
    return Answer(200, body, acted=failed < len(items))
