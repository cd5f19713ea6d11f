"""The memory of web and workers after 5,000 alerts and after 10,000: the second half should add nothing.

Each alert is a close at Clear Street, and in one of four accounts there is something to close. What the processes of a
role share counts once (PSS). Beside the web process: a bare view under the same gunicorn that reads as many bodies. The
growth over the second half is one figure and no median: it takes minutes. It is measured on one database, the last of
those that are measured.
"""

from collections.abc import Iterator
from itertools import count, islice

from tests.bench.ceilings import PATH
from tests.bench.figures import Aim, Figure, Finding, Note
from tests.bench.load import Target, fresh
from tests.bench.processes import memory
from tests.bench.setting import Bench, Setting, setting, start_ceiling

ALERTS = 10_000
STEPS = 10
OPEN_ONE_IN = 4
A_SECOND = 100.0
"""As fast as they are sent, within each step; the next begins when all are closed."""
ALERT = '{"action": "close", "instrument": "AAPL", "account": "{n}"}'
MEBIBYTES_MORE = 1.0
"""That the second half may add: an allocator gives back in pieces."""
LONGEST = 600.0


def measure(bench: Bench) -> Iterator[Finding]:
    kind = bench.kinds[-1]
    with setting(bench, kind, "stocks") as running:
        bare = running.another(1)
        start_ceiling(bare, "bare")
        running.product.start_workers()
        roots = {
            "web": running.product.processes["web"].pid,
            "workers": running.product.processes["worker"].pid,
            "bare view": bare.processes["bare"].pid,
        }
        seen: dict[str, list[float]] = {name: [memory(pid)] for name, pid in roots.items()}
        accounts, step = count(20_000), bench.pick(ALERTS, 200) // STEPS
        for _ in range(STEPS):
            _step(bench, running, Target(bare.port, PATH, ALERT), list(islice(accounts, step)))
            for name, pid in roots.items():
                seen[name].append(memory(pid))
        half = STEPS // 2
        for name in ("web", "workers"):
            for told, place in ((f"{step * half:,}", half), (f"{step * STEPS:,}", STEPS)):
                ceilings = {"bare view": [seen["bare view"][place]]} if name == "web" else {}
                yield Figure(f"{kind}, {name} after {told} alerts", "MiB", [seen[name][place]], ceilings)
            more = seen[name][STEPS] - seen[name][half]
            yield Figure(
                f"{kind}, {name}: more after the second half", "MiB", [more], aim=Aim(MEBIBYTES_MORE)
            )
        for name, values in seen.items():
            yield Note(
                f"{kind}, {name}, every {step:,} alerts: {', '.join(f'{it:.1f}' for it in values)} MiB"
            )


def _step(bench: Bench, running: Setting, bare: Target, accounts: list[int]) -> None:
    for account in accounts[::OPEN_ONE_IN]:
        running.stocks.book.set_position(account, "AAPL", "long", 100, "145.00", "151.00")
    before = running.settled()
    bench.clients.at_rate(running.target("stocks", ALERT), [str(it) for it in accounts], A_SECOND)
    bench.clients.in_a_row(bare, fresh(len(accounts)))
    running.wait_settled(before + len(accounts), LONGEST)
