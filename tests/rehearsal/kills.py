"""The series of kills: at each point around a write or a call, one process is killed, and the day goes on.

The points are those of `failpoints/sitecustomize.py`. Each case is one alert; each venue has a product of its own.
"""

import queue
import random
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.rehearsal.markets import Market
from tests.rehearsal.processes import Death, Killable, killable_product
from tests.rehearsal.verdicts import Case
from tests.running import eventually

VENUES = ("crosstrade", "clearstreet", "okx")
SIZES = ("whole", "part")
WHEN = ("before", "after")
MOVES = ("sending-working", "working-closed", "sending-queued", "sending-in_doubt", "in_doubt-closed")
CUT = ("sending-in_doubt", "in_doubt-closed")
"""The moves that only follow a lost answer."""
POINTS = (
    *(f"web.accept:{when}" for when in WHEN),
    "web.ring:after",
    *(f"claims.take:{when}" for when in WHEN),
    *(f"journal.begin:{when}:{kind}" for kind in ("close", "cancel") for when in WHEN),
    *(f"send:{when}:{kind}" for kind in ("close", "cancel") for when in ("before", "sent", "answered")),
    *(f"journal.move:{when}:{move}" for move in MOVES for when in WHEN),
    *(f"claims.recover:{when}" for when in WHEN),
)


@dataclass(frozen=True, slots=True)
class Kill:
    """What is to be killed where."""

    point: str
    venue: str
    size: str

    @property
    def with_order(self) -> bool:
        """Whether an order is at work that the alert wants cancelled first."""
        return self.point.endswith(("cancel", "sending-queued"))

    @property
    def loses_the_answer(self) -> bool:
        return self.point.endswith(CUT)

    @property
    def points(self) -> tuple[str, ...]:
        """A command is taken back only when a worker died before."""
        recovers = self.point.startswith("claims.recover")
        return ("journal.begin:after:close", self.point) if recovers else (self.point,)


@dataclass(frozen=True, slots=True)
class KilledCase(Case):
    """A case in which a process died, and how soon another went on."""

    pid: int = 0
    """Of the process that died."""
    closes: int = 0
    """Calls that closed something, by the venue's own journal."""
    carried_on_after: float | None = None
    """Seconds from the SIGKILL to the next thing done for the command; None: there was nothing left to do."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A point that is not on the way of this close at this venue: nobody died, and nothing was shown."""

    kill: Kill
    status: str


Done = queue.Queue[KilledCase | Unreached | BaseException | None]
"""What the venues' threads have to tell; None: one of them is through."""


def cases(sample: int | None = None, seed: int = 1) -> Iterator[KilledCase | Unreached]:
    """All kills, or so many of them drawn by chance; on SQLite, at once at each venue by a product of its own."""
    kills = [Kill(point, venue, size) for point in POINTS for venue in VENUES for size in SIZES]
    if sample is not None:
        kills = random.Random(seed).sample(kills, min(sample, len(kills)))
    done: Done = queue.Queue()
    stopping = threading.Event()
    with tempfile.TemporaryDirectory(prefix="flatwire-kills-") as folder:
        threads = [
            threading.Thread(target=_all_of, args=(Path(folder) / venue, mine, done, stopping))
            for venue in VENUES
            if (mine := [kill for kill in kills if kill.venue == venue])
        ]
        for thread in threads:
            thread.start()
        try:
            yield from _as_they_come(done, len(threads))
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def _as_they_come(done: Done, venues: int) -> Iterator[KilledCase | Unreached]:
    while venues:
        match done.get():
            case None:
                venues -= 1
            case BaseException() as exc:
                raise exc
            case result:
                yield result


def _all_of(folder: Path, kills: Sequence[Kill], done: Done, stopping: threading.Event) -> None:
    try:
        # A lease that nobody gives back outlasts the short time for tries.
        with killable_product(folder, f"sqlite:///{folder / 'flatwire.db'}", patience=60) as running:
            for kill in kills:
                if stopping.is_set():
                    break
                done.put(result := killed(running, kill))
                if isinstance(result, KilledCase) and not kill.point.startswith("web."):
                    running.fresh_workers()
    except BaseException as exc:
        done.put(exc)
    done.put(None)


def killed(running: Killable, kill: Kill) -> KilledCase | Unreached:
    """Send one alert, let a process die at the point, and see what comes of it."""
    market = running.markets[kill.venue]
    market.open(with_order=kill.with_order)
    seen, bystanders = len(market.venue.requests), market.bystanders()
    command, death = _played(running, market, kill)
    if death is None:
        return Unreached(kill, command["status"])
    return KilledCase(
        series="kills",
        venue=kill.venue,
        size=kill.size,
        day=kill.point,
        before=market.before,
        target=Decimal() if kill.size == "whole" else market.left,
        after=market.held(),
        bystanders=market.bystanders() == bystanders,
        status=command["status"],
        attention=command["attention"],
        told=_told(command),
        pid=death.pid,
        closes=market.closes(seen),
        carried_on_after=_carried_on_after(command, death),
    )


def _played(running: Killable, market: Market, kill: Kill) -> tuple[dict[str, Any], Death | None]:
    """What became of the command, and of the process that came to the point; nothing is left behind."""
    running.forget_rates()
    if kill.loses_the_answer:
        for operation in sorted(market.closing_one):
            market.venue.bad_day("cut_after_acting", on=operation)
    running.arm(*kill.points)
    answer = running.deliver(market.alert(kill.size, cancel_orders=kill.with_order), market.hook)
    (command_id,) = [command["id"] for command in answer.json()["commands"]]
    command = running.at_rest(command_id)
    death = _death(running, kill.point)
    running.arm()
    market.venue.good_days()
    if not command["settled_at"]:
        running.cancel(command_id)
    return command, death


def _death(running: Killable, point: str) -> Death | None:
    """Some points come right after what is seen from outside."""
    with suppress(AssertionError):
        death: Death = eventually(lambda: running.death(point), within=0.5)
        return death
    return None


def _told(command: dict[str, Any]) -> Decimal | None:
    told = [it["quantity"] for it in command["closed_positions"]]
    return sum(map(Decimal, told), Decimal()) if told and None not in told else None


def _carried_on_after(command: dict[str, Any], death: Death) -> float | None:
    """That the command was taken back from the dead is not counted: nothing is done for it yet."""
    moments = [event["at"] for event in command["events"] if event["name"] != "taken_back"]
    moments += [attempt["sent_at"] for attempt in command["attempts"]]
    after = [seconds for it in moments if (seconds := datetime.fromisoformat(it).timestamp()) > death.at]
    return min(after) - death.at if after else None
