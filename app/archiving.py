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

    Raises what `keep` raises; what it was not given is there still.
    """
    count, after = 0, 0
    while True:
        pruned, following = archive.prune(ledger, days, keep, after)
        count += pruned
        if following is None:
            break
        after = following
        time.sleep(BETWEEN)
    archive.prune_beside(ledger, days)
    return count


@contextmanager
def archived_in(path: Path) -> Iterator[Callable[[Sequence[Document]], None]]:
    """What adds documents to the end of a file, and returns once they are on the disk. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:

        def keep(documents: Sequence[Document]) -> None:
            file.writelines(_line(document) for document in documents)
            file.flush()
            os.fsync(file.fileno())

        yield keep


def _line(document: Document) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"
