"""The command line: check, migrate, send, doctor, notify, export, prune, hash-password."""

import argparse
import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from app import archiving, messages
from app.ledger import archive
from app.ledger.archive import LEAST_DAYS
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.schema import SchemaMismatch, check_schema
from app.passwords import password_hash
from config.environment import ROLES, load, process_values, secret_variable
from config.file import ConfigurationFault, Role


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 if it did what it says; 1 if not; 2 if it was called wrongly or the settings are faulty."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (ConfigurationFault, LedgerUnavailable, SchemaMismatch) as exc:
        print(f"{options.command}: {exc}", file=sys.stderr)
        return 2 if isinstance(exc, ConfigurationFault) else 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Flatwire: from a chart alert to a flat position."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    check = commands.add_parser("check", help="check the configuration file and the environment")
    check.add_argument(
        "--role",
        choices=[role.value for role in Role],
        default=Role.CHECK.value,
        help="check what one process needs; without it, everything",
    )
    check.set_defaults(run=_check)

    migration = commands.add_parser("migrate", help="bring the ledger's schema up to date")
    migration.set_defaults(run=_migrate)

    send = commands.add_parser("send", help="send an alert to a hook, as a chart would")
    send.add_argument("hook", help="the hook's name")
    send.add_argument("text", help="the alert's text; - reads it from standard input")
    send.add_argument(
        "--url", help="where Flatwire is reached; without it PUBLIC_URL, else this machine's PORT"
    )
    send.add_argument(
        "--secret-env",
        default="FLATWIRE_HOOK_SECRET",
        metavar="NAME",
        help="the environment variable that holds the hook's secret (default: %(default)s)",
    )
    send.add_argument("--dry-run", action="store_true", help="only show what it would ask for")
    send.set_defaults(run=_send)

    doctor = commands.add_parser("doctor", help="look for what is not as it should be, and say what to do")
    doctor.set_defaults(run=_doctor)

    notify = commands.add_parser("notify", help="send a test message to each address of [notify]")
    notify.set_defaults(run=_notify)

    export = commands.add_parser(
        "export", help="write alerts, and all that became of them, as JSON: one alert a line"
    )
    export.add_argument("--since", type=_moment, metavar="TIME", help="received from then on, in ISO 8601")
    export.add_argument("--until", type=_moment, metavar="TIME", help="received before then")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file; without it, the screen")
    export.set_defaults(run=_export)

    prune = commands.add_parser("prune", help="delete what is old, settled, and asks for nobody")
    prune.add_argument(
        "--older-than", type=_days, required=True, metavar="DAYS", help=f"at least {LEAST_DAYS} days"
    )
    kept = prune.add_mutually_exclusive_group(required=True)
    kept.add_argument(
        "--archive", type=Path, metavar="FILE", help="add what is deleted to the end of this file first"
    )
    kept.add_argument("--no-archive", action="store_true", help="keep it nowhere")
    kept.add_argument("--dry-run", action="store_true", help="only say how many alerts would go")
    prune.set_defaults(run=_prune)

    hashing = commands.add_parser(
        "hash-password",
        help="make an item for DASHBOARD_USERS; asks for the password, or reads a line from a pipe",
    )
    hashing.add_argument("name", nargs="?", default="admin")
    hashing.add_argument("--role", choices=ROLES, default="operator")
    hashing.set_defaults(run=_hash_password)
    return parser


def _check(options: argparse.Namespace) -> int:
    settings = load(Role(options.role))
    configuration = settings.configuration
    print(
        f"the configuration is good: {len(configuration.brokers)} broker(s), {len(configuration.hooks)} hook(s)"
    )
    for hook in configuration.hooks.values():
        accounts = ", ".join(hook.accounts)
        may = ", ".join(sorted(hook.allow))
        print(f"  hook {hook.name}: {hook.venue.title} by {hook.broker}, accounts {accounts}, may {may}")
    for it in configuration.schedules.values():
        print(f'  schedule {it.name}: "{it.text}" to hook {it.hook.name}, next at {it.next_run()}')
    return 0


def _migrate(_options: argparse.Namespace) -> int:
    from app.ledger.migration import migrate  # no other command needs to load Alembic

    ledger = Ledger(process_values()["database_url"])
    try:
        before, after = migrate(ledger)
    finally:
        ledger.dispose()
    unchanged = f"the ledger's schema is up to date ({after})"
    print(unchanged if before == after else f"the ledger's schema: {before or 'new'} -> {after}")
    return 0


def _doctor(_options: argparse.Namespace) -> int:
    from app.doctor import findings, told
    from app.queueing import Doorbell

    settings = load(Role.WEB)
    ledger = Ledger(settings.database_url)
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    try:
        return (
            0 if told(findings(ledger, doorbell, settings.configuration, settings.public_url), print) else 1
        )
    finally:
        ledger.dispose()


def _notify(_options: argparse.Namespace) -> int:
    notify = load(Role.CHECK).configuration.notify
    if notify is None:
        print(
            "notify: there is no table [notify] in the file; docs/operating.md#notifications", file=sys.stderr
        )
        return 2
    taken = [messages.send(url, "Flatwire: a test", "This is how Flatwire tells you.") for url in notify.urls]
    for url, was_taken in zip(notify.urls, taken, strict=True):
        said = "took it" if was_taken else "did not take it: check the address, and whether it can be reached"
        print(f"{messages.scheme_of(url)} {messages.name_of(url)}: {said}")
    return 0 if all(taken) else 1


def _moment(text: str) -> datetime:
    """A day or a time; without an offset in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no time: write 2026-11-01 or 2026-11-01T09:30Z'
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _days(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not LEAST_DAYS <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of days from {LEAST_DAYS} on')
    return int(text)


def _export(options: argparse.Namespace) -> int:
    with _open_ledger() as ledger, ExitStack() as closing:
        try:
            file = closing.enter_context(options.output.open("x")) if options.output else sys.stdout
            count = archiving.export(ledger, file, options.since, options.until)
        except FileExistsError:
            print(f"export: {options.output} is there already: name a new file", file=sys.stderr)
            return 2
        except OSError as exc:
            return _not_written("export", options.output, exc)
    if options.output:
        print(f"{count} alert(s) written to {options.output}")
    return 0


def _prune(options: argparse.Namespace) -> int:
    with _open_ledger() as ledger:
        if options.dry_run:
            print(f"{archiving.prunable(ledger, options.older_than)} alert(s) would be deleted")
            return 0
        try:
            with archiving.archived_in(options.archive) if options.archive else nullcontext(_forget) as keep:
                count = archiving.prune(ledger, options.older_than, keep)
        except OSError as exc:
            return _not_written("prune", options.archive, exc)
    print(f"{count} alert(s) deleted" + (f", kept in {options.archive}" if options.archive else ""))
    return 0


def _forget(documents: Sequence[archive.Document]) -> None:
    """What is kept nowhere."""


def _not_written(command: str, path: Path | None, exc: OSError) -> int:
    print(f"{command}: {path or 'the output'} can't be written: {exc.strerror}", file=sys.stderr)
    return 1


@contextmanager
def _open_ledger() -> Iterator[Ledger]:
    """The ledger, if it is of this version. Raises LedgerUnavailable and SchemaMismatch."""
    ledger = Ledger(process_values()["database_url"])
    try:
        check_schema(ledger)
        yield ledger
    finally:
        ledger.dispose()


def _send(options: argparse.Namespace) -> int:
    secret = secret_variable(options.secret_env)
    if not secret:
        print(
            f"send: set {options.secret_env} to the hook's secret, or name its variable with --secret-env",
            file=sys.stderr,
        )
        return 2
    if not (secret.isascii() and secret.isprintable()):
        print(f"send: {options.secret_env} holds what no header can carry: use ASCII", file=sys.stderr)
        return 2
    text = sys.stdin.read() if options.text == "-" else options.text
    values = process_values()
    site = options.url or values["public_url"] or f"http://127.0.0.1:{values['port']}"
    query = "?dry_run=1" if options.dry_run else ""
    import requests  # no other command needs to load it

    try:
        answer = requests.post(
            f"{site.rstrip('/')}/hooks/{options.hook}{query}",
            data=text.encode(),
            headers={"Authorization": f"Bearer {secret}"},
            timeout=10,
            allow_redirects=False,
        )
    except requests.RequestException as exc:
        print(
            f"send: {site} can't be reached ({type(exc).__name__}): is the web process running there?",
            file=sys.stderr,
        )
        return 1
    print(answer.status_code, answer.text)
    return 0 if 200 <= answer.status_code < 300 else 1


def _hash_password(options: argparse.Namespace) -> int:
    if ":" in options.name or not options.name.strip() or options.name.split() != [options.name]:
        print("hash-password: a name holds no colon and no space", file=sys.stderr)
        return 2
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if len(password) < 8:
        print("hash-password: a password has at least 8 characters", file=sys.stderr)
        return 2
    if sys.stdin.isatty() and getpass.getpass("Again: ") != password:
        print("hash-password: the two differ", file=sys.stderr)
        return 2
    print(f"{options.name}:{options.role}:{password_hash(password)}")
    return 0
