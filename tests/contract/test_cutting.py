"""Lines cut at some bytes of each venue's calls and of a ring: nothing is lost, doubled, widened or wrongly called closed.

`make rehearse` cuts at every byte.
"""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import pytest

from tests.cutting import Cut, CuttingProxy, Direction, Way
from tests.rehearsal import cutting, doorbell
from tests.rehearsal.cutting import Length
from tests.rehearsal.stage import stage
from tests.rehearsal.verdicts import Case, Verdict
from tests.running import RedisServer, eventually

ASKED, ANSWERED = b"twelve bytes", b"and an answer of 26 bytes."


class Server:
    """Answers each connection once it has the whole of what is asked, and keeps what it got."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._talks: list[tuple[bytes, str]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def talks(self, number: int) -> list[tuple[bytes, str]]:
        """What it got of each connection and how that ended, once there were so many."""
        eventually(lambda: len(self._talks) >= number, what=f"connection {number} ends")
        return self._talks

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        got, ended = b"", "answered"
        try:
            while len(got) < len(ASKED) and ended == "answered":
                chunk = connection.recv(1024)
                got += chunk
                ended = ended if chunk else "quietly"
            if ended == "answered":
                connection.sendall(ANSWERED)
        except ConnectionResetError:
            ended = "reset"
        self._talks.append((got, ended))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def asked(port: int) -> tuple[bytes, str]:
    """What a client gets who asks, and how its line ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as client:
        try:
            client.sendall(ASKED)
            while chunk := client.recv(1024):
                got += chunk
        except TimeoutError:
            return got, "stalled"
        except ConnectionResetError:
            return got, "reset"
    return got, "quietly"


# The proxy


def test_what_is_not_cut_passes_and_is_counted(server: Server) -> None:
    with CuttingProxy(server.port) as proxy:
        watched = proxy.watch(bool)

        assert asked(proxy.port) == asked(proxy.port) == (ANSWERED, "quietly")

    assert watched.passed == {Direction.REQUEST: len(ASKED), Direction.ANSWER: len(ANSWERED)}
    assert server.talks(2) == [(ASKED, "answered")] * 2


@pytest.mark.parametrize("after", [0, 1, len(ASKED) - 1])
@pytest.mark.parametrize(
    ("way", "client", "server_sees"),
    [(Way.RESET, "reset", "reset"), (Way.DROP, "quietly", "quietly"), (Way.STALL, "stalled", "reset")],
)
def test_of_a_request_that_is_cut_so_many_bytes_arrive(
    server: Server, way: Way, client: str, server_sees: str, after: int
) -> None:
    with CuttingProxy(server.port) as proxy:
        proxy.watch(bool, Cut(Direction.REQUEST, after, way))

        assert asked(proxy.port) == (b"", client)
        assert asked(proxy.port) == (ANSWERED, "quietly")  # the next is whole

    assert server.talks(2) == [(ASKED[:after], server_sees), (ASKED, "answered")]


@pytest.mark.parametrize("after", [0, 1, len(ANSWERED) - 1, len(ANSWERED)])
@pytest.mark.parametrize(
    ("way", "client"), [(Way.RESET, "reset"), (Way.DROP, "quietly"), (Way.STALL, "stalled")]
)
def test_of_an_answer_that_is_cut_so_many_bytes_arrive_and_the_server_had_all(
    server: Server, way: Way, client: str, after: int
) -> None:
    with CuttingProxy(server.port) as proxy:
        proxy.watch(bool, Cut(Direction.ANSWER, after, way))

        assert asked(proxy.port) == (ANSWERED[:after], client)

    assert server.talks(1) == [(ASKED, "answered")]


def test_only_the_line_that_is_meant_is_cut(server: Server) -> None:
    with CuttingProxy(server.port) as proxy:
        watched = proxy.watch(
            lambda first: first.startswith(b"thirteen"), Cut(Direction.ANSWER, 3, Way.RESET)
        )

        assert asked(proxy.port) == (ANSWERED, "quietly")

    assert not watched.taken


def test_nothing_is_left_of_a_proxy_that_is_closed_over_a_line_that_stalls(server: Server) -> None:
    before = threading.active_count()
    with CuttingProxy(server.port) as proxy:
        watched = proxy.watch(bool, Cut(Direction.REQUEST, 4, Way.STALL))
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.sendall(ASKED)
        eventually(lambda: watched.taken, what="the line is cut")

    with client:
        assert client.recv(1) == b""
    assert threading.active_count() == before


# The venues


@pytest.mark.parametrize("sample", [1, 9, 30, 100, None])
def test_a_sample_has_the_boundaries_and_about_so_many_places(sample: int | None) -> None:
    length = Length(request=300, answer=200)

    places = length.sampled(sample)

    request, answer = Direction.REQUEST, Direction.ANSWER
    assert {(request, 0), (request, 299), (answer, 0), (answer, 1), (answer, 199), (answer, 200)} <= set(
        places
    )
    assert len(places) == len(set(places))
    assert len(places) == 501 if sample is None else len(places) <= 2 * max(sample, 6)


def bad(cases: list[Case]) -> list[tuple[Verdict, Case]]:
    return [(case.verdict, case) for case in cases if not case.verdict.fine]


@pytest.mark.parametrize(("venue", "size"), cutting.CLOSES)
def test_a_close_whose_line_is_cut_is_done_once_or_told(venue: str, size: str) -> None:
    scenes = [scene for scene in cutting.closes() if (scene.venue, scene.size) == (venue, size)]
    by_way = groupby(cutting.points(scenes, 6, 6), lambda point: point[1].way)
    ways = [list(points)[:: 1 if way is Way.RESET else 2] for way, points in by_way]

    with ThreadPoolExecutor(len(ways)) as pool:  # those that stall wait beside the others
        cases = [case for found in pool.map(cutting.played, ways) for case in found]

    assert len(ways) == len(Way)
    assert not [case.day for case in cases if case.day.endswith("not cut")]
    assert bad(cases) == []
    assert Verdict.DONE in {case.verdict for case in cases}


@pytest.mark.parametrize("venue", ["crosstrade", "clearstreet", "okx"])
def test_a_read_whose_line_is_cut_neither_loses_nor_doubles_a_close(venue: str) -> None:
    scenes = [scene for scene in cutting.reads() if scene.venue == venue][::4]

    cases = cutting.played(cutting.points(scenes, 6, 6)[::8])

    assert len(cases) > 4
    assert bad(cases) == []


def test_a_part_that_is_carried_out_twice_is_seen() -> None:
    with stage("clearstreet", cutting.TIMES) as here:
        here.set()
        first, _ = here.take("part"), here.take("part")
        here.run(30)

        (case,) = here.judged("twice", "part", "two alerts for one", first)

    assert case.verdict is Verdict.DOUBLED


# Redis

with_redis = pytest.mark.skipif(not RedisServer.available(), reason="NO REDIS: see tests/conftest.py")


@with_redis
def test_a_ring_on_a_line_that_is_cut_comes_back_in_time_and_rings_once_at_most() -> None:
    rings = list(doorbell.rings(60, 16))

    assert [ring for ring in rings if not ring.fine] == []
    assert {(ring.what, ring.heard) for ring in rings} == {("ring", 0), ("ring", 1), ("room", 0)}


@with_redis
def test_a_ring_that_is_lost_or_came_twice_changes_nothing_but_the_time() -> None:
    with doorbell.lines(1) as (line,), stage("crosstrade", cutting.TIMES) as here:
        whole = line.length(line.ring)
        lost = Cut(Direction.REQUEST, whole.request - 1, Way.RESET)
        heard = Cut(Direction.ANSWER, whole.answer - 1, Way.DROP)
        cases = [case for cut in (None, lost, heard) for case in doorbell.play(here, line, cut)]

    assert [case.verdict for case in cases] == [Verdict.DONE] * 3
    assert [case.day[-13:] for case in cases] == ["heard 1 times", "heard 0 times", "heard 1 times"]
