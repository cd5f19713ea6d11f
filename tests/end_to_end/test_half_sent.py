"""The door over raw sockets: slow, silent, half-sent and odd requests cost the others nothing, and lose nothing."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from config.gunicorn import threads, worker_connections
from config.patience import ENOUGH, RECEIVE_SECONDS
from tests.running import Product

SOON = 2.0
"""Seconds within which a good alert is answered on a loaded machine, whatever others do."""


class Line:
    """A connection to the product's web process, byte by byte."""

    def __init__(self, product: Product) -> None:
        self.sock = socket.create_connection(("127.0.0.1", product.port), timeout=10)
        self.rest = b""

    def send(self, data: bytes) -> "Line":
        self.sock.sendall(data)
        return self

    def answer(self) -> tuple[int, bytes]:
        """The next answer's status and body; (0, b"") if the server hung up."""
        try:
            while b"\r\n\r\n" not in self.rest:
                self._more()
            head, _, self.rest = self.rest.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            while len(self.rest) < length:
                self._more()
        except EOFError:
            return 0, b""
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(head.split()[1]), body

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        self.rest += data


@contextmanager
def line_to(product: Product) -> Iterator[Line]:
    line = Line(product)
    try:
        yield line
    finally:
        line.sock.close()


@pytest.fixture
def line(venue_day: Product) -> Iterator[Line]:
    with line_to(venue_day) as line:
        yield line


def request_to(product: Product, body: bytes, *headers: str, secret: str | None = None) -> bytes:
    """An alert for the hook, as bytes."""
    lines = [
        f"POST /hooks/futures/{secret or product.secret} HTTP/1.1",
        "Host: flatwire.test",
        *(headers or (f"Content-Length: {len(body)}",)),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def alert(quantity: int = 1, instrument: str = "CL 12-26") -> bytes:
    """A text that is like no other: only half of it would ask for all of the position.

    Nothing is open under that name, so what one test asks for is not in the way of what another waits for.
    """
    return json.dumps(
        {"action": "close", "instrument": instrument, "id": str(time.monotonic_ns()), "quantity": quantity}
    ).encode()


def alerts(product: Product) -> int:
    return len(product.api("alerts", limit=200)["items"])


def commands_of(body: bytes) -> list[str]:
    return [command["id"] for command in json.loads(body)["commands"]]


def test_silent_and_half_sent_requests_keep_nobody_waiting_and_ask_for_nothing(venue_day: Product) -> None:
    before = alerts(venue_day)
    whole = request_to(venue_day, alert())
    in_chunks = request_to(venue_day, b"", "Transfer-Encoding: chunked") + b"20\r\nclose MES"
    halves = [b""] * 40 + [whole[:20], whole[:-1], in_chunks, whole[:1]] * 10
    with ExitStack() as open_lines:
        lines = [open_lines.enter_context(line_to(venue_day)).send(half) for half in halves]
        slowest = 0.0
        for _ in range(10):
            began = time.monotonic()
            assert venue_day.send(alert().decode()).status_code == 202
            slowest = max(slowest, time.monotonic() - began)
        began = time.monotonic()
        hung_up = [line.answer() for line in lines]
        waited = time.monotonic() - began

    assert slowest < SOON
    assert set(hung_up) == {(0, b"")}
    assert waited < RECEIVE_SECONDS + SOON
    assert alerts(venue_day) == before + 10


LOGIN = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        "POST /hooks/futures HTTP/1.1\r\nContent-Length: 0000000000000000000016000\r\n\r\nx",
        "POST /hooks/futures HTTP/1.1\r\nContent-Length: 9999999999999999999999999\r\n\r\nx",
        "POST /hooks/futures HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0000000001000\r\n\r\n\r\n",
        LOGIN + "Transfer-Encoding: chunked\r\n\r\n100000\r\n" + "a" * ENOUGH,
        LOGIN + "Content-Length: 60000\r\n\r\n" + "a" * ENOUGH,
    ],
    ids=["padded length", "huge length", "padded chunk", "form in a chunk", "form"],
)
def test_no_thread_waits_for_the_rest_of_a_body(venue_day: Product, begun: str) -> None:
    with ExitStack() as open_lines:
        lines = [
            open_lines.enter_context(line_to(venue_day)).send(begun.encode()) for _ in range(2 * threads)
        ]
        began = time.monotonic()
        assert venue_day.send(alert().decode()).status_code == 202
        assert time.monotonic() - began < SOON
        for line in lines:
            assert 400 <= line.answer()[0] < 500


def test_clients_that_ask_on_and_do_not_read_keep_nobody_waiting(venue_day: Product) -> None:
    ask = b"GET /static/vendor/htmx.min.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as open_lines:
        for _ in range(2 * threads):
            line = open_lines.enter_context(line_to(venue_day))
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.send(ask * 200)
        time.sleep(0.5)  # until their buffers are full
        began = time.monotonic()
        assert venue_day.send(alert().decode()).status_code == 202
        assert time.monotonic() - began < SOON


def test_a_full_house_has_room_for_an_alert(venue_day: Product) -> None:
    with ExitStack() as open_lines:
        for _ in range(worker_connections + 20):
            open_lines.enter_context(line_to(venue_day))
        began = time.monotonic()
        assert venue_day.send(alert().decode()).status_code == 202
        assert time.monotonic() - began < SOON


def test_dripping_bytes_does_not_buy_time(venue_day: Product) -> None:
    whole = request_to(venue_day, alert())
    ended = threading.Event()

    def drip() -> None:
        with line_to(venue_day) as line:
            try:
                for n in range(len(whole)):
                    line.send(whole[n : n + 1])
                    if ended.wait(0.1):
                        return
            except OSError:
                ended.set()

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert ended.wait(RECEIVE_SECONDS + SOON)
    finally:
        ended.set()
        dripping.join()


def test_a_request_in_tiny_pieces_is_taken_if_it_comes_in_time(venue_day: Product, line: Line) -> None:
    whole = request_to(venue_day, alert())
    line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for n in range(0, len(whole), 3):
        line.send(whole[n : n + 3])

    assert line.answer()[0] == 202


def test_an_answer_is_timed_from_its_first_byte(venue_day: Product, line: Line) -> None:
    def timed() -> float:
        text = requests.get(f"{venue_day.url}/metrics", timeout=5).text
        found = re.search(r'^flatwire_answer_seconds_sum\{status="202"\} (\S+)', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = timed()
    request = request_to(venue_day, alert())
    line.send(request[:20])
    time.sleep(0.6)
    line.send(request[20:])
    assert line.answer()[0] == 202
    assert timed() - before > 0.6


def test_a_large_body_in_small_pieces_is_refused_in_time(venue_day: Product, line: Line) -> None:
    line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    began = time.monotonic()
    line.send(request_to(venue_day, b"", "Content-Length: 65536"))
    for _ in range(0, 65536, 32):
        line.send(b"x" * 32)

    assert line.answer()[0] == 413
    assert time.monotonic() - began < SOON


def test_a_body_that_ends_early_asks_for_nothing(venue_day: Product) -> None:
    before = alerts(venue_day)
    whole = request_to(venue_day, b"close MES 12-26 quantity=1", "Content-Length: 26")
    for cut in (1, 11, 20):
        with line_to(venue_day) as line:
            line.send(whole[:-cut])
            line.sock.shutdown(socket.SHUT_WR)
            assert line.answer()[0] in (0, 400)

    assert alerts(venue_day) == before


def test_a_chunked_alert_is_taken_whole_and_once(venue_day: Product, line: Line) -> None:
    body = alert(instrument="MES 12-26")
    line.send(
        request_to(venue_day, b"", "Transfer-Encoding: chunked") + chunks(body[:7], body[7:9], body[9:])
    )
    status, answer = line.answer()

    assert status == 202
    (command,) = commands_of(answer)
    assert venue_day.settled(command)["quantity"] == "1"


@pytest.mark.parametrize("length", [16 * 1024 + 1, 70_000, 10_000_000])
@pytest.mark.parametrize("way", ["chunked", "length"])
def test_a_body_that_is_too_large_is_refused_and_not_cut(
    venue_day: Product, line: Line, length: int, way: str
) -> None:
    body = b"close 1 MES 12-26 ".ljust(length, b"x")
    if way == "chunked":
        pieces = [body[n : n + 1000] for n in range(0, length, 1000)]
        line.send(request_to(venue_day, b"", "Transfer-Encoding: chunked") + chunks(*pieces))
    else:
        line.send(request_to(venue_day, body))
    status, answer = line.answer()

    assert status == 413
    refused = venue_day.api(f"alerts/{json.loads(answer)['alert']}")
    assert (refused["outcome"], refused["commands"]) == ("refused", [])


def test_the_rest_of_a_body_that_is_too_large_is_no_alert(venue_day: Product, line: Line) -> None:
    before = alerts(venue_day)
    rest = request_to(venue_day, alert())
    line.send(request_to(venue_day, b"x" * ENOUGH, f"Content-Length: {ENOUGH + len(rest)}"))

    assert line.answer()[0] == 413
    assert line.send(rest).answer() == (0, b"")
    assert alerts(venue_day) == before + 1  # the refused one


def test_a_head_without_end_is_refused(venue_day: Product, line: Line) -> None:
    line.send(b"POST /hooks/futures HTTP/1.1\r\nX: " + b"a" * 40_000)

    assert line.answer()[0] == 431


def test_a_client_that_asks_to_continue_is_told_to_at_once(venue_day: Product, line: Line) -> None:
    body = alert()
    began = time.monotonic()
    line.send(request_to(venue_day, b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert line.answer()[0] == 100
    assert time.monotonic() - began < SOON
    line.send(body)
    status, _ = line.answer()

    assert (line.answer()[0] if status == 100 else status) == 202


def test_one_connection_serves_one_request_after_the_other(venue_day: Product, line: Line) -> None:
    statuses = [line.send(request_to(venue_day, alert())).answer()[0] for _ in range(3)]

    assert statuses == [202, 202, 202]


def test_an_old_client_is_served_and_let_go(venue_day: Product, line: Line) -> None:
    line.send(request_to(venue_day, alert()).replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert line.answer()[0] == 202
    assert line.answer() == (0, b"")


def test_requests_sent_ahead_are_answered_in_their_order(venue_day: Product, line: Line) -> None:
    bodies = [alert(quantity) for quantity in (1, 2, 3)]
    together = b"".join(request_to(venue_day, body) for body in bodies)
    line.send(together[:-10])
    answers = [line.answer() for _ in range(2)]
    line.send(together[-10:])
    answers.append(line.answer())

    assert [status for status, _ in answers] == [202, 202, 202]
    assert [json.loads(body)["commands"][0]["quantity"] for _, body in answers] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /hooks/futures HTTP/9.9\r\n\r\n",
        b"POST /hooks/futures HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /hooks/futures HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /hooks/futures HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /hooks/futures HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /hooks/futures HTTP/1.1\nContent-Length: 5\n\nclose",
        b"POST /hooks/futures HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST /hooks/futures HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /hooks/%ff%00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    ],
    ids=ascii,
)
def test_garbage_is_refused_and_is_no_failure_of_ours(venue_day: Product, line: Line, garbage: bytes) -> None:
    assert 400 <= line.send(garbage).answer()[0] < 500


def test_what_strangers_send_leaves_no_secret_in_the_log(venue_day: Product) -> None:
    secret = venue_day.secret
    attempts = [
        f"POST /hooks/futures/{secret} HTTP/7.7\r\n\r\n",
        f"POST  /hooks/futures/{secret} HTTP/1.1\r\n\r\n",
        f"{secret}\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\n{secret}\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nX {secret}: 1\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nContent-Length: {secret}\r\n\r\n",
        f"POST /hooks/futures/{secret}/{secret} HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        f"GET /hooks/futures/{secret} HTTP/1.1\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nTransfer-Encoding: {secret}\r\n\r\n",
        f"POST /hooks/futures/{secret}{'a' * 5000} HTTP/1.1\r\n\r\n",
        f"POST /hooks/futures HTTP/1.1\r\nAuthorization: Bearer {secret}{'a' * 9000}\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nContent-Length: 7\r\n\r\n{secret[:7]}",
        f"POST /hooks/futures/{secret} HTTP/1.1\nX: {secret}\n\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nContent-Length: {secret}\r\nContent-Length: 1\r\n\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nContent-Length: 20000\r\n\r\n{secret * 1000}",
        f"POST /hooks/futures/{secret} HTTP/1.1\r\nX: {secret * 2000}",
        f"POST /hooks/futures/{secret[:-1]} HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    ]
    for attempt in attempts:
        with line_to(venue_day) as line:
            assert 400 <= line.send(attempt.encode()).answer()[0] < 500, attempt

    with line_to(venue_day) as line:  # and one that never ends
        line.send(f"POST /hooks/futures/{secret} HTTP/1.1\r\nX: {secret}".encode())
        assert line.answer() == (0, b"")

    log = venue_day.log("web")
    assert secret not in log
    assert secret[:-1] not in log
    assert "Traceback" not in log


def test_silent_connections_do_not_hold_up_the_end(venue_day: Product) -> None:
    with ExitStack() as open_lines:
        for _ in range(5):
            open_lines.enter_context(line_to(venue_day)).send(b"POST /hooks/futures HTTP/1.1\r\n")
        assert venue_day.stop("web", within=RECEIVE_SECONDS + 3 * SOON) == 0
    venue_day.start_web()

    assert venue_day.send(alert().decode()).status_code == 202
