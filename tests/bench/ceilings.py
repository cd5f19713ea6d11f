"""What no product of this shape can beat: the bare minimum under the same gunicorn, with the same ledger and Redis.

`bare` reads the body and answers. `committing` also commits one row and rings once, as the product's own door does:
with `app.ledger`'s connections and `app.queueing`'s doorbell. `python -m tests.bench.ceilings` is a worker at the other
end of that ring: RQ's worker class as the product has it, whose job does nothing, or makes one call to a venue.
"""

import argparse
import http.client
import os
import sys
from urllib.parse import urlsplit

from flask import Flask, request
from sqlalchemy import Column, MetaData, Table, Text, insert

from app.ledger.connection import Ledger
from app.ledger.types import Instant, Serial, now
from app.queueing import Doorbell
from config.environment import load
from config.file import Role
from workers import jobs
from workers.listening import listen
from workers.stopping import Stopping, stop_on_signals

ROWS = Table(
    "bench_rows",
    MetaData(),
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("text", Text, nullable=False),
)
_ROW = insert(ROWS).values(at=now())
PATH = "/hooks/bench"


def make_table(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        ROWS.create(connection, checkfirst=True)


def bare() -> Flask:
    app = Flask(__name__)

    @app.post(PATH)
    def take() -> tuple[dict[str, str], int]:
        request.get_data()
        return {"status": "read"}, 202

    return app


def committing() -> Flask:
    settings = load(Role.WEB)
    ledger = Ledger(settings.database_url, threads=settings.web_threads)
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    app = Flask(__name__)

    @app.post(PATH)
    def take() -> tuple[dict[str, str], int]:
        text = request.get_data(as_text=True)
        with ledger.writing(awaited=True) as connection:
            connection.execute(_ROW, {"text": text})
        doorbell.ring(["nobody's"])
        return {"status": "kept"}, 202

    return app


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ceilings", description=__doc__)
    parser.add_argument("redis_url")
    parser.add_argument("--venue", help="where to close a position with each job; without, nothing is done")
    parser.add_argument("--path", default="/")
    parser.add_argument("--body", default="")
    options = parser.parse_args()
    stopping = Stopping()
    stop_on_signals(stopping)

    def step() -> bool:
        if options.venue:
            _call(options.venue, options.path, options.body)
        return False

    jobs.bind(jobs.Hands(step, stopping.is_set, lambda command_ids: None))
    listen(options.redis_url, True, f"bench-{os.getpid()}", stopping)
    return 0


def _call(venue: str, path: str, body: str) -> None:
    """One call on a connection of its own, as the product makes each of its own."""
    connection = http.client.HTTPConnection(urlsplit(venue).netloc, timeout=5)
    headers = {"Authorization": f"Bearer {os.environ['BENCH_TOKEN']}", "Content-Type": "application/json"}
    connection.request("POST", path, body, headers)
    connection.getresponse().read()
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
