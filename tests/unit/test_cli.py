"""`python -m app …` as a person runs it: what it prints, its exit code, and never a traceback or a secret."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest
from sqlalchemy import text

from app.cli import main
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery
from app.ledger.intake import refuse
from app.passwords import fits
from tests.conftest import on_both_databases
from tests.mailbox import mailbox
from tests.running import ROOT, free_port
from tests.web import CONFIGURATION, HOOK_SECRETS, closing_ledger

SECRET = "a-hook-secret-0123456789"
ENVIRON = {
    "PATH": os.environ["PATH"],
    "FLATWIRE_CONFIG_TOML": CONFIGURATION,
    "CROSSTRADE_TOKEN": "the-venue-token-0123456789",
    **HOOK_SECRETS,
    "HOOK_SECRET": SECRET,
    "SECRET_KEY": "a secret key that is long enough",
    "DASHBOARD_USERS": "ada:operator:$argon2id$x",
}


@dataclass(frozen=True)
class Done:
    """What a run of the command line came to."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, typed: str = "", without: tuple[str, ...] = (), **environ: str) -> Done:
    """Run the command line in this process. Whatever it prints is checked for what must never be there."""
    environment = {name: value for name, value in (ENVIRON | environ).items() if name not in without}
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch("sys.stdin", io.StringIO(typed)),
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(ROOT),
    ):
        try:
            code = main(arguments)
        except SystemExit as exc:
            code = int(exc.code or 0)
    return checked(Done(code, out.getvalue(), err.getvalue()), environment)


def run_alone(*arguments: str, **environ: str) -> Done:
    """The same in a process of its own, as a person's shell does."""
    command = [sys.executable, "-m", "app", *arguments]
    environment = ENVIRON | environ
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return checked(Done(done.returncode, done.stdout, done.stderr), environment)


def checked(done: Done, environment: dict[str, str]) -> Done:
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert not any(
        value in printed for name, value in environment.items() if "SECRET" in name or "TOKEN" in name
    )
    return done


@pytest.mark.parametrize(
    "command", [(), ("check",), ("migrate",), ("send",), ("notify",), ("hash-password",)]
)
def test_each_command_explains_itself(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")

    assert done.returncode == 0
    assert "usage: python -m app" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("chekc",), ("check", "--role", "cook"), ("send", "futures")])
def test_what_is_called_wrongly_says_how_it_is_called(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize("role", ["web", "worker", "check"])
def test_check_says_what_a_good_configuration_lets_happen(role: str) -> None:
    done = run_alone("check", "--role", role)

    assert done.returncode == 0, done.stderr
    assert "1 broker(s), 7 hook(s)" in done.stdout
    assert "hook futures" in done.stdout


def test_check_tells_every_fault() -> None:
    done = run("check", PORT="x", FLATWIRE_CONFIG_TOML=CONFIGURATION.replace("broker =", "borker ="))

    assert done.returncode == 2
    assert [name in done.stderr for name in ("PORT", "hooks.futures.borker", "hooks.other.borker")] == [
        True
    ] * 3


@on_both_databases
def test_migrate_makes_the_ledger_and_is_quiet_the_second_time(database_url: str) -> None:
    first, second = (run_alone("migrate", DATABASE_URL=database_url) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "new -> " in first.stdout
    assert "up to date" in second.stdout


def test_migrate_needs_only_the_database(tmp_path: Path) -> None:
    secrets = ("CROSSTRADE_TOKEN", "HOOK_SECRET", "SECRET_KEY", "DASHBOARD_USERS", "FLATWIRE_CONFIG_TOML")
    done = run("migrate", DATABASE_URL=f"sqlite:///{tmp_path}/new/flatwire.db", without=secrets)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres://ada:geheim@127.0.0.1:1/flatwire", "onnection"),
        ("sqlite:////proc/nowhere/flatwire.db", "/proc/nowhere"),
        ("sqlite:////dev/null", "dev/null"),
    ],
)
def test_migrate_says_what_is_wrong_with_a_database(url: str, says: str) -> None:
    done = run("migrate", DATABASE_URL=url)

    assert done.returncode == 1
    assert says in done.stderr
    assert "geheim" not in done.stderr


def test_migrate_refuses_a_ledger_of_a_later_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/flatwire.db"
    run("migrate", DATABASE_URL=url)
    with closing_ledger(url) as ledger, ledger.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    done = run("migrate", DATABASE_URL=url)

    assert done.returncode == 1
    assert "9999" in done.stderr


# send


class Hooks(BaseHTTPRequestHandler):
    """Answers as it is told to by the hook's name, a status."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        status = int(self.path.rpartition("/")[2].partition("?")[0])
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/hooks/202")
        self.end_headers()
        self.wfile.write(b'{"status": "as told"}')

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(site: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{site.server_address[1]}"


@pytest.mark.parametrize(("status", "code"), [(202, 0), (200, 0), (401, 1), (422, 1), (503, 1), (302, 1)])
def test_send_shows_the_answer_and_ends_as_it_says(site: ThreadingHTTPServer, status: int, code: int) -> None:
    done = run("send", str(status), "close MES", "--url", url_of(site), FLATWIRE_HOOK_SECRET=SECRET)

    assert (done.returncode, done.stdout) == (code, f'{status} {{"status": "as told"}}\n')
    assert site.seen == [(f"/hooks/{status}", f"Bearer {SECRET}", b"close MES")]  # type: ignore[attr-defined]


def test_send_takes_its_text_from_a_pipe_and_its_place_from_the_environment(
    site: ThreadingHTTPServer,
) -> None:
    port = str(site.server_address[1])
    done = run("send", "200", "-", "--dry-run", "--secret-env", "HOOK_SECRET", typed="close é\n", PORT=port)

    assert done.returncode == 0, done.stderr
    assert site.seen == [("/hooks/200?dry_run=1", f"Bearer {SECRET}", "close é\n".encode())]  # type: ignore[attr-defined]


def test_send_says_when_nobody_answers_there() -> None:
    done = run(
        "send", "futures", "close", "--url", f"http://127.0.0.1:{free_port()}", FLATWIRE_HOOK_SECRET=SECRET
    )

    assert done.returncode == 1
    assert "is the web process running there?" in done.stderr


@pytest.mark.parametrize("url", ["flatwire.example", "http://", "ftp://x", "http://[::1"])
def test_send_says_when_an_address_is_none(url: str) -> None:
    assert run("send", "futures", "close", "--url", url, FLATWIRE_HOOK_SECRET=SECRET).returncode in (1, 2)


@pytest.mark.parametrize("secret", ["", "é", "two\nlines"])
def test_send_needs_a_secret_that_can_be_sent(secret: str) -> None:
    done = run("send", "futures", "close", "--secret-env", "MINE", MINE=secret)

    assert done.returncode == 2
    assert "MINE" in done.stderr


# notify


def test_notify_sends_a_test_to_each_address_and_shows_none_of_them() -> None:
    with mailbox() as one, mailbox() as two:
        two.broken = True
        done = run(
            "notify",
            ONE=one.url,
            TWO=two.url,
            FLATWIRE_CONFIG_TOML=CONFIGURATION + '\n[notify]\nurls = ["${ONE}", "${TWO}"]\n',
        )

    assert done.returncode == 1
    assert [line.partition(": ")[2] for line in done.stdout.splitlines()] == [
        "took it",
        "did not take it: check the address, and whether it can be reached",
    ]
    assert (one.messages[0][0], two.messages) == ("Flatwire: a test", [])
    assert "a-secret-path" not in done.stdout + done.stderr


def test_notify_says_what_is_missing() -> None:
    done = run("notify")

    assert done.returncode == 2
    assert "no table [notify]" in done.stderr


# hash-password


def test_a_hash_fits_its_password_and_holds_a_login() -> None:
    done = run("hash-password", "ada", "--role", "viewer", typed="correct horse\n")
    name, role, hashed = done.stdout.strip().split(":", 2)

    assert (name, role) == ("ada", "viewer")
    assert fits(hashed, "correct horse")
    assert not fits(hashed, "correct horse ")
    assert "correct horse" not in done.stdout


@pytest.mark.parametrize(
    ("name", "typed"), [("ada", "short\n"), ("ada", ""), ("a:b", "long enough\n"), ("a b", "long one\n")]
)
def test_a_name_or_a_password_that_can_not_be_used_is_refused(name: str, typed: str) -> None:
    done = run("hash-password", name, typed=typed)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hash-password: ")


# export and prune


@pytest.fixture
def history(ledger: Ledger, database_url: str) -> str:
    """A ledger with two refused alerts of long ago and one of today. Its URL."""
    for text_ in ("first", "second", "third"):
        refuse(ledger, Delivery("futures", text_.encode(), text_, "main"), "is no order", [])
    with ledger.writing() as connection:
        passed = text("UPDATE alerts SET received_at = received_at - :it WHERE text <> 'third'")
        connection.execute(passed, {"it": 40 * 86400 * 1_000_000})
    return database_url


def alerts_left(ledger: Ledger) -> list[str]:
    with ledger.reading() as connection:
        return list(connection.execute(text("SELECT text FROM alerts ORDER BY seq")).scalars())


def test_export_writes_a_line_for_each_alert(history: str, tmp_path: Path) -> None:
    shown = run("export", DATABASE_URL=history)
    assert [json.loads(line)["text"] for line in shown.stdout.splitlines()] == ["first", "second", "third"]

    path = tmp_path / "last-month.jsonl"
    until = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    done = run("export", "--until", until, "--output", str(path), DATABASE_URL=history)
    assert (done.returncode, done.stdout) == (0, f"2 alert(s) written to {path}\n")
    assert len(path.read_text().splitlines()) == 2
    again = run("export", "--output", str(path), DATABASE_URL=history)
    assert (again.returncode, again.stderr) == (2, f"export: {path} is there already: name a new file\n")
    nowhere = run("export", "--output", str(tmp_path / "no" / "file"), DATABASE_URL=history)
    assert (nowhere.returncode, "No such file" in nowhere.stderr) == (1, True)


def test_prune_says_what_would_go_keeps_it_and_deletes_it(
    history: str, ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "archive.jsonl"
    tried = run("prune", "--older-than", "30", "--dry-run", DATABASE_URL=history)
    assert (tried.stdout, len(alerts_left(ledger))) == ("2 alert(s) would be deleted\n", 3)
    nowhere = run(
        "prune", "--older-than", "30", "--archive", str(tmp_path / "no" / "x"), DATABASE_URL=history
    )
    assert (nowhere.returncode, len(alerts_left(ledger))) == (1, 3)

    path.write_text('{"of": "the year before"}\n')
    done = run("prune", "--older-than", "30", "--archive", str(path), DATABASE_URL=history)
    assert (done.returncode, done.stdout) == (0, f"2 alert(s) deleted, kept in {path}\n")
    assert alerts_left(ledger) == ["third"]
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [it.get("text") for it in kept] == [None, "first", "second"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune", "--older-than", "6", "--no-archive"), "not a number of days from 7 on"),
        (("prune", "--older-than", "a month", "--no-archive"), "not a number of days from 7 on"),
        (("prune", "--older-than", "30"), "--archive --no-archive --dry-run is required"),
        (("prune", "--no-archive"), "--older-than"),
        (("export", "--since", "yesterday"), "is no time: write 2026-11-01"),
    ],
)
def test_what_export_and_prune_can_not_mean_is_told(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("command", [("export",), ("prune", "--older-than", "30", "--no-archive")])
def test_a_ledger_of_another_version_is_neither_read_nor_pruned(
    command: tuple[str, ...], database_url: str
) -> None:
    done = run(*command, DATABASE_URL=database_url)

    assert done.returncode == 1
    assert "python -m app migrate" in done.stderr
