"""OKX's answers, as our values. Pure.

Page: https://www.okx.com/docs-v5/en. Every answer is `{"code", "msg", "data": [row, …]}`, every value of a row a text,
empty where it does not apply. A reader raises Refused, Throttled or OutcomeUnknown by what the answer proves (`codes`),
and Unreadable where a success has not the documented shape.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Fill, Order, OrderState, Position, Report, Side
from workers.brokers.broker import Page, Terms
from workers.brokers.http import HttpAnswer
from workers.brokers.okx.codes import ADVICE, CLOCK_IS_OFF, Verdict, verdict_of
from workers.brokers.okx.requests import KINDS, MODES, PAGE, POSITION_SIDES, identified, named

Row = Mapping[str, Any]

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_LARGEST = Decimal(10) ** 15  # no quantity, price or profit is larger; what the ledger's columns take
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MOMENT, _LAST_MOMENT = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2100
_LONGEST_WAIT = 86_400.0  # seconds

_SPOT = "SPOT"  # trades of coins, which no position knows of
_HEDGED = {"long": Side.LONG, "short": Side.SHORT}
_RESTING = ("limit", "post_only")  # ordType; anything else may be a close
_REDUCES = {"sell": Side.LONG, "buy": Side.SHORT}
_STATES = {
    "live": OrderState.WORKING,
    "partially_filled": OrderState.WORKING,
    "filled": OrderState.FILLED,
    "canceled": OrderState.ENDED,
    "mmp_canceled": OrderState.ENDED,
}


class Unreadable(Exception):
    """Raised when an answer has not the shape that the pages promise."""


# What an answer proves


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says: its rows if it is a definite success (`verdict` is None), else its code and words."""

    verdict: Verdict | None
    code: str = ""
    words: str = ""
    rows: tuple[Row, ...] = ()


def said_in(answer: HttpAnswer) -> Said:
    """What an answer says. Where its parts contradict each other, nothing is proved.

    https://www.okx.com/docs-v5/en/#overview-general-info and #error-code: success is HTTP 200 and code 0; code 1 or 2
    is a failure of all or of some, told by each row's own code; any other code is the failure of the whole request.
    """
    body = answer.body
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(code, str):
        return Said(Verdict.UNKNOWN)
    data = body.get("data")
    rows = tuple(data) if isinstance(data, list) and all(isinstance(row, dict) for row in data) else None
    failed = [row for row in rows or () if _failed(row)]
    if code == "0":
        done = answer.status == 200 and rows is not None and not failed
        return Said(None, rows=rows or ()) if done else Said(Verdict.UNKNOWN)
    told = [(row.get("sCode"), row.get("sMsg")) for row in failed]
    if code not in ("1", "2"):
        told.insert(0, (code, body.get("msg")))
    elif rows is None or len(failed) < len(rows):
        return Said(Verdict.UNKNOWN)  # something was done
    return _agreed(told)


def _agreed(told: list[tuple[Any, Any]]) -> Said:
    verdicts = {verdict_of(code) for code, _ in told}
    if len(verdicts) != 1:
        return Said(Verdict.UNKNOWN)
    code, words = (it.strip() if isinstance(it, str) else "" for it in told[0])
    return Said(verdicts.pop(), code, words)


def _failed(row: Row) -> bool:
    return row.get("sCode", "") not in ("", "0")


def rows_of(answer: HttpAnswer) -> tuple[Row, ...]:
    """The rows of a definite success. Raises Refused, Throttled or OutcomeUnknown."""
    said = said_in(answer)
    if said.verdict is not None:
        raise _failure(said, answer)
    return said.rows


def clock_is_off(answer: HttpAnswer) -> bool:
    """Whether the venue says that our time is not its own."""
    return said_in(answer).code in CLOCK_IS_OFF


def _failure(said: Said, answer: HttpAnswer) -> BrokerError:
    record = answer.for_the_record()
    words = f"OKX: {said.code} {said.words}".strip()
    match said.verdict:
        case Verdict.REFUSED:
            advice = ADVICE.get(said.code)
            return Refused(f"{words} ({advice})" if advice else words, answer=record)
        case Verdict.THROTTLED:
            return Throttled(words, answer=record, retry_after=_retry_after(answer.headers))
    if said.code:
        return OutcomeUnknown(f"{words} (which settles nothing)", answer=record)
    return OutcomeUnknown(f"OKX answered {answer.status} in a form that settles nothing", answer=record)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header. Its other form, a date, is left to our own backoff."""
    for name, value in headers.items():
        if name.lower() == "retry-after" and value.strip().isdecimal() and value.isascii():
            return min(float(value), _LONGEST_WAIT)
    return None


# Answers to calls that act


def report_of(answer: HttpAnswer, client_id: str) -> Report:
    """What a close came to: accepted, not filled. Only an order for a part of the position tells the venue's id."""
    said = said_in(answer)
    if said.verdict is Verdict.FLAT:
        return Report(nothing_open=True)
    row = _only(rows_of(answer))
    if row.get("clOrdId", "") not in ("", client_id):
        raise Unreadable("it is the answer to another order")
    return Report(order_ids=(_id(row, "ordId"),) if row.get("ordId", "") != "" else ())


def cancelled_of(answer: HttpAnswer, order_ids: Collection[str]) -> Report:
    """The report on a cancel: every order is cancelled, or was cancelled or filled before.

    A part that failed is no failure of the whole: once an order was cancelled, nothing but success is definite.
    """
    body = answer.body
    rows = body.get("data") if isinstance(body, dict) and body.get("code") in ("0", "1", "2") else None
    if answer.status != 200 or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _failure(said_in(answer), answer)
    if not all(isinstance(row.get("ordId"), str) for row in rows):
        raise Unreadable("it does not name the orders")
    left = [row for row in rows if _failed(row) and not _gone(row)]
    if left:
        done = body.get("code") == "0" or any(not _failed(row) for row in rows)
        said = Said(Verdict.UNKNOWN) if done else _agreed([(r.get("sCode"), r.get("sMsg")) for r in left])
        raise _failure(said, answer)
    if not set(order_ids) <= {row["ordId"] for row in rows if _gone(row) or row.get("sCode") == "0"}:
        raise Unreadable("it does not tell of every order")
    return Report()


def _gone(row: Row) -> bool:
    return verdict_of(row.get("sCode")) in (Verdict.GONE, Verdict.MISSING)


# Answers to reads


def time_of(answer: HttpAnswer) -> int:
    """The venue's time, in milliseconds since 1970."""
    return _milliseconds(_only(rows_of(answer)), "ts")


def positions_of(answer: HttpAnswer, account: str, margin_mode: str | None) -> Page[Position]:
    """The open positions, in one list; with a margin mode those that are held in it."""
    rows = [row for row in rows_of(answer) if not _is_flat(row)]
    positions = [position_of(row, account) for row in rows]
    return Page(tuple(it for it in positions if margin_mode in (None, it.handle["mgnMode"])))


def position_of(row: Row, account: str) -> Position:
    """An open position. Its `profit_loss` is in the currency that it is margined in. Raises Unreadable."""
    size = _number(row, "pos")
    side = _side_of(row, size)
    return Position(
        account=account,
        instrument=_instrument(row),
        side=side,
        quantity=abs(size),
        average_price=_optional_number(row, "avgPx"),
        market_price=_optional_number(row, "markPx" if row.get("markPx", "") != "" else "last"),
        profit_loss=_optional_number(row, "upl"),
        currency=_optional_text(row, "ccy"),
        opened_at=_moment(row, "cTime") if row.get("cTime", "") != "" else None,
        handle={
            "mgnMode": _one_of(row, "mgnMode", MODES),
            "posSide": _one_of(row, "posSide", POSITION_SIDES),
            "ccy": _optional_text(row, "ccy") or "",
            "instType": _one_of(row, "instType", KINDS),
        },
        raw=row,
    )


def orders_of(answer: HttpAnswer, account: str) -> Page[Order]:
    """The orders that may still be filled, but for those of the spot market, which touch no position."""
    rows = rows_of(answer)
    following = _id(rows[-1], "ordId") if len(rows) >= PAGE else None
    return Page(tuple(order_of(row, account) for row in rows if row.get("instType") != _SPOT), following)


def looked_up_of(
    answer: HttpAnswer, account: str, instrument: str, order_id: str | None, client_id: str | None
) -> Order | None:
    """The order that was asked for; None where the venue says that it knows none such. An empty list says nothing."""
    if said_in(answer).verdict is Verdict.MISSING:
        return None
    order = order_of(_only(rows_of(answer)), account)
    asked_for = order.order_id == order_id if order_id is not None else order.client_id == client_id
    if order.instrument != instrument or not asked_for:
        raise Unreadable("it is another order")
    return order


def order_of(row: Row, account: str) -> Order:
    """An order. `profit_loss` is without fees, in a currency that the venue does not name. Raises Unreadable."""
    quantity = _optional_number(row, "sz")
    filled = _optional_number(row, "accFillSz") or Decimal(0)
    if filled < 0 or (quantity is not None and quantity < 0):
        raise Unreadable("an order of less than nothing")
    kind, side = _text(row, "ordType"), _one_of(row, "side", _REDUCES)
    # A margin purchase at market is counted in the quote's currency, and its fills in the base's.
    counts_money = row.get("instType") == "MARGIN" and side == "buy" and kind not in _RESTING
    state = _one_of(row, "state", _STATES)
    reason = _optional_text(row, "cancelSourceReason")
    return Order(
        account=account,
        instrument=_instrument(row),
        order_id=_id(row, "ordId"),
        market=kind not in _RESTING,
        state=_STATES[state],
        reduces=_reduced_by(row),
        quantity=None if counts_money else quantity,
        filled=filled,
        average_price=_optional_number(row, "avgPx") if filled else None,
        profit_loss=_optional_number(row, "pnl"),
        client_id=_optional_text(row, "clOrdId"),
        detail=f"{state}: {reason}" if reason else state,
    )


def fills_of(answer: HttpAnswer, account: str) -> tuple[tuple[Fill, ...], str | None]:
    """The executions that reduce positions, and the bill to ask for the page after, if there is one.

    Left out are the spot market's, and those that open in long/short mode: there a sale that opens a short reduces
    no long. In net mode a purchase could do either, and is taken to reduce shorts.
    """
    rows = rows_of(answer)
    following = _id(rows[-1], "billId") if len(rows) >= PAGE else None
    fills = (fill_of(row, account) for row in rows if row.get("instType") != _SPOT)
    return tuple(fill for fill in fills if fill is not None), following


def fill_of(row: Row, account: str) -> Fill | None:
    """An execution, at the time of the trade; None if it only opens. Raises Unreadable."""
    reduces = _reduced_by(row)
    if reduces is None:
        return None
    quantity = _number(row, "fillSz")
    if quantity <= 0:
        raise Unreadable("an execution of nothing")
    traded = "fillTime" if row.get("fillTime", "") not in ("", "0") else "ts"
    return Fill(
        account=account,
        instrument=_instrument(row),
        reduces=reduces,
        quantity=quantity,
        price=_number(row, "fillPx"),
        at=_moment(row, traded),
        order_id=_id(row, "ordId"),
        profit_loss=_optional_number(row, "fillPnl"),
    )


def terms_of(answer: HttpAnswer, instrument: str) -> Terms:
    """How an instrument is counted: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments.

    `unit` is the coins of the base in a contract. It is None for margin positions (a long one counts the base, a short
    one the quote) and for inverse contracts, which are worth an amount of the quote: neither has a fixed number.
    `largest` is None for margin positions, whose limit the venue gives in USDT.
    """
    row = _only(rows_of(answer))
    if _instrument(row) != instrument:
        raise Unreadable("it is another instrument")
    lot = _number(row, "lotSz")
    if lot <= 0:
        raise Unreadable(f"a lot of {lot}")
    if _one_of(row, "instType", KINDS) == "MARGIN":
        return Terms(lot)
    largest = _optional_number(row, "maxMktSz")
    unit = _number(row, "ctVal") * (_optional_number(row, "ctMult") or Decimal(1))
    if unit <= 0 or (largest is not None and largest <= 0):
        raise Unreadable("a contract of nothing")
    return Terms(lot, largest, unit if _text(row, "ctValCcy") == _base(instrument) else None)


# The parts of a row


def _is_flat(row: Row) -> bool:
    """The page on positions: a closed one may come with an empty or a zero size."""
    return row.get("pos") == "" or _number(row, "pos") == 0


def _side_of(row: Row, size: Decimal) -> Side:
    """In net mode the sign tells; a margin position's size has none, and is in the coin that it holds."""
    word = _one_of(row, "posSide", POSITION_SIDES)
    is_margin = _one_of(row, "instType", KINDS) == "MARGIN"
    if (is_margin or word in _HEDGED) and size < 0:
        raise Unreadable(f"a size of {size} where it has no sign")
    if word in _HEDGED:
        return _HEDGED[word]
    if not is_margin:
        return Side.LONG if size > 0 else Side.SHORT
    base, quote = (*_instrument(row).split("-"), "")[:2]
    return {base: Side.LONG, quote: Side.SHORT}[_one_of(row, "posCcy", (base, quote))]


def _reduced_by(row: Row) -> Side | None:
    """The side that an order or a fill makes smaller; None for one that opens, in long/short mode."""
    reduces = _REDUCES[_one_of(row, "side", _REDUCES)]
    held = row.get("posSide", "")
    if held in ("", "net"):
        return reduces
    return reduces if _HEDGED[_one_of(row, "posSide", _HEDGED)] is reduces else None


def _only(rows: tuple[Row, ...]) -> Row:
    if len(rows) != 1:
        raise Unreadable(f"{len(rows)} rows where one belongs")
    return rows[0]


def _base(instrument: str) -> str:
    return instrument.split("-")[0]


def _instrument(row: Row) -> str:
    try:
        return named(_text(row, "instId"))
    except ValueError as exc:
        raise Unreadable(str(exc)) from exc


def _id(row: Row, name: str) -> str:
    try:
        return identified(_text(row, name))
    except ValueError as exc:
        raise Unreadable(str(exc)) from exc


def _one_of(row: Row, name: str, known: Collection[str]) -> str:
    """A word that decides what is open, or what became of an order, must be one we know."""
    word = _text(row, name)
    if word not in known:
        raise Unreadable(f"an unknown {name}: {word[:40]!r}")
    return word


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{name} is missing")
    return value


def _optional_text(row: Row, name: str) -> str | None:
    return None if row.get(name, "") == "" else _text(row, name)


def _number(row: Row, name: str) -> Decimal:
    value = row.get(name)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Unreadable(f"{name} is not a number")
    number = Decimal(value)
    if abs(number) >= _LARGEST:
        raise Unreadable(f"{name} is too large")
    return number


def _optional_number(row: Row, name: str) -> Decimal | None:
    return None if row.get(name, "") == "" else _number(row, name)


def _milliseconds(row: Row, name: str) -> int:
    value = _text(row, name)
    if not (value.isascii() and value.isdecimal() and len(value) == 13):
        raise Unreadable(f"{name} is no moment")
    if not _FIRST_MOMENT < int(value) < _LAST_MOMENT:
        raise Unreadable(f"{name} is no moment of our time")
    return int(value)


def _moment(row: Row, name: str) -> datetime:
    return _EPOCH + timedelta(milliseconds=_milliseconds(row, name))
