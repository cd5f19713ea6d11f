"""Every secret, fed to the running product by every way in; then all that the product says is searched for it."""

import base64
import json
import re
import secrets
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis, RedisError

from app.alerts.schemas import SECRET_FIELDS
from app.ledger import tables
from app.ledger.connection import Ledger, normalised
from app.passwords import password_hash
from tests.leaks import leaks
from tests.mailbox import Mailbox, mailbox
from tests.running import CONFIGURATION, ROOT, Product, RedisServer, eventually
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.okx import OkxSimulator

TIMES = "connect_timeout = 1\nread_timeout = 2\ndeadline = 2.5\nsettle = 0.5\nretry_for = 1\n"
FILE = f"""
{CONFIGURATION.replace("retry_for = 20", "retry_for = 1").replace("{{ main", "{ main")}
[hooks.plain]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
default_account = "Sim101"
dialects = ["crosstrade", "traderspost", "okx_signal"]
secrets = {{ old = "${{PLAIN_OLD}}", new = "${{PLAIN_NEW}}" }}

[hooks.signed]
broker = "nt8"
accounts = ["Sim101"]
secrets = {{ main = "${{SIGNING}}" }}

[brokers.cs]
kind = "clearstreet"
api_key = "${{CLEARSTREET_API_KEY}}"
base_url = "${{CLEARSTREET_URL}}"
{TIMES}
[hooks.stocks]
broker = "cs"
accounts = ["19816"]
secrets = {{ main = "${{STOCKS_SECRET}}" }}

[brokers.okx]
kind = "okx"
api_key = "${{OKX_API_KEY}}"
api_secret = "${{OKX_API_SECRET}}"
passphrase = "${{OKX_PASSPHRASE}}"
demo = true
base_url = "${{OKX_URL}}"
{TIMES}
[hooks.crypto]
broker = "okx"
secrets = {{ main = "${{CRYPTO_SECRET}}" }}

[notify]
urls = ["${{NOTIFY_URL}}", "${{FAR_URL}}"]
"""
PAGES = ("/", "/positions", "/closes", "/closes.csv", "/alerts", "/attention", "/hooks", "/system", "/pause")
DOCUMENTS = (
    "alerts",
    "commands",
    "closed-positions",
    "closed-positions.csv",
    "positions",
    "hooks",
    "overview",
)
BESIDE = ("system", "failed-authentications", "pause", "openapi.json")


def odd() -> str:
    """A secret that no two ways of writing write alike, fit for a header."""
    return f'{secrets.token_urlsafe(9)}/"+{secrets.token_urlsafe(9)}'


def even() -> str:
    """One that fits into a path."""
    return secrets.token_urlsafe(24)


def secrets_of_all_kinds() -> dict[str, str]:
    return {
        "HOOK_SECRET": even(),
        "EVERYTHING_SECRET": even(),
        "PLAIN_OLD": even(),
        "PLAIN_NEW": odd(),
        "STOCKS_SECRET": even(),
        "CRYPTO_SECRET": even(),
        "SIGNING": "whsec_" + base64.b64encode(secrets.token_bytes(30)).decode(),
        "CROSSTRADE_TOKEN": odd(),
        "CLEARSTREET_API_KEY": odd(),
        "OKX_API_KEY": even(),
        "OKX_API_SECRET": odd(),
        "OKX_PASSPHRASE": odd(),
        "SECRET_KEY": odd(),
        "password": odd(),
        "viewer's password": odd(),
        "API token": even(),
        "a viewer's token": even(),
        "database": even(),
        "redis": even(),
        "notify": even(),
        "notify far": even(),
    }


class Stage:
    """The product with every kind of secret, and all that it has said."""

    def __init__(self, folder: Path, database_url: str, redis: RedisServer, stack: ExitStack) -> None:
        self.secrets = known = secrets_of_all_kinds()
        self.said: dict[str, str] = {}
        self.redis = redis
        redis.client.config_set("requirepass", known["redis"])
        self.nt8 = stack.enter_context(CrossTradeSimulator(token=known["CROSSTRADE_TOKEN"]))
        self.stocks = stack.enter_context(ClearStreetSimulator(known["CLEARSTREET_API_KEY"]))
        credential = (known["OKX_API_KEY"], known["OKX_API_SECRET"], known["OKX_PASSPHRASE"])
        self.crypto = stack.enter_context(OkxSimulator(*credential))
        self.box: Mailbox = stack.enter_context(mailbox())
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.far = f"127.0.0.1:{nobody.getsockname()[1]}"
        hashes = [password_hash(known["password"]), password_hash(known["viewer's password"])]
        known["hash"], known["viewer's hash"] = (text.rpartition("$")[2] for text in hashes)
        viewers = known["a viewer's token"]
        url = normalised(database_url).set(password=known["database"])
        self.product = Product(
            folder,
            url.render_as_string(hide_password=False),
            f"redis://:{known['redis']}@127.0.0.1:{redis.port}/0",
            self.nt8,
            configuration=FILE,
            workers=1,
            variables={
                **{name: secret for name, secret in known.items() if name.isupper()},
                "CLEARSTREET_URL": self.stocks.url,
                "OKX_URL": self.crypto.url,
                "NOTIFY_URL": f"{self.box.url}/{known['notify']}",
                "FAR_URL": f"json://ada:{known['notify far']}@{self.far}/{known['notify far']}",
                "DASHBOARD_USERS": f"ada:operator:{hashes[0]} vic:viewer:{hashes[1]}",
                "API_TOKENS": f"operator:{known['API token']} viewer:{viewers}",
                "LOG_LEVEL": "DEBUG",
                "LOG_FORMAT": "json",
            },
        )
        self.product.api_token = known["API token"]
        self.hears = requests.Session()
        self.hears.headers["Connection"] = "close"

    def begin(self) -> None:
        self.product.fresh_book()
        self.stocks.book.set_position(19816, "AAPL", "long", 100, "145.00", "151.00")
        self.crypto.book.set_position(
            "BTC-USDT-SWAP", "long", "12.5", average_price="102840.5", mark_price="103500"
        )
        self.product.migrate()
        self.product.start_all()

    def call(self, method: str, path: str, *, keep: bool = True, **said: Any) -> requests.Response:
        """Ask the web process, and keep its answer."""
        answer = self.hears.request(
            method, f"{self.product.url}{path}", timeout=10, allow_redirects=False, **said
        )
        told = f"{answer.status_code} {answer.headers} {answer.text}"
        if keep:
            self.said[f"answer {len(self.said)} to {method} {path[:40]}"] = told
        assert answer.status_code < 500 or answer.status_code == 503, told
        return answer

    def raw(self, request: str) -> None:
        with socket.create_connection(("127.0.0.1", self.product.port), timeout=5) as line, suppress(OSError):
            line.sendall(request.encode())
            line.shutdown(socket.SHUT_WR)
            line.recv(65536)  # it quotes the sender's words, to the sender

    def run(self, *arguments: str, typed: str = "", **environ: str) -> int:
        """Run a command line, and keep what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.product.environ | environ,
            cwd=ROOT,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.said[f"{' '.join(arguments)[:60]} {sorted(environ)}"] = done.stdout + done.stderr
        return done.returncode

    def everything(self) -> dict[str, str]:
        """All that was said and kept, by where it stands."""
        said = dict(self.said)
        for name in ("web", "worker"):
            said[f"log of {name}"] = self.product.log(name)
        ledger = Ledger(self.product.database_url)
        with ledger.reading() as connection:
            for table in tables.metadata.sorted_tables:
                said[f"table {table.name}"] = str(connection.execute(table.select()).all())
        ledger.dispose()
        said["messages"] = self.box.text
        return said


def of_the_door(stage: Stage, known: Mapping[str, str]) -> None:
    """Right, wrong, misplaced and mistyped."""
    right, also = known["PLAIN_OLD"], known["PLAIN_NEW"]
    path = f"/hooks/plain/{right}"
    texts = [f"close {right}", f"{right}", f"close 1 MES 12-26 in {right}", f"flatten {right}"]
    for name in SECRET_FIELDS:
        fields = {"action": "close", "instrument": "NQ 12-26", name: right}
        texts += [
            json.dumps(fields),
            json.dumps(fields | {name: also}),
            json.dumps(fields | {name: [right]}),
            json.dumps(fields | {name: {right: 1}}),
            json.dumps(fields).replace(right, "".join(f"\\u{ord(it):04x}" for it in right)),
            json.dumps(fields)[:-1],
            json.dumps(fields)[:-4],
            json.dumps(fields).replace('"', "'"),
            json.dumps(fields).replace('"', "”"),
            f"action=close;instrument=NQ 12-26;{name}={right}",
            f"action=cloze;instrument=NQ 12-26;{name}={also}",
            f"action=close,instrument=NQ 12-26,{name}={right}",
            f"{name}={right}",
            f"{name} = {right}\ncommand=CLOSEPOSITION\naccount=sim101\ninstrument=",
            f"{name}={known['CROSSTRADE_TOKEN']};command=FLATTEN;account=nobody;",
        ]
    for name in (
        "action",
        "instrument",
        "account",
        "quantity",
        "id",
        "time",
        "position",
        "note",
        "sekret",
        right,
    ):
        texts.append(json.dumps({"action": "close", "instrument": "NQ 12-26"} | {name: right}))
        texts.append(f"action=close;instrument=NQ 12-26;{name}={right}")
    texts.append(json.dumps({"action": "close", "secret": right, "x": right * 1500}))
    bearer = {"Authorization": f"Bearer {right}"}
    for text in texts:
        stage.call("POST", path, data=text.encode())
        stage.call("POST", "/hooks/plain", data=text.encode(), headers=bearer)
    for text in texts[::7]:
        stage.call("POST", "/hooks/plain", data=text.encode())
        stage.call("POST", f"/hooks/nobody/{right}", data=text.encode())
        stage.call("POST", f"{path}?secret={right}&dry_run={right}", data=text.encode())
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        stage.call(method, path)
    for near in (f"{path}/", f"/hooks//plain/{right}", f"{path}/{right}", f"/api/v1/commands/{right}"):
        stage.call("POST", near, data=b"close NQ 12-26")
        stage.call("GET", near)
    odd_headers = {"X-Forwarded-For": right, "User-Agent": right, "Cookie": f"flatwire={right}"}
    for headers in (odd_headers, {"webhook-id": right}, {"Idempotency-Key": right}, {"Referer": right}):
        stage.call("POST", path, data=b"close NQ 12-26", headers=headers)
    signed = {"webhook-id": "m1", "webhook-timestamp": "1", "webhook-signature": f"v1,{known['SIGNING']}"}
    stage.call("POST", "/hooks/signed", data=b"close NQ 12-26", headers=signed)


def of_strangers(stage: Stage, known: Mapping[str, str]) -> None:
    """Each secret where another belongs, and half requests."""
    for secret in known.values():
        quoted = requests.utils.quote(secret, safe="")
        stage.call("POST", f"/hooks/futures/{quoted}", data=f"secret={secret}".encode())
        stage.call("POST", "/hooks/futures", data=json.dumps({"key": secret, "note": secret}).encode())
        stage.call("GET", "/api/v1/commands", headers={"Authorization": f"Bearer {secret}x"})
        stage.call("GET", f"/api/v1/commands/{quoted}", headers={"Authorization": f"Basic {secret}"})
        stage.raw(f"POST /hooks/futures/{secret} HTTP/7.7\r\n\r\n")
        stage.raw(f"POST /hooks/futures HTTP/1.1\r\nX {secret}: 1\r\n\r\n")
        stage.raw(f"{secret}\r\n\r\n")
        stage.raw(f"POST /hooks/futures HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nContent-Le")
    page = stage.call("GET", "/login").text
    for secret in (known["password"] + "x", known["API token"]):
        form = {"name": "ada", "password": secret, "csrf_token": token_in(page)}
        stage.call("POST", f"/login?next=/{requests.utils.quote(secret)}", data=form)


def of_brokers(stage: Stage, known: Mapping[str, str]) -> list[str]:
    """Venues that say our own credential back to us, cut the line, and are away. The commands' ids."""
    product = stage.product
    product.hook_secrets = {"stocks": known["STOCKS_SECRET"], "crypto": known["CRYPTO_SECRET"]}
    product.secret, product.everything_secret = known["HOOK_SECRET"], known["EVERYTHING_SECRET"]
    own = {"futures": ("CROSSTRADE",), "stocks": ("CLEARSTREET",), "crypto": ("OKX",)}
    echoes = {
        hook: f"no such key: {' '.join(known[name] for name in known if name.startswith(mine))}"
        for hook, mine in own.items()
    }
    coins = [f"{it}-USDT-SWAP" for it in ("BTC", "ETH", "SOL", "XRP", "LTC")]
    venues = {
        "futures": (stage.nt8, [f"{it} 12-26" for it in ("MES", "MNQ", "NQ", "CL", "GC")], "error"),
        "stocks": (stage.stocks, ["AAPL", "TSLA", "GOOG", "MSFT", "AMZN"], "message"),
        "crypto": (stage.crypto, coins, "message"),
    }

    def spoil(hook: str) -> list[str]:
        venue, names, words = venues[hook]
        echo = echoes[hook]
        days: list[tuple[str, dict[str, Any]]] = [
            ("refuse", {words: echo}),
            ("not_json", {"text": echo, "acts": False}),
            ("wrong_shape", {"body": {"headers": {echo: [echo]}, "data": echo}, "acts": False}),
            ("redirect", {}),
        ]
        ids: list[str] = []

        def close(name: str) -> None:
            ids.append(product.accepted(f"close {name}", hook=hook))
            eventually(lambda: tried(product.command(ids[-1])), what="a call was made")

        for (mishap, options), name in zip(days, names, strict=False):
            venue.good_days()
            venue.bad_day(mishap, times=None, **options)
            close(name)
        venue.good_days()
        venue.stop_listening()
        close(names[-1])
        venue.listen_again()
        return ids

    with ThreadPoolExecutor(3) as pool:
        return [command for ids in pool.map(spoil, venues) for command in ids]


def tried(command: dict[str, Any]) -> bool:
    return bool(command["attempts"] or command["reason"])


def of_operators(stage: Stage, known: Mapping[str, str], commands: list[str]) -> None:
    """All pages and documents, and what is typed into them."""
    page = stage.call("GET", "/login").text
    form = {"name": "ada", "password": known["password"], "csrf_token": token_in(page)}
    assert stage.call("POST", "/login", data=form).status_code == 302
    token = token_in(stage.call("GET", "/hooks").text)
    for hook in ("plain", "nobody"):
        text = f"key={known['PLAIN_OLD']};command=CLOSEPOSITION;account=sim101;instrument=;"
        form = {"hook": hook, "text": text, "csrf_token": token}
        stage.call(
            "POST", "/tester", keep=False, data=form
        )  # the page shows the operator what the operator typed
    operator = {"Authorization": f"Bearer {known['API token']}"}
    for path in (*PAGES, *(f"/commands/{it}" for it in commands)):
        stage.call("GET", path)
    for path in (*DOCUMENTS, *BESIDE, *(f"commands/{it}" for it in commands)):
        stage.call(
            "GET",
            f"/api/v1/{path}?limit=200" if path in DOCUMENTS[:2] else f"/api/v1/{path}",
            headers=operator,
        )
    for command in commands[:2]:
        for act in ("retry", "cancel", "acknowledge", "resolve", "nothing"):
            body = {"reason": "why not", "outcome": "not_done"}
            stage.call("POST", f"/api/v1/commands/{command}/{act}", headers=operator, json=body)
    for path in ("/metrics", "/readyz", "/healthz"):
        stage.call("GET", path)


def of_redis(stage: Stage, known: Mapping[str, str]) -> None:
    """What stands in Redis; and what is said when it is gone."""
    redis = Redis(port=stage.redis.port, password=known["redis"])
    kept = []
    for key in redis.scan_iter():
        with suppress(RedisError):
            kept.append(repr(key) + repr(values_of(redis, key)))
    stage.said["redis"] = "\n".join(kept)
    redis.config_set("requirepass", "another")
    redis.client_kill_filter(_type="normal", skipme=True)
    stage.product.send("close NQ 12-26")


def values_of(redis: Any, key: bytes) -> list[Any]:
    match redis.type(key):
        case b"hash":
            values = [it for pair in redis.hgetall(key).items() for it in pair]
        case b"list":
            values = redis.lrange(key, 0, -1)
        case b"set":
            values = list(redis.smembers(key))
        case b"zset":
            values = redis.zrange(key, 0, -1)
        case _:
            values = [redis.get(key)]
    return [*values, *(zlib.decompress(it) for it in values if it[:1] == b"\x78")]


def of_command_lines(stage: Stage, known: Mapping[str, str]) -> None:
    """What they print, with settings that are right and wrong."""
    wrong_urls = {
        "DATABASE_URL": f"postgresql://ada:{known['database']}@127.0.0.1:none/x",
        "REDIS_URL": f"redis://:{known['redis']}@127.0.0.1:none/0",
    }
    away = {
        "DATABASE_URL": f"postgresql://ada:{known['database']}@{stage.far}/x",
        "REDIS_URL": f"redis://:{known['redis']}@{stage.far}/0",
    }
    shifted = dict(zip(stage.product.variables, [*stage.product.variables.values()][1:], strict=False))
    runs: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("-m", "app", "check"), {}),
        (("-m", "app", "doctor"), {}),
        (("-m", "workers", "doctor"), {}),
        (("-m", "app", "notify"), {}),
        (("-m", "app", "send", "plain", "cloze it"), {"FLATWIRE_HOOK_SECRET": known["PLAIN_NEW"]}),
        (("-m", "app", "check"), shifted | wrong_urls),
        (("-m", "workers", "doctor"), away),
        (("-m", "app", "migrate"), away),
    ]
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda it: stage.run(*it[0], **it[1]), runs))
    assert codes[0] == 0, stage.said


def token_in(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found, page
    return found[1]


@pytest.fixture
def stage(tmp_path: Path, database_url: str, redis_server: RedisServer) -> Iterator[Stage]:
    with ExitStack() as stack:
        stage = Stage(tmp_path, database_url, redis_server, stack)
        stack.callback(stage.product.stop_all)
        stage.begin()
        yield stage


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_secret_is_said_or_kept_anywhere(stage: Stage) -> None:
    known = stage.secrets
    stage.box.broken = True
    with ThreadPoolExecutor(1) as beside:
        printed = beside.submit(of_command_lines, stage, known)
        of_the_door(stage, known)
        of_strangers(stage, known)
        commands = of_brokers(stage, known)
        of_operators(stage, known, commands)
        printed.result()
    of_redis(stage, known)
    stage.product.stop_all()
    said = stage.everything()

    assert leaks(said, known) == []
    for name in ("web", "worker"):
        lines = [json.loads(line) for line in stage.product.log(name).splitlines()]
        assert all(line["event"] and line["timestamp"] and line["level"] for line in lines)
        assert not [line for line in lines if "exception" in line]
