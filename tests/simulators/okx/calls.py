"""The venue's calls that change something, by their paths: parameters in, status and JSON out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulators.line import Answer, FillPlan

from . import arguments as take
from . import envelopes
from .book import Book
from .codes import Refusal
from .envelopes import CLOSE_REFUSALS_IN_DATA, Item
from .presentation import Json, microseconds, milliseconds

MOST_IN_A_BATCH = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call says: its query or its body, and when it came by the venue's clock."""

    parameters: Any
    received_at: float
    expires_at: float | None = None
    at: float = 0.0
    """The same by `Book.elapsed`."""
    refusals_in_data: bool | None = None
    """Whether a single refusal stands in `data`; None leaves it to what is known of each call."""

    def one(self) -> Mapping[str, Any]:
        if not isinstance(self.parameters, Mapping):
            raise Refusal("50002")
        return self.parameters

    def several(self) -> list[Mapping[str, Any]]:
        rows = self.parameters
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise Refusal("50002")
        if not rows:
            raise Refusal("50014", "data")
        if len(rows) > MOST_IN_A_BATCH:
            raise Refusal("50025", "data")
        return rows


Call = Callable[[Book, Asked, FillPlan | None], Answer]


def close_position(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    try:
        ticket = take.close_ticket(args)
        order = book.close(ticket, plan)
    except Refusal as refusal:
        return _single(book, asked, refusal, args, refusal.code in CLOSE_REFUSALS_IN_DATA)
    # OKX docs, close positions: no ordId, no sCode.
    body = {
        "clOrdId": ticket.client_id,
        "instId": ticket.inst_id,
        "posSide": order.key.pos_side,
        "tag": ticket.tag,
    }
    return _trade(book, asked, [Item(body)])


def place_order(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    _check_expiry(book, asked)
    try:
        item = _placed(book, args, plan)
    except Refusal as refusal:
        return _single(book, asked, refusal, args, refusal.code.startswith("51"))
    return _trade(book, asked, [item])


def place_batch(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    rows = asked.several()
    _check_expiry(book, asked)

    def placed(args: Mapping[str, Any]) -> Item:
        return _placed(book, args, plan)

    return _trade(book, asked, [_item(placed, args) for args in rows])


def cancel_order(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    args = asked.one()
    try:
        item = _cancelled(book, args)
    except Refusal as refusal:
        return _single(book, asked, refusal, args, refusal.code.startswith("51"))
    return _trade(book, asked, [item])


def cancel_batch(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    def cancelled(args: Mapping[str, Any]) -> Item:
        return _cancelled(book, args)

    return _trade(book, asked, [_item(cancelled, args) for args in asked.several()])


def cancel_algos(book: Book, asked: Asked, plan: FillPlan | None) -> Answer:
    def cancelled(args: Mapping[str, Any]) -> Item:
        inst_id, algo_id = take.required(args, "instId"), take.required(args, "algoId")
        book.cancel_algo(inst_id, algo_id)
        return Item(
            {"algoClOrdId": "", "algoId": algo_id, "clOrdId": "", "sCode": "0", "sMsg": "", "tag": ""}
        )

    return _trade(book, asked, [_item(cancelled, args) for args in asked.several()])


def _placed(book: Book, args: Mapping[str, Any], plan: FillPlan | None) -> Item:
    order = book.place(take.order_ticket(args), plan)
    body: Json = {
        "clOrdId": order.client_id,
        "ordId": order.order_id,
        "sCode": "0",
        "sMsg": "Order placed",
        "tag": order.tag,
        "ts": milliseconds(order.placed_at),
    }
    return Item(body)


def _cancelled(book: Book, args: Mapping[str, Any]) -> Item:
    inst_id = take.required(args, "instId")
    order_id, client_id = take.text(args, "ordId"), take.text(args, "clOrdId")
    if not order_id and not client_id:
        raise Refusal("50015", "ordId or clOrdId")
    order = book.cancel(inst_id, order_id, client_id)
    body: Json = {
        "clOrdId": order.client_id,
        "ordId": order.order_id,
        "sCode": "0",
        "sMsg": "",
        "ts": milliseconds(book.now()),
    }
    return Item(body)


def _item(do: Callable[[Mapping[str, Any]], Item], args: Mapping[str, Any]) -> Item:
    try:
        return do(args)
    except Refusal as refusal:
        return envelopes.refusal_item(refusal, args.get("clOrdId"), args.get("tag"))


def _single(book: Book, asked: Asked, refusal: Refusal, args: Mapping[str, Any], in_data: bool) -> Answer:
    if in_data if asked.refusals_in_data is None else asked.refusals_in_data:
        return _trade(book, asked, [envelopes.refusal_item(refusal, args.get("clOrdId"), args.get("tag"))])
    return envelopes.refused(refusal.code, refusal.message)


def _trade(book: Book, asked: Asked, items: list[Item]) -> Answer:
    return envelopes.trade(items, microseconds(asked.received_at), microseconds(book.now()))


def _check_expiry(book: Book, asked: Asked) -> None:
    # OKX docs, place order, expTime.
    if asked.expires_at is None:
        return
    if asked.expires_at <= asked.received_at:
        raise Refusal("50036")
    if asked.expires_at - asked.received_at <= book.elapsed() - asked.at:
        raise Refusal("50037")
