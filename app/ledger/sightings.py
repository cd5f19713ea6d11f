"""Where which instruments were ever seen open: a name that never was is likely a typo, which looks just like flat."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from app.domain.commands import Command, FlattenEverything
from app.domain.instruments import account_key, root_of
from app.domain.positions import Position
from app.ledger import tables
from app.ledger.connection import Ledger, insert_once

Sighting = tuple[str, str]
"""An account's key and a contract's root."""

_sightings = tables.sightings


def sightings_in(positions: Iterable[Position]) -> set[Sighting]:
    return {(account_key(position.account), root_of(position.instrument)) for position in positions}


def note(connection: Connection, broker: str, seen: Iterable[Sighting]) -> None:
    """Keep what was seen open at a broker, in the transaction of whoever saw it."""
    for account, root in sorted(seen):  # two that see the same wait for each other in one order
        row = {"broker": broker, "account": account, "root": root}
        insert_once(connection, _sightings, row)


def was_seen(ledger: Ledger, command: Command) -> bool:
    """Whether what the command names was ever seen open where it looks; true for one that names no instrument."""
    if isinstance(command, FlattenEverything) or command.instrument is None:
        return True
    there = [_sightings.c.broker == command.broker, _sightings.c.root == root_of(command.instrument)]
    if command.account is not None:
        there.append(_sightings.c.account == account_key(command.account))
    with ledger.reading() as connection:
        return connection.execute(select(_sightings.c.root).where(*there).limit(1)).first() is not None
