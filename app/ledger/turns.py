"""One after the other, over all processes."""

from sqlalchemy import Connection, text

_LOCK = 0x636C61696D  # "claim": any fixed number that is ours


def one_at_a_time(connection: Connection) -> None:
    """Until its end, this transaction and others that ask for the same do not overlap.

    What claims, begins, takes back, pauses and ends asks: two at once can't tell the turn of a lane.
    """
    if connection.dialect.name != "sqlite":  # SQLite's writers are alone already
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
