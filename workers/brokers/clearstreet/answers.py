"""What Clear Street says to us: our values out of its answers. Pure.

Pages: https://docs.clearstreet.com/api, https://docs.clearstreet.com/openapi.yaml and the official SDK's types.
Each function raises Refused, Throttled or OutcomeUnknown where there is no definite success, and Unreadable where there
seems to be one whose shape is not the documented one: that settles nothing either.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from app.domain.failures import OutcomeUnknown
from app.domain.positions import Fill, Order, OrderState, Position, Report, Side
from workers.brokers.broker import Page
from workers.brokers.clearstreet.envelope import data_of, error_of, object_of, objects_of, page_of
from workers.brokers.clearstreet.fields import (
    account_of,
    id_of,
    moment_of,
    name_of,
    number_of,
    optional_name_of,
    optional_number_of,
    optional_text_of,
)
from workers.brokers.fields import Unreadable, text_of
from workers.brokers.http import HttpAnswer

_NOTHING_OPEN = re.compile(r"no (open )?position|not found", re.IGNORECASE)
_NO_ORDERS = re.compile(r"no orders match", re.IGNORECASE)
_SEEN_BEFORE = re.compile(r"duplicate|already (been|exist|in use|used)|unique", re.IGNORECASE)

_STATES = {
    "PENDING_NEW": OrderState.WORKING,
    "NEW": OrderState.WORKING,
    "PARTIALLY_FILLED": OrderState.WORKING,
    "PENDING_CANCEL": OrderState.WORKING,
    "PENDING_REPLACE": OrderState.WORKING,
    "SUSPENDED": OrderState.WORKING,
    "CALCULATED": OrderState.WORKING,
    "STOPPED": OrderState.WORKING,
    "QUEUED": OrderState.WORKING,
    "PENDING_TRIGGER": OrderState.WORKING,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.ENDED,
    "REJECTED": OrderState.ENDED,
    "EXPIRED": OrderState.ENDED,
    "DONE_FOR_DAY": OrderState.ENDED,
    "REPLACED": OrderState.ENDED,
}
_RESTING = {"LIMIT", "STOP", "STOP_LIMIT", "TRAILING_STOP", "TRAILING_STOP_LIMIT"}  # any other may be a close
_REDUCES = {"SELL": Side.LONG, "SELL_SHORT": Side.LONG, "BUY": Side.SHORT}
_SIDES = {"LONG": Side.LONG, "SHORT": Side.SHORT}
_COUNTED_IN_SHARES = {"COMMON_STOCK", "PREFERRED_STOCK"}


# What was closed


def closed(answer: HttpAnswer, account: str) -> Report:
    """The orders that a close of one position, or of an account, was made into: generated, not filled.

    No page says what is answered where nothing is open: an empty list, 400 and 404 are taken for that claim.
    """
    if error_of(answer):
        # Not the details: those are of risk checks, and so of something that is open.
        message = answer.body["error"]["message"]
        if answer.status == 404 or (answer.status == 400 and _NOTHING_OPEN.search(message)):
            return Report(nothing_open=True)
    orders = tuple(_order_id_of(item, account) for item in objects_of(data_of(answer)))
    return Report(order_ids=orders, nothing_open=not orders)


def reduced(answer: HttpAnswer, account: str, client_id: str) -> Report:
    """The one order that was submitted under our id.

    No page says what a second order with the same id gets, so none that sounds like it is a no: the first may live.
    """
    error = error_of(answer)
    if error and (answer.status == 409 or (answer.status in (400, 422) and _SEEN_BEFORE.search(error))):
        record = answer.for_the_record()
        raise OutcomeUnknown(f"Clear Street seems to have seen the order before: {error}", answer=record)
    items = objects_of(data_of(answer))
    if len(items) != 1 or optional_text_of(items[0], "client_order_id") not in (client_id, None):
        raise Unreadable("it is not the one order that was sent")
    return Report(order_ids=(_order_id_of(items[0], account),))


def cancelled(answer: HttpAnswer, account: str, order_id: str) -> Report:
    """What came of cancelling one order: asked for, not done. One that has ended already is a success too."""
    if _order_id_of(object_of(data_of(answer)), account) != order_id:
        raise Unreadable("it is about another order")
    return Report()


def cancelled_all(answer: HttpAnswer, account: str) -> Report:
    """What came of cancelling an instrument's orders; 404 says that there were none."""
    error = error_of(answer)
    if error and answer.status == 404 and _NO_ORDERS.search(error):
        return Report()
    for item in objects_of(data_of(answer)):
        _order_id_of(item, account)
    return Report()


# Reads


def accounts_of(answer: HttpAnswer, page: str | None = None) -> Page[str]:
    """The accounts that the key reaches, by their ids."""
    return page_of(answer, page, lambda item: account_of(item, "id"))


def positions_of(answer: HttpAnswer, account: str, page: str | None = None) -> Page[Position]:
    """The open positions of an account."""
    return page_of(answer, page, lambda item: _position_of(item, account))


def orders_of(answer: HttpAnswer, account: str, page: str | None = None) -> Page[Order]:
    """The orders of an account that may still be filled."""

    def live(item: Mapping[str, Any]) -> Order | None:
        order = order_of(item, account)
        return order if order.state.live else None

    return page_of(answer, page, live)


def fills_of(answer: HttpAnswer, account: str, since: datetime, page: str | None = None) -> Page[Fill]:
    """The executions of an account since a moment of the venue's clock."""
    return page_of(answer, page, lambda item: _fill_of(item, account, since))


def found_order(answer: HttpAnswer, account: str, order_id: str) -> Order | None:
    """One order by the venue's id; None where it has none such."""
    if error_of(answer) and answer.status == 404:
        return None
    order = order_of(object_of(data_of(answer)), account)
    if order.order_id != order_id:
        raise Unreadable("it is about another order")
    return order


def found_order_of_ours(answer: HttpAnswer, account: str, client_id: str) -> Order | None:
    """One order by our id; None where the venue has none such. A filter that it did not heed proves nothing."""
    found = page_of(answer, None, lambda item: order_of(item, account))
    if found.next or len(found.items) > 1 or any(order.client_id != client_id for order in found.items):
        raise Unreadable("there are other orders than the one that was asked for")
    return found.items[0] if found.items else None


def present(answer: HttpAnswer, now: datetime) -> datetime:
    """The time by the venue's clock when it answered; ours, if it does not tell."""
    date = answer.date
    return date if date is not None and abs(date.year - now.year) <= 1 else now


def order_of(item: Mapping[str, Any], account: str) -> Order:
    """An order object. Raises Unreadable, also for a state that is not known: it decides whether it may still fill."""
    order_id = _order_id_of(item, account)
    status = text_of(item, "status")
    state = _STATES.get(status)
    if state is None:
        raise Unreadable(f"an order's status is not known: {status[:40]!r}")
    held = optional_text_of(item, "queue_state") == "AWAITING_RELEASE" and state.live
    quantity, filled = number_of(item, "quantity"), number_of(item, "filled_quantity")
    if quantity <= 0 or not 0 <= filled <= quantity or (state is OrderState.FILLED and filled < quantity):
        raise Unreadable(f"{filled} of {quantity} does not fit an order that is {status}")
    instrument, aliases = _instrument_of(item)
    return Order(
        account,
        instrument,
        order_id,
        market=optional_text_of(item, "order_type") not in _RESTING,
        state=OrderState.HELD if held else state,
        reduces=_REDUCES.get(text_of(item, "side")),
        quantity=quantity,
        filled=filled,
        average_price=optional_number_of(item, "average_fill_price"),
        client_id=optional_text_of(item, "client_order_id"),
        detail="; ".join(_details(item, status, held)),
        aliases=aliases,
    )


def _details(item: Mapping[str, Any], status: str, held: bool) -> list[str]:
    until = optional_text_of(item, "releases_at")
    details = item.get("details")
    said = [text for text in details if isinstance(text, str) and text] if isinstance(details, list) else []
    return [status, *([f"held until {until or 'it is released'}"] if held else []), *said]


def _position_of(item: Mapping[str, Any], account: str) -> Position | None:
    """None if it is flat."""
    _check_account(item, account)
    signed = number_of(item, "quantity")
    if not signed:
        return None
    side = Side.LONG if signed > 0 else Side.SHORT
    said = text_of(item, "position_type")
    if _SIDES.get(said) is not side:
        raise Unreadable(f"a quantity of {signed} does not fit the side {said[:40]!r}")
    instrument_id = id_of(item, "instrument_id")
    return Position(
        account=account,
        instrument=name_of(item, "symbol"),
        side=side,
        quantity=abs(signed),
        average_price=optional_number_of(item, "avg_price"),
        market_price=optional_number_of(item, "instrument_price"),
        profit_loss=optional_number_of(item, "unrealized_pnl"),
        unit_value=_unit_value(item, signed),
        handle={"instrument_id": instrument_id},
        aliases=(instrument_id,),
        raw=item,
    )


def _unit_value(item: Mapping[str, Any], signed: Decimal) -> Decimal | None:
    """The shares in one unit: in an option's contract as many as the venue reckons with, where its numbers tell."""
    if text_of(item, "instrument_type") in _COUNTED_IN_SHARES:
        return Decimal(1)
    basis, price = optional_number_of(item, "cost_basis"), optional_number_of(item, "avg_price")
    if not basis or not price:
        return None
    shares = basis / (signed * price)
    whole = shares.to_integral_value()
    # Prices are rounded; and a basis without the contract's size in it looks like one share.
    return whole if whole > 1 and abs(shares - whole) < whole / 100 else None


def _fill_of(item: Mapping[str, Any], account: str, since: datetime) -> Fill | None:
    """None if it is older."""
    at = moment_of(item, "transaction_time")
    if at < since:
        return None
    side = text_of(item, "side")
    quantity = number_of(item, "quantity")
    if side not in _REDUCES or quantity <= 0:
        raise Unreadable(f"an execution of {quantity} on the side {side[:40]!r}")
    instrument, _ = _instrument_of(item)
    if not instrument:
        raise Unreadable("an execution of no instrument")
    price = number_of(item, "price")
    order_id = optional_name_of(item, "order_id")
    return Fill(account, instrument, _REDUCES[side], quantity, price, at, order_id)


def _instrument_of(item: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The name of an instrument, and its other names. An order of several legs has none, and is shown with a blank."""
    symbol, instrument_id = optional_name_of(item, "symbol"), optional_name_of(item, "instrument_id")
    return symbol or instrument_id or "", (instrument_id,) if instrument_id else ()


def _order_id_of(item: Mapping[str, Any], account: str) -> str:
    _check_account(item, account)
    return id_of(item, "id")


def _check_account(item: Mapping[str, Any], account: str) -> None:
    if account_of(item, "account_id") != account:
        raise Unreadable("it is about another account")
