"""The alerts of OKX's signal bots: `{"action": "EXIT_LONG", "instrument": "BTC-USDT-SWAP", …}`.

https://www.okx.com/help/signal-bot-alert-message-specifications
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.alerts.dialects.dialect import (
    AtMarket,
    Dialect,
    DialectSchema,
    Translation,
    Unused,
    Word,
    as_percent,
    picked,
    values_of,
    word_in,
)
from app.alerts.errors import NoExit, WrongAlert
from app.alerts.schemas import STRATEGY
from app.alerts.values import Instrument, Moment, Number, Part, SenderId, SignedNumber, Standing
from app.domain.commands import Unit
from app.strict import Fault

_EXITS = {"exit_long": "long", "exit_short": "short"}
_ENTRIES = ("enter_long", "enter_short")
_UNITS = {"contract": Unit.CONTRACTS, "base": Unit.BASE}
_OF_POSITION = "percentage_position"
_OF_MONEY = ("margin", "percentage_balance", "percentage_investment")
_DEFAULT_LAG = 60.0


class OkxSignalSchema(DialectSchema):
    action = Word(*_EXITS, *_ENTRIES, "buy", "sell", required=True)
    instrument = Instrument(required=True)
    id = SenderId()
    timestamp = Moment()
    maxLag = Number()
    orderType = AtMarket()
    orderPriceOffset = Unused()
    investmentType = Word(_OF_POSITION, *_UNITS, *_OF_MONEY)


class ExitSchema(OkxSignalSchema):
    amount = Number()


class StrategySchema(OkxSignalSchema):
    """A strategy's one alert for all its orders; how much it closed is told by where it stood and stands."""

    marketPosition = Standing(required=True)
    prevMarketPosition = Standing(required=True)
    marketPositionSize = SignedNumber()
    prevMarketPositionSize = SignedNumber()
    amount = Number()


class PartSchema(DialectSchema):
    amount = Part(whole=100, required=True)


def _speaks(fields: Mapping[str, Any]) -> bool:
    action = word_in(fields.get("action"))
    return (
        action in _EXITS or action in _ENTRIES or (action in ("buy", "sell") and "marketPosition" in fields)
    )


def _translate(fields: Mapping[str, Any]) -> Translation:
    action = word_in(fields["action"])
    if action in _ENTRIES:
        raise NoExit(f"{action.upper()} opens a position: Flatwire closes only")
    if action not in _EXITS:
        return _strategy(values_of(StrategySchema, fields))
    values = values_of(ExitSchema, fields)
    said = {"action": "close", "position": _EXITS[action], **_said(values)}
    return Translation({**said, **_size(values, fields)}, _unit(values), _max_lag(values))


def _strategy(values: Mapping[str, Any]) -> Translation:
    said = picked(
        values,
        market_position="marketPosition",
        prev_market_position="prevMarketPosition",
        position_size="marketPositionSize",
        prev_position_size="prevMarketPositionSize",
    )
    written = {name: str(value) for name, value in said.items()}
    unit = _unit(values) if _amount_is_the_difference(values) else None
    return Translation({"action": STRATEGY, **_said(values), **written}, unit, _max_lag(values))


def _amount_is_the_difference(values: Mapping[str, Any]) -> bool:
    """Whether the sizes count what the amount does: only then its type tells their unit."""
    now: Decimal | None = values.get("marketPositionSize")
    before: Decimal | None = values.get("prevMarketPositionSize")
    return now is not None and before is not None and values.get("amount") == abs(abs(before) - abs(now))


def _size(values: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    kind, amount = values.get("investmentType"), values.get("amount")
    if kind is None and amount is None:
        return {}
    if kind is None or kind in _OF_MONEY:
        hint = f'use "{_OF_POSITION}", "contract" or "base"'
        what = (
            "is missing: what does the amount count?" if kind is None else f"{kind} is no part of a position"
        )
        raise WrongAlert(Fault("investmentType", what, hint))
    if kind == _OF_POSITION:
        given = {"amount": fields["amount"]} if amount is not None else {}
        return {"percent": as_percent(values_of(PartSchema, given)["amount"])}
    if amount is None:
        raise WrongAlert(Fault("amount", "is missing", f'how much, as investmentType is "{kind}"'))
    return {"quantity": amount}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    said = picked(values, instrument="instrument", id="id", timenow="timestamp")
    return said | ({"timenow": said["timenow"].isoformat()} if "timenow" in said else {})


def _unit(values: Mapping[str, Any]) -> Unit | None:
    return _UNITS.get(values.get("investmentType", ""))


def _max_lag(values: Mapping[str, Any]) -> float | None:
    if "timestamp" not in values:
        return None
    lag: Decimal | None = values.get("maxLag")
    return _DEFAULT_LAG if lag is None else float(lag)


DIALECT = Dialect(
    "okx_signal",
    "https://www.okx.com/help/signal-bot-alert-message-specifications",
    _speaks,
    _translate,
    (ExitSchema, StrategySchema),
)
