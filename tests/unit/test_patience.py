"""When a request is there: whole, or as much of it as will be read; and that the pieces it comes in do not matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.patience import ENOUGH, LARGEST_HEAD, LARGEST_REQUEST, Arrival

HEAD = b"POST /hooks/futures HTTP/1.1\r\nHost: x\r\n"


def arrived(*pieces: bytes) -> Arrival:
    arrival = Arrival()
    for piece in pieces:
        arrival.received += piece
        assert arrival.readable or not arrival.complete
    return arrival


def with_length(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


WHOLE = [
    HEAD + b"\r\n",
    with_length(b""),
    with_length(b"close MES 12-26"),
    with_length(b"a\r\n\r\nb" * 3),
    HEAD + b"content-LENGTH:   3 \r\n\r\nabc".replace(b"3 ", b"3"),
    HEAD + b"X: 1\r\nContent-Length: 2\r\nY: 2\r\n\r\nab",
    chunked(b"close", b" MES 12-26"),
    chunked(b"a" * 300, b"\r\n0\r\n\r\n"),
    chunked(b"abc", trailer=b"X: y\r\n"),
]


@pytest.mark.parametrize("request_", WHOLE, ids=lambda request_: ascii(request_[36:90]))
def test_a_request_is_there_with_its_last_byte_and_not_before(request_: bytes) -> None:
    for cut in range(len(request_)):
        assert not arrived(request_[:cut]).readable
        assert arrived(request_[:cut]).refusal is None

    assert arrived(request_).complete
    assert arrived(*(request_[n : n + 1] for n in range(len(request_)))).complete
    assert arrived(request_ + HEAD).complete  # the next one may have come with it


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: 1e3\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length : 10\r\n",
    ],
)
def test_a_length_that_is_nonsense_is_left_to_be_refused_at_once(head: bytes) -> None:
    assert arrived(HEAD + head + b"\r\n").readable


def test_a_chunk_that_is_nonsense_is_left_to_be_refused_at_once() -> None:
    assert arrived(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n").readable


def test_no_more_of_a_body_is_waited_for_than_will_be_read() -> None:
    announced = HEAD + b"Content-Length: 10000000\r\n\r\n"
    for begun in (announced, HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"):
        assert not arrived(begun + b"a" * (ENOUGH - 1)).readable
        there = arrived(begun + b"a" * ENOUGH)
        assert (there.readable, there.complete) == (True, False)


def test_chunks_count_by_what_they_carry() -> None:
    carrying = arrived(chunked(*[b"abcdefgh"] * (ENOUGH // 8 + 1))[:-5])

    assert (carrying.readable, carrying.complete) == (True, False)


def test_what_will_never_be_readable_is_refused() -> None:
    tiny = b"1\r\na\r\n" * (LARGEST_REQUEST // 6 + 1)
    refusals = [
        arrived(b"POST / HTTP/1.1\r\nX: " + b"a" * LARGEST_HEAD).refusal,
        arrived(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + tiny).refusal,
        arrived(HEAD + b"Transfer-Encoding: gzip\r\n\r\n").refusal,
        arrived(HEAD + b"Transfer-Encoding : chunked\r\n\r\n").refusal,
    ]

    assert [refusal and refusal.split()[1] for refusal in refusals] == [b"431", b"413", b"400", b"400"]
    assert arrived(with_length(b"a" * LARGEST_REQUEST)).refusal is None


def test_a_client_that_waits_to_be_told_to_go_on_is_noticed() -> None:
    asking = arrived(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")

    assert not asking.readable
    assert asking.expects_continue
    assert not arrived(with_length(b"expect: 100-continue\r\n")).expects_continue


@given(st.lists(st.binary(max_size=40) | st.sampled_from([HEAD, b"\r\n\r\n", b"0\r\n", *WHOLE]), max_size=12))
def test_any_bytes_in_any_pieces_come_to_the_same(pieces: list[bytes]) -> None:
    in_pieces, at_once = arrived(*pieces), arrived(b"".join(pieces))

    assert (in_pieces.readable, in_pieces.complete) == (at_once.readable, at_once.complete)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.integers(1, 7))
def test_a_body_in_chunks_is_there_when_it_is_whole(chunks: list[bytes], size: int) -> None:
    whole = chunked(*chunks)
    pieces = [whole[n : n + size] for n in range(0, len(whole), size)]

    assert arrived(*pieces).complete
    assert not arrived(*pieces[:-1], pieces[-1][:-1]).complete
