"""What the figures were measured on."""

import os
import platform
import re
import sqlite3
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from config.embedded.doorbell import server_program
from tests.running import ROOT

PACKAGES = ("gunicorn", "flask", "sqlalchemy", "psycopg", "rq", "redis")


def described(folder: Path, postgresql: str | None) -> dict[str, Any]:
    """The machine as it is now; `folder` is where the ledgers lie, `postgresql` what its server says it is."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _git("rev-parse", "--short=10", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory() / 2**30, 1),
        "kernel": platform.release(),
        "disk": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": postgresql,
        "redis": _redis(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _file_system(folder: Path) -> str:
    """Of the longest mount point above the folder: a commit waits for what lies there."""
    mounts = [line.split()[:3] for line in _read("/proc/mounts").splitlines()]
    above = [(point, kind) for _, point, kind in mounts if folder.resolve().is_relative_to(point)]
    return " at ".join(max(above, key=lambda it: len(it[0]))[::-1]) if above else "unknown"


def _redis() -> str:
    program = server_program()
    if program is None:
        return "none"
    told = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v=([\d.]+)", told)
    kind = "Valkey" if "alkey" in f"{program}{told}" else "Redis"
    return f"{kind} {found[1] if found else 'unknown'}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
