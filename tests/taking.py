"""Alerts that tests give to a ledger."""

from collections.abc import Iterable

from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Taken, Wish
from app.ledger.intake import Intake


def accept(ledger: Ledger, delivery: Delivery, wish: Wish) -> Taken:
    """One alert as the door takes it in, while no other waits there; nobody is rung for."""
    return Intake(ledger, _unheard).accept(delivery, wish)


def _unheard(_command_ids: Iterable[str]) -> None: ...
