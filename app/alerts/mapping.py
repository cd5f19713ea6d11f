"""From an alert's values to commands, inside what its hook allows. Scope only ever comes from the alert or the hook."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from app.alerts.dialects import spoken_by, translated
from app.alerts.errors import NoExit, NotAllowed, WrongAlert
from app.alerts.hooks import ALL, Hook
from app.alerts.schemas import HEARTBEAT, STRATEGY, action_and_values
from app.alerts.strategies import exit_of
from app.domain.commands import (
    Action,
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Fraction,
    Quantity,
    Size,
    Unit,
    Whole,
)
from app.strict import Fault

_CLOCKS_MAY_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Request:
    """What an alert asks for."""

    commands: tuple[Command, ...]
    warnings: tuple[Fault, ...] = ()
    sender_id: str | None = None
    """The sender's own id of the alert."""
    fired_at: datetime | None = None
    """When the sender says that it fired."""
    max_lag: float | None = None
    """Seconds from then to its arrival after which the sender wants it no more; None: the hook's `max_age` decides."""
    stale_hint: str | None = None
    """What to change, should that time turn out to be too old."""
    symbol: str | None = None
    """The sender's name of the instrument, where the venue has another."""


def request_of(fields: Mapping[str, Any], hook: Hook, received_at: datetime) -> Request:
    """What the fields ask of this hook. Raises NoExit, or WrongAlert or NotAllowed with every fault found."""
    meant = {name: value for name, value in fields.items() if name not in hook.ignore}
    said = translated(meant, hook.dialects)
    verb, values = _verb_and_values(said.fields, hook)
    if verb == HEARTBEAT:
        raise NoExit("a sign of life")
    if verb == STRATEGY:
        values |= _exit(values, hook)
    action = Action.CLOSE if verb == STRATEGY else Action(verb)
    if action not in hook.allow:
        hint = f'add "{action}" to the allow list of hook {hook.name}, if it may'
        raise NotAllowed(Fault("action", f"this hook may not {action}", hint))
    fired_at, stale_hint = _fired_at(values, received_at)
    commands = tuple(_commands(action, values, hook, said.unit))
    return Request(
        commands,
        warnings=tuple(_warnings(values, commands, hook)),
        sender_id=values.get("id"),
        fired_at=fired_at,
        max_lag=said.max_lag,
        stale_hint=stale_hint,
        symbol=_symbol(values, hook),
    )


def _verb_and_values(fields: Mapping[str, Any], hook: Hook) -> tuple[str, dict[str, Any]]:
    try:
        return action_and_values(fields, require=hook.require)
    except WrongAlert as exc:
        dialect = spoken_by(fields)
        if dialect is None or dialect in hook.dialects:
            raise
        message = f"reads like an alert for {dialect}, which this hook does not take"
        raise WrongAlert(
            *exc.faults, Fault("", message, f'add "{dialect}" to the dialects of the hook')
        ) from exc


def _exit(values: Mapping[str, Any], hook: Hook) -> dict[str, Any]:
    """A strategy's exit as the values of a close."""
    found = exit_of(values, hook.scale)
    sizes = {"quantity": found.quantity, "percent": found.part}
    return {"position": found.side, **{name: size for name, size in sizes.items() if size is not None}}


def _symbol(values: Mapping[str, Any], hook: Hook) -> str | None:
    named: str | None = values.get("instrument")
    return named if named is not None and hook.instrument(named) != named else None


def _fired_at(values: Mapping[str, Any], received_at: datetime) -> tuple[datetime | None, str | None]:
    """When it fired, and what to change if that is too old: `{{time}}` is the start of a bar, not now."""
    name = "timenow" if "timenow" in values else "time"
    fired_at: datetime | None = values.get(name)
    if fired_at and fired_at > received_at + _CLOCKS_MAY_DIFFER:
        hint = "check the clocks of the sender and of this machine, and the time zone"
        raise WrongAlert(
            Fault(name, f"lies in the future (it is {received_at:%Y-%m-%dT%H:%M:%SZ} here)", hint)
        )
    on_a_bar = fired_at is not None and name == "time" and not (fired_at.second or fired_at.microsecond)
    return fired_at, "{{time}} is when the bar began: send {{timenow}}" if on_a_bar else None


def _commands(action: Action, values: Mapping[str, Any], hook: Hook, unit: Unit | None) -> Iterator[Command]:
    if action is Action.FLATTEN_EVERYTHING:
        _check_whole_venue(hook)
        yield FlattenEverything(hook.broker, hook.max_positions)
        return
    instrument = _instrument(values.get("instrument"), hook)
    if action is Action.FLATTEN:
        for name in ("account", "instrument", "position"):
            if name in values:
                break
        else:
            hint = "name one; closing everything is an action of its own, flatten_everything"
            raise WrongAlert(Fault("account", "a flatten needs an account, an instrument or a side", hint))
        yield from _flattens(values, instrument, hook)
        return
    size = _size(values, hook, unit)
    cancel_orders = _cancel_orders(values, hook, default=isinstance(size, Whole))
    for account in _accounts(values.get("account"), hook):
        if account is None:
            hint = "name the account, or flatten the instrument"
            raise WrongAlert(Fault("account", "a close needs one account, not all", hint))
        assert instrument, "the schema requires it"
        yield ClosePosition(hook.broker, account, instrument, size, values.get("position"), cancel_orders)


def _flattens(values: Mapping[str, Any], instrument: str | None, hook: Hook) -> Iterator[FlattenMatching]:
    side = values.get("position")
    cancel_orders = _cancel_orders(values, hook, default=True)
    if not cancel_orders and not hook.venue.flatten_can_keep_orders:
        message = f"{hook.venue.title} cancels working orders with each flatten"
        raise WrongAlert(Fault("cancel_orders", message, 'close the position instead: "action": "close"'))
    if not instrument and hook.instruments:
        hint = f"name an instrument; this hook may touch: {', '.join(hook.instruments)}"
        raise NotAllowed(Fault("instrument", "this hook may not touch every instrument", hint))
    for account in _accounts(values.get("account"), hook):
        if not (account or instrument or side):
            hint = "name an account, or use flatten_everything if the hook allows it"
            raise WrongAlert(Fault("account", "every account without a filter is everything", hint))
        yield FlattenMatching(hook.broker, account, instrument, side, cancel_orders, hook.max_positions)


def _check_whole_venue(hook: Hook) -> None:
    if not hook.all_accounts or hook.instruments:
        hint = 'such a hook has accounts = "*" and no instruments'
        raise NotAllowed(Fault("action", "this hook may not touch everything", hint))


def _accounts(named: tuple[str, ...] | None, hook: Hook) -> tuple[str | None, ...]:
    """The accounts meant, in the hook's spelling; `(None,)` is every account of the credential."""
    if named is None:
        own = hook.default_account or (hook.accounts[0] if len(hook.accounts) == 1 else None)
        if own is None or own == ALL:
            hint = 'name an account, "*" for each of the hook\'s, or give the hook a default_account'
            raise WrongAlert(Fault("account", "is missing, and the hook has no default", hint))
        return (hook.account(own),)
    if named == (ALL,):
        return (None,) if hook.all_accounts else hook.accounts
    found = {name: None if name == ALL else hook.account(name) for name in named}
    foreign = [name for name, own in found.items() if own is None]
    if foreign:
        hint = f"this hook's accounts: {', '.join(hook.accounts)}"
        raise NotAllowed(
            *(Fault("account", f'"{name}" is not an account of this hook', hint) for name in foreign)
        )
    return tuple(found.values())


def _instrument(named: str | None, hook: Hook) -> str | None:
    if named is None:
        return None
    instrument = hook.instrument(named)
    if not hook.venue.takes(instrument):
        hint = f'write it as there ("{hook.venue.example}"), or map it in the symbols of hook {hook.name}'
        raise WrongAlert(Fault("instrument", f'"{instrument}" is no instrument of {hook.venue.title}', hint))
    if not hook.allows_instrument(instrument):
        hint = f"this hook may touch: {', '.join(hook.instruments)}"
        raise NotAllowed(Fault("instrument", f'"{instrument}" is not an instrument of this hook', hint))
    return instrument


def _size(values: Mapping[str, Any], hook: Hook, unit: Unit | None) -> Size:
    """How much to close; `unit` is what the alert says that a quantity counts, if it does."""
    quantity: Decimal | None = values.get("quantity")
    percent: Decimal | None = values.get("percent")
    if quantity is not None:
        return _quantity(quantity, unit or hook.quantity_unit, _symbol(values, hook), hook)
    if percent is not None and percent < 1:
        return Fraction(percent)
    return Whole()


def _quantity(quantity: Decimal, unit: Unit | None, symbol: str | None, hook: Hook) -> Quantity:
    venue = hook.venue
    units = " or ".join(f'"{unit}"' for unit in venue.quantity_units)
    if unit is None and len(venue.quantity_units) > 1 and symbol:
        hint = f"set quantity_unit of hook {hook.name} to {units}"
        raise WrongAlert(Fault("quantity", "does not say what it counts, with a chart's symbol", hint))
    if unit is not None and unit not in venue.quantity_units:
        raise WrongAlert(
            Fault("quantity", f'counts "{unit}", and {venue.title} does not', f"it counts {units}")
        )
    if venue.lot is not None and quantity % venue.lot:
        message = f"{quantity:f} is not a multiple of {venue.lot:f}"
        raise WrongAlert(
            Fault("quantity", message, f"{venue.title} counts in whole lots; nothing is rounded")
        )
    return Quantity(quantity, unit or Unit.CONTRACTS)


def _cancel_orders(values: Mapping[str, Any], hook: Hook, *, default: bool) -> bool:
    said: bool | None = values.get("cancel_orders")
    if said is not None:
        return said
    return default if hook.cancel_orders is None else hook.cancel_orders


def _warnings(values: Mapping[str, Any], commands: tuple[Command, ...], hook: Hook) -> Iterator[Fault]:
    if "quantity" in values and "percent" in values:
        yield Fault("percent", "both_sizes", "quantity and percent were given: the quantity counts")
    closes = [command for command in commands if isinstance(command, ClosePosition)]
    keeps_orders = any(command.whole and not command.cancel_orders for command in closes)
    if keeps_orders and not hook.venue.flatten_can_keep_orders:
        hint = f"{hook.venue.title} does not promise to keep working orders when all of a position is closed"
        yield Fault("cancel_orders", "orders_may_be_cancelled", hint)
    partial = any(not command.whole for command in closes)
    if partial and not values.keys() & {"id", "time", "timenow"}:
        hint = (
            'add "id": "{{strategy.order.id}}-{{timenow}}", so that a repeat can be told from a second close'
        )
        yield Fault("id", "undedupable", hint)
