"""The series of cut lines: each venue's close, cut at every byte of its request and of its answer, in three ways.

And the reads around it, cut at some bytes: what can't be read must neither lose a close nor send another.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby, product
from multiprocessing import get_context
from typing import TypeVar

import structlog

from tests.cutting import Cut, Direction, Watched, Way
from tests.rehearsal.stage import SIZES, VENUES, Stage, stage
from tests.rehearsal.verdicts import Case

T = TypeVar("T")

SERIES = "cut lines"
TIMES = {"connect_timeout": 0.25, "read_timeout": 0.25, "deadline": 0.6}
"""Seconds of ours: what a line that stalls costs."""
BATCH = 60
"""Cases on one stage: to put one up takes as long as a few of them."""

CLOSES = {
    ("crosstrade", "whole"): r"POST \S+/positions/close ",
    ("crosstrade", "part"): r"POST \S+/positions/close ",
    ("clearstreet", "whole"): r"DELETE \S+/positions/",
    ("clearstreet", "part"): r"POST \S+/orders ",
    ("okx", "whole"): r"POST \S+/close-position ",
    ("okx", "part"): r"POST \S+/trade/order ",
}
"""How the call begins that closes."""
READS = {
    "crosstrade": {
        "positions": r"GET \S+/positions[ ?]",
        "orders": r"GET \S+/orders[ ?]",
        "fills": r"GET \S+/executions[ ?]",
    },
    "clearstreet": {
        "positions": r"GET \S+/positions[ ?]",
        "orders": r"GET \S+/orders[ ?]",
        "order": r"GET \S+/orders/",
        "fills": r"GET \S+/executions[ ?]",
    },
    "okx": {
        "positions": r"GET \S+/account/positions[ ?]",
        "orders": r"GET \S+/orders-pending[ ?]",
        "order": r"GET \S+/trade/order[ ?]",
        "fills": r"GET \S+/fills[ ?]",
    },
}
SOCKET = r"GET \S+ HTTP/1.1\r\n"
"""How the line begins that CrossTrade's WebSocket runs over: all calls of a close go over the same."""
MISHAPS = (None, "cut_before_acting", "cut_after_acting")
"""What happens to the close whose reads are cut: after a lost answer other things are read, and mean more."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A close, and the call of it that is cut: the first that begins like this."""

    venue: str
    size: str
    call: str
    begins: str
    mishap: str | None = None
    transport: str = "rest"

    def picks(self, first: bytes) -> bool:
        return re.match(self.begins.encode(), first) is not None

    def __str__(self) -> str:
        return self.call if self.mishap is None else f"{self.call} after {self.mishap}"


@dataclass(frozen=True, slots=True)
class Length:
    """The bytes of a call that is not cut."""

    request: int
    answer: int

    def positions(self) -> list[tuple[Direction, int]]:
        """Every place of a cut. Before the last byte of a request is the last: with it the server has it whole."""
        return [
            *((Direction.REQUEST, after) for after in range(self.request)),
            *((Direction.ANSWER, after) for after in range(self.answer + 1)),
        ]

    def boundaries(self) -> set[int]:
        """Places in `positions`: nothing; all but the last byte; no byte and the first of the answer; its last two."""
        first, last = self.request, self.request + self.answer
        return {0, first - 1, first, first + 1, last - 1, last}

    def sampled(self, sample: int | None, offset: int = 0) -> list[tuple[Direction, int]]:
        """About so many places, evenly spread, the boundaries among them; None: all."""
        places = self.positions()
        if sample is None:
            return places
        step = max(1, len(places) // max(1, sample - len(self.boundaries())))
        chosen = self.boundaries() | set(range(offset % step, len(places), step))
        return [places[index] for index in sorted(chosen)]


Point = tuple[Scene, Cut]


def closes() -> list[Scene]:
    return [Scene(venue, size, "close", CLOSES[venue, size]) for venue, size in product(VENUES, SIZES)]


def reads() -> list[Scene]:
    return [
        Scene(venue, size, call, begins, mishap)
        for venue, size, mishap in product(VENUES, SIZES, MISHAPS)
        for call, begins in READS[venue].items()
    ]


def sockets() -> list[Scene]:
    """The one line of a close over the WebSocket: the handshake, the close, and the reads."""
    return [
        Scene("crosstrade", size, "WebSocket", SOCKET, mishap, "websocket")
        for size, mishap in product(SIZES, MISHAPS)
    ]


def cases(
    sample: int | None = None, stalls: int | None = 100, others: int = 8, processes: int = 4
) -> Iterator[Case]:
    """All of it, as it comes: each close cut at about so many places each way; None: at every byte.

    `stalls`: at how many the line stalls, which takes as long as four others. `others`: at how many each read is cut,
    and each WebSocket.
    """
    fewest = min((places for places in (sample, stalls) if places is not None), default=None)
    with ProcessPoolExecutor(processes, get_context("spawn"), be_quiet) as pool:
        at_closes = pool.submit(points, closes(), sample, fewest)
        at_others = pool.submit(points, [*reads(), *sockets()], others, others)
        todo = [*at_closes.result(), *at_others.result()]
        for batch in pool.map(played, [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]):
            yield from batch


def points(scenes: Sequence[Scene], sample: int | None, stalls: int | None) -> list[Point]:
    """Where to cut. Each way has places of its own, so that a sample of all three is a finer one."""
    found = []
    for scene, length in measured(scenes):
        for number, way in enumerate(Way):
            places = length.sampled(stalls if way is Way.STALL else sample, offset=number * 7)
            found += [(scene, Cut(direction, after, way)) for direction, after in places]
    return found


def measured(scenes: Sequence[Scene]) -> Iterator[tuple[Scene, Length]]:
    """How long the calls are when nothing is cut; scenes are left out in which the call is never made."""
    for here, scene in _on_their_stages(scenes, lambda scene: scene):
        watched, _ = play(here, scene, None)
        if watched.taken:
            yield scene, Length(watched.passed[Direction.REQUEST], watched.passed[Direction.ANSWER])


def played(todo: Sequence[Point]) -> list[Case]:
    """The cases of these points."""
    return [
        case
        for here, (scene, cut) in _on_their_stages(todo, lambda point: point[0])
        for case in play(here, scene, cut)[1]
    ]


def play(here: Stage, scene: Scene, cut: Cut | None) -> tuple[Watched, list[Case]]:
    """One close with one line cut."""
    # Between two calls of one WebSocket the venue may have one whole, and still be at it.
    here.set(alone=scene.transport == "websocket")
    if scene.mishap is not None:
        here.market.bad_day(scene.mishap, part=scene.size == "part")
    watched = here.proxy.watch(scene.picks, cut)
    command_id = here.take(scene.size)
    here.run()
    day = f"{scene}: {cut if watched.was_cut else 'not cut'}"
    return watched, here.judged(SERIES, scene.size, day, command_id)


def _on_their_stages(todo: Sequence[T], scene_of: Callable[[T], Scene]) -> Iterator[tuple[Stage, T]]:
    """Each of these with a stage for it; those that need the same, and follow each other, have the same."""
    grouped = groupby(todo, lambda one: (scene_of(one).venue, scene_of(one).transport))
    for (venue, transport), group in grouped:
        with stage(venue, TIMES, transport=transport, through_proxy=True) as here:
            for one in group:
                yield here, one


def be_quiet() -> None:
    """Of this process: a log of thousands of bad days takes as long as they do."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
