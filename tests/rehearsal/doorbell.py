"""The series of cut rings: the line to Redis, cut at every byte of a ring, and of a worker's question for room.

A ring that is lost or doubled must cost time and nothing else, and none may cost more time than it has.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.domain.venues import VENUES
from app.queueing import CARRY_ON, QUEUE, Doorbell, DoorbellJob
from config.file import BrokerSettings
from tests.cutting import Cut, CuttingProxy, Direction, Way
from tests.rehearsal.cutting import TIMES, Length
from tests.rehearsal.stage import Stage, stage
from tests.rehearsal.verdicts import Case
from tests.running import RedisServer
from workers.brokers.broker import Limit
from workers.rates import Rates

SERIES = "cut rings"
BUDGET = 1.2
"""Seconds: 0.3 to connect, 0.4 for an answer, and what a busy machine adds."""
AT_ONCE = 16
"""Lines side by side, as many as Redis has databases: most of the time is spent waiting on those that stall."""
NT8 = BrokerSettings("nt8", VENUES["crosstrade"], {}, "")
LIMITS = (Limit("orders", 1000, 60), Limit("all", 1000, 60))


@dataclass(frozen=True, slots=True)
class Ring:
    """What a ring, or a question for room, came to on a line that was cut."""

    what: str
    cut: Cut | None
    answer: float
    """What was answered: whether somebody may have heard, or the seconds to wait."""
    seconds: float
    heard: int
    """The jobs that stand in the queue after."""

    @property
    def fine(self) -> bool:
        """It came back in time, with an answer that is true, and rang once at most."""
        return self.true and not self.late

    @property
    def true(self) -> bool:
        return self.heard == 1 if self.what == "ring" and self.answer else self.heard <= 1

    @property
    def late(self) -> bool:
        return self.seconds >= BUDGET


class Line:
    """A real Redis, a database of it, behind a line that can be cut."""

    def __init__(self, server: RedisServer, proxy: CuttingProxy, database: int) -> None:
        self._proxy = proxy
        self._url = f"redis://127.0.0.1:{proxy.port}/{database}"
        self._redis = Redis(port=server.port, db=database, socket_timeout=5)
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer, job_class=DoorbellJob)

    def ring(self, cut: Cut | None, command_id: str = "a1") -> Ring:
        """One ring of a doorbell that was never rung before."""
        return self._asked("ring", cut, lambda: Doorbell(self._url).ring([command_id]))

    def room(self, cut: Cut | None) -> Ring:
        """One question for room, of a worker that never asked before."""
        return self._asked("room", cut, lambda: Rates(self._url).wait(NT8, LIMITS, patient=False))

    @property
    def heard(self) -> int:
        """The jobs that stand in the queue, each of which a worker may take."""
        return sum(job.func_name == CARRY_ON for job in self._queue.jobs)

    def length(self, ask: Callable[[Cut | None], Ring]) -> Length:
        """How much goes over the line when nothing is cut."""
        ask(None)  # the first has scripts to load
        watched = self._proxy.watch(bool)
        ask(None)
        return Length(watched.passed[Direction.REQUEST], watched.passed[Direction.ANSWER])

    def _asked(self, what: str, cut: Cut | None, ask: Callable[[], float]) -> Ring:
        self._redis.flushdb()
        if cut is not None:
            self._proxy.watch(bool, cut)
        began = time.monotonic()
        answer = float(ask())
        return Ring(what, cut, answer, time.monotonic() - began, self.heard)


@contextmanager
def lines(number: int) -> Iterator[list[Line]]:
    """So many lines to one Redis."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = RedisServer(Path(folder)).start()
        stack.callback(server.kill)
        proxies = [stack.enter_context(CuttingProxy(server.port)) for _ in range(number)]
        yield [Line(server, proxy, database) for database, proxy in enumerate(proxies)]


def rings(sample: int | None = None, stalls: int | None = None) -> Iterator[Ring]:
    """Rings, and questions for room, cut at about so many places in each way; None: at every byte."""
    with lines(AT_ONCE) as side_by_side, ThreadPoolExecutor(AT_ONCE) as pool:
        for name in ("ring", "room"):
            first = side_by_side[0]
            todo = list(cuts(first.length(getattr(first, name)), sample, stalls))

            def share(line: Line, mine: Sequence[Cut], name: str = name) -> list[Ring]:
                return [getattr(line, name)(cut) for cut in mine]

            shares = [todo[start::AT_ONCE] for start in range(AT_ONCE)]
            for ring in [it for found in pool.map(share, side_by_side, shares) for it in found]:
                # One that is late among so many is asked once more alone: it may be the machine that was.
                yield getattr(first, name)(ring.cut) if ring.true and ring.late else ring


def cuts(length: Length, sample: int | None, stalls: int | None) -> Iterator[Cut]:
    """Each way has places of its own; a line that stalls takes 0.4 s of ours, so there may be fewer of those."""
    for number, way in enumerate(Way):
        for direction, after in length.sampled(stalls if way is Way.STALL else sample, number * 7):
            yield Cut(direction, after, way)


def cases(sample: int = 60) -> Iterator[Case]:
    """Parts whose ring is cut: carried out once, by who heard it or by who looks into the ledger."""
    with lines(1) as (line,), stage("crosstrade", TIMES) as here:
        todo: list[Cut | None] = [None, *cuts(line.length(line.ring), sample, sample // 4)]
        for cut in todo:
            yield from play(here, line, cut)


def play(here: Stage, line: Line, cut: Cut | None) -> list[Case]:
    """One part whose ring is cut, and then heard as often as it stands in the queue, and once more."""
    here.set()
    command_id = here.take("part")
    ring = line.ring(cut, command_id)
    for _ in range(ring.heard + 1):
        here.shop.work()
    here.run()
    return here.judged(SERIES, "part", f"{cut or 'not cut'}, heard {ring.heard} times", command_id)
