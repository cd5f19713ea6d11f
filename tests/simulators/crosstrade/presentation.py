"""The vendor's JSON for what the book holds."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from .records import Execution, MarketPosition, Order, Position

Json = dict[str, Any]

# XT docs, GET executions: `time` is the trader's own clock without an offset, `epoch` milliseconds;
# the vendor's sample pair is seven hours apart.
TRADERS_CLOCK = timezone(timedelta(hours=-7))


def position_json(position: Position) -> Json:
    # XT docs, GET position and close position.
    return {
        "type": "NinjaTrader.Cbi.Position",
        "account": position.account,
        "instrument": position.instrument,
        "instrumentType": position.instrument_type,
        "marketPosition": position.market_position.value,
        "quantity": position.quantity,
        "averagePrice": position.average_price,
        "marketPrice": position.market_price,
        "unrealizedProfitLoss": position.profit_loss,
    }


def order_json(order: Order) -> Json:
    # XT docs, GET order. `orderAction` and `name` follow NinjaTrader's own properties.
    stop = order.order_type.startswith("Stop")
    return {
        "account": order.account,
        "orderId": order.order_id,
        "instrument": order.instrument,
        "instrumentType": order.instrument_type,
        "orderType": order.order_type,
        "orderAction": "Sell" if order.reduces is MarketPosition.LONG else "BuyToCover",
        "orderState": order.state.value,
        "name": order.name,
        "quantity": order.quantity,
        "filled": order.filled,
        "averageFillPrice": order.average_fill_price,
        "limitPrice": 0.0 if stop else order.price,
        "stopPrice": order.price if stop else 0.0,
        "fromEntrySignal": None,
        "isBacktestOrder": False,
        "hasOverfill": False,
        "time": traders_time(order.placed_at),
    }


def execution_json(execution: Execution) -> Json:
    # XT docs, GET execution.
    return {
        "id": execution.execution_id,
        "type": "NinjaTrader.Cbi.Execution",
        "time": traders_time(execution.at),
        "epoch": int(execution.at * 1000),
        "name": execution.name,
        "orderId": execution.order_id,
        "account": execution.account,
        "serverName": "SIMULATOR",
        "instrument": execution.instrument,
        "instrumentType": execution.instrument_type,
        "position": execution.position,
        "marketPosition": execution.side.value,
        "positionStrategy": 0,
        "price": execution.price,
        "quantity": execution.quantity,
    }


def account_json(number: int, name: str, positions: list[Position]) -> Json:
    # XT docs, GET account, without most of its thirty amounts.
    return {
        "id": number,
        "name": name,
        "type": "NinjaTrader.Cbi.Account",
        "displayName": name,
        "primaryUser": None,
        "provider": "Simulator",
        "denomination": "UsDollar",
        "status": "Enabled",
        "isAccountFlat": not positions,
        "connection": "NinjaTrader.Cbi.Connection",
        "connectionStatus": "Connected",
        "lastTransactionSum": 0.0,
        "item": {
            "cashValue": 100000.0,
            "unrealizedProfitLoss": sum(position.profit_loss for position in positions),
        },
    }


def traders_time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(TRADERS_CLOCK).replace(tzinfo=None)
    # NinjaTrader counts in ticks of 100 ns: seven decimals.
    return f"{moment.isoformat(timespec='microseconds')}0"
