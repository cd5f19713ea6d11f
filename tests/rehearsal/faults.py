"""The series of the venues' faults, and of venues that are away for a while."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import Any

from tests.rehearsal.cutting import be_quiet
from tests.rehearsal.stage import VENUES, Stage, stage
from tests.rehearsal.verdicts import Case
from tests.simulators.clearstreet import OrderStatus
from tests.simulators.clearstreet.faults import KINDS as CLEARSTREET_FAULTS
from tests.simulators.crosstrade.faults import KINDS as CROSSTRADE_FAULTS
from tests.simulators.line import Kind, Options
from tests.simulators.okx.codes import CODES
from tests.simulators.okx.faults import KINDS as OKX_FAULTS
from workers.brokers.okx.codes import Verdict, verdict_of

TIMES = {
    # Seconds of ours: what a venue that is silent costs.
    **{"connect_timeout": 0.3, "read_timeout": 0.3, "deadline": 0.6},
    # Virtual seconds: shorter than by default, since each look at the venue takes time of ours.
    **{"settle": 4.0, "verify_for": 15.0, "retry_for": 40.0},
}
BATCH = 30
"""Days on one stage."""
HANGS = 0.45
"""Seconds of ours: longer than we wait for a venue that is silent."""
LATEST = 60.0
"""Virtual seconds: nothing that these faults bring comes later."""
SIZES = ("whole", "part", "flatten")

FAULTS: Mapping[str, Mapping[str, Kind]] = {
    "crosstrade": CROSSTRADE_FAULTS,
    "clearstreet": CLEARSTREET_FAULTS,
    "okx": OKX_FAULTS,
}
TRANSPORTS = {"crosstrade": ("rest", "websocket"), "clearstreet": ("rest",), "okx": ("rest",)}
FLATTENS = {"crosstrade": "flatten", "clearstreet": "close_all", "okx": "close"}
"""What each venue calls the first call of a flatten of an account."""

NO_ANSWERS: Sequence[Any] = ({"result": "ok"}, [], {}, "", 0, float("nan"))
VARIANTS: Mapping[str, Sequence[Options]] = {
    "throttle": [{}, {"retry_after": 2}, {"retry_after": 30}, {"retry_after": 3000}],
    "late_action": [{"seconds": seconds} for seconds in (0.2, 3, 9, 50)],
    "hang_then_act": [{"seconds": 0.1}, {"seconds": HANGS}],
    "act_then_hang": [{"seconds": HANGS}],
    "slow_drip": [{"acts": acts, "milliseconds": wait} for acts in (True, False) for wait in (0, 5)],
    "wrong_shape": [{"acts": acts, "body": body} for acts in (True, False) for body in NO_ANSWERS],
    "no_effect": [{}, {"seconds": 5}, {"cancels_orders": True}],
    "slow_fill": [{"seconds": 2}, {"seconds": 10, "parts": 4}, {"seconds": 40, "parts": 2}],
    "ends_as": [
        {"status": str(status), "filled": filled, "seconds": seconds}
        for status in (OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED)
        for filled in ("0", "2")
        for seconds in (0, 5)
    ],
    "code": [
        {"code": code, "as_scode": as_scode, "acts": acts}
        for code in CODES
        for as_scode in (False, True)
        # A definite no is one: a venue that acts on what it refuses is not this series'.
        for acts in ([False, True] if verdict_of(code) is Verdict.UNKNOWN else [False])
    ],
}
"""What some faults are told. All others have their defaults, and each that may act does and does not."""


@dataclass(frozen=True, slots=True)
class Day:
    """A fault, and on how many calls in a row."""

    fault: str
    options: Options
    times: int

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return self.fault + (f" ({told})" if told else "") + (" twice" if self.times > 1 else "")


Scene = tuple[str, str, str, tuple[Day, ...]]
"""A venue, a transport, a size and its days: what one process plays on one stage."""


def cases(one_in: int = 1, processes: int = 4) -> Iterator[Case]:
    """All faults (or one in so many), then all outages, as they come."""
    with ProcessPoolExecutor(processes, get_context("spawn"), be_quiet) as pool:
        for found in pool.map(played, scenes(one_in)):
            yield from found
        for found in pool.map(outages, VENUES):
            yield from found


def scenes(one_in: int) -> list[Scene]:
    return [
        (venue, transport, size, days(venue)[start : start + BATCH : one_in])
        for venue in VENUES
        for transport, size in product(TRANSPORTS[venue], SIZES)
        for start in range(0, len(days(venue)), BATCH)
    ]


def days(venue: str) -> tuple[Day, ...]:
    """Each fault of a venue in each of its variants, once and on two calls in a row."""
    return tuple(
        Day(fault, options, times)
        for fault, kind in FAULTS[venue].items()
        for options in _variants(fault, kind)
        for times in (1, 2)
        if fault != "code" or times == 1
    )


def played(scene: Scene) -> list[Case]:
    venue, transport, size, todo = scene
    with stage(venue, TIMES, transport=transport) as here:
        return [case for day in todo for case in play(here, size, day)]


def play(here: Stage, size: str, day: Day) -> list[Case]:
    """One close on one bad day; what comes late has come before it is judged."""
    here.set(alone=True)
    on = FLATTENS[here.venue] if size == "flatten" else here.market.closes[size == "part"]
    here.market.venue.bad_day(day.fault, on=on, times=day.times, **day.options)
    command_id = here.take(size)
    here.run(LATEST)
    if day.fault in ("hang_then_act", "act_then_hang"):
        time.sleep(HANGS)  # the venue's, which no virtual time makes shorter
    here.shop.let_pass(LATEST)
    here.run(LATEST)
    transport = here.market.settings.transport
    series = "faults" if transport == "rest" else f"faults over {transport}"
    return here.judged(series, size, str(day), command_id)


def outages(venue: str) -> list[Case]:
    with stage(venue, TIMES) as here:
        return [
            case
            for size, mishap, seconds in product(
                SIZES, (None, "cut_before_acting", "cut_after_acting"), (2, 10, 30, 400)
            )
            for case in outage(here, size, mishap, seconds)
        ]


def outage(here: Stage, size: str, mishap: str | None, seconds: float) -> list[Case]:
    """The venue is away for so long, from before the close is sent or from its lost answer on."""
    here.set(alone=True)
    command_id = None
    if mishap is not None:
        on = FLATTENS[here.venue] if size == "flatten" else here.market.closes[size == "part"]
        here.market.venue.bad_day(mishap, on=on)
        command_id = here.take(size)
        here.shop.work()
    here.market.stop_listening()
    command_id = command_id or here.take(size)
    here.run(seconds)
    here.market.listen_again()
    here.run(LATEST)
    day = f"away for {seconds:g} s" + ("" if mishap is None else f" from a close on that was {mishap}")
    return here.judged("outages", size, day, command_id)


def _variants(fault: str, kind: Kind) -> Sequence[dict[str, Any]]:
    if fault in VARIANTS:
        return VARIANTS[fault]
    return [{"acts": True}, {"acts": False}] if "acts" in kind.options else [{}]
