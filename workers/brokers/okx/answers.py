"""OKX's answers, as our values. Pure.

Page: https://www.okx.com/docs-v5/en. A reader raises Refused, Throttled or OutcomeUnknown by what the answer proves
(`envelope`, `codes`), and Unreadable where a success has not the documented shape.
"""

from collections.abc import Collection
from decimal import Decimal

from app.domain.positions import Fill, Order, OrderState, Position, Report, Side
from workers.brokers.broker import Page, Terms
from workers.brokers.fields import Unreadable, text_of
from workers.brokers.http import HttpAnswer
from workers.brokers.okx.codes import Verdict, verdict_of
from workers.brokers.okx.envelope import Said, agreed, failure_of, has_failed, rows_of, said_in
from workers.brokers.okx.fields import (
    Row,
    id_of,
    instrument_of,
    milliseconds_of,
    moment_of,
    number_of,
    one_of,
    optional_number_of,
    optional_text_of,
)
from workers.brokers.okx.names import KINDS, MODES, POSITION_SIDES
from workers.brokers.okx.requests import PAGE

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


# Answers to calls that act


def report_of(answer: HttpAnswer, client_id: str) -> Report:
    """What a close came to: accepted, not filled. Only an order for a part of the position tells the venue's id."""
    said = said_in(answer)
    if said.verdict is Verdict.FLAT:
        return Report(nothing_open=True)
    row = _only(rows_of(answer))
    if row.get("clOrdId", "") not in ("", client_id):
        raise Unreadable("it is the answer to another order")
    return Report(order_ids=(id_of(row, "ordId"),) if row.get("ordId", "") != "" else ())


def cancelled_of(answer: HttpAnswer, order_ids: Collection[str]) -> Report:
    """The report on a cancel: every order is cancelled, or was cancelled or filled before.

    A part that failed is no failure of the whole: once an order was cancelled, nothing but success is definite.
    """
    body = answer.body
    rows = body.get("data") if isinstance(body, dict) and body.get("code") in ("0", "1", "2") else None
    if answer.status != 200 or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise failure_of(said_in(answer), answer)
    if not all(isinstance(row.get("ordId"), str) for row in rows):
        raise Unreadable("it does not name the orders")
    left = [row for row in rows if has_failed(row) and not _gone(row)]
    if left:
        done = body.get("code") == "0" or any(not has_failed(row) for row in rows)
        said = Said(Verdict.UNKNOWN) if done else agreed([(r.get("sCode"), r.get("sMsg")) for r in left])
        raise failure_of(said, answer)
    if not set(order_ids) <= {row["ordId"] for row in rows if _gone(row) or row.get("sCode") == "0"}:
        raise Unreadable("it does not tell of every order")
    return Report()


def _gone(row: Row) -> bool:
    return verdict_of(row.get("sCode")) in (Verdict.GONE, Verdict.MISSING)


# Answers to reads


def time_of(answer: HttpAnswer) -> int:
    """The venue's time, in milliseconds since 1970."""
    return milliseconds_of(_only(rows_of(answer)), "ts")


def positions_of(answer: HttpAnswer, account: str, margin_mode: str | None) -> Page[Position]:
    """The open positions, in one list; with a margin mode those that are held in it."""
    rows = [row for row in rows_of(answer) if not _is_flat(row)]
    positions = [position_of(row, account) for row in rows]
    return Page(tuple(it for it in positions if margin_mode in (None, it.handle["mgnMode"])))


def position_of(row: Row, account: str) -> Position:
    """An open position. Its `profit_loss` is in the currency that it is margined in. Raises Unreadable."""
    size = number_of(row, "pos")
    side = _side_of(row, size)
    return Position(
        account=account,
        instrument=instrument_of(row),
        side=side,
        quantity=abs(size),
        average_price=optional_number_of(row, "avgPx"),
        market_price=optional_number_of(row, "markPx" if row.get("markPx", "") != "" else "last"),
        profit_loss=optional_number_of(row, "upl"),
        currency=optional_text_of(row, "ccy"),
        opened_at=moment_of(row, "cTime") if row.get("cTime", "") != "" else None,
        handle={
            "mgnMode": one_of(row, "mgnMode", MODES),
            "posSide": one_of(row, "posSide", POSITION_SIDES),
            "ccy": optional_text_of(row, "ccy") or "",
            "instType": one_of(row, "instType", KINDS),
        },
        raw=row,
    )


def orders_of(answer: HttpAnswer, account: str) -> Page[Order]:
    """The orders that may still be filled, but for those of the spot market, which touch no position."""
    rows = rows_of(answer)
    following = id_of(rows[-1], "ordId") if len(rows) >= PAGE else None
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
    quantity = optional_number_of(row, "sz")
    filled = optional_number_of(row, "accFillSz") or Decimal(0)
    if filled < 0 or (quantity is not None and quantity < 0):
        raise Unreadable("an order of less than nothing")
    kind, side = text_of(row, "ordType"), one_of(row, "side", _REDUCES)
    # A margin purchase at market is counted in the quote's currency, and its fills in the base's.
    counts_money = row.get("instType") == "MARGIN" and side == "buy" and kind not in _RESTING
    state = one_of(row, "state", _STATES)
    reason = optional_text_of(row, "cancelSourceReason")
    return Order(
        account=account,
        instrument=instrument_of(row),
        order_id=id_of(row, "ordId"),
        market=kind not in _RESTING,
        state=_STATES[state],
        reduces=_reduced_by(row),
        quantity=None if counts_money else quantity,
        filled=filled,
        average_price=optional_number_of(row, "avgPx") if filled else None,
        profit_loss=optional_number_of(row, "pnl"),
        client_id=optional_text_of(row, "clOrdId"),
        detail=f"{state}: {reason}" if reason else state,
    )


def fills_of(answer: HttpAnswer, account: str) -> tuple[tuple[Fill, ...], str | None]:
    """The executions that reduce positions, and the bill to ask for the page after, if there is one.

    Left out are the spot market's, and those that open in long/short mode: there a sale that opens a short reduces
    no long. In net mode a purchase could do either, and is taken to reduce shorts.
    """
    rows = rows_of(answer)
    following = id_of(rows[-1], "billId") if len(rows) >= PAGE else None
    fills = (fill_of(row, account) for row in rows if row.get("instType") != _SPOT)
    return tuple(fill for fill in fills if fill is not None), following


def fill_of(row: Row, account: str) -> Fill | None:
    """An execution, at the time of the trade; None if it only opens. Raises Unreadable."""
    reduces = _reduced_by(row)
    if reduces is None:
        return None
    quantity = number_of(row, "fillSz")
    if quantity <= 0:
        raise Unreadable("an execution of nothing")
    traded = "fillTime" if row.get("fillTime", "") not in ("", "0") else "ts"
    return Fill(
        account=account,
        instrument=instrument_of(row),
        reduces=reduces,
        quantity=quantity,
        price=number_of(row, "fillPx"),
        at=moment_of(row, traded),
        order_id=id_of(row, "ordId"),
        profit_loss=optional_number_of(row, "fillPnl"),
    )


def terms_of(answer: HttpAnswer, instrument: str) -> Terms:
    """How an instrument is counted: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments.

    `unit` is the coins of the base in a contract. It is None for margin positions (a long one counts the base, a short
    one the quote) and for inverse contracts, which are worth an amount of the quote: neither has a fixed number.
    `largest` is None for margin positions, whose limit the venue gives in USDT.
    """
    row = _only(rows_of(answer))
    if instrument_of(row) != instrument:
        raise Unreadable("it is another instrument")
    lot = number_of(row, "lotSz")
    if lot <= 0:
        raise Unreadable(f"a lot of {lot}")
    if one_of(row, "instType", KINDS) == "MARGIN":
        return Terms(lot)
    largest = optional_number_of(row, "maxMktSz")
    unit = number_of(row, "ctVal") * (optional_number_of(row, "ctMult") or Decimal(1))
    if unit <= 0 or (largest is not None and largest <= 0):
        raise Unreadable("a contract of nothing")
    return Terms(lot, largest, unit if text_of(row, "ctValCcy") == _base(instrument) else None)


# The parts of a row


def _is_flat(row: Row) -> bool:
    """The page on positions: a closed one may come with an empty or a zero size."""
    return row.get("pos") == "" or number_of(row, "pos") == 0


def _side_of(row: Row, size: Decimal) -> Side:
    """In net mode the sign tells; a margin position's size has none, and is in the coin that it holds."""
    word = one_of(row, "posSide", POSITION_SIDES)
    is_margin = one_of(row, "instType", KINDS) == "MARGIN"
    if (is_margin or word in _HEDGED) and size < 0:
        raise Unreadable(f"a size of {size} where it has no sign")
    if word in _HEDGED:
        return _HEDGED[word]
    if not is_margin:
        return Side.LONG if size > 0 else Side.SHORT
    base, quote = (*instrument_of(row).split("-"), "")[:2]
    return {base: Side.LONG, quote: Side.SHORT}[one_of(row, "posCcy", (base, quote))]


def _reduced_by(row: Row) -> Side | None:
    """The side that an order or a fill makes smaller; None for one that opens, in long/short mode."""
    reduces = _REDUCES[one_of(row, "side", _REDUCES)]
    held = row.get("posSide", "")
    if held in ("", "net"):
        return reduces
    return reduces if _HEDGED[one_of(row, "posSide", _HEDGED)] is reduces else None


def _only(rows: tuple[Row, ...]) -> Row:
    if len(rows) != 1:
        raise Unreadable(f"{len(rows)} rows where one belongs")
    return rows[0]


def _base(instrument: str) -> str:
    return instrument.split("-")[0]
