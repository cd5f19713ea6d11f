"""Fifty alerts at the same moment, each on a new connection, while the venue takes a second for each call.

Two more came just before, so that both workers are in the midst of slow calls. Beside it, in turns: fifty for a view that
commits one row to the same database and rings once; nobody hears those rings, so no worker is woken by them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice

from tests.bench.ceilings import PATH, make_table
from tests.bench.figures import Aim, Figure, Finding, Note
from tests.bench.load import Sent, Target, fresh
from tests.bench.setting import Bench, Setting, setting, start_ceiling

AT_ONCE = 50
BEFORE = 2
"""Alerts that keep the workers in slow calls when the others come."""
VENUE_SECONDS = 1.0
MILLISECONDS_AT_MOST = 250.0
ALERT = '{"action": "close", "instrument": "AAPL", "account": "{n}"}'
COMMITS = "commits"


def measure(bench: Bench) -> Iterator[Finding]:
    for kind in bench.kinds:
        with setting(bench, kind, "stocks") as running:
            make_table(running.ledger)
            committing = running.another(1)
            start_ceiling(committing, "committing")
            ceiling = Target(committing.port, PATH, ALERT)
            running.product.start_workers()
            bench.clients.flat_out(ceiling, 1)
            accounts, slowest, beside, refused = count(20_000), [], [], 0
            _burst(bench, running, accounts)  # the first finds no connection open
            for _ in range(bench.runs):
                sent = _burst(bench, running, accounts)
                slowest.append(max(it.latency for it in sent) * 1000)
                refused += sum(it.status != 202 for it in sent)
                with _slow(running):
                    others = bench.clients.at_once(ceiling, fresh(AT_ONCE))
                beside.append(max(it.latency for it in others) * 1000)
            aim = Aim(MILLISECONDS_AT_MOST)
            yield Figure(f"{kind}, {AT_ONCE} at once: the slowest", "ms", slowest, {COMMITS: beside}, aim)
            if refused:
                yield Note(f"{kind}: {refused} were not answered 202")


def _burst(bench: Bench, running: Setting, accounts: Iterator[int]) -> list[Sent]:
    """One burst for positions that are all open, and all closed before the next."""
    numbers = list(islice(accounts, BEFORE + AT_ONCE))
    for number in numbers:
        running.stocks.book.set_position(number, "AAPL", "long", 100, "145.00", "151.00")
    before = running.settled()
    with _slow(running):
        bench.clients.in_a_row(running.target("stocks", ALERT), [str(it) for it in numbers[:BEFORE]])
        sent = bench.clients.at_once(running.target("stocks", ALERT), [str(it) for it in numbers[BEFORE:]])
    running.wait_settled(before + BEFORE + AT_ONCE, 120)
    return sent


@contextmanager
def _slow(running: Setting) -> Iterator[None]:
    running.stocks.bad_day("hang_then_act", times=None, seconds=VENUE_SECONDS)
    yield
    running.stocks.good_days()
