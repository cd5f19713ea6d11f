"""Each misconfiguration that docs/ speaks of is told at its place, with what to do; all of them at once; nothing starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.environment import load
from config.file import ConfigurationFault, Role
from tests.running import ROOT, WEB, free_port

SECRET = "geheim-geheim-0123456789"
FILE = """
[brokers.nt8]
kind = "crosstrade"
token = "${CROSSTRADE_TOKEN}"

[brokers.cs]
kind = "clearstreet"
api_key = "${CLEARSTREET_API_KEY}"

[brokers.okx]
kind = "okx"
api_key = "${OKX_API_KEY}"
api_secret = "${OKX_API_SECRET}"
passphrase = "${OKX_PASSPHRASE}"

[hooks.futures]
broker = "nt8"
accounts = ["Sim101"]
secrets = { main = "${HOOK_SECRET}" }

[hooks.stocks]
broker = "cs"
accounts = ["19816"]
secrets = { main = "${STOCKS_SECRET}" }

[hooks.crypto]
broker = "okx"
secrets = { main = "${CRYPTO_SECRET}" }

[notify]
urls = ["${NOTIFY_URL}"]
"""
ENVIRON = {
    "CROSSTRADE_TOKEN": f"{SECRET}-1",
    "CLEARSTREET_API_KEY": f"{SECRET}-2",
    "OKX_API_KEY": f"{SECRET}-3",
    "OKX_API_SECRET": f"{SECRET}-4",
    "OKX_PASSPHRASE": f"{SECRET}-5",
    "HOOK_SECRET": f"{SECRET}-6",
    "STOCKS_SECRET": f"{SECRET}-7",
    "CRYPTO_SECRET": f"{SECRET}-8",
    "NOTIFY_URL": f"json://127.0.0.1/{SECRET}",
    "SECRET_KEY": f"{SECRET}-9",
    "DASHBOARD_USERS": f"ada:operator:$argon2id${SECRET}",
    "DATABASE_URL": "postgres://h/d",
}


def told(file: str = FILE, role: Role = Role.WEB, **environ: str) -> dict[str, tuple[str, str]]:
    """Message and hint of each fault, by its place."""
    with pytest.raises(ConfigurationFault) as raised:
        load(role, ENVIRON | {"FLATWIRE_CONFIG_TOML": file} | environ)
    assert SECRET not in str(raised.value)
    return {fault.field: (fault.message, fault.hint or "") for fault in raised.value.faults}


def in_table(table: str, line: str) -> str:
    return FILE.replace(f"[{table}]\n", f"[{table}]\n{line}\n")


def without(line: str) -> str:
    assert line in FILE
    return FILE.replace(line, "")


TOKEN = 'token = "${CROSSTRADE_TOKEN}"'
ALIKE = f'{FILE}\n[brokers.two]\nkind = "clearstreet"\napi_key = "${{CLEARSTREET_API_KEY}}"'
FROM_THE_FILE = [
    # docs/configuration.md, [brokers.<name>]
    (without('kind = "clearstreet"'), "brokers.cs.kind", "is missing", "write it"),
    (without(TOKEN), "brokers.nt8.token", "is missing", 'token = "${'),
    (without('api_key = "${CLEARSTREET_API_KEY}"'), "brokers.cs.api_key", "is missing", 'api_key = "${'),
    (without('api_secret = "${OKX_API_SECRET}"'), "brokers.okx.api_secret", "is missing", "api_secret"),
    (without('passphrase = "${OKX_PASSPHRASE}"'), "brokers.okx.passphrase", "is missing", "passphrase"),
    (FILE.replace(TOKEN, 'token = "plain"'), "brokers.nt8.token", "must not stand in the file", "${NAME}"),
    (FILE.replace(TOKEN, 'token = "${NOT_SET}"'), "brokers.nt8.token", "NOT_SET", "set NOT_SET"),
    (ALIKE, "brokers.two.api_key", "same credential as broker cs", "name one broker twice"),
    (in_table("brokers.cs", "demo = true"), "brokers.cs.demo", "no meaning with kind clearstreet", "take it"),
    (
        in_table("brokers.nt8", 'margin_mode = "cross"'),
        "brokers.nt8.margin_mode",
        "no meaning",
        "take it out",
    ),
    (in_table("brokers.okx", 'margin_mode = "both"'), "brokers.okx.margin_mode", "cross, isolated", ""),
    (in_table("brokers.cs", 'transport = "websocket"'), "brokers.cs.transport", "must be one of: rest", ""),
    (in_table("brokers.nt8", 'base_url = "http://h.example"'), "brokers.nt8.base_url", "plain http", "https"),
    (in_table("brokers.nt8", "burst = 5"), "brokers.nt8.burst", "no meaning without rate", "add rate"),
    (in_table("brokers.nt8", "rate = 0"), "brokers.nt8.rate", "must be from 0.01", ""),
    (in_table("brokers.nt8", "burst = 3\nrate = 1"), "brokers.nt8.burst", "must be from 4", ""),
    (in_table("brokers.nt8", "deadline = 21"), "brokers.nt8.deadline", "to 20 seconds", ""),
    (in_table("brokers.nt8", "connect_timeout = 0"), "brokers.nt8.connect_timeout", "must be from", ""),
    (
        in_table("brokers.nt8", 'retry_for = "2"'),
        "brokers.nt8.retry_for",
        "number of seconds",
        "without quotes",
    ),
    (in_table("brokers.nt8", "verify_for = 0"), "brokers.nt8.verify_for", "must be from 1", ""),
    (
        in_table("brokers.nt8", "symbols = { ES = 1 }"),
        "brokers.nt8.symbols.ES.value",
        "must be text",
        "quotes",
    ),
    (in_table("brokers.nt8", "setle = 1"), "brokers.nt8.setle", "is not known here", '"settle"'),
    # docs/configuration.md, [hooks.<name>]
    (FILE.replace('broker = "nt8"', 'broker = "nt9"'), "hooks.futures.broker", "not in the file", '"nt8"'),
    (without('accounts = ["Sim101"]'), "hooks.futures.accounts", "is missing", '"*"'),
    (FILE.replace('["19816"]', "[19816]"), "hooks.stocks.accounts", "must be text", "quotes"),
    (
        FILE.replace('["19816"]', '["Sim1"]'),
        "hooks.stocks.accounts",
        "no account of Clear Street",
        "in quotes",
    ),
    (
        in_table("hooks.crypto", 'accounts = ["main"]'),
        "hooks.crypto.accounts",
        "is one account",
        "leave it out",
    ),
    (without('secrets = { main = "${HOOK_SECRET}" }'), "hooks.futures.secrets", "is missing", "write it"),
    (
        in_table("hooks.futures", 'default_account = "x"'),
        "hooks.futures.default_account",
        "not one of its",
        "add",
    ),
    (
        in_table("hooks.futures", 'allow = ["flatten_everything"]'),
        "hooks.futures.allow",
        "every account",
        '"*"',
    ),
    (in_table("hooks.futures", 'ignore = ["quantity"]'), "hooks.futures.ignore", "can't hold", "take it out"),
    (
        in_table("hooks.futures", 'quantity_unit = "base"'),
        "hooks.futures.quantity_unit",
        "count so",
        "contracts",
    ),
    (in_table("hooks.futures", "heartbeat = 59"), "hooks.futures.heartbeat", "from 60", ""),
    (
        in_table("hooks.futures", "heartbeat = 60\ndedupe_window = 60"),
        "hooks.futures.heartbeat",
        "no longer than dedupe_window",
        "make it longer",
    ),
    (in_table("hooks.futures", 'dialects = ["mt5"]'), "hooks.futures.dialects.0", "crosstrade", ""),
    (
        in_table("hooks.futures", 'sources = ["me"]'),
        "hooks.futures.sources.0",
        "no CIDR block",
        "tradingview",
    ),
    (
        in_table("hooks.futures", "cancel_orders = false"),
        "hooks.futures.cancel_orders",
        "cancels working",
        "leave",
    ),
    # docs/configuration.md, [notify] and what is no table of ours
    (without('urls = ["${NOTIFY_URL}"]'), "notify.urls", "is missing", "write it"),
    (FILE.replace('["${NOTIFY_URL}"]', "[]"), "notify.urls", "", ""),
    (in_table("notify", 'on = ["weather"]'), "notify.on.0", "must be one of", ""),
    (
        FILE.replace('["${NOTIFY_URL}"]', '["json://127.0.0.1/x"]'),
        "notify.urls",
        "must not stand in the",
        "${NAME}",
    ),
    (f"{FILE}\n[hook.x]\na = 1", "hook", "is not known here", '"hooks"'),
]


@pytest.mark.parametrize(
    ("file", "place", "message", "hint"), FROM_THE_FILE, ids=[f"{row[1]} {row[2]}" for row in FROM_THE_FILE]
)
def test_a_fault_in_the_file_is_told_with_its_place_and_what_to_do(
    file: str, place: str, message: str, hint: str
) -> None:
    faults = told(file, Role.CHECK)

    assert list(faults) == [place]
    assert message in faults[place][0]
    assert hint in faults[place][1]


@pytest.mark.parametrize(
    ("environ", "place", "message", "hint"),
    [
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL", "must begin with sqlite:/// or postgres://", ""),
        ({"DATABASE_URL": f"postgres://u:{SECRET}@h:x/d"}, "DATABASE_URL", "host and port", "%23 for #"),
        ({"DATABASE_URL": "sqlite:///x.db", "DYNO": "web.1"}, "DATABASE_URL", "emptied", "add a PostgreSQL"),
        ({"REDIS_URL": "http://h"}, "REDIS_URL", "must begin with redis:// or rediss:// or unix://", ""),
        ({"REDIS_URL": f"redis://:#{SECRET}@h:1"}, "REDIS_URL", "host and port", "%23 for #"),
        ({"REDIS_URL": f"redis://:[{SECRET}@h:1"}, "REDIS_URL", "host and port", "%5B for ["),
        ({"REDIS_URL": f"redis://:{SECRET}@h:1/0?foo=1"}, "REDIS_URL", "behind its ?", "leave it out"),
        ({"REDIS_URL": "redis://h:1/0?socket_timeout=x"}, "REDIS_URL", "behind its ?", "leave it out"),
        (
            {"REDIS_URL": "redis://h:1/0?maint_notifications_config=x"},
            "REDIS_URL",
            "behind its ?",
            "leave it",
        ),
        ({"REDIS_URL": "rediss://h:1/0?ssl_cert_reqs=maybe"}, "REDIS_URL", "behind its ?", "leave it out"),
        ({"REDIS_TLS_VERIFY": "0"}, "REDIS_TLS_VERIFY", "must be true or false", ""),
        ({"PORT": "80a"}, "PORT", "a whole number from 1 to 65535", ""),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY", "a whole number from 1 to 64", ""),
        ({"WEB_THREADS": "0"}, "WEB_THREADS", "a whole number from 1 to 256", ""),
        ({"WORKERS": "two"}, "WORKERS", "a whole number from 1 to 64", ""),
        ({"SECRET_KEY": ""}, "SECRET_KEY", "is not set", "token_urlsafe"),
        ({"SECRET_KEY": "x" * 15}, "SECRET_KEY", "shorter than 16", "long random text"),
        ({"DASHBOARD_USERS": ""}, "DASHBOARD_USERS", "is not set", "hash-password"),
        ({"DASHBOARD_USERS": f"ada:{SECRET}"}, "DASHBOARD_USERS", "item 1 is not name:role:hash", "viewer"),
        ({"DASHBOARD_USERS": f"ada:viewer:{SECRET}"}, "DASHBOARD_USERS", "no argon2 hash", "hash-password"),
        ({"API_TOKENS": f"root:{SECRET}"}, "API_TOKENS", "item 1 is not role:token", "operator"),
        ({"API_TOKENS": "viewer:short"}, "API_TOKENS", "shorter than 16", "long random token"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES", "a whole number from 0 to 8", ""),
        ({"PUBLIC_URL": "flatwire.example"}, "PUBLIC_URL", "must begin with https:// or http://", ""),
        ({"PUBLIC_URL": "https://"}, "PUBLIC_URL", "host and port", ""),
        ({"LOG_LEVEL": "info"}, "LOG_LEVEL", "must be one of: INFO, DEBUG", ""),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT", "must be one of: text, json", ""),
        ({"HOOK_SECRET": "whsec_x"}, "hooks.futures.secrets.main", "no signing secret", "24 to 64 bytes"),
        ({"NOTIFY_URL": SECRET}, "notify.urls.0", "no address that Apprise knows", "appriseit.com"),
    ],
    ids=str,
)
def test_a_fault_in_the_environment_is_told_with_what_to_do(
    environ: dict[str, str], place: str, message: str, hint: str
) -> None:
    faults = told(**environ)

    assert list(faults) == [place]
    assert message in faults[place][0]
    assert hint in faults[place][1]


_UNKNOWN_CAUSE = FILE.replace('"nt8"', '"nt9"').replace("[notify]", '[notify]\non = ["weather"]')
FAULTY = f"""
colour = "red"
{_UNKNOWN_CAUSE}
[hooks.shadow]
broker = "okx"
accounts = ["*", "x"]
secrets = {{ main = "{SECRET}" }}
heartbeat = 20
allow = ["flatten_everything"]
sorces = ["tradingview"]

[schedules.evening]
cron = "55 15 * * 1-5"
"""
WRONG = {
    "PORT": "x",
    "LOG_FORMAT": "xml",
    "DATABASE_URL": "mysql://h",
    "OKX_API_KEY": "",
    "CRYPTO_SECRET": "",
}
IN_ALL = {
    "colour",
    "schedules.evening.hook",
    "schedules.evening.text",
    "schedules.evening.timezone",
    "hooks.futures.broker",
    "hooks.shadow.accounts",
    "hooks.shadow.secrets.main",
    "hooks.shadow.heartbeat",
    "hooks.shadow.sorces",
    "notify.on.0",
    "PORT",
    "LOG_FORMAT",
    "DATABASE_URL",
}
OWN = {
    Role.WEB: {"hooks.crypto.secrets.main"},
    Role.WORKER: {"brokers.okx.api_key"},
    Role.CHECK: {"hooks.crypto.secrets.main", "brokers.okx.api_key"},
}


@pytest.mark.parametrize("role", list(Role))
def test_many_faults_are_told_at_once_to_each_role(role: Role) -> None:
    assert set(told(FAULTY, role, **WRONG)) == IN_ALL | OWN[role]


@pytest.mark.parametrize(
    ("command", "name", "role"),
    [
        (WEB, "web", Role.WEB),
        (("-m", "workers"), "workers", Role.WORKER),
        (("-m", "workers", "doctor"), "workers", Role.WORKER),
        (("-m", "app", "doctor"), "doctor", Role.WEB),
        (("-m", "app", "check"), "check", Role.CHECK),
    ],
    ids=lambda it: " ".join(it[1:3]) if isinstance(it, tuple) else None,
)
def test_no_process_starts_on_a_faulty_file_and_each_tells_all(
    command: tuple[str, ...], name: str, role: Role, tmp_path: Path
) -> None:
    environ = ENVIRON | WRONG | {"PATH": os.environ["PATH"], "FLATWIRE_CONFIG_TOML": FAULTY}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    said = done.stderr[done.stderr.index(f"{name}: the configuration can't be used:") :].splitlines()

    assert done.returncode == 2
    assert {line.split(":")[0].strip() for line in said[1:] if line.startswith("  ")} == IN_ALL | OWN[role]
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr + done.stdout


@pytest.mark.parametrize(("command", "name"), [(WEB, "web"), (("-m", "workers"), "workers")])
def test_no_process_starts_on_a_ledger_without_a_schema(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    environ = ENVIRON | {
        "PATH": os.environ["PATH"],
        "FLATWIRE_CONFIG_TOML": FILE,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}",
        "PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 2
    assert f"{name}: the ledger's schema is not there yet" in done.stderr
    assert "python -m app migrate" in done.stderr
    assert "Traceback" not in done.stderr
