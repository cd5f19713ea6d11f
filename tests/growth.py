"""How much slower each page and filter is with a million commands in the ledger than with a thousand, on each database."""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flask.testing import FlaskClient
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy import create_engine, make_url, text

from app.ledger.connection import Ledger
from app.ledger.migration import migrate
from config.environment import User
from config.logging import configure_logging
from config.secrets import Secret
from tests.bench import databases
from tests.running import _HASH, PASSWORD
from tests.web import API_TOKEN, web_app

FEW, MANY = 1_000, 1_000_000
LOOKS = 15
A_DAY = 1_000
"""Commands of each day: as busy lately with few as with many, and only the history is longer."""
PAGES = (
    "/",
    "/attention",
    "/positions",
    "/closes",
    "/closes?instrument=L7%2012-26",
    "/closes?hook=stocks",
    "/closes?broker=okx",
    "/closes?account=Sim103",
    "/closes?account=nobody",
    "/closes?instrument=nothing",
    "/closes?since={week}",
    "/closes?until={halfway}",
    "/closes?sort=oldest",
    "/alerts",
    "/alerts?outcome=refused",
    "/alerts?hook=stocks&since={week}",
    "/hooks",
    "/system",
    "/commands/{middle}",
    "/api/v1/commands",
    "/api/v1/commands?status=rejected",
    "/api/v1/commands?status=in_doubt",
    "/api/v1/commands?attention=rejected",
    "/api/v1/commands?account=nobody",
    "/api/v1/commands?broker=okx&instrument=nothing",
    "/api/v1/commands?since={week}T00:00:00Z",
    "/api/v1/closed-positions?cursor={half}",
    "/readyz",
)


def main(many: int) -> int:
    configure_logging("ERROR", "text")  # of this process: it would fill the report
    print(f"{'':46}{'SQLite':>24}{'PostgreSQL':>30}")
    print(f"{'':46}" + f"{'1,000':>9}{f'{many:,}':>11}{'ratio':>8}" * 2 + "   milliseconds, median")
    with tempfile.TemporaryDirectory(prefix="flatwire-growth-") as folder, databases(Path(folder)) as urls:
        found = {name: looked(Path(folder), url, many) for name, url in urls.items()}
    worst = 0.0
    for page in PAGES:
        line = f"{page:46}"
        for times in found.values():
            few, lots, ratio = times[page]
            worst = max(worst, ratio)
            line += f"{few * 1000:9.1f}{lots * 1000:11.1f}{ratio:8.2f}"
        print(line)
    print(f"the worst ratio is {worst:.2f}")
    return 0


def looked(folder: Path, url: str, many: int) -> dict[str, tuple[float, float, float]]:
    """Seconds that each page takes with few commands and with so many, looked at in turns; and the median of the ratios."""
    with visitor(folder, url, FEW) as few, visitor(folder, url, many) as lots:
        found = {}
        for page in PAGES:
            pairs = [(few(page), lots(page)) for _ in range(LOOKS)]
            ratio = statistics.median(slow / fast for fast, slow in pairs)
            found[page] = (*(statistics.median(side) for side in zip(*pairs, strict=True)), ratio)
        return found


@contextlib.contextmanager
def visitor(folder: Path, url: str, count: int) -> Iterator[Callable[[str], float]]:
    """Looks at a page of a ledger with so many commands; the seconds that it took."""
    ledger = Ledger(database_of(url, f"ledger{count}"), threads=4)
    try:
        migrate(ledger)
        fill(ledger, count)
        app = web_app(folder / f"app-{count}-{ledger.sqlite}")
        app.extensions["flatwire_ledger"] = ledger
        app.extensions["flatwire_users"]["ada"] = User("ada", "operator", Secret(_HASH))
        app.extensions["flatwire_logins"] = MovingWindowRateLimiter(MemoryStorage())
        app.config["WTF_CSRF_ENABLED"] = False
        now = time.time()
        named = {
            "week": time.strftime("%Y-%m-%d", time.gmtime(now - 7 * 86400)),
            "middle": f"{count // 2:032x}",
            "half": count // 2,
            "halfway": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - count / A_DAY / 2 * 86400)),
        }
        client = app.test_client()
        client.post("/login", data={"name": "ada", "password": PASSWORD})
        yield lambda page: _look(client, page.format(**named))
    finally:
        ledger.dispose()


def database_of(url: str, name: str) -> str:
    """A database of its own beside that of the URL."""
    if url.startswith("sqlite"):
        return url.replace("flatwire.db", f"{name}.db")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _look(client: FlaskClient, page: str) -> float:
    headers = {"Authorization": f"Bearer {API_TOKEN}"} if page.startswith("/api") else {"HX-Request": "true"}
    began = time.perf_counter()
    answer = client.get(page, headers=headers)
    taken = time.perf_counter() - began
    assert answer.status_code == 200, f"{page}: {answer.status_code} {answer.text[:200]}"
    return taken


def fill(ledger: Ledger, count: int) -> None:
    """So many alerts at an even pace, each with its command, an attempt, an event and what was closed."""
    hexed = "printf('%032x', {})" if ledger.sqlite else "lpad(to_hex({}), 32, '0')"
    series = (
        f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s) s"
        if ledger.sqlite
        else f"generate_series(1, {count}) s(n)"
    )
    now = int(time.time() * 1_000_000)
    at = f"({now} - ({count} - n) * CAST({86400 * 1_000_000 // A_DAY} AS BIGINT))"
    of = "(CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{}' ELSE '{}' END)"
    hook, broker = of.format("futures", "stocks", "crypto"), of.format("nt8", "cs", "okx")
    account, instrument = "('Sim10' || (n % 4))", "('L' || (n % 10) || ' 12-26')"
    number, command = hexed.format("n"), hexed.format("n")
    status = "(CASE n % 20 WHEN 0 THEN 'rejected' WHEN 1 THEN 'nothing_open' ELSE 'closed' END)"
    attention = f"(CASE WHEN n % 20 = 0 AND n > {count} - 400 THEN 'rejected' END)"
    no = "0" if ledger.sqlite else "FALSE"
    statements = [
        f"""INSERT INTO alerts (id, hook, received_at, outcome, errors, warnings, text, size, source_address, secret_label,
            deliveries) SELECT {number}, {hook}, {at}, CASE WHEN n % 5 = 0 THEN 'refused' ELSE 'accepted' END,
            '[]', '[]', 'close ' || {instrument}, 20, '52.89.214.238', 'main', 1 FROM {series}""",
        f"""INSERT INTO commands (id, alert, hook, broker, action, account, instrument, cancel_orders, urgency,
            lane_account, lane_root, status, attention, accepted_at, expires_at, first_attempt_at, gives_up_at, settled_at,
            fence, fixed, dry_run, holdings)
            SELECT {command}, {number}, {hook}, {broker}, 'close', {account}, {instrument}, {no}, 1, {account},
            {instrument}, {status}, {attention}, {at}, {at} + 300000000, {at} + 20000, {at} + 120000000, {at} + 900000,
            1, {no}, {no}, NULL FROM {series}""",
        f"""INSERT INTO attempts (command, number, kind, lapses, request, sent_at, settles_at, answered_at, outcome)
            SELECT {command}, 1, 'close', {no}, '{{}}', {at} + 20000, {at} + 30000, {at} + 40000, 'reported'
            FROM {series}""",
        f"""INSERT INTO events (command, at, name, actor, detail)
            SELECT {command}, {at}, 'accepted', 'futures', '{{}}' FROM {series}""",
        f"""INSERT INTO closed_positions (command, hook, broker, closed_at, account, instrument, side, quantity,
            average_price, close_price, profit_loss, source, order_ids, raw)
            SELECT {command}, {hook}, {broker}, {at} + 900000, {account}, {instrument}, 'long', '4', '5779.75',
            '5797.0', '343.75', 'snapshot', '[]', '{{}}' FROM {series}""",
    ]
    with ledger.engine.connect() as connection:
        if not ledger.sqlite:
            connection.execute(text("SET statement_timeout = 0"))
        for statement in statements:
            connection.execute(text(statement))
        connection.commit()
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not ledger.sqlite:
            connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("ANALYZE"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
