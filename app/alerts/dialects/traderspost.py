"""TradersPost's JSON: `{"ticker": "SPY", "action": "exit"}`.

https://docs.traderspost.io/docs/core-concepts/webhooks
"""

from collections.abc import Mapping
from typing import Any

from app.alerts.dialects.dialect import (
    AtMarket,
    Dialect,
    DialectSchema,
    Translation,
    Unused,
    Word,
    as_percent,
    check_spelling,
    picked,
    values_of,
    word_in,
)
from app.alerts.errors import NoExit, WrongAlert
from app.alerts.values import Instrument, Number, Part, Value, YesNo
from app.strict import Fault, fault

_ACTIONS = ("buy", "sell", "exit", "cancel", "add")
_FIXED, _OF_POSITION = "fixed_quantity", "percent_of_position"
_STILL_OPEN = {"sell": ("bullish", "long"), "buy": ("bearish", "short")}
_ENTERS = {"sell": ("bearish", "short"), "buy": ("bullish", "long")}
_AMOUNTS = ("dollar_amount", "risk_dollar_amount", "percent_of_equity")


class NotByType(Value):
    """Orders of one type only: a cancel of all would take the stop of what stays open."""

    def understood(self, value: Any) -> str:
        raise fault("can't be kept: all orders of the instrument are cancelled, or none", "take it out")


class TradersPostSchema(DialectSchema):
    """An exit. Prices are references there, not limits; `time` is not when it was sent."""

    ticker = Instrument(required=True)
    action = Word(*_ACTIONS, required=True)
    orderType = AtMarket()
    cancel = YesNo()
    cancelOrderType = NotByType()
    price = Unused()
    signalPrice = Unused()
    limitPrice = Unused()
    stopPrice = Unused()
    timeInForce = Unused()
    extendedHours = Unused()
    time = Unused()
    interval = Unused()
    delay = Unused()
    takeProfit = Unused()
    stopLoss = Unused()
    strategy = Unused()
    extras = Unused()


class ExitSchema(TradersPostSchema):
    quantity = Number()
    quantityType = Word(_FIXED, _OF_POSITION, *_AMOUNTS)


class PartSchema(DialectSchema):
    quantity = Part(whole=100, required=True)


class FlatSchema(TradersPostSchema):
    """`sell` or `buy` with `sentiment: flat`: always the whole position, whatever the quantity."""

    sentiment = Word("flat", required=True)
    quantity = Unused()
    quantityType = Unused()


def _speaks(fields: Mapping[str, Any]) -> bool:
    return word_in(fields.get("action")) in _ACTIONS and "ticker" in fields and "marketPosition" not in fields


def _translate(fields: Mapping[str, Any]) -> Translation:
    action, sentiment = word_in(fields["action"]), word_in(fields.get("sentiment"))
    if action in ("cancel", "add"):
        check_spelling(FlatSchema, fields)
        raise NoExit(f'"{action}" closes nothing: Flatwire closes positions only')
    if action == "exit":
        return Translation(_exit(fields))
    if sentiment in _STILL_OPEN[action]:
        hint = 'send "action": "strategy" with its sizes, or "exit" with a quantity'
        raise WrongAlert(
            Fault("sentiment", f'"{action}" and still {sentiment} is a partial exit of unknown size', hint)
        )
    if "sentiment" not in fields or sentiment in _ENTERS[action]:
        check_spelling(FlatSchema, fields)
        raise NoExit(
            f'"{action}" is an entry unless its sentiment is flat; for a reversal send "action": "strategy"'
        )
    values = values_of(FlatSchema, fields)
    side = "long" if action == "sell" else "short"
    return Translation({**_said(values), "position": side})


def _exit(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "sentiment" in fields:
        raise WrongAlert(
            Fault("sentiment", "has no meaning with exit", "take it out, as TradersPost demands")
        )
    values = values_of(ExitSchema, fields)
    kind = values.get("quantityType", _FIXED)
    if kind in _AMOUNTS:
        hint = f'use "{_FIXED}" or "{_OF_POSITION}"'
        raise WrongAlert(Fault("quantityType", f"{kind} says nothing of how much to close", hint))
    if "quantity" not in values:
        if "quantityType" in values:
            raise WrongAlert(Fault("quantity", "is missing", "quantityType needs a quantity beside it"))
        return _said(values)
    if kind == _FIXED:
        return {**_said(values), "quantity": values["quantity"]}
    part = values_of(PartSchema, {"quantity": fields["quantity"]})["quantity"]
    return {**_said(values), "percent": as_percent(part)}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": "close", **picked(values, instrument="ticker", cancel_orders="cancel")}


DIALECT = Dialect(
    "traderspost",
    "https://docs.traderspost.io/docs/core-concepts/webhooks",
    _speaks,
    _translate,
    (ExitSchema, FlatSchema),
)
