"""What the system tells of processes: who their children are, how much memory and how many files are theirs."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> Iterator[int]:
    """A process and all that it started, and so on."""
    yield pid
    for child in children(pid):
        yield from family(child)


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def memory(pid: int) -> float:
    """MiB of a process and its children: what several share counts once (PSS), where the system tells that."""
    return sum(_memory(it) for it in family(pid)) / 1024


def handles(pid: int) -> int:
    """Files and sockets that a process and its children have open."""
    found = 0
    for it in family(pid):
        with suppress(OSError):
            found += len(list(Path(f"/proc/{it}/fd").iterdir()))
    return found


def _memory(pid: int) -> int:
    """In KiB; 0 of a process that is gone."""
    for name, key in (("smaps_rollup", "Pss"), ("status", "VmRSS")):
        with suppress(OSError):
            if found := re.search(
                rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{pid}/{name}").read_text(), re.MULTILINE
            ):
                return int(found[1])
    return 0
