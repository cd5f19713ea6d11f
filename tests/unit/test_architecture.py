"""Who may import whom (docs/architecture.md). A package that is not in the table fails."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "app": "the command line, strictness, passwords, the doorbell",
    "app.domain": "what is true of closing positions anywhere",
    "app.alerts": "from an alert's bytes to commands",
    "app.alerts.dialects": "other products' alert texts, one module each",
    "app.ledger": "the SQL record",
    "app.ledger.migrations": "the schema's history",
    "app.ledger.migrations.versions": "one file a step",
    "app.web": "the web process",
    "app.web.pages": "the dashboard, one module a page",
    "workers": "carrying commands out",
    "workers.brokers": "one interface",
    "workers.brokers.clearstreet": "a venue",
    "workers.brokers.crosstrade": "a venue",
    "workers.brokers.okx": "a venue",
    "config": "settings",
    "config.embedded": "everything on one machine",
}
"""A new package is entered here, and in docs/architecture.md."""

FLASK = ("flask", "flask_login", "flask_smorest", "flask_wtf", "wtforms", "werkzeug")
ONLY_IN = {
    **dict.fromkeys(FLASK, ("app.web",)),
    "sqlalchemy": ("app.ledger",),
    "alembic": ("app.ledger",),
    "redis": ("app.queueing", "config.addresses", "workers.listening", "workers.rates", "config.embedded"),
    "limits": ("workers.rates", "app.web"),
    "standardwebhooks": ("app.alerts.authentication",),
    "websocket": ("workers.brokers",),
    "rq": ("app.queueing", "workers.listening"),
    "requests": ("workers.brokers", "app.cli"),
    "urllib3": ("workers.brokers",),
    "argon2": ("app.passwords",),
    "apprise": ("app.messages",),
    "prometheus_client": ("app.web.metrics",),
    "honcho": ("config.embedded",),
    "cronsim": ("app.alerts.schedules",),
}
"""A library, and where alone it may be used."""


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """The dotted name of each module of the product, and its file."""
    for top in ("app", "workers", "config"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """What a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def reads_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(root: Path) -> Iterator[str]:
    for name, path in modules(root):
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        if package not in PACKAGES:
            yield f"{name}: the package {package} is not in the table"
        for imported in imports(path):
            yield from forbidden(name, imported)
        if reads_environment(path) and not inside(name, "config"):
            yield f"{name}: reads the environment, which is config's"


def forbidden(name: str, imported: str) -> Iterator[str]:
    top = imported.partition(".")[0]
    if top == "tests":
        yield f"{name}: imports {imported}; nothing imports tests"
    if inside(name, "app") and top == "workers":
        yield f"{name}: imports {imported}; nothing under app imports workers"
    if inside(name, "app.domain") and not (
        inside(imported, "app.domain") or top in sys.stdlib_module_names | {"app"}
    ):
        yield f"{name}: imports {imported}; the domain needs only the standard library"
    if inside(name, "app.domain") and top == "app" and not inside(imported, "app.domain"):
        yield f"{name}: imports {imported}; the domain knows nothing outside itself"
    if top in ONLY_IN and not any(inside(name, place) for place in ONLY_IN[top]):
        yield f"{name}: imports {imported}, which belongs to {' and '.join(ONLY_IN[top])}"
    if name.startswith("workers.brokers.") and imported.startswith("workers.brokers."):
        ours, theirs = (dotted.split(".")[2] for dotted in (name, imported))
        venues = {
            dotted.split(".")[2] for dotted in PACKAGES if dotted.count(".") == 2 and "brokers" in dotted
        }
        if ours in venues and theirs in venues and ours != theirs:
            yield f"{name}: imports {imported}; a venue never imports another venue"


def test_every_import_is_where_it_may_be() -> None:
    assert list(violations(ROOT)) == []


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("app/alerts/new.py", "import workers.execution"),
        ("app/alerts/new.py", "from workers import execution"),
        ("app/domain/new.py", "import marshmallow"),
        ("app/domain/new.py", "from app.ledger import tables"),
        ("app/alerts/new.py", "from flask import request"),
        ("workers/new.py", "from sqlalchemy import select"),
        ("workers/brokers/new.py", "from tests.simulators import crosstrade"),
        ("app/ledger/new.py", "import os\nos.environ['X']"),
        ("workers/new.py", "from rq import Queue"),
        ("app/helpers/__init__.py", ""),
        ("app/web/new.py", "def late():\n    import sqlalchemy"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, place: str, code: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(code)

    assert list(violations(tmp_path))


def test_importing_does_nothing() -> None:
    """Each module imports in a bare process: no environment, no connection, no process, no thread."""
    # gunicorn's settings are a file that gunicorn executes, and it can only read the environment at import.
    names = [
        name for name, _ in modules(ROOT) if name not in ("config.gunicorn", "app.ledger.migrations.env")
    ]
    program = f"""
import sys, threading
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork"):
        raise RuntimeError(event)
sys.addaudithook(refuse)
import importlib
for name in {[name for name in names if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
assert threading.active_count() == 1
"""
    environ = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_what_make_run_starts_needs_only_what_make_run_installs() -> None:
    """The simulated venues live under tests, and must not need what only the tests install."""
    installed = {
        re.split(r"[=\s]", line)[0].lower()
        for name in ("requirements.txt", "requirements-embedded.txt")
        for line in (ROOT / name).read_text().splitlines()
        if line[:1].isalnum()
    }
    distributions = packages_distributions()
    for path in sorted((ROOT / "tests" / "simulators").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in (
                {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"tests", "app"}
            ):
                owners = {owner.lower().replace("_", "-") for owner in distributions[top]}
                assert owners & installed, f"{path}: {top} is not installed by `make run`"
