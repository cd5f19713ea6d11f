"""What operators do, as the API and the dashboard both let them: each act is recorded, and rings for what is due then."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import current_app

from app.alerts.hooks import ALL, Hook
from app.alerts.mapping import request_of
from app.ledger import due, operators, pauses, readers
from app.ledger.connection import Ledger
from app.ledger.intake import OPERATORS_HOOK, accept_of_operator
from app.ledger.pauses import Scope
from app.ledger.readers import Record
from app.queueing import Doorbell
from app.strict import Fault, did_you_mean
from config.file import BrokerSettings

log = structlog.get_logger(__name__)

MAX_AGE = 300.0
"""Seconds for which an operator's own flatten is wanted, and a retry whose hook is in the file no more."""
RUNG = 16
"""Commands that are rung for at most: one ring wakes a worker, and workers look by themselves too."""


class NothingSoCalled(Exception):
    """Raised when a hook or broker is named that is not in the file."""

    def __init__(self, field: str, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {what} is called {name or 'so'}")
        known = list(known)
        self.fault = Fault(
            field, "is not known", did_you_mean(name, known, otherwise=f"one of: {', '.join(known)}")
        )


def retry(command_id: str, actor: str, reason: str) -> str:
    """Ask anew for what a settled command left open: the id of the new one. Raises NoSuchCommand, NotPossible."""
    again = operators.retry(ledger(), command_id, actor, reason, _max_age(command_id))
    _ring([again])
    _log("retried", again, actor)
    return again


def cancel(command_id: str, actor: str, reason: str) -> None:
    """End what waits to be sent. Raises NoSuchCommand, NotPossible."""
    operators.cancel(ledger(), command_id, actor, reason)
    _ring_for_next(command_id)
    _log("cancelled", command_id, actor)


def acknowledge(command_id: str, actor: str, reason: str) -> None:
    """Take note of what asks for attention. Raises NoSuchCommand, NotPossible."""
    operators.acknowledge(ledger(), command_id, actor, reason)
    _log("acknowledged", command_id, actor)


def resolve(command_id: str, done: bool, actor: str, reason: str) -> None:
    """Say what became of a command that may have acted. Raises NoSuchCommand, NotPossible."""
    operators.resolve(ledger(), command_id, done, actor, reason)
    if done:
        _ring([command_id])  # a worker's fresh read decides
    else:
        _ring_for_next(command_id)
    _log("resolved", command_id, actor)


def flatten(asked: Mapping[str, Any], actor: str, reason: str) -> list[Record]:
    """An operator's own flatten of an account, an instrument or a side at `asked["broker"]`: its commands.

    Raises NothingSoCalled, and AlertRefused as an alert that asks for it would be.
    """
    brokers: Mapping[str, BrokerSettings] = current_app.extensions["flatwire_brokers"]
    name = asked["broker"]
    if name not in brokers:
        raise NothingSoCalled("broker", "broker", name, brokers)
    fields = {"account": "account", "instrument": "instrument", "side": "position"}
    said = {ours: asked[theirs] for theirs, ours in fields.items() if asked.get(theirs)}
    wanted = request_of({"action": "flatten", **said}, hook_of_operators(brokers[name]), datetime.now(UTC))
    text = ";".join(f"{field}={value}" for field, value in {"action": "flatten", **said}.items())
    rows = [
        row
        for command in wanted.commands
        for row in accept_of_operator(ledger(), command, actor, reason, text, MAX_AGE).commands
    ]
    _ring(row.id for row in rows)
    for row in rows:
        _log("flattened", row.id, actor)
    return rows


def hook_of_operators(broker: BrokerSettings) -> Hook:
    """What stands for a hook where an operator asks: all accounts, and a flatten only."""
    names = broker.venue.names_accounts
    return Hook(
        name=OPERATORS_HOOK,
        broker=broker.name,
        venue=broker.venue,
        live=broker.live,
        accounts=(ALL,) if names else (broker.name,),
        default_account=None if names else broker.name,
        symbols=broker.symbols,
    )


def set_pause(scope: Scope, name: str, paused: bool, actor: str, reason: str) -> None:
    """Stop sending for all, a broker or a hook; or go on. Raises NothingSoCalled."""
    known = _names(scope)
    if not paused:  # what has left the file since can go on too
        known += [row.name for row in pauses.paused(ledger()) if row.scope == scope]
    if name not in known:
        raise NothingSoCalled("name", scope, name, known)
    if paused:
        pauses.pause(ledger(), scope, name, actor, reason)
    else:
        _ring(pauses.resume(ledger(), scope, name, actor, reason))
    log.warning("paused" if paused else "resumed", scope=scope, name=name, actor=actor)


def _names(scope: Scope) -> list[str]:
    match scope:
        case Scope.ALL:
            return [""]
        case Scope.BROKER:
            return list(current_app.extensions["flatwire_brokers"])
        case Scope.HOOK:
            return list(current_app.extensions["flatwire_hooks"])


def _max_age(command_id: str) -> float:
    history = readers.command_history(ledger(), command_id)
    hook = current_app.extensions["flatwire_hooks"].get(history.command.hook) if history else None
    return hook.max_age if hook else MAX_AGE


def _ring_for_next(command_id: str) -> None:
    _ring(due.next_in_lanes(ledger(), command_id, RUNG))


def _ring(command_ids: Iterable[str]) -> None:
    doorbell: Doorbell = current_app.extensions["flatwire_doorbell"]
    doorbell.ring(list(command_ids)[:RUNG])


def _log(act: str, command_id: str, actor: str) -> None:
    log.info("operator_acted", act=act, command=command_id, actor=actor)


def ledger() -> Ledger:
    """The ledger of this application."""
    found: Ledger = current_app.extensions["flatwire_ledger"]
    return found
