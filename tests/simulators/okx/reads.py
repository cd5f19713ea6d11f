"""The venue's calls that only read."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tests.simulators.line import Answer, FillPlan

from . import arguments as take
from . import envelopes
from .book import Book
from .calls import Asked
from .codes import Refusal
from .instruments import INSTRUMENTS
from .presentation import (
    Json,
    algo_json,
    config_json,
    fill_json,
    history_json,
    instrument_json,
    milliseconds,
    order_json,
    position_json,
)

# OKX docs, GET positions.
MOST_INSTRUMENTS = 10
MOST_POSITIONS = 20
MOST_ROWS = 100
INSTRUMENT_TYPES = frozenset({"SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"})
# OKX docs, GET algo order list: what ordType may be.
ALGO_TYPES = frozenset({"conditional", "oco", "chase", "trigger", "move_order_stop", "iceberg", "twap"})

Row = TypeVar("Row")


def server_time(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    return envelopes.data([{"ts": milliseconds(book.now())}])


def instruments(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    inst_type = take.one_of(args, "instType", INSTRUMENT_TYPES)
    inst_id = take.text(args, "instId")
    if inst_id and inst_id not in INSTRUMENTS:
        raise Refusal("51001")
    # A pair is listed as SPOT and as MARGIN, with the same sizes.
    kind = "MARGIN" if inst_type == "SPOT" else inst_type
    return envelopes.data(
        [
            instrument_json(listed, inst_type, book.suspended(listed.inst_id))
            for listed in INSTRUMENTS.values()
            if listed.inst_type == kind and inst_id in ("", listed.inst_id)
        ]
    )


def account_config(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    return envelopes.data([config_json(book.mode.value, book.account_level)])


def currencies(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    """For ccxt, which asks for them when it loads markets."""
    return envelopes.data([])


def positions(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    inst_type = take.text(args, "instType")
    inst_ids = take.listed(args, "instId", MOST_INSTRUMENTS)
    pos_ids = take.listed(args, "posId", MOST_POSITIONS)
    # brokers.md, 4.5: closed ones only for who asks by name.
    rows = book.positions(include_closed=bool(inst_ids or pos_ids))
    return envelopes.data(
        [
            position_json(held)
            for held in rows
            if inst_type in ("", held.instrument.inst_type)
            and (not inst_ids or held.inst_id in inst_ids)
            and (not pos_ids or held.pos_id in pos_ids)
        ]
    )


def positions_history(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    rows = [history_json(held) for held in book.closed_positions()]
    wanted = _matching(args, rows, "instType", "instId", "mgnMode", "posId", "type")
    # OKX docs, GET positions-history: after and before are times of the last update.
    return envelopes.data(_page(args, wanted, "uTime"))


def order(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    inst_id = take.required(args, "instId")
    order_id, client_id = take.text(args, "ordId"), take.text(args, "clOrdId")
    if not order_id and not client_id:
        raise Refusal("50015", "ordId or clOrdId")
    return envelopes.data([order_json(book.order(inst_id, order_id, client_id))])


def orders_pending(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    rows = [order_json(one) for one in book.orders(active_only=True)]
    return envelopes.data(_page(args, _orders_matching(args, rows), "ordId"))


def orders_history(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    take.required(args, "instType")
    rows = [order_json(one) for one in book.orders() if not one.active]
    wanted = _between(args, _orders_matching(args, rows), "cTime")
    return envelopes.data(_page(args, wanted, "ordId"))


def fills(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    rows = [fill_json(fill) for fill in book.fills()]
    wanted = _between(args, _matching(args, rows, "instType", "instId", "ordId"), "ts")
    return envelopes.data(_page(args, wanted, "billId"))


def fills_history(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    take.required(asked.one(), "instType")
    return fills(book, asked, plan)


def algos_pending(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    kinds = take.required(args, "ordType").split(",")
    if not ALGO_TYPES.issuperset(kinds):
        raise Refusal("51000", "ordType")
    rows = [algo_json(algo) for algo in book.algo_orders() if algo.order_type in kinds]
    return envelopes.data(_page(args, _matching(args, rows, "instType", "instId", "algoId"), "algoId"))


def _orders_matching(args: Mapping[str, Any], rows: list[Json]) -> list[Json]:
    return _matching(args, rows, "instType", "instId", "ordType", "state")


def _matching(args: Mapping[str, Any], rows: list[Json], *names: str) -> list[Json]:
    """The rows that have the value asked for under each of these names."""
    wanted = {name: take.text(args, name) for name in names}
    return [row for row in rows if all(value in ("", row[name]) for name, value in wanted.items())]


def _between(args: Mapping[str, Any], rows: list[Json], name: str) -> list[Json]:
    begin, end = take.whole(args, "begin"), take.whole(args, "end")
    return _kept(rows, lambda row: _within(int(row[name]), begin, end))


def _within(moment: int, begin: int | None, end: int | None) -> bool:
    return (begin is None or moment >= begin) and (end is None or moment <= end)


def _page(args: Mapping[str, Any], rows: list[Json], name: str) -> list[Json]:
    """Newest first; `after` is for older ones, `before` for newer ones."""
    after, before = take.whole(args, "after"), take.whole(args, "before")
    limit = min(take.whole(args, "limit", MOST_ROWS) or MOST_ROWS, MOST_ROWS)
    older = _kept(rows, lambda row: after is None or int(row[name]) < after)
    wanted = _kept(older, lambda row: before is None or int(row[name]) > before)
    return sorted(wanted, key=lambda row: int(row[name]), reverse=True)[:limit]


def _kept(rows: Iterable[Row], wanted: Callable[[Row], bool]) -> list[Row]:
    return [row for row in rows if wanted(row)]
