"""A flatten of many positions, beside the time that the venue's documented limits leave no way around.

CrossTrade: 20 accounts, flattened by one alert. Its limit is a bucket of 20 calls that gets 3 a second. Each account is a
command of its own, with one call that flattens it. With a list to read back each that makes 40 calls: 20 at once, and the
other 20 in 20 / 3 = 6.7 s. With one list for all it makes 21 calls, and the last is held back for 1 / 3 = 0.3 s; as the
product keeps that limit (`workers/brokers/crosstrade/requests.py`: 20 in any 2 seconds), for 2 s.

OKX: 58 swaps, flattened by one alert. Its limits (`workers/brokers/okx/adapter.py`) are 20 closes in 2 s of one
instrument, and 10 lists of positions in 2 s. 58 swaps are 58 instruments, and one list before and one after serve all of
them, so the limits hold back none of these 60 calls. What is held against instead is 60 bare calls to the same venue,
16 side by side as the product makes them. (Were the 20 closes in 2 s of all instruments together, they would go 20 at
once, 20 after 2 s and 18 after 4 s.)

The simulators refuse what is faster than these limits (429), and the refusals are counted.
"""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from unittest import mock
from urllib.parse import urlsplit

from tests.bench.figures import Aim, Figure, Finding, Note
from tests.bench.load import fresh
from tests.bench.setting import FUTURES_ACCOUNTS, Bench, Setting, setting
from tests.simulators.line import Buckets, Request, Simulator, TokenBucket
from tests.simulators.okx.instruments import INSTRUMENTS, PRICES
from tests.simulators.okx.records import Instrument
from workers.brokers.crosstrade.requests import LIMITS

POSITIONS = 58
SIDE_BY_SIDE = 16
CROSSTRADE_BURST, CROSSTRADE_RATE = 20, 3.0
WITHIN = 1.1
BARE_CALLS = "bare calls"

_SWAPS = tuple(f"BENCH{number}-USDT-SWAP" for number in range(POSITIONS))


@dataclass(frozen=True, slots=True)
class Fan:
    """One flatten of many, and what its venue's limits leave no way around."""

    name: str
    hook: str
    alert: str
    open: Callable[[Setting], None]
    venue: Callable[[Setting], Simulator]
    closes: frozenset[str]
    calls: int
    """That it takes at least, as the product makes them."""
    held_back: Mapping[str, float]
    """Seconds for which the limits hold the last call back, by how the limits and the calls are counted; the first is
    what is aimed at."""


def measure(bench: Bench) -> Iterator[Finding]:
    for kind in bench.kinds:
        with _listed(), setting(bench, kind, "futures", "crypto", rate_limit=True) as running:
            running.product.start_workers()
            for fan in fans():
                yield from _measured(bench, running, kind, fan)


def fans() -> tuple[Fan, ...]:
    return (
        Fan(
            f"{len(FUTURES_ACCOUNTS)} accounts at CrossTrade",
            "futures",
            '{"action": "flatten", "account": "*", "id": "{n}"}',
            _open_accounts,
            lambda running: running.futures,
            frozenset({"flatten"}),
            len(FUTURES_ACCOUNTS) + 1,
            {
                "the limits, a list each": (2 * len(FUTURES_ACCOUNTS) - CROSSTRADE_BURST) / CROSSTRADE_RATE,
                "one list, as kept": float(LIMITS[0].seconds),
                "one list": (len(FUTURES_ACCOUNTS) + 1 - CROSSTRADE_BURST) / CROSSTRADE_RATE,
            },
        ),
        Fan(
            f"{POSITIONS} swaps at OKX",
            "crypto",
            '{"action": "flatten", "account": "okx", "id": "{n}"}',
            _open_swaps,
            lambda running: running.crypto,
            frozenset({"close"}),
            POSITIONS + 2,
            {},
        ),
    )


def _measured(bench: Bench, running: Setting, kind: str, fan: Fan) -> Iterator[Finding]:
    last, settled, beside, calls, refused = [], [], [], [], 0
    for _ in range(bench.runs):
        began, asked, ended = _flattened(bench, running, fan)
        closes = [it.received_at for it in asked if it.operation in fan.closes and it.acted]
        last.append(max(closes) - began)
        settled.append(ended - began)
        calls.append(float(len(asked)))
        refused += sum(it.status == 429 for it in asked)
        if not fan.held_back:
            beside.append(_bare_calls(fan.venue(running), fan.calls))
    ceilings = {told: [seconds] * bench.runs for told, seconds in fan.held_back.items()}
    aim = Aim(WITHIN, to=next(iter(ceilings))) if ceilings else None
    name = f"{kind}, {fan.name}"
    yield Figure(f"{name}: the last close leaves", "s", last)
    yield Figure(f"{name}: all read back", "s", settled, ceilings or {BARE_CALLS: beside}, aim)
    yield Figure(f"{name}: calls", "", calls, {"as few as it takes": [float(fan.calls)] * len(calls)})
    if refused:
        yield Note(f"{name}: {refused} calls in {bench.runs} runs were refused as too fast")


def _flattened(bench: Bench, running: Setting, fan: Fan) -> tuple[float, list[Request], float]:
    """When the alert left, what the venue was asked, and when all of it was settled."""
    fan.open(running)
    _rested(running)
    venue = fan.venue(running)
    seen = len(venue.journal.read())
    (sent,) = bench.clients.in_a_row(running.target(fan.hook, fan.alert), fresh(1))
    assert sent.status == 202, f"answered {sent.status}"
    running.wait_settled(running.count(of="commands"), 120)
    assert not venue.book.positions(), "all of it is closed"
    return sent.at, venue.journal.read()[seen:], running.last_settled()


def _rested(running: Setting) -> None:
    """As if nothing had been called yet, on both sides."""
    running.forget_rates()
    running.futures.throttle = TokenBucket(CROSSTRADE_RATE, CROSSTRADE_BURST)
    running.crypto._buckets = Buckets()


def _bare_calls(venue: Simulator, many: int) -> float:
    """As many calls by nobody's rules, as many side by side as a command makes; none is an order."""

    def call(_number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(venue.url).netloc, timeout=5)
        connection.request("GET", "/api/v5/public/nothing")
        connection.getresponse().read()
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(call, range(many)))
    return time.perf_counter() - began


def _open_accounts(running: Setting) -> None:
    running.futures.book.clear_positions()
    for account in FUTURES_ACCOUNTS:
        running.futures.book.set_position(account, "MES 12-26", "Long", 10, 5779.8125, 5797.0, 5)


def _open_swaps(running: Setting) -> None:
    running.crypto.book.clear_positions()
    for name in _SWAPS:
        running.crypto.book.set_position(name, "long", 5, average_price="100", mark_price="101")


@contextmanager
def _listed() -> Iterator[None]:
    """The simulated OKX lists four instruments: as many more as are flattened, counted one by one."""
    one = Decimal(1)
    listed = {
        name: Instrument(name, "SWAP", one, one, one, Decimal("0.01"), Decimal(9999)) for name in _SWAPS
    }
    with mock.patch.dict(INSTRUMENTS, listed), mock.patch.dict(PRICES, dict.fromkeys(_SWAPS, Decimal(100))):
        yield
