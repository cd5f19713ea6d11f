"""CrossTrade's webhook text: `key=…;command=CLOSEPOSITION;account=sim101;instrument=ES 06-25;`.

https://docs.crosstrade.io/webhooks
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
from app.alerts.strategies import Stance
from app.alerts.values import Accounts, Guard, Instrument, Number, Part, Standing, Value
from app.domain.positions import Side
from app.strict import Fault, fault

_CANCELS = ("cancel", "cancelorders", "cancelallorders", "cancelreplace", "cancelandbracket", "change")
_CLOSES_AND_OPENS = ("flatplace", "reverse", "reverseposition")
_VERBS = (
    "closeposition",
    "flatten",
    "flatteneverything",
    "closestrategy",
    "place",
    *_CANCELS,
    *_CLOSES_AND_OPENS,
)


class NoDelay(Value):
    """A close goes out at once."""

    def understood(self, value: Any) -> str:
        if str(value).strip() != "0":
            raise fault("can't be kept: a close goes out at once", "take it out")
        return "0"


class CrossTradeSchema(DialectSchema):
    """The options that every command takes. None of them changes what is closed, but the side."""

    command = Word(*_VERBS, required=True)
    require_market_position = Standing()
    # `id` names a rate limit there, not one alert: two real closes may share it.
    id = Unused()
    rate_limit = Unused()
    delay = NoDelay()
    destination = Unused()
    kill_switch = Unused()
    strategy_tag = Unused()
    sync_strategy = Unused()
    out_of_sync = Unused()
    bypass_trade_windows = Unused()


class ClosePositionSchema(CrossTradeSchema):
    account = Accounts(required=True)
    instrument = Instrument(required=True)
    quantity = Number()
    percent = Part(whole=1)


class FlattenSchema(CrossTradeSchema):
    account = Accounts()
    instrument = Instrument()
    market_position = Guard()


class MarketOrder(DialectSchema):
    order_type = AtMarket()


class PlaceSchema(CrossTradeSchema):
    """An order that a strategy sends with where it stands now."""

    account = Accounts(required=True)
    instrument = Instrument(required=True)
    action = Word("buy", "sell", required=True)
    qty = Number()
    market_position = Standing(required=True)
    prev_market_position = Standing()
    order_type = Unused()
    tif = Unused()
    limit_price = Unused()
    stop_price = Unused()
    take_profit = Unused()
    stop_loss = Unused()
    trail = Unused()
    strategy = Unused()
    flatten_first = Unused()
    max_positions = Unused()


def _speaks(fields: Mapping[str, Any]) -> bool:
    verb = word_in(fields.get("command"))
    # `flatten` is a word of ours too: with a field that only we know, it is ours.
    return verb in _VERBS and not (verb == "flatten" and fields.keys() - set(FlattenSchema().known_names()))


def _translate(fields: Mapping[str, Any]) -> Translation:
    verb = word_in(fields["command"])
    if verb == "closeposition":
        return Translation(_close(values_of(ClosePositionSchema, fields)))
    if verb == "flatten":
        return Translation(_flatten(values_of(FlattenSchema, fields)))
    if verb == "flatteneverything":
        values_of(CrossTradeSchema, fields)
        return Translation({"action": "flatten_everything"})
    if verb == "place":
        return Translation(_place(fields))
    if verb == "closestrategy":
        hint = "name what it shall close: command=CLOSEPOSITION with account and instrument"
        raise WrongAlert(Fault("command", "closes a strategy by its id, which no venue of ours knows", hint))
    if verb in _CLOSES_AND_OPENS:
        hint = "send command=CLOSEPOSITION for what it shall close"
        raise WrongAlert(Fault("command", "closes a position and opens another: Flatwire only closes", hint))
    raise NoExit(f"{verb.upper()} cancels or changes orders: Flatwire closes positions only")


def _close(values: Mapping[str, Any]) -> dict[str, Any]:
    said = picked(values, account="account", instrument="instrument", quantity="quantity")
    if "percent" in values:
        said["percent"] = as_percent(values["percent"])
    return {"action": "close", **_joined(said), **_guard(values)}


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without an account it means each of them, without any filter everything: as CrossTrade does it."""
    said = picked(values, account="account", instrument="instrument", position="market_position")
    guard = _guard(values)
    if not said and not guard:
        return {"action": "flatten_everything"}
    if "position" in said and guard.get("position", said["position"]) is not said["position"]:
        hint = "market_position and require_market_position must name the same side"
        raise WrongAlert(Fault("require_market_position", "contradicts market_position", hint))
    return {"action": "flatten", "account": "*", **_joined(said), **_guard(values)}


def _place(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The exit in an order that a strategy sends: by where it stood and stands."""
    if "market_position" not in fields:
        check_spelling(PlaceSchema, fields)
        raise _no_exit("PLACE places an order: Flatwire closes positions only", fields)
    values = values_of(PlaceSchema, fields)
    now, closes = values["market_position"], Side.LONG if values["action"] == "sell" else Side.SHORT
    before = values.get("prev_market_position") or (Stance(closes) if now is Stance.FLAT else None)
    if before is None:
        hint = "add prev_market_position={{strategy.prev_market_position}}"
        raise WrongAlert(
            Fault("prev_market_position", "is missing: an exit can't be told from an entry", hint)
        )
    if before is Stance.FLAT or (now is before and Side(before) is not closes):
        raise _no_exit(f"PLACE {values['action']} enters or adds to a position: Flatwire closes only", fields)
    if Side(before) is not closes:
        hint = "fill market_position, prev_market_position and action from the same order"
        message = f"{values['action']} does not close a {before} position"
        raise WrongAlert(Fault("action", message, hint))
    values_of(MarketOrder, picked(fields, order_type="order_type"))
    said = _joined(picked(values, account="account", instrument="instrument"))
    guard = {"position": str(before), **_guard(values)}
    if guard["position"] != before:
        raise NoExit(
            f"it acts only on a {guard['position']} position, and the strategy left its {before} one"
        )
    if now is not before:
        return {"action": "close", **said, **guard}
    if "qty" not in values:
        hint = "add qty={{strategy.order.contracts}}"
        raise WrongAlert(Fault("qty", "is missing: how much of the position did the strategy close?", hint))
    return {"action": "close", **said, **guard, "quantity": values["qty"]}


def _no_exit(reason: str, fields: Mapping[str, Any]) -> Exception:
    """An entry is ignored; but one that closes what is open first must not look done."""
    if word_in(fields.get("flatten_first")) != "true":
        return NoExit(reason)
    hint = "send command=CLOSEPOSITION for what it shall close"
    return WrongAlert(
        Fault("flatten_first", "closes a position and opens another: Flatwire only closes", hint)
    )


def _joined(said: dict[str, Any]) -> dict[str, Any]:
    """Several accounts are one text again, as our own schema takes them."""
    return said | ({"account": ",".join(said["account"])} if "account" in said else {})


def _guard(values: Mapping[str, Any]) -> dict[str, str]:
    """`require_market_position` as the side that the position must be on."""
    required = values.get("require_market_position")
    if required is Stance.FLAT:
        raise NoExit("it acts only while nothing is open: there is nothing to close then")
    return {} if required is None else {"position": str(required)}


DIALECT = Dialect(
    "crosstrade",
    "https://docs.crosstrade.io/webhooks",
    _speaks,
    _translate,
    (ClosePositionSchema, FlattenSchema, PlaceSchema),
    comments=True,
)
