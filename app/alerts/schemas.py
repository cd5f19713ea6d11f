"""The fields that each action takes (design, section 4), as marshmallow schemas."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from app.alerts.errors import WrongAlert
from app.alerts.values import (
    Accounts,
    Guard,
    Instrument,
    Moment,
    Note,
    Number,
    Percent,
    SenderId,
    SignedNumber,
    Standing,
    YesNo,
)
from app.domain.commands import Action
from app.strict import Fault, StrictSchema, did_you_mean, faults_in, shown

ALIASES = {
    "command": "action",
    "symbol": "instrument",
    "ticker": "instrument",
    "qty": "quantity",
    "contracts": "quantity",
    "side": "position",
    "comment": "note",
    "market_position_size": "position_size",
    "prev_market_position_size": "prev_position_size",
}
"""Other names of a field."""

SECRET_FIELDS = ("secret", "key", "passphrase", "token", "signalToken")
"""Where a text may carry the hook's secret, the last as OKX's signal bots name it. Taken out before anything else looks
at the fields."""

STRATEGY = "strategy"
"""The action of a strategy's one alert for all its orders: what it asks for is a close, or nothing."""


HEARTBEAT = "heartbeat"
"""The action of an alert that is only to be heard."""


class AlertSchema(StrictSchema):
    """What every alert may say."""

    id = SenderId()
    time = Moment()
    timenow = Moment()
    note = Note()

    def unknown_fault(self, name: str, known: list[str]) -> dict[str, str | None]:
        if name in _EVERY_FIELD:
            return {"message": "has no meaning with this action", "hint": "take it out"}
        spellings = [*_EVERY_FIELD, *ALIASES]
        hint = did_you_mean(name, spellings, otherwise=f"known: {', '.join(sorted(_EVERY_FIELD))}")
        return {"message": "is not known", "hint": hint}


class CloseSchema(AlertSchema):
    account = Accounts()
    instrument = Instrument(required=True)
    quantity = Number()
    percent = Percent()
    position = Guard()
    cancel_orders = YesNo()


class FlattenSchema(AlertSchema):
    account = Accounts()
    instrument = Instrument()
    position = Guard()
    cancel_orders = YesNo()


class FlattenEverythingSchema(AlertSchema):
    """No field narrows it: one that is there would be ignored, and that is how accidents happen."""


class HeartbeatSchema(AlertSchema):
    """It asks for nothing: its hook has heard something."""


class StrategySchema(AlertSchema):
    account = Accounts()
    instrument = Instrument(required=True)
    market_position = Standing(required=True)
    prev_market_position = Standing(required=True)
    position_size = SignedNumber()
    prev_position_size = SignedNumber()
    cancel_orders = YesNo()


# Made once: to make a schema takes longer than to read an alert by it.
SCHEMAS: dict[str, AlertSchema] = {
    Action.CLOSE: CloseSchema(),
    Action.FLATTEN: FlattenSchema(),
    Action.FLATTEN_EVERYTHING: FlattenEverythingSchema(),
    STRATEGY: StrategySchema(),
    HEARTBEAT: HeartbeatSchema(),
}

_EVERY_FIELD = (
    "action",
    *dict.fromkeys(name for schema in SCHEMAS.values() for name in schema.known_names()),
)

FIELD_NAMES = (*_EVERY_FIELD, *ALIASES, *SECRET_FIELDS)
"""Every name under which a text may carry a field."""


def action_and_values(fields: Mapping[str, Any], *, require: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The action, a key of SCHEMAS, and what its schema made of the other fields. Raises WrongAlert with every fault."""
    spelled, faults = _canonical(fields)
    faults += _missing(require, spelled)
    action = _action(fields, spelled, faults)
    # A wrong action hides nothing else: the widest schema tells the other faults all the same.
    schema = SCHEMAS[action or Action.CLOSE]
    rest = {name: fields[written] for name, written in spelled.items() if name != "action"}
    values: dict[str, Any] = {}
    try:
        values = schema.load(rest)
    except ValidationError as exc:
        found = faults_in({spelled.get(name, name): messages for name, messages in exc.messages_dict.items()})
        faults += [f for f in found if action or f.message != "is missing"]
    if faults or action is None:
        raise WrongAlert(*(Fault(shown(f.field), f.message, f.hint) for f in faults))
    return action, values


def _canonical(fields: Mapping[str, Any]) -> tuple[dict[str, str], list[Fault]]:
    """Our name of each field to the name it was written under."""
    spelled = {ALIASES.get(name, name): name for name in fields}
    counted = Counter(ALIASES.get(name, name) for name in fields)
    hint = "write it once; which of the two is meant can't be told"
    return spelled, [
        Fault(name, "stands there under two names", hint) for name, count in counted.items() if count > 1
    ]


def _missing(require: tuple[str, ...], spelled: Mapping[str, str]) -> list[Fault]:
    wanted = (ALIASES.get(name, name) for name in require)
    return [Fault(name, "is missing", "this hook demands it") for name in wanted if name not in spelled]


def _action(fields: Mapping[str, Any], spelled: Mapping[str, str], faults: list[Fault]) -> str | None:
    known = ", ".join(SCHEMAS)
    if "action" not in spelled:
        faults.append(Fault("action", "is missing", f"one of: {known}"))
        return None
    written = fields[spelled["action"]]
    word = written.strip().lower() if isinstance(written, str) else None
    if word in SCHEMAS:
        return word
    hint = did_you_mean(word or "", SCHEMAS, otherwise=f"one of: {known}")
    # Only one value is quoted: a list nested deep enough can't even be printed.
    quoted = "a list or an object" if isinstance(written, dict | list) else f'"{shown(str(written))}"'
    faults.append(Fault(spelled["action"], f"is not known: {quoted}", hint))
    return None
