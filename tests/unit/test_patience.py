"""When a request is there: whole, or as much of it as will be read; and that the pieces it comes in do not matter."""

import time

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.http.errors import ParseException
from hypothesis import assume, given
from hypothesis import strategies as st

from config.patience import ENOUGH, LARGEST_HEAD, LARGEST_REQUEST, Arrival

HEAD = b"POST /hooks/futures HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def arrived(*pieces: bytes) -> Arrival:
    """What the worker knows: it takes no more pieces once it can serve or refuse."""
    arrival = Arrival()
    for piece in pieces:
        arrival.add(piece)
        if arrival.readable or arrival.refusal:
            break
    return arrival


def byte_by_byte(data: bytes) -> Arrival:
    return arrived(*(data[n : n + 1] for n in range(len(data))))


def status(arrival: Arrival) -> str | None:
    return arrival.refusal.split()[1].decode() if arrival.refusal else None


def with_length(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return CHUNKED + b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


WHOLE = [
    HEAD + b"\r\n",
    b"\r\n" + HEAD + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    with_length(b""),
    with_length(b"close MES 12-26"),
    with_length(b"a\r\n\r\nb" * 3),
    with_length(b"close\nMES 12-26\n"),
    HEAD + b"content-LENGTH:   003\r\n\r\nabc",
    HEAD + b"X: 1\r\nContent-Length:2 \r\nY: 2\r\n\r\nab",
    HEAD + b"X-Content-Length: 9\r\nX: Content-Length: 9\r\n\r\n",
    chunked(b"close", b" MES 12-26"),
    chunked(b"a" * 300, b"\r\n0\r\n\r\n"),
    chunked(b"abc", trailer=b"X: y\r\n"),
    CHUNKED + b"00000003;a=b\r\nabc\r\n0;c\r\n\r\n",
]


@pytest.mark.parametrize("request_", WHOLE, ids=lambda request_: ascii(request_[36:90]))
def test_a_request_is_there_with_its_last_byte_and_not_before(request_: bytes) -> None:
    for cut in range(len(request_)):
        assert not arrived(request_[:cut]).readable
        assert arrived(request_[:cut]).refusal is None

    assert arrived(request_).complete
    assert byte_by_byte(request_).complete
    assert arrived(request_ + HEAD).complete  # the next one may have come with it


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: 1e3\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 0000000000000000000016000\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: %s\r\n" % (b"9" * 5000),
        b"Content-Length : 10\r\n",
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\ncontent-length: 1\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
    ],
    ids=lambda framing: ascii(framing[:40]),
)
def test_a_head_that_leaves_the_end_unclear_is_refused_at_once(framing: bytes) -> None:
    assert status(arrived(HEAD + framing + b"\r\n")) == "400"
    assert status(byte_by_byte(HEAD + framing + b"\r\n")) == "400"


@pytest.mark.parametrize("line", [b"xyz", b"-1", b"+1", b"0x1", b"", b"1 ", b"000000001", b"fffffffff"])
def test_a_chunk_without_a_plain_size_is_refused_at_once(line: bytes) -> None:
    assert status(arrived(CHUNKED + line + b"\r\n")) == "400"
    assert status(byte_by_byte(CHUNKED + b"1\r\na\r\n" + line + b"\r\n")) == "400"


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\n\n", HEAD + b"X: 1\nY: 2\r\n\r\n", b"\n"], ids=ascii)
def test_lines_that_end_with_a_line_feed_alone_are_refused_at_once(head: bytes) -> None:
    assert status(arrived(head)) == "400"
    assert status(byte_by_byte(head)) == "400"


def test_no_more_of_a_body_is_waited_for_than_will_be_read() -> None:
    announced = HEAD + b"Content-Length: 10000000\r\n\r\n"
    for begun in (announced, CHUNKED + b"fffffff\r\n"):
        assert not arrived(begun + b"a" * (ENOUGH - 1)).readable
        there = arrived(begun + b"a" * ENOUGH)
        assert (there.readable, there.complete) == (True, False)


def test_chunks_count_by_what_they_carry() -> None:
    carrying = arrived(chunked(*[b"abcdefgh"] * (ENOUGH // 8 + 1))[:-5])

    assert (carrying.readable, carrying.complete) == (True, False)


def test_what_would_have_to_be_kept_for_long_is_refused() -> None:
    refused = [
        arrived(b"POST / HTTP/1.1\r\nX: " + b"a" * LARGEST_HEAD),
        arrived(CHUNKED + b"1\r\na\r\n" * (LARGEST_REQUEST // 6 + 1)),
        arrived(CHUNKED + b"1;" + b"a" * LARGEST_REQUEST),
        arrived(CHUNKED + b"0\r\n" + b"a" * LARGEST_REQUEST),
    ]

    assert [status(arrival) for arrival in refused] == ["431", "413", "413", "413"]
    assert arrived(with_length(b"a" * LARGEST_REQUEST)).refusal is None


def test_a_client_that_waits_to_be_told_to_go_on_is_noticed() -> None:
    expects = b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    asking = arrived(HEAD + expects)

    assert not asking.readable
    assert asking.expects_continue
    assert not arrived(b"POST / HTTP/1.0\r\n" + expects).expects_continue
    assert not arrived(with_length(b"expect: 100-continue\r\n")).expects_continue


@pytest.mark.parametrize(
    "begun",
    [
        HEAD + b"X: ",
        HEAD + b"Content-Length: 1000000\r\n\r\n",
        CHUNKED + b"1;",
        CHUNKED + b"0\r\n",
        CHUNKED + b"1;%s\r\na\r\nfffff;%s\r\n" % (b"a" * 30_000, b"b" * 18_000),
    ],
    ids=["head", "body", "size of a chunk", "trailer", "chunk behind long lines"],
)
def test_dripping_costs_no_more_for_what_came_before(begun: bytes) -> None:
    arrival, byte = arrived(begun), b"a"
    start, drips = time.process_time(), 0
    while not (arrival.readable or arrival.refusal):
        arrival.add(byte)
        drips += 1

    assert 10_000 < drips <= LARGEST_REQUEST
    assert time.process_time() - start < 10e-6 * LARGEST_REQUEST


PIECES = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([HEAD, CHUNKED, b"\r\n\r\n", b"\r\n", b"\n", b"0\r\n", b"5;\r\n", *WHOLE]),
    max_size=12,
)


@given(PIECES)
def test_any_bytes_in_any_pieces_come_to_the_same(pieces: list[bytes]) -> None:
    in_pieces, at_once = arrived(*pieces), arrived(b"".join(pieces))

    assert (in_pieces.complete, status(in_pieces)) == (at_once.complete, status(at_once))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.integers(1, 7))
def test_a_body_in_chunks_is_there_when_it_is_whole(chunks: list[bytes], size: int) -> None:
    whole = chunked(*chunks)
    pieces = [whole[n : n + size] for n in range(0, len(whole), size)]

    assert arrived(*pieces).complete
    assert not arrived(*pieces[:-1], pieces[-1][:-1]).complete


class Silent:
    """A connection that may not be read any more."""

    def recv(self, size: int) -> bytes:
        raise AssertionError("a thread would wait here")


FRAMING = st.lists(
    st.sampled_from(
        [
            *(b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: 00", b"content-length:5\t"),
            *(b"Transfer-Encoding: chunked", b"transfer-encoding:chunked ", b"Transfer-Encoding: identity"),
            *(b"X: y", b" 1"),
        ]
    ),
    max_size=3,
)
BODIES = st.lists(
    st.sampled_from([b"0", b"3", b"0003", b"3;a=b", b"3 ;a", b"3 ", b"abc", b"\r\n", b"\r", b"\n", b"X: y"])
    | st.binary(max_size=4),
    max_size=12,
)


@given(st.sampled_from([b"1.1", b"1.0"]), FRAMING, BODIES)
def test_a_complete_request_ends_where_gunicorn_finds_its_end(
    version: bytes, framing: list[bytes], body: list[bytes]
) -> None:
    lines = [b"POST / HTTP/" + version, b"Host: x", *framing]
    arrival = byte_by_byte(b"\r\n".join(lines) + b"\r\n\r\n" + b"".join(body))
    assume(arrival.complete)
    parser = get_parser(Config(), Silent(), ("127.0.0.1", 1))
    parser.unreader.unread(bytes(arrival.received))
    try:
        next(parser).body.read()
    except (ParseException, OSError):
        return  # gunicorn refuses it, and closes

    assert parser.unreader.take_buffered() == b""
