"""One worker over a real ledger, whose time passes when it is told to; and the words of the tests about its decisions."""

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from app.domain.commands import ClosePosition, Command, Quantity
from app.domain.venues import VENUES
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.due import seconds_to_next_due
from app.ledger.readers import CommandHistory, command_history
from config.file import BrokerSettings
from tests.taking import accept
from workers.execution import Execution

TODAY = date(2026, 11, 20)
SETTINGS = BrokerSettings("nt8", VENUES["crosstrade"], {}, "")
MES = "MES 12-26"
SIM = "Sim101"


class Shop:
    """A ledger, one worker and its venue; time passes when told to."""

    def __init__(self, ledger: Ledger, desk: Any, settings: BrokerSettings = SETTINGS) -> None:
        """The desk is its own broker, unless it has one."""
        self.ledger = ledger
        self.desk = desk
        broker = getattr(desk, "broker", desk)
        self.execution = Execution(ledger, "worker-1", {settings.name: (broker, settings)}, lambda: TODAY)

    def take(self, *commands: Command, max_age: float = 300) -> list[str]:
        """An alert that asks for these comes in. The commands' ids."""
        delivery = Delivery("futures", new_id().encode(), "a text", "main")
        return [row.id for row in accept(self.ledger, delivery, Wish(commands, max_age=max_age)).commands]

    def work(self) -> None:
        """Carry on all that is due now, and end what waited too long."""
        self.execution.claims.expire()
        while self.execution.step():
            pass
        self.execution.tell_of_blocked()

    def wait(self, seconds: float) -> None:
        """So much time passes, and whatever falls due meanwhile is carried on then."""
        self.work()
        while seconds > 0:
            due = seconds_to_next_due(self.ledger)
            self.work()  # what fell due while the machine was busy is not to be skipped
            passes = seconds if due is None else min(seconds, due + 0.01)
            self.let_pass(passes)
            self.work()
            seconds -= passes

    def let_pass(self, seconds: float) -> None:
        shifted = {
            "commands": (
                "accepted_at",
                "expires_at",
                "first_attempt_at",
                "gives_up_at",
                "settled_at",
                "due_at",
                "lease_until",
            ),
            "attempts": ("sent_at", "settles_at"),
        }
        with self.ledger.writing() as connection:
            for table, columns in shifted.items():
                changes = ", ".join(f"{column} = {column} - :passed" for column in columns)
                connection.execute(
                    text(f"UPDATE {table} SET {changes}"), {"passed": int(seconds * 1_000_000)}
                )
        self.desk.later(seconds)

    def carried_out(self, command: Command, seconds: float = 0) -> CommandHistory:
        """The command after it was taken, worked on, and given so much time."""
        (command_id,) = self.take(command)
        self.work()
        self.wait(seconds)
        return self.history(command_id)

    def history(self, command_id: str) -> CommandHistory:
        history = command_history(self.ledger, command_id)
        assert history is not None
        return history


def whole(instrument: str = MES, **changes: Any) -> ClosePosition:
    return ClosePosition("nt8", SIM, instrument, **changes)


def part(quantity: int = 4, **changes: Any) -> ClosePosition:
    """A close of so many, its working orders left alone unless told otherwise."""
    return ClosePosition("nt8", SIM, MES, Quantity(Decimal(quantity)), **{"cancel_orders": False} | changes)


def came_to(history: CommandHistory) -> tuple[str, str | None]:
    return history.command.status, history.command.attention


def numbers(history: CommandHistory) -> list[tuple[str, str, str | None]]:
    """Before, target and after of each position."""
    return [(h["before"], h["target"], h["after"]) for h in history.command.holdings or []]


def closed(history: CommandHistory) -> list[tuple[str, Decimal | None, str]]:
    return [(row.instrument, row.quantity, row.source) for row in history.closed_positions]
