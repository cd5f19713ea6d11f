"""`python -m config.embedded`: everything on this machine, until Ctrl-C. Its data stays under var/."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from honcho.manager import Manager
from honcho.printer import Printer

from app.passwords import password_hash
from config.embedded.doorbell import running_server
from config.embedded.venues import SIMULATED

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
READY_SECONDS = 60.0

SECRETS = (
    "SECRET_KEY",
    "EMBEDDED_API_TOKEN",
    *(name for venue in SIMULATED for name in (venue.secret, *venue.credential)),
)
SECRET_BYTES = 16
"""128 bits; more would break the printed lines in a terminal of a hundred columns."""


def main() -> int:
    os.chdir(ROOT)
    VAR.mkdir(exist_ok=True, mode=0o700)
    environ = {**os.environ}
    for name, secret in _kept_secrets().items():
        environ[name] = environ.get(name) or secret
    port = environ.setdefault("PORT", "8000")
    if not port.isdecimal() or not _is_free(int(port)):
        print(f"port {port} can't be used: stop what uses it, or choose another one: PORT=8001 make run")
        return 2
    password = _set_defaults(environ)
    with ExitStack() as stack:
        if "REDIS_URL" not in environ:
            url = stack.enter_context(running_server(VAR / "redis"))
            if url is None:
                print("no Redis or Valkey server here: the workers look into the ledger every second instead")
            else:
                environ["REDIS_URL"] = url
        if subprocess.run([sys.executable, "-m", "app", "migrate"], env=environ, check=False).returncode:
            return 2
        return _run(environ, _welcome(environ, password))


def _set_defaults(environ: dict[str, str]) -> str | None:
    """Fill in what the environment leaves open. The password of this run's login, if one was made."""
    environ.setdefault("DATABASE_URL", f"sqlite:///{VAR / 'flatwire.db'}")
    environ.setdefault("FLATWIRE_CONFIG", str(Path(__file__).with_name("flatwire.toml")))
    environ.setdefault("API_TOKENS", f"operator:{environ['EMBEDDED_API_TOKEN']}")
    for venue, free in zip(SIMULATED, _free_ports(len(SIMULATED)), strict=True):
        environ.setdefault(venue.port, str(free))
    environ.setdefault("LOG_LEVEL", "INFO")
    environ["PYTHONUNBUFFERED"] = "1"
    if "DASHBOARD_USERS" in environ:
        return None
    password = secrets.token_urlsafe(9)
    environ["DASHBOARD_USERS"] = f"admin:operator:{password_hash(password)}"
    return password


def _kept_secrets() -> dict[str, str]:
    """Secrets of this installation, made once, so that the curl lines of yesterday still work."""
    path = VAR / "secrets.json"
    kept: dict[str, str] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text())
    made = {name: kept.get(name) or secrets.token_urlsafe(SECRET_BYTES) for name in SECRETS}
    path.touch(mode=0o600)
    path.write_text(json.dumps(made))
    return made


def _run(environ: Mapping[str, str], welcome: str) -> int:
    """Run the processes until one ends or Ctrl-C. honcho stops the others and leaves none behind."""
    python = f'"{sys.executable}"'
    manager = Manager(Printer(sys.stdout, time_format="%H:%M:%S"))
    venues = (
        (venue.kind, f"{python} -m tests.simulators.{venue.kind} --moving --port {environ[venue.port]}")
        for venue in SIMULATED
    )
    for name, command in (
        *venues,
        ("web", f'{python} -m gunicorn -c python:config.gunicorn "app.web:create_app()"'),
        ("worker", f"{python} -m workers"),
    ):
        # exec: the shell gives way to the program, so that a signal reaches it.
        manager.add_process(name, f"exec {command}", env=dict(environ))
    threading.Thread(target=_greet, args=(int(environ["PORT"]), welcome), daemon=True).start()
    manager.loop()
    return 0 if manager.returncode in (130, 143) else manager.returncode or 0


def _greet(port: int, welcome: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if _workers(port):
            break
        time.sleep(0.2)
    print(welcome, flush=True)


def _workers(port: int) -> int:
    """The workers that are alive, as the web process tells."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return int(json.load(answer)["workers"])
    except (urllib.error.URLError, OSError):
        return 0


def _welcome(environ: Mapping[str, str], password: str | None) -> str:
    site = f"http://localhost:{environ['PORT']}"
    login = f"admin / {password}" if password else "as in DASHBOARD_USERS"
    lines = "\n".join(
        f"curl -X POST {site}/hooks/{venue.hook}/{environ[venue.secret]} -d '{venue.alert}'"
        for venue in SIMULATED
    )
    more = "\n".join(f"    {venue.hook:<9} {_as_data(venue.more)}" for venue in SIMULATED)
    return f"""
  Flatwire runs, on three simulated venues.

  Dashboard   {site}
  Login       {login}

  Close a position at each of them (paste these into another terminal, then look at the dashboard):

{lines}

  More to try, each at its venue's address:
{more}

  The same by the API:

curl -H 'Authorization: Bearer {environ["EMBEDDED_API_TOKEN"]}' {site}/api/v1/commands

  Ctrl-C stops all of it.
"""


def _as_data(alerts: Iterable[str]) -> str:
    return "   ".join(f"-d '{alert}'" for alert in alerts)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))  # noqa: S104 (as the web process will)
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that are all different: each is held until all are found."""
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in taken:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in taken]


if __name__ == "__main__":
    sys.exit(main())
