"""Old alerts into files, a JSON object a line, and out of the ledger."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from app.ledger import archive
from app.ledger.archive import Document
from app.ledger.connection import Ledger

BETWEEN = 0.1
"""Seconds between two transactions of pruning: whoever waits to close goes first."""


def export(ledger: Ledger, to: IO[str], since: datetime | None, until: datetime | None) -> int:
    """Write the alerts that were received then, with all that became of them. How many. Raises OSError."""
    count = 0
    for document in archive.documents(ledger, since, until):
        to.write(_line(document))
        count += 1
    to.flush()
    return count


def prune(ledger: Ledger, days: float, keep: Callable[[Sequence[Document]], None]) -> int:
    """Delete what is older than so many days and needed no more, each after it was handed to `keep`. How many alerts.

    Raises what `keep` raises; what it was not given is there still. Nothing waits for it, however long it takes.
    """
    count = 0
    for chunk in archive.chunks(ledger, days):
        if documents := archive.prunable(ledger, chunk):
            keep(documents)
            count += archive.prune(ledger, chunk, documents)
            time.sleep(BETWEEN)
    for _ in archive.prune_beside(ledger, days):
        time.sleep(BETWEEN / 10)
    return count


def prunable(ledger: Ledger, days: float) -> int:
    """How many alerts `prune` would delete now."""
    return sum(len(archive.prunable(ledger, chunk)) for chunk in archive.chunks(ledger, days))


@contextmanager
def archived_in(path: Path) -> Iterator[Callable[[Sequence[Document]], None]]:
    """What adds documents to the end of a file, and returns once they are on the disk. Raises OSError."""
    with path.open("ab+") as file:
        _end_its_last_line(file)
        _keep_its_name(path)

        def keep(documents: Sequence[Document]) -> None:
            file.writelines(_line(document).encode() for document in documents)
            file.flush()
            os.fsync(file.fileno())

        yield keep


def _end_its_last_line(file: IO[bytes]) -> None:
    """Half a line, of a time when the disk was full, must not swallow the next."""
    if file.seekable() and file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _keep_its_name(path: Path) -> None:
    """A file that was made just now could be lost with its folder's entry, were the machine to stop."""
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(document: Document) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"
