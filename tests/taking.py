"""Alerts that tests give to a ledger."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Taken, Wish
from app.ledger.intake import Intake

_INTAKES: WeakKeyDictionary[Ledger, Intake] = WeakKeyDictionary()
"""One for each ledger, as a process has it: those who come at the same moment are taken in together."""


def accept(ledger: Ledger, delivery: Delivery, wish: Wish) -> Taken:
    """An alert as the door takes it in; nobody is rung for."""
    return _INTAKES.setdefault(ledger, Intake(ledger, _unheard)).accept(delivery, wish)


def _unheard(_command_ids: Iterable[str]) -> None: ...
