"""The web application in one process, on a real ledger: for tests that need no socket."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.intake import Intake
from app.ledger.migration import migrate
from app.web import create_app
from config.environment import load
from config.file import Role

SECRET = "a-hook's secret, 24 letters"
OTHER_SECRET = "the secret of another hook"
NEXT_SECRET = "the one after the rotation"
CONFIGURATION = """
[brokers.nt8]
kind = "crosstrade"
token = "${CROSSTRADE_TOKEN}"

[hooks.futures]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
default_account = "Sim101"
secrets = { main = "${HOOK_SECRET}", next = "${NEXT_SECRET}" }

[hooks.other]
broker = "nt8"
accounts = "*"
secrets = { main = "${OTHER_SECRET}" }
allow = ["close", "flatten_everything"]

[hooks.signed]
broker = "nt8"
accounts = ["Sim101"]
secrets = { sender = "${SIGNING_SECRET}", next = "${NEXT_SIGNING_SECRET}", plain = "${PLAIN_SECRET}" }

[hooks.near]
broker = "nt8"
accounts = ["Sim101"]
secrets = { main = "${NEAR_SECRET}" }
sources = ["tradingview", "203.0.113.0/24", "2001:db8::/32"]

[hooks.calm]
broker = "nt8"
accounts = ["Sim101"]
secrets = { main = "${CALM_SECRET}" }
rate = 0.3

[hooks.shadow]
broker = "nt8"
accounts = ["Sim101"]
secrets = { main = "${SHADOW_SECRET}" }
dry_run = true

[hooks.moved]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
default_account = "Sim101"
secrets = { main = "${MOVED_SECRET}" }
dialects = ["crosstrade", "okx_signal"]
"""
SIGNING_SECRET = "whsec_" + base64.b64encode(b"a key that signs what is sent to us").decode()
NEXT_SIGNING_SECRET = "whsec_" + base64.b64encode(b"the key that comes after the rotation").decode()
SECRETS_OF = {
    "futures": SECRET,
    "other": OTHER_SECRET,
    "signed": "a secret beside two signing keys",
    "near": "the secret of the near hook",
    "calm": "the secret of the calm hook",
    "shadow": "the secret of the shadow hook",
    "moved": "the secret of the moved hook",
}
"""The secret of each hook that is taken as it stands."""
HOOK_SECRETS = {
    "HOOK_SECRET": SECRET,
    "NEXT_SECRET": NEXT_SECRET,
    "OTHER_SECRET": OTHER_SECRET,
    "SIGNING_SECRET": SIGNING_SECRET,
    "NEXT_SIGNING_SECRET": NEXT_SIGNING_SECRET,
    "PLAIN_SECRET": SECRETS_OF["signed"],
    **{f"{name.upper()}_SECRET": SECRETS_OF[name] for name in ("near", "calm", "shadow", "moved")},
}
"""The variables that the configuration names."""
API_TOKEN = "a-token-of-the-api-for-tests"
VIEWER_TOKEN = "a-token-that-may-only-look"
CLOSE = "close MES 12-26"


class Door:
    """The web application and its ledger, as a sender and an auditor see them."""

    def __init__(self, app: Flask, ledger: Ledger) -> None:
        self.app = app
        self.ledger = ledger

    def send(
        self,
        body: str | bytes = CLOSE,
        path: str = "/hooks/futures",
        secret: str | None = SECRET,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is not None:
            named["Authorization"] = f"Bearer {secret}"
        place = {"REMOTE_ADDR": address}
        return self.app.test_client().post(path, data=body, headers=named, environ_base=place)

    def send_to(self, hook: str, body: str | bytes = CLOSE, address: str = "127.0.0.1") -> TestResponse:
        """An alert to a hook, with its secret."""
        return self.send(body, f"/hooks/{hook}", SECRETS_OF[hook], address)

    def count(self, table: Any = tables.commands) -> int:
        with self.ledger.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def alert(self, alert_id: str) -> Any:
        with self.ledger.reading() as connection:
            return connection.execute(select(tables.alerts).where(tables.alerts.c.id == alert_id)).one()

    def change(self, table: Any, **values: Any) -> None:
        with self.ledger.writing() as connection:
            connection.execute(update(table).values(**values))

    def get(self, path: str, token: str | None = API_TOKEN, **query: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.app.test_client().get(path, query_string=query or None, headers=headers)

    def act(self, path: str, body: Any, token: str | None = API_TOKEN, method: str = "POST") -> TestResponse:
        """What an operator does over the API."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.app.test_client().open(f"/api/v1/{path}", method=method, json=body, headers=headers)


def web_app(folder: Path) -> Flask:
    """The application on a ledger of its own, which the tests replace by theirs."""
    environ = {
        "DATABASE_URL": f"sqlite:///{folder / 'first.db'}",
        "FLATWIRE_CONFIG_TOML": CONFIGURATION,
        **HOOK_SECRETS,
        "SECRET_KEY": "a secret key that is long enough",
        "DASHBOARD_USERS": "ada:operator:$argon2id$not-asked-here",
        "API_TOKENS": f"operator:{API_TOKEN} viewer:{VIEWER_TOKEN}",
    }
    with closing_ledger(environ["DATABASE_URL"]) as first:
        migrate(first)
    app = create_app(load(Role.WEB, environ))
    app.extensions["flatwire_ledger"].dispose()
    return app


def give(app: Flask, ledger: Ledger) -> None:
    """Let the application work on this ledger."""
    app.extensions["flatwire_ledger"] = ledger
    app.extensions["flatwire_intake"] = Intake(ledger, app.extensions["flatwire_doorbell"].ring)


@contextmanager
def closing_ledger(url: str, threads: int = 4) -> Iterator[Ledger]:
    ledger = Ledger(url, threads=threads)
    yield ledger
    ledger.dispose()


def problem(answer: TestResponse, status: int, *fields: str) -> dict[str, Any]:
    """The problem document of an answer, once it is sure that it is one, with faults at just these fields."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(answer.text)
    assert document["status"] == status
    assert document["title"]
    assert [error["field"] for error in document["errors"]] == list(fields)
    assert all(error["message"] and error["hint"] for error in document["errors"])
    return document
