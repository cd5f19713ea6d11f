"""One HTTP call over real sockets: what is proved unsent, what is unknown, and that nothing is ever sent twice."""

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from app.domain.failures import BrokerError, NotSent, OutcomeUnknown
from tests.simulators.crosstrade import CrossTradeSimulator, Fault
from workers.brokers import http
from workers.brokers.http import HttpRequest, Timeouts

TOKEN = "the-credential-0123456789"
TIMEOUTS = Timeouts(connect=0.3, read=0.3, deadline=0.5)
LATE = 0.4
"""Seconds that a loaded machine may add to a deadline."""
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Line:
    """One connection as the server has it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.arrived = b""
        self.sent = 0

    def request(self) -> bytes:
        """The whole request; what came of it, if the client left."""
        while b"\r\n\r\n" not in self.arrived and self._more():
            pass
        head, _, body = self.arrived.partition(b"\r\n\r\n")
        lengths = [
            int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")
        ]
        while len(body) < sum(lengths) and self._more():
            body = self.arrived.partition(b"\r\n\r\n")[2]
        return self.arrived

    def _more(self) -> bool:
        data = self.sock.recv(64 * 1024)
        self.arrived += data
        return bool(data)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.sock.sendall(part)
            self.sent += len(part)

    def drip(self, data: bytes, every: float) -> None:
        for byte in data:
            self.send(bytes([byte]))
            time.sleep(every)

    def reset(self) -> None:
        """A RST in place of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def until_left(self) -> None:
        """Silent until the client goes."""
        while self._more():
            pass


class Server:
    """Accepts connections, keeps what arrives on each, and lets `play` answer."""

    def __init__(self, play: Callable[[Line], None], tls: ssl.SSLContext | None = None) -> None:
        self._play = play
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.lines: list[Line] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def arrived(self) -> list[bytes]:
        """What each connection brought, once all of them have ended. There was at least one."""
        until(lambda: len(self._threads) > 1)
        for thread in self._threads[1:]:
            thread.join(5)
        return [line.arrived for line in self.lines]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._listener.close()
        for line in self.lines:
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                line = Line(sock)
                self.lines.append(line)
                thread = threading.Thread(target=self._serve, args=(line,))
                thread.start()
                self._threads.append(thread)

    def _serve(self, line: Line) -> None:
        with contextlib.suppress(OSError):
            try:
                if self._tls:
                    line.sock = self._tls.wrap_socket(line.sock, server_side=True)
                self._play(line)
            finally:
                line.sock.close()


def answers(*parts: bytes) -> Callable[[Line], None]:
    """Reads the request, sends the parts, and hangs up."""

    def play(line: Line) -> None:
        line.request()
        line.send(*parts)

    return play


def whole(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def allowed(_seconds: float) -> None:
    """A guard that lets everything leave."""


def send(
    server: Server | str,
    method: str = "POST",
    body: dict[str, Any] | None = None,
    guard: Callable[[float], None] = allowed,
    timeouts: Timeouts = TIMEOUTS,
) -> http.HttpAnswer:
    url = server if isinstance(server, str) else server.url
    body = {"instrument": "MES 12-26"} if body is None and method == "POST" else body
    request = HttpRequest(method, f"{url}/v1/close", {"Authorization": f"Bearer {TOKEN}"}, body)
    return http.send(request, timeouts, guard)


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_files(tmp_path))
    return context


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's certificate in place of the authorities that `requests` brings."""
    monkeypatch.setattr(http, "DEFAULT_CA_BUNDLE_PATH", str(_files(tmp_path)[0]))
    http.trust.cache_clear()
    yield
    http.trust.cache_clear()


def _files(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(KEY)
    return certificate, key


# Provably unsent


def test_a_refused_connection_is_not_sent() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        with pytest.raises(NotSent):
            send(f"http://127.0.0.1:{bound.getsockname()[1]}")


def test_a_name_that_does_not_resolve_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kw: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(NotSent):
        send("http://venue.invalid")


def test_a_connection_that_does_not_stand_in_time_is_not_sent() -> None:
    """A full queue of connections: the system drops our SYN, as a firewall would."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        started = time.monotonic()

        with pytest.raises(NotSent):
            send(f"http://127.0.0.1:{address[1]}")

        assert time.monotonic() - started < TIMEOUTS.connect + LATE


def test_a_line_that_speaks_no_tls_is_not_sent() -> None:
    with Server(answers(whole(b"{}", b"400 Bad Request"))) as server:
        with pytest.raises(NotSent):
            send(server.url.replace("http:", "https:"))

        (arrived,) = server.arrived
        assert arrived.startswith(b"\x16\x03")  # a ClientHello and no more
        assert TOKEN.encode() not in arrived


def test_a_tls_handshake_that_never_ends_is_not_sent() -> None:
    with Server(Line.until_left) as server:
        started = time.monotonic()

        with pytest.raises(NotSent):
            send(server.url.replace("http:", "https:"))

        assert time.monotonic() - started < TIMEOUTS.connect + LATE
        assert TOKEN.encode() not in b"".join(server.arrived)


def test_a_certificate_that_nobody_vouches_for_is_not_sent(server_tls: ssl.SSLContext) -> None:
    with Server(Line.until_left, server_tls) as server:
        with pytest.raises(NotSent):
            send(server)

        assert server.arrived == [b""]


def test_a_certificate_of_another_host_is_not_sent(
    trusted: None, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authorities are one context for all calls: it must hold each host to its own name, before and after."""
    here = socket.getaddrinfo

    def anywhere(host: str, *rest: Any, **named: Any) -> Any:
        return here("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", anywhere)
    with Server(answers(whole(b'{"success": true}')), server_tls) as server:
        for _ in range(2):
            with pytest.raises(NotSent, match="SSLError"):
                send(server.url.replace("127.0.0.1", "elsewhere.example"))
            assert send(server.url).body == {"success": True}

    assert TOKEN.encode() not in b"".join(server.arrived[::2])


def test_what_the_guard_refuses_stays_here() -> None:
    def refuse(_seconds: float) -> None:
        raise NotSent("the lease ran out")

    with Server(Line.until_left) as server:
        with pytest.raises(NotSent, match="the lease ran out"):
            send(server, guard=refuse)

        assert server.arrived == [b""]


def test_whatever_the_guard_raises_comes_through_and_nothing_leaves() -> None:
    def fail(_seconds: float) -> None:
        raise LookupError("something of the caller's")

    with Server(Line.until_left) as server:
        with pytest.raises(LookupError):
            send(server, guard=fail)

        assert server.arrived == [b""]


def test_the_guard_is_asked_once_with_the_time_that_is_left_on_a_standing_connection() -> None:
    asked = []

    def note(seconds: float) -> None:
        until(lambda: server.lines)  # the system has accepted by now; the server may come to it later
        asked.append((seconds, server.lines[0].arrived))

    with Server(answers(whole(b"{}"))) as server:
        send(server, guard=note)

    ((seconds, arrived),) = asked
    assert 0 < seconds <= TIMEOUTS.deadline
    assert arrived == b""


def test_a_guard_that_takes_the_whole_deadline_keeps_the_request_here() -> None:
    def think(_seconds: float) -> None:
        time.sleep(0.15)

    def drip(line: Line) -> None:
        line.request()
        line.drip(OK + b"X-Padding: " + b"x" * 1000, 0.02)

    with Server(drip) as server:
        started = time.monotonic()
        with pytest.raises(NotSent):
            send(server, guard=think, timeouts=Timeouts(0.4, 0.4, 0.1))

        assert time.monotonic() - started < 0.1 + LATE
        assert server.arrived == [b""]


def test_a_name_server_that_takes_the_whole_deadline_keeps_the_request_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo

    def slow(*args: Any, **kw: Any) -> Any:
        time.sleep(0.15)
        return resolve(*args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with Server(Line.until_left) as server:
        with pytest.raises(NotSent):
            send(server, timeouts=Timeouts(0.4, 0.4, 0.1))

        assert server.arrived == [b""]


def test_a_request_that_can_not_be_put_on_the_line_is_not_sent() -> None:
    with Server(Line.until_left) as server:
        request = HttpRequest(
            "POST", f"{server.url}/v1/close", {"Authorization": "Bearer a\r\nX-More: b"}, {}
        )

        with pytest.raises(NotSent):
            http.send(request, TIMEOUTS, allowed)

    assert [line.arrived for line in server.lines] in ([], [b""])


# It left, and nothing says what became of it


def cut_at_once(line: Line) -> None:
    line.reset()


def cut_after_the_request(line: Line) -> None:
    line.request()


def reset_after_the_request(line: Line) -> None:
    line.request()
    line.reset()


def reset_in_the_body(line: Line) -> None:
    line.request()
    line.send(OK + b'Content-Length: 100\r\n\r\n{"success"')
    time.sleep(0.05)  # a RST may overtake what was sent
    line.reset()


def silent(line: Line) -> None:
    line.request()
    line.until_left()


def silent_after_the_head(line: Line) -> None:
    line.request()
    line.send(OK + b"Content-Length: 100\r\n\r\n")
    line.until_left()


def drips_its_head(line: Line) -> None:
    line.request()
    line.drip(OK + b"X-Padding: " + b"x" * 1000, 0.02)


def drips_its_body(line: Line) -> None:
    line.request()
    line.send(OK + b"Content-Length: 1000\r\n\r\n")
    line.drip(b" " * 1000, 0.02)


def drips_without_a_length(line: Line) -> None:
    line.request()
    line.send(OK + b'\r\n{"success": true, "text": "')
    line.drip(b" " * 1000, 0.02)


MISHAPS: dict[str, Callable[[Line], None]] = {
    "closed after the request": cut_after_the_request,
    "reset after the request": reset_after_the_request,
    "cut in the status line": answers(b"HTTP/1."),
    "cut in the body": answers(OK + b'Content-Length: 100\r\n\r\n{"success": true}'),
    "cut in a chunk": answers(OK + b"Transfer-Encoding: chunked\r\n\r\n40\r\n{}"),
    "cut before the last chunk": answers(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "reset in the body": reset_in_the_body,
    "silent": silent,
    "silent after the head": silent_after_the_head,
    "drips its head": drips_its_head,
    "drips its body": drips_its_body,
    "drips without a length": drips_without_a_length,
    "not HTTP": answers(b"220 mail.example ESMTP\r\n"),
    "a body that is too large": answers(whole(b" " * (2 * 1024 * 1024))),
    "chunks without end": answers(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 40
    ),
    "a body that is not as compressed as it says": answers(
        whole(b"{}", b"200 OK", b"Content-Encoding: gzip")
    ),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_without_a_whole_answer_the_outcome_is_unknown_and_nothing_is_sent_again(mishap: str) -> None:
    with Server(MISHAPS[mishap]) as server:
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            send(server)

        assert time.monotonic() - started < TIMEOUTS.deadline + LATE
        assert len(server.lines) == 1
        assert server.arrived[0].count(b"POST /v1/close") == 1


def test_a_reset_at_once_is_unknown_if_a_byte_may_have_left_and_is_never_followed_by_another_try() -> None:
    with Server(cut_at_once) as server:
        with pytest.raises((OutcomeUnknown, NotSent)):  # the reset may come before the connection stands here
            send(server)

        assert len(server.lines) == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b'\r\n{"success": true, "closedPositions": [',
        whole(gzip.compress(b'{"success": true}')[:-12], b"200 OK", b"Content-Encoding: gzip"),
        b"HTTP/1.1 400 Bad Request\r\nContent-Ty",
    ],
    ids=["without a length", "compressed", "in the head"],
)
def test_a_cut_that_looks_like_an_end_leaves_no_body(answer: bytes) -> None:
    with Server(answers(answer)) as server:
        assert send(server).body is None


def test_a_read_may_end_in_doubt_too_but_never_as_unsent() -> None:
    with Server(silent) as server, pytest.raises(BrokerError) as caught:
        send(server, "GET")

    assert isinstance(caught.value, OutcomeUnknown)


def test_no_more_of_an_answer_is_read_than_can_be_kept() -> None:
    """Of a redirect too: a body without end must not fill this machine's memory."""
    for status in (b"200 OK", b"302 Found\r\nLocation: /elsewhere"):
        chunk = b" " * 65536

        def endless(line: Line, status: bytes = status, chunk: bytes = chunk) -> None:
            line.request()
            line.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                line.send(chunk)

        with Server(endless) as server:
            with pytest.raises(OutcomeUnknown):
                send(server)

            assert server.arrived
            assert server.lines[0].sent < 16 * http.LARGEST_ANSWER  # the system's own buffers hold some


@pytest.mark.parametrize(
    "status", [b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_redirect_is_never_followed(status: bytes, method: str) -> None:
    with Server(answers(whole(b'{"success": true}'))) as elsewhere:
        head = (
            b"HTTP/1.1 "
            + status
            + b"\r\nLocation: "
            + elsewhere.url.encode()
            + b"/\r\nContent-Length: 0\r\n\r\n"
        )
        with Server(answers(head)) as server:
            answer = send(server, method)

            assert answer.status == int(status[:3])
            assert answer.body is None
            assert len(server.arrived) == 1
        assert elsewhere.lines == []


@pytest.mark.parametrize(
    "status", [b"429 Too Many Requests", b"500 Oops", b"502 Bad Gateway", b"503 Unavailable"]
)
def test_nothing_is_tried_again_whatever_the_venue_suggests(status: bytes) -> None:
    with Server(answers(whole(b"{}", status, b"Retry-After: 0"))) as server:
        answer = send(server)

        assert answer.status == int(status[:3])
        assert len(server.arrived) == 1


# What arrives


def test_a_request_arrives_as_it_was_built() -> None:
    with Server(answers(whole(b"{}"))) as server:
        send(server, body={})

        head, _, body = server.arrived[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/close HTTP/1.1"
    assert f"Authorization: Bearer {TOKEN}".encode() in lines
    assert b"Connection: close" in lines
    assert body == b"{}"


def test_no_header_of_a_venue_changes_how_a_call_ends_or_what_is_asked_for() -> None:
    with Server(answers(whole(b"{}"))) as server:
        request = HttpRequest("GET", server.url, {"connection": "keep-alive", "accept": "text/html"})
        http.send(request, TIMEOUTS, allowed)

    (head,) = server.arrived
    said = [line for line in head.lower().split(b"\r\n") if line.startswith((b"connection:", b"accept:"))]
    assert sorted(said) == [b"accept: application/json", b"connection: close"]


def test_a_read_has_no_body() -> None:
    with Server(answers(whole(b"{}"))) as server:
        send(server, "GET")

        assert server.arrived[0].endswith(b"\r\n\r\n")
        assert b"content-length" not in server.arrived[0].lower()


def test_each_call_has_a_connection_of_its_own_and_no_memory() -> None:
    def generous(line: Line) -> None:
        line.request()
        line.send(whole(b"{}", b"200 OK", b"Connection: keep-alive", b"Set-Cookie: session=1"))
        line.until_left()

    with Server(generous) as server:
        send(server)
        send(server)

        assert len(server.arrived) == 2
        assert b"cookie" not in server.arrived[1].lower()


def test_proxies_and_a_netrc_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(answers(whole(b'{"proxied": true}'))) as proxy, Server(answers(whole(b"{}"))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

        answer = send(server)

        assert answer.body == {}
        assert proxy.lines == []
        assert f"Authorization: Bearer {TOKEN}".encode() in server.arrived[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK",
        "<html>",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ',
        "[" * 100_000,
    ],
    ids=lambda text: text[:14] or "empty",
)
def test_what_is_not_json_is_no_body_and_its_text_is_kept(text: str) -> None:
    with Server(answers(whole(text.encode()))) as server:
        answer = send(server)

    assert answer.body is None
    assert answer.for_the_record() == {"status": 200, "body": text[: http.KEPT_ANSWER]}


@pytest.mark.parametrize(
    ("kind", "is_json"),
    [
        (None, True),
        ("", True),
        ("application/json", True),
        ("Application/JSON; charset=UTF-8", True),
        ("application/json;charset=utf-8", True),
        ("application/problem+json", True),
        ("application/vnd.venue.v1+json; charset=utf-8", True),
        ("text/html", False),
        ("text/html; charset=utf-8", False),
        ("text/plain", False),
        ("text/json", False),
        ("application/jsonp", False),
        ("application/xml; note=application/json", False),
        ("application/json, text/html", False),
        ("json", False),
        ("+json", False),
    ],
)
def test_an_answer_that_calls_itself_something_else_has_no_body(kind: str | None, is_json: bool) -> None:
    """A page of somebody in between may hold anything, so it is no success; its text is kept."""
    body = {"success": True}
    headers = [] if kind is None else [b"Content-Type: " + kind.encode()]
    with Server(answers(whole(json.dumps(body).encode(), b"200 OK", *headers))) as server:
        answer = send(server)

    assert answer.body == (body if is_json else None)
    assert answer.for_the_record()["body"] == (body if is_json else json.dumps(body))


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
LONGEST = 86_400.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"RETRY-AFTER": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0.0"}, 0.0),
        ({"Retry-After": "86400.1"}, LONGEST),
        ({"Retry-After": "9" * 400}, LONGEST),
        *(
            ({"Retry-After": said}, None)
            for said in (
                "",
                "soon",
                "-1",
                "-0.5",
                "+7",
                "1e3",
                "1.",
                ".5",
                "7 s",
                "7, 8",
                "NaN",
                "inf",
                "²",
                "٣",
            )
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": DATE}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 09:28:30 +0200", "date": DATE}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 -0000", "Date": DATE}, 30.0),
        ({"Retry-After": DATE, "Date": DATE}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:59 GMT", "Date": DATE}, None),
        ({"Retry-After": "Thu, 22 Oct 2026 07:28:01 GMT", "Date": DATE}, LONGEST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": "Mon, 01 Jan 0001 00:00:00 GMT"}, LONGEST),
        ({"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Date": DATE}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": "soon"}, LONGEST),
    ],
    ids=str,
)
def test_the_venues_wait_is_in_seconds_or_a_moment_of_its_clock(
    headers: dict[str, str], wait: float | None
) -> None:
    assert http.HttpAnswer(429, headers, None, "").retry_after == wait


def test_a_moment_is_ours_where_the_venue_tells_no_time() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    assert 80 < (http.HttpAnswer(429, {"Retry-After": until}, None, "").retry_after or 0) <= 90


@pytest.mark.parametrize("date", ["soon", "", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_date_that_is_none_is_no_failure(date: str) -> None:
    assert http.HttpAnswer(200, {"Date": date}, None, "").date is None


def test_json_is_the_body_and_the_record() -> None:
    with Server(
        answers(whole(json.dumps({"a": [1.5, "é"]}).encode(), b"418 Teapot", b"Retry-After: 7"))
    ) as server:
        answer = send(server)

    assert answer.for_the_record() == {"status": 418, "body": {"a": [1.5, "é"]}}
    assert answer.headers["Retry-After"] == "7"


def test_a_request_for_the_record_has_no_headers() -> None:
    request = HttpRequest("POST", "http://venue/x", {"Authorization": f"Bearer {TOKEN}"}, {"a": 1})

    assert request.for_the_record() == {"method": "POST", "url": "http://venue/x", "body": {"a": 1}}
    assert TOKEN not in repr(request)


# TLS


def test_a_call_over_tls_is_answered(trusted: None, server_tls: ssl.SSLContext) -> None:
    with Server(answers(whole(b'{"success": true}')), server_tls) as server:
        assert send(server).body == {"success": True}


@pytest.mark.parametrize("play", [silent, drips_its_head, drips_its_body, drips_without_a_length])
def test_the_deadline_holds_over_tls(
    trusted: None, server_tls: ssl.SSLContext, play: Callable[[Line], None]
) -> None:
    with Server(play, server_tls) as server:
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            send(server)

        assert time.monotonic() - started < TIMEOUTS.deadline + LATE
        assert len(server.arrived) == 1


# The simulated venue's bad days


@pytest.fixture
def venue() -> Iterator[CrossTradeSimulator]:
    with CrossTradeSimulator(TOKEN) as venue:
        venue.book.set_position("Sim101", "MES 12-26", "Long", 10, 5779.8125, 5797.0)
        yield venue


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Fault.CUT_BEFORE_ACTING, {}),
        (Fault.CUT_AFTER_ACTING, {}),
        (Fault.CUT_MID_ANSWER, {}),
        (Fault.ACT_THEN_HANG, {}),
        (Fault.HANG_THEN_ACT, {}),
        (Fault.TRUNCATED_JSON, {}),
        (Fault.HUGE_BODY, {}),
        (Fault.SLOW_DRIP, {}),
    ],
)
def test_a_venue_that_breaks_off_leaves_the_outcome_unknown(
    venue: CrossTradeSimulator, fault: Fault, options: dict[str, Any]
) -> None:
    venue.bad_day(fault, times=None, **options)
    url = f"{venue.url}/v1/api/accounts/Sim101/positions/close"
    request = HttpRequest("POST", url, {"Authorization": f"Bearer {TOKEN}"}, {"instrument": "MES 12-26"})

    with pytest.raises(OutcomeUnknown):
        http.send(request, TIMEOUTS, allowed)

    assert len(venue.requests) == 1


@pytest.mark.parametrize(("acts", "left"), [(True, 0), (False, 10)])
def test_the_right_answer_under_a_wrong_name_is_no_answer(
    venue: CrossTradeSimulator, acts: bool, left: int
) -> None:
    venue.bad_day(Fault.WRONG_TYPE, acts=acts)
    url = f"{venue.url}/v1/api/accounts/Sim101/positions/close"
    request = HttpRequest("POST", url, {"Authorization": f"Bearer {TOKEN}"}, {"instrument": "MES 12-26"})

    answer = http.send(request, TIMEOUTS, allowed)

    assert (answer.status, answer.body) == (200, None)
    assert '"success": true' in answer.text
    assert venue.book.quantity("Sim101", "MES 12-26") == left


def test_a_venue_that_does_not_listen_was_sent_nothing(venue: CrossTradeSimulator) -> None:
    venue.stop_listening()

    with pytest.raises(NotSent):
        send(venue.url)

    venue.listen_again()
    assert venue.requests == []


def until(holds: Callable[[], Any], within: float = 2.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


# A certificate for localhost that signs itself, good until 2120, and its key. They are worth nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlzCCAT6gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMzOqm/kN+JxN0qh
fXyrycdl52nHsoLG822Vi3pVkMgeZy26v6NxtqA9mplP/0eX5hGD2KhohKYnrrkp
+nHZCxyjfzB9MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBSizWgwRzAD91HXkzBDF6u92f5AyjAfBgNVHSMEGDAW
gBSizWgwRzAD91HXkzBDF6u92f5AyjAOBgNVHQ8BAf8EBAMCAoQwCgYIKoZIzj0E
AwIDRwAwRAIgc/H9+ojVYZDPZ5WMNcJzfc6Z5FsoVcibJTgHpRvIICICIFCk94in
Mokhp+2xnkJoB4suQD4iILIWk/Q9Wg4ThYEl
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGAeauJy32VRUPMy8
fcOpjztRfXjzikPMDL1oyWtx4qOhRANCAATMzqpv5DficTdKoX18q8nHZedpx7KC
xvNtlYt6VZDIHmctur+jcbagPZqZT/9Hl+YRg9ioaISmJ665Kfpx2Qsc
-----END PRIVATE KEY-----
"""
