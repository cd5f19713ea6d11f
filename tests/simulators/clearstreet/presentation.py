"""The vendor's JSON for what the book holds, and the envelopes around it."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from .records import Execution, Order, Position

Json = dict[str, Any]
FOUR_DECIMALS = Decimal("0.0001")


class Timestamps(StrEnum):
    """The two spellings in the vendor's examples."""

    NANOSECONDS = "nanoseconds"
    """`2025-10-03T14:01:15.000000000Z`"""
    SPACED = "spaced"
    """`2025-10-03 14:01:15+00:00`"""


def success(data: Any, page: Json | None = None) -> Json:
    return {"data": data, "error": None, "metadata": {**request_id(), **(page or {})}}


def failure(status: int, message: str, details: Sequence[Any] | None = None) -> Json:
    error: Json = {"code": status, "message": message}
    if details is not None:
        error["details"] = list(details)
    return {"error": error, "metadata": request_id()}


def request_id() -> Json:
    return {"request_id": str(uuid.uuid4())}


def position_json(position: Position) -> Json:
    # Spec, GET positions.
    cost, value = position.cost_basis, position.market_value
    return {
        "account_id": position.account,
        "instrument_id": position.instrument.instrument_id,
        "symbol": position.instrument.symbol,
        "instrument_type": position.instrument.instrument_type,
        "position_type": "LONG" if position.quantity > 0 else "SHORT",
        "quantity": units(position.quantity),
        "available_quantity": units(position.available),
        "avg_price": money(position.average_price),
        "cost_basis": money(cost),
        "market_value": money(value),
        "instrument_price": money(position.market_price),
        "closing_price": _money_or_null(position.closing_price),
        "closing_price_date": position.closing_date,
        "daily_realized_pnl": money(position.realized),
        "unrealized_pnl": money(value - cost),
    }


def order_json(order: Order, timestamps: Timestamps) -> Json:
    # Spec, GET order and close position. The fields after them are left out where they do not apply.
    shown: Json = {
        "account_id": order.account,
        "average_fill_price": _money_or_null(order.average_fill_price),
        "client_order_id": order.client_order_id,
        "created_at": timestamp(order.created_at, timestamps),
        "filled_quantity": units(order.filled),
        "id": order.order_id,
        "instrument_id": order.instrument.instrument_id,
        "instrument_type": order.instrument.instrument_type,
        "leaves_quantity": units(order.leaves),
        "limit_price": _money_or_null(order.limit_price),
        "order_type": order.order_type,
        "quantity": units(order.quantity),
        "side": order.side.value,
        "status": order.status.value,
        "stop_price": _money_or_null(order.stop_price),
        "symbol": order.instrument.symbol,
        "time_in_force": order.time_in_force,
        "updated_at": timestamp(order.updated_at, timestamps),
        "venue": order.instrument.venue,
    }
    if order.details:
        shown["details"] = list(order.details)
    if order.position_intent is not None:
        shown["position_intent"] = order.position_intent
    if order.queue_state is not None and order.releases_at is not None:
        shown["queue_state"] = order.queue_state.value
        shown["releases_at"] = timestamp(order.releases_at, timestamps)
    return shown


def execution_json(execution: Execution, timestamps: Timestamps) -> Json:
    # Spec, GET executions.
    return {
        "id": execution.execution_id,
        "order_id": execution.order_id,
        "instrument_id": execution.instrument.instrument_id,
        "symbol": execution.instrument.symbol,
        "side": execution.side.value,
        "quantity": units(execution.quantity),
        "price": money(execution.price),
        "transaction_time": timestamp(execution.at, timestamps),
    }


def account_json(account: int) -> Json:
    # SDK 0.11.0, types/v1/account.py.
    return {
        "id": account,
        "account_holder_entity_id": account + 500_000,
        "account_holder_entity_kind": "LEGAL_ENTITY",
        "full_name": account_name(account),
        "open_date": "2025-01-02",
        "options_level": 2,
        "short_name": f"SIM{account}",
        "status": "ACTIVE",
        "subtype": "MARGIN",
        "type": "CUSTOMER",
        "close_date": None,
    }


def account_name(account: int) -> str:
    return f"Simulated Account {account}"


def timestamp(seconds: float, spelling: Timestamps) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    if spelling is Timestamps.SPACED:
        return str(moment)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


def units(quantity: Decimal) -> str:
    """Without trailing zeros: `100`, `0.5`."""
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(amount: Decimal) -> str:
    """Two decimals at least, four at most: `145.00`, `50.0333`."""
    # Adding nothing takes the sign off a zero.
    whole, _, decimals = f"{amount.quantize(FOUR_DECIMALS) + 0:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def _money_or_null(amount: Decimal | None) -> str | None:
    return None if amount is None else money(amount)
