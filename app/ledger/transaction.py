"""One transaction of the ledger: how it begins, and what it leaves to be done at its end."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

_OPTION = "flatwire_transaction"

Line = tuple[str, dict[str, Any]]
"""Of the log: its name, and what it says."""


@dataclass(slots=True)
class Transaction:
    """What a connection is told before its transaction begins, as an option of its execution."""

    lock_by: float | None = None
    """The monotonic time until which its writer waits for others; None: it only reads."""
    row_lock_seconds: float | None = None
    """How long a statement waits for a row that another transaction holds, on PostgreSQL; None: as long as it may take."""
    of_one_moment: bool = False
    """All its statements see the same."""
    in_turn: bool = False
    """Until its end no other one in turn begins, over all processes.

    What claims, begins, takes back, pauses and ends asks for it: two at once can't tell the turn of a lane.
    """
    began_at: datetime | None = None
    """The database's clock once it could begin."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """To be written before it is committed: all at once, as each statement is a way to the database and back."""
    to_log: list[Line] = field(default_factory=list)
    """To be logged once it is committed."""

    def on(self, connection: Connection) -> Connection:
        return connection.execution_options(**{_OPTION: self})


def transaction_of(connection: Connection) -> Transaction | None:
    """None: somebody else's, such as a migration's."""
    found: Transaction | None = connection.get_execution_options().get(_OPTION)
    return found


def moment_of(connection: Connection) -> datetime:
    """The database's clock as this transaction, that writes, began."""
    transaction = transaction_of(connection)
    if transaction is None or transaction.began_at is None:
        raise ValueError("only a transaction that writes knows when it began")
    return transaction.began_at
