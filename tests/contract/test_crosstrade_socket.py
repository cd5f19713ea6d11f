"""CrossTrade's WebSocket over real sockets: whose reply is whose, and what each way of losing one means."""

import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
import websocket
from structlog.testing import capture_logs
from websockets.sync.server import ServerConnection, serve
from websockets.utils import accept_key

from app.domain.commands import ClosePosition
from app.domain.failures import BrokerError, NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Report
from app.domain.venues import VENUES
from config.file import BrokerSettings
from config.secrets import Secret
from tests.simulators.crosstrade import Book, CrossTradeSimulator, Fault
from workers.brokers.broker import Answered, Broker, Call
from workers.brokers.crosstrade.channel import Channel
from workers.brokers.crosstrade.messages import Message
from workers.brokers.http import Timeouts
from workers.brokers.registry import broker_of

TOKEN = "the-credential-0123456789"
MES, MNQ = "MES 12-26", "MNQ 12-26"
TIMES = {"connect_timeout": 0.5, "read_timeout": 0.5, "deadline": 0.8}
SLOWEST = 5.0


@pytest.fixture
def venue() -> Iterator[CrossTradeSimulator]:
    """Long 10 MES and short 5 MNQ on Sim101."""
    book = Book(("Sim101",))
    book.set_position("Sim101", MES, "long", 10, 5779.8125, 5797.0)
    book.set_position("Sim101", MNQ, "short", 5, 20605.25, 20600.25)
    with CrossTradeSimulator(TOKEN, book=book) as venue:
        yield venue


@pytest.fixture
def broker(venue: CrossTradeSimulator) -> Iterator[Broker]:
    with broker_at(venue.url) as broker:
        yield broker


@contextmanager
def broker_at(url: str, **changes: Any) -> Iterator[Broker]:
    given = {"secrets": {"token": Secret(TOKEN)}, **TIMES, **changes}
    broker = broker_of(
        BrokerSettings("nt8", VENUES["crosstrade"], base_url=url, transport="websocket", **given)
    )
    try:
        yield broker
    finally:
        broker.release()


@contextmanager
def channel_at(url: str, deadline: float = 0.8, pulse: float = 20.0) -> Iterator[Channel]:
    address = url.replace("http", "ws", 1) + "/ws/stream"
    channel = Channel("nt8", address, Secret(TOKEN), Timeouts(0.5, 0.5, deadline), pulse=pulse)
    try:
        yield channel
    finally:
        channel.close()


def close(broker: Broker, instrument: str = MES, quantity: int | None = None) -> Call[Report]:
    command = ClosePosition(broker.name, "Sim101", instrument)
    return broker.close(command, None, None if quantity is None else Decimal(quantity))


def made(call: Call[Any]) -> Answered[Any]:
    return call.make(lambda seconds: None)


def ask(channel: Channel, request_id: str = "7", **args: Any) -> Message:
    request = {"action": "rpc", "id": request_id, "api": "GetAllPositions", "args": args}
    return channel.ask(request, lambda seconds: None)


def rpcs(venue: CrossTradeSimulator) -> list[str]:
    return [request.path.rpartition("/")[2] for request in venue.requests if request.method == "WS"]


def openings(venue: CrossTradeSimulator) -> int:
    return sum(request.path == "/ws/stream" for request in venue.requests)


def readers() -> list[threading.Thread]:
    """The threads that read a WebSocket of ours."""
    return [thread for thread in threading.enumerate() if thread.name == "crosstrade-websocket"]


def eventually(check: Callable[[], Any], within: float = SLOWEST) -> bool:
    until = time.monotonic() + within
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def again(call: Callable[[], Any], within: float = SLOWEST) -> Any:
    """What a call brings when it no longer has to wait before the WebSocket is opened again."""
    until = time.monotonic() + within
    while True:
        try:
            return call()
        except NotSent as exc:
            if exc.retry_after is None or time.monotonic() > until:
                raise
            time.sleep(exc.retry_after)


@contextmanager
def elsewhere(venue: CrossTradeSimulator) -> Iterator[websocket.WebSocket]:
    """The same credential opens another WebSocket."""
    other = websocket.create_connection(
        venue.url.replace("http", "ws") + "/ws/stream",
        header=[f"Authorization: Bearer {TOKEN}"],
        http_no_proxy=["*"],
        timeout=SLOWEST,
    )
    try:
        yield other
    finally:
        other.shutdown()


@contextmanager
def scripted(talk: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A venue that says what it is told to, on each WebSocket."""
    with serve(talk, "127.0.0.1", 0, ping_interval=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def raw(serve_one: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[float]]]:
    """Whatever listens on a port; and the moments at which somebody connected."""
    came: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                came.append(time.monotonic())
                with connection:
                    try:
                        serve_one(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def until_it_leaves(connection: socket.socket) -> None:
    while connection.recv(64 * 1024):
        pass


def says(answer: bytes) -> Callable[[socket.socket], None]:
    """Answers the first thing it is sent, whatever that is."""

    def serve_one(connection: socket.socket) -> None:
        connection.recv(64 * 1024)
        connection.sendall(answer)

    return serve_one


def opens_and(then: Callable[[socket.socket], Any]) -> Callable[[socket.socket], None]:
    """Opens a WebSocket and goes on as it likes."""

    def serve_one(connection: socket.socket) -> None:
        request = connection.recv(64 * 1024).decode()
        key = request.split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        then(connection)

    return serve_one


# Whose reply is whose


def test_the_socket_is_opened_by_the_first_call_and_kept(venue: CrossTradeSimulator, broker: Broker) -> None:
    assert openings(venue) == 0

    made(close(broker, MES, 4))
    made(broker.positions())
    made(close(broker, MNQ))

    assert openings(venue) == 1
    assert rpcs(venue) == ["ClosePosition", "GetAllPositions", "ClosePosition"]
    assert (venue.book.quantity("Sim101", MES), venue.book.quantity("Sim101", MNQ)) == (6, 0)


def test_a_slow_reply_comes_after_a_later_one_and_each_finds_its_call(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.3)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(made, close(broker, MES))
        assert eventually(lambda: rpcs(venue))

        fast = made(close(broker, MNQ)).result
        assert not slow.done()

    assert [position.instrument for position in fast.positions] == [MNQ]
    assert [position.instrument for position in slow.result().result.positions] == [MES]


def test_sixteen_calls_share_one_socket(venue: CrossTradeSimulator, broker: Broker) -> None:
    months = [f"ES {month:02}-{year}" for year in (26, 27) for month in range(1, 9)]
    for number, month in enumerate(months, start=1):
        venue.book.set_position("Sim101", month, "long", number)

    with ThreadPoolExecutor(16) as pool:
        reports = list(pool.map(lambda month: made(close(broker, month)).result, months))

    closed = [(p.instrument, p.quantity) for report in reports for p in report.positions]
    assert closed == [(month, number) for number, month in enumerate(months, start=1)]
    assert openings(venue) == 1
    assert len(rpcs(venue)) == 16


def test_each_request_has_an_id_of_its_own(venue: CrossTradeSimulator, broker: Broker) -> None:
    calls = [broker.positions() for _ in range(3)]
    for call in calls:
        made(call)

    ids = [json.loads(request.content)["id"] for request in venue.requests if request.method == "WS"]
    assert ids == [call.request["id"] for call in calls]
    assert len(set(ids)) == 3


def test_a_reply_that_comes_too_late_is_dropped_and_the_socket_goes_on(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.6)
    with capture_logs() as logs:
        with pytest.raises(OutcomeUnknown):
            made(close(broker, MES, 4))
        assert eventually(lambda: venue.book.quantity("Sim101", MES) == 6)

        report = made(close(broker, MNQ)).result
        assert eventually(lambda: [it for it in logs if it["event"] == "late_reply_dropped"])

    assert {it["broker"] for it in logs} == {broker.name}

    assert [position.instrument for position in report.positions] == [MNQ]
    assert openings(venue) == 1


def test_a_reply_that_comes_twice_counts_once(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.bad_day(Fault.REPLY_TWICE, on="close")

    assert made(close(broker, MES, 4)).result.positions
    assert [position.instrument for position in made(close(broker, MNQ)).result.positions] == [MNQ]
    assert openings(venue) == 1


def test_an_error_is_found_beside_the_id_too(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.rpc_error_beside_id = True

    assert made(close(broker, "ES 12-26")).result.nothing_open
    venue.bad_day(Fault.REFUSE, on="close", error="Order rejected by the broker")
    with pytest.raises(Refused, match="Order rejected by the broker"):
        made(close(broker))


def test_orders_and_fills_are_read_over_rest(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.book.work_order("Sim101", MES, 10, 5760.0)
    made(close(broker, MES, 4))

    (order,) = made(broker.orders("Sim101")).result.items
    (fill,) = made(broker.fills("Sim101", 10)).result.items

    assert (order.instrument, fill.quantity) == (MES, 4)
    assert [request.method for request in venue.requests] == ["GET", "WS", "GET", "GET"]


# Losing a reply


LOST = [
    Fault.CUT_BEFORE_ACTING,
    Fault.CUT_AFTER_ACTING,
    Fault.CUT_MID_ANSWER,
    Fault.TRUNCATED_JSON,
    Fault.HANG_THEN_ACT,
    Fault.ACT_THEN_HANG,
    Fault.LATE_ACTION,
    Fault.TIMEOUT_408,
    Fault.TIMEOUT_408_AFTER_ACTING,
    Fault.ERROR_500,
    Fault.ERROR_502_AFTER_ACTING,
    Fault.NOT_JSON,
    Fault.HTML_PAGE,
    Fault.WRONG_SHAPE,
    Fault.HUGE_BODY,
    Fault.WRONG_ID,
    Fault.NO_ID,
    Fault.NOT_A_NUMBER,
    Fault.CLOSES,
]


@pytest.mark.parametrize("fault", LOST)
def test_without_a_definite_reply_nobody_knows_and_it_was_sent_once(
    venue: CrossTradeSimulator, broker: Broker, fault: Fault
) -> None:
    venue.bad_day(fault, on="close")

    with pytest.raises(OutcomeUnknown):
        made(close(broker, MES, 4))

    assert rpcs(venue) == ["ClosePosition"]


@pytest.mark.parametrize("fault", LOST)
def test_after_any_mishap_the_next_call_gets_through(
    venue: CrossTradeSimulator, broker: Broker, fault: Fault
) -> None:
    venue.bad_day(fault, on="close")
    with pytest.raises(OutcomeUnknown):
        made(close(broker, MES, 4))

    report = again(lambda: made(close(broker, MNQ)).result)

    assert [position.instrument for position in report.positions] == [MNQ]


def test_a_reply_that_drips_past_the_deadline_is_no_reply(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.bad_day(Fault.SLOW_DRIP, on="close", milliseconds=10)
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        made(close(broker, MES, 4))

    assert time.monotonic() - started < 1.2


def test_a_reply_that_drips_in_time_is_read(venue: CrossTradeSimulator) -> None:
    venue.bad_day(Fault.SLOW_DRIP, on="close", milliseconds=1)

    with broker_at(venue.url, read_timeout=5, deadline=5) as broker:
        assert made(close(broker, MES, 4)).result.positions


@pytest.mark.parametrize(
    ("fault", "kept"),
    [
        (Fault.WRONG_SHAPE, "'data': [1, 2, 3]"),
        (Fault.NOT_JSON, "{'message': 'OK'}"),
        (Fault.HTML_PAGE, "CrossTrade | Log in"),
        (Fault.NOT_A_NUMBER, "NaN"),
        (Fault.NO_ID, "closedPositions"),
        (Fault.WRONG_TYPE, "closedPositions"),
        (Fault.CLOSES, "{'closed': {'code': 1001, 'reason': 'Going away'}}"),
    ],
)
def test_what_came_instead_of_a_reply_is_kept(
    venue: CrossTradeSimulator, broker: Broker, fault: Fault, kept: str
) -> None:
    venue.bad_day(fault, on="close")

    with pytest.raises(OutcomeUnknown) as caught:
        made(close(broker, MES, 4))

    assert kept in str(caught.value.answer)


def test_pushes_are_no_evidence() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.send('{"type": "marketData", "quotes": []}')
        connection.recv()

    with scripted(talk) as url, channel_at(url) as channel, pytest.raises(OutcomeUnknown) as caught:
        ask(channel)

    assert caught.value.answer is None


def test_a_message_that_announces_too_much_is_not_waited_for() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.recv()
        # A text frame of a tebibyte, and its first byte.
        connection.socket.sendall(b"\x81\x7f" + (1 << 40).to_bytes(8, "big") + b"{")
        until_it_leaves(connection.socket)

    with scripted(talk) as url, channel_at(url, deadline=5) as channel:
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="too large"):
            ask(channel)

    assert time.monotonic() - started < 2


def test_a_message_in_parts_is_read_whole_and_may_not_grow_without_end() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(['{"id": "7", ', '"data": []', "}"])
        connection.recv()
        connection.send("x" * 300_000 for _ in range(10))

    with scripted(talk) as url, channel_at(url, deadline=5) as channel:
        assert ask(channel).body == {"id": "7", "data": []}
        with pytest.raises(OutcomeUnknown, match="too large"):
            ask(channel, "8")


def test_a_large_reply_is_read() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(json.dumps({"id": "7", "data": "ü" * 150_000}))

    with scripted(talk) as url, channel_at(url) as channel:
        assert len(ask(channel).body["data"]) == 150_000


# Being ended by the venue


def test_another_socket_of_the_credential_leaves_the_calls_in_flight_unknown(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    made(broker.positions())
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", times=2, seconds=0.4)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(made, close(broker, instrument, 1)) for instrument in (MES, MNQ)]
        assert eventually(lambda: len(rpcs(venue)) == 3)
        with elsewhere(venue):
            failures = [call.exception() for call in calls]

    assert [type(failure) for failure in failures] == [OutcomeUnknown, OutcomeUnknown]
    assert all("Session active elsewhere" in str(failure.answer) for failure in failures)  # type: ignore[union-attr]


def test_after_being_kicked_the_next_call_opens_a_socket_again(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    made(broker.positions())
    with elsewhere(venue) as other:
        assert eventually(lambda: not readers())

        assert again(lambda: made(broker.positions())).result.items

        assert other.recv() == ""  # it was closed in its turn
    assert openings(venue) == 3


def test_a_socket_that_ended_in_between_is_opened_again(venue: CrossTradeSimulator, broker: Broker) -> None:
    made(broker.positions())
    for end in ("hang_up", "tear"):
        (talk,) = venue.stream.talks
        getattr(talk, end)()
        assert eventually(lambda: not readers())

        assert made(broker.positions()).result.items

    assert openings(venue) == 3
    assert rpcs(venue) == ["GetAllPositions"] * 3


def test_too_many_requests_are_throttled_and_then_nothing_leaves_for_a_while() -> None:
    with CrossTradeSimulator(TOKEN, rate_limit=True) as venue, broker_at(venue.url) as broker:
        with ThreadPoolExecutor(16) as pool:
            failures = list(pool.map(lambda _: failure_of(broker.positions()), range(40)))
        assert eventually(lambda: not readers())
        seen = len(venue.requests)

        late = failure_of(broker.positions())

        assert {type(failure) for failure in failures} >= {type(None), Throttled}
        assert isinstance(late, NotSent)
        assert late.retry_after is not None
        assert 5 < late.retry_after <= 10
        assert len(venue.requests) == seen


def failure_of(call: Call[Any]) -> BrokerError | None:
    try:
        made(call)
    except BrokerError as exc:
        return exc
    return None


# Staying alive


def test_pings_are_answered(venue: CrossTradeSimulator, broker: Broker) -> None:
    made(broker.positions())
    (talk,) = venue.stream.talks

    talk.ping()

    assert eventually(lambda: talk.pongs == 1)


def test_a_quiet_socket_is_pinged_and_stays(venue: CrossTradeSimulator) -> None:
    with channel_at(venue.url, pulse=0.1) as channel:
        ask(channel)
        (talk,) = venue.stream.talks

        assert eventually(lambda: venue.stream.keepalives >= 3 and talk.pings >= 3)
        ask(channel, "8")

    assert openings(venue) == 1


def test_a_venue_that_answers_no_ping_is_given_up() -> None:
    with raw(opens_and(until_it_leaves)) as (url, came), channel_at(url, pulse=0.15) as channel:
        unanswered = failure(channel, "7")
        again(lambda: failure_but_waits(channel, "8"))

    assert "silent" in unanswered.detail
    assert len(came) == 2


# Connecting


def test_without_a_listener_nothing_was_sent(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.stop_listening()

    with pytest.raises(NotSent):
        made(close(broker))


def test_a_dead_venue_is_not_hammered() -> None:
    with raw(lambda connection: None) as (url, came), channel_at(url) as channel:
        with ThreadPoolExecutor(16) as pool:
            failures = list(pool.map(lambda n: failure(channel, str(n)), range(100)))

        assert {type(failure) for failure in failures} == {NotSent}
        assert len(came) <= 3
        assert all(failure.retry_after is not None for failure in failures[-50:])


def test_the_wait_before_the_next_attempt_grows_and_it_is_made() -> None:
    with raw(lambda connection: None) as (url, came), channel_at(url) as channel:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            failure(channel, "7")
            time.sleep(0.01)

    gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert 3 <= len(gaps) <= 5
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.45


def test_a_socket_that_opens_and_breaks_at_once_counts_as_a_dead_venue() -> None:
    opened = []

    def talk(connection: ServerConnection) -> None:
        opened.append(connection)
        connection.close(1011)

    with scripted(talk) as url, channel_at(url) as channel:
        for number in range(50):
            failure(channel, str(number))

    assert len(opened) <= 3


def failure_but_waits(channel: Channel, request_id: str) -> BrokerError:
    """How a call ends that is not told to wait first."""
    failed = failure(channel, request_id)
    if isinstance(failed, NotSent):
        raise failed
    return failed


def failure(channel: Channel, request_id: str) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        ask(channel, request_id)
    return caught.value


def drips(connection: socket.socket) -> None:
    connection.recv(64 * 1024)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 500:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def floods(connection: socket.socket) -> None:
    connection.recv(64 * 1024)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        connection.sendall(b"X: " + b"x" * 1000 + b"\r\n")


def floods_with_a_page(connection: socket.socket) -> None:
    connection.recv(64 * 1024)
    connection.sendall(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        connection.sendall(b"x" * 1000)


@pytest.mark.parametrize("serve_one", [until_it_leaves, drips, floods, floods_with_a_page])
def test_the_deadline_and_the_size_of_a_handshake_are_bounded(
    serve_one: Callable[[socket.socket], None],
) -> None:
    with raw(serve_one) as (url, _), channel_at(url) as channel:
        started = time.monotonic()
        with pytest.raises(NotSent):
            ask(channel)

        assert time.monotonic() - started < 1.2


@pytest.mark.parametrize("waiting", [1, 5])
def test_calls_that_wait_for_one_that_connects_keep_their_own_deadline(waiting: int) -> None:
    with raw(until_it_leaves) as (url, came), channel_at(url) as channel:
        started = time.monotonic()
        with ThreadPoolExecutor(waiting + 1) as pool:
            failures = list(pool.map(lambda n: failure(channel, str(n)), range(waiting + 1)))

        assert {type(failure) for failure in failures} == {NotSent}
        assert time.monotonic() - started < 1.2
        assert len(came) <= 2


PAGE = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"


def answer(status: bytes, body: bytes = b"", headers: bytes = b"") -> bytes:
    return PAGE % (status, len(body), headers, body)


@pytest.mark.parametrize(
    ("given", "expected", "wait"),
    [
        (answer(b"401 Unauthorized", b'{"success": false, "error": "unauthorized"}'), Refused, None),
        (answer(b"403 Forbidden", b'{"error": "api_requires_pro"}'), Refused, None),
        (
            answer(b"429 Too Many", b'{"error": "Rate limit exceeded"}', b"Retry-After: 7\r\n"),
            Throttled,
            7.0,
        ),
        (answer(b"403 Forbidden", b"<html>Who are you?</html>"), NotSent, None),
        (answer(b"200 OK", b'{"success": true, "closedPositions": []}'), NotSent, None),
        (answer(b"502 Bad Gateway", b"<html></html>"), NotSent, None),
        (answer(b"302 Found", b"", b"Location: http://127.0.0.1:1/\r\n"), NotSent, None),
        (b"SSH-2.0-OpenSSH_9.9\r\n", NotSent, None),
        (b"\xff\xfe\r\n\r\n", NotSent, None),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", NotSent, None),
        (b"HTTP/1.1 101 Switching\r\nSet-Cookie: a=\x01; Domain=x\r\n\r\n", NotSent, None),
        (b"", NotSent, None),
    ],
)
def test_a_handshake_that_fails_left_the_request_here(
    given: bytes, expected: type[BrokerError], wait: float | None
) -> None:
    with raw(says(given)) as (url, came), channel_at(url) as channel:
        with pytest.raises(expected) as caught:
            ask(channel)

        assert type(caught.value) is expected
        assert caught.value.retry_after == wait
        assert len(came) == 1


def test_a_token_that_is_wrong_is_refused(venue: CrossTradeSimulator) -> None:
    venue.token = "another"
    with broker_at(venue.url) as broker, pytest.raises(Refused, match="unauthorized"):
        made(close(broker))


def test_no_proxy_is_taken_from_the_environment(
    venue: CrossTradeSimulator, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert made(close(broker)).result.positions


# The guard


def test_the_guard_is_asked_when_all_is_ready_and_nothing_has_left(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    asked = []

    def guard(seconds: float) -> None:
        asked.append((0 < seconds <= 0.8, len(venue.stream.talks), rpcs(venue)))

    close(broker).make(guard)

    assert asked == [(True, 0, []), (True, 1, [])]  # before it is opened, too: that would end another's
    assert rpcs(venue) == ["ClosePosition"]


def test_who_may_not_send_does_not_open(venue: CrossTradeSimulator, broker: Broker) -> None:
    def hold_back(seconds: float) -> None:
        raise NotSent("the lease ran out")

    with pytest.raises(NotSent, match="lease"):
        close(broker).make(hold_back)

    assert venue.stream.talks == []


def test_a_call_that_is_held_back_sends_nothing_and_the_next_one_goes(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    def hold_back(seconds: float) -> None:
        raise NotSent("the lease ran out")

    with pytest.raises(NotSent, match="lease"):
        close(broker).make(hold_back)
    assert rpcs(venue) == []

    assert made(close(broker)).result.positions


def test_a_guard_that_takes_the_whole_deadline_keeps_the_request_here(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    made(broker.positions())
    with pytest.raises(NotSent, match="guard"):
        close(broker).make(lambda seconds: time.sleep(seconds + 0.01))

    assert rpcs(venue) == ["GetAllPositions"]


def test_a_socket_that_ends_while_the_guard_is_asked_keeps_the_request_here(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    def guard(seconds: float) -> None:
        (talk,) = venue.stream.talks
        talk.hang_up()
        time.sleep(0.2)

    made(broker.positions())
    with pytest.raises(NotSent, match="ended"):
        close(broker).make(guard)

    assert rpcs(venue) == ["GetAllPositions"]


def test_a_request_for_a_socket_that_has_just_ended_stays_here(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    made(broker.positions())
    venue.stop_listening()

    with pytest.raises(NotSent):
        made(close(broker))


# Writing


def test_a_venue_that_takes_nothing_in_holds_no_call_beyond_its_deadline() -> None:
    stopped = threading.Event()

    with raw(opens_and(lambda connection: stopped.wait(SLOWEST))) as (url, _), channel_at(url) as channel:
        started = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            failures = list(pool.map(lambda n: big_failure(channel, n), range(3)))
        took = time.monotonic() - started
        stopped.set()

    assert took < 2
    assert sorted(type(failure).__name__ for failure in failures) == ["NotSent", "NotSent", "OutcomeUnknown"]


def big_failure(channel: Channel, number: int) -> BrokerError:
    """Of a request that no buffer takes whole."""
    with pytest.raises(BrokerError) as caught:
        ask(channel, str(number), padding="x" * 8_000_000)
    return caught.value


# Giving it up


def test_after_a_release_the_next_call_opens_the_socket_anew(
    venue: CrossTradeSimulator, broker: Broker
) -> None:
    made(close(broker, MES, 4))
    broker.release()
    assert eventually(lambda: not venue.stream.talks)
    broker.release()

    made(close(broker, MNQ))

    assert openings(venue) == 2


def test_a_release_without_a_call_is_nothing(venue: CrossTradeSimulator, broker: Broker) -> None:
    broker.release()

    assert venue.requests == []


def test_a_release_leaves_what_is_in_flight_unknown(venue: CrossTradeSimulator, broker: Broker) -> None:
    venue.bad_day(Fault.HANG_THEN_ACT, on="close", seconds=0.4)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(made, close(broker, MES, 4))
        assert eventually(lambda: rpcs(venue))

        broker.release()

    assert isinstance(call.exception(), OutcomeUnknown)


def test_a_release_leaves_no_thread_behind(venue: CrossTradeSimulator, broker: Broker) -> None:
    made(broker.positions())
    assert len(readers()) == 1

    broker.release()

    assert readers() == []


# Secrets


@pytest.mark.parametrize(
    "mishap", [None, Fault.REFUSE, Fault.NOT_JSON, Fault.CLOSES, Fault.CUT_BEFORE_ACTING, "unauthorized"]
)
@pytest.mark.parametrize("tracing", [False, True])
def test_the_credential_stands_in_no_record_error_or_log(
    venue: CrossTradeSimulator,
    broker: Broker,
    mishap: Any,
    tracing: bool,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="websocket")
    websocket.enableTrace(tracing)
    words = f"no such token: {TOKEN}"
    options = {
        Fault.REFUSE: {"error": words},
        Fault.NOT_JSON: {"text": words},
        Fault.CLOSES: {"reason": words},
    }
    if mishap == "unauthorized":
        venue.token = "another"
    elif mishap:
        venue.bad_day(mishap, on="close", **options.get(mishap, {}))
    call = close(broker)
    kept: list[Any] = [call.request, repr(broker), repr(call)]
    try:
        kept.append(made(call).answer)
    except BrokerError as exc:
        kept += [exc.answer, exc.detail, str(exc), repr(exc)]
        logging.getLogger("test").exception("it failed")

    assert TOKEN not in json.dumps(kept)
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.parametrize("breaks_off", [False, True])
def test_no_spelling_of_the_credential_stands_in_what_is_kept(breaks_off: bool) -> None:
    """An echo comes escaped as the venue's JSON likes, in a reply, in what is none, and in the words of an end."""
    token = "the-token/0123456789"
    echo = token.replace("/", "\\/").replace("-", "\\u002d")

    def talk(connection: ServerConnection) -> None:
        request = json.loads(connection.recv())
        reply = f'{{"id": "{request["id"]}", "data": {{"error": "unauthorized: {echo}", "token": "{echo}"}}}}'
        connection.send(reply[:-1] if breaks_off else reply)
        connection.close(1008, echo)

    with (
        scripted(talk) as url,
        broker_at(url, secrets={"token": Secret(token)}) as broker,
        pytest.raises(OutcomeUnknown if breaks_off else Refused) as caught,
    ):
        made(close(broker))

    told = f"{caught.value} {caught.value.detail} {caught.value.answer}"
    assert "unauthorized: ***" in told
    assert ("closed" in told) is breaks_off
    for text in (token, echo, echo.replace("\\", "\\\\")):
        assert text not in told
