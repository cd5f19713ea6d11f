"""`make fresh`: does what the README tells a newcomer, in a clean clone with a temporary home.

Start everything, paste each printed curl line, see its position closed, stop by Ctrl-C and find nothing left running,
start again over the same data; then run the test suite.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.running import free_port

ROOT = Path(__file__).resolve().parents[1]
SETUP_SECONDS = 600.0
CLOSE_SECONDS = 20.0
TOKEN = r"Authorization: Bearer ([^']+)'"


class Started:
    """`make run` in a clone (or what it runs), as a terminal runs it."""

    def __init__(self, clone: Path, environ: dict[str, str], *command: str) -> None:
        self._output = (clone.parent / "run.log").open("w+")
        self._process = subprocess.Popen(
            command or ["make", "run"],
            cwd=clone,
            env=environ,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )

    def printed(self, pattern: str, within: float) -> str:
        """What it printed that fits, once it did."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output(), re.MULTILINE):
                return found[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        raise SystemExit(f"it did not print {pattern!r}:\n{self.output()[-4000:]}")

    def output(self) -> str:
        return Path(self._output.name).read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the signal goes to every process of the terminal."""
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(60)
        self._output.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="flatwire-fresh-") as folder:
        clone, home = Path(folder, "flatwire"), Path(folder, "home")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environ = {
            name: value for name, value in os.environ.items() if name.startswith(("PATH", "PIP_", "LANG"))
        }
        environ |= {"HOME": str(home), "PORT": str(free_port())}
        walk(clone, environ)
        walk(clone, environ)  # again, over its data
        if "--without-tests" not in sys.argv:
            subprocess.run(["make", "test"], cwd=clone, env=environ, check=True)
    print("fresh: the README's commands work in a clean clone")
    return 0


def walk(clone: Path, environ: dict[str, str]) -> None:
    """Start, close a position at each venue by its printed line, stop."""
    run = Started(clone, environ)
    token = run.printed(TOKEN, SETUP_SECONDS)
    for line in curl_lines(run.output()):
        command = carried_out(line, token)
        done = f"{command['broker']} {command['instrument']}: {command['status']}"
        print(f"fresh: {done}, before {command['before']}, after {command['after']}", flush=True)
        if command["status"] != "closed":
            raise SystemExit(f"the position was not closed: {json.dumps(command, indent=1)}")
    run.interrupt()
    if left := processes_of(clone):
        raise SystemExit(f"Ctrl-C left processes running: {left}")


def curl_lines(output: str) -> list[str]:
    """The printed lines that close a position."""
    lines = re.findall(r"^curl -X POST .*$", output, re.MULTILINE)
    if not lines:
        raise SystemExit(f"no curl line was printed:\n{output}")
    return lines


def carried_out(curl: str, token: str) -> dict[str, Any]:
    """The command that a pasted line makes, once it is settled."""
    done = subprocess.run(f"{curl} --silent", shell=True, check=True, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    if "commands" not in answer:
        raise SystemExit(f"{curl}: {done.stdout}")
    site = re.findall(r"http://[^/]+", curl)[0]
    return settled(site + answer["commands"][0]["url"], token)


def settled(url: str, token: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + CLOSE_SECONDS
    while True:
        with urllib.request.urlopen(request, timeout=5) as answer:
            command: dict[str, Any] = json.load(answer)
        if command["settled_at"] or time.monotonic() > deadline:
            return command
        time.sleep(0.2)


def processes_of(clone: Path) -> list[str]:
    """The processes that run in the clone."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(clone):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
