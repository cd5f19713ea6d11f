"""Opening CrossTrade's WebSocket: one handshake, and never a message larger than we are ready to keep."""

from http.cookies import CookieError
from urllib.parse import urlsplit

import websocket
from websocket._handshake import CookieJar

from app.domain.failures import NotSent, OutcomeUnknown, Refused, Throttled
from config.secrets import Secret
from workers.brokers.crosstrade.credential import authorization
from workers.brokers.crosstrade.envelope import body_of, of_http
from workers.brokers.crosstrade.line import Line, connected
from workers.brokers.http import LARGEST_ANSWER, answer_of
from workers.brokers.redaction import without


class TooLarge(Exception):
    """Raised when a message announces or reaches more than LARGEST_ANSWER bytes."""


def opened(
    url: str, token: Secret, connect_timeout: float, ends_at: float
) -> tuple[websocket.WebSocket, Line]:
    """An open WebSocket, and the line under it. Raises NotSent, Throttled or Refused.

    `ends_at` is a moment of the monotonic clock.
    """
    websocket.enableTrace(False)  # somebody's trace would write our token into the log
    CookieJar.jar.clear()  # one jar for the whole process: a cookie would go out with another credential
    parts = urlsplit(url)
    tls = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    try:
        line = connected(host, port, tls=tls, connect_timeout=connect_timeout, ends_at=ends_at)
    except (OSError, ValueError) as exc:
        raise NotSent(f"the venue could not be reached ({type(exc).__name__})") from exc
    try:
        return _upgraded(url, token, line), line
    except BaseException:
        line.free()
        raise


def _upgraded(url: str, token: Secret, line: Line) -> websocket.WebSocket:
    socket = _Bounded()
    try:
        socket.connect(  # type: ignore[no-untyped-call]
            url,
            socket=line,  # and so no proxy of the environment
            header=[f"Authorization: {authorization(token)}"],
            suppress_origin=True,
            redirect_limit=0,  # it would take our token along
        )
    except websocket.WebSocketBadStatusException as exc:
        # Not "from": the library's message holds the venue's words, which may echo the token.
        raise _turned_away(exc, token) from None
    except (websocket.WebSocketException, CookieError, OSError, ValueError) as exc:
        raise NotSent(f"no WebSocket could be opened ({type(exc).__name__})") from None
    line.allowance = None
    return socket


def _turned_away(exc: websocket.WebSocketBadStatusException, token: Secret) -> NotSent | Refused | Throttled:
    """An answer to the handshake means what it means to a REST request, but for this: our request was not in it."""
    text = (exc.resp_body or b"").decode("utf-8", "replace")
    said = answer_of(exc.status_code or 0, dict(exc.resp_headers or {}), text)
    answer = of_http(without(said, [token]))
    try:
        body_of(answer)
    except (Refused, Throttled) as failure:
        return failure
    except OutcomeUnknown:
        pass
    return NotSent(f"CrossTrade answered {answer.status} and opened no WebSocket", answer=answer.record)


class _Bounded(websocket.WebSocket):
    """A WebSocket that keeps no message of more than LARGEST_ANSWER bytes."""

    def __init__(self) -> None:
        # The library's own check of UTF-8 goes byte by byte in Python: seconds for a long list.
        super().__init__(skip_utf8_validation=True)
        self.frame_buffer = _BoundedFrames(self._recv, True)
        self.cont_frame = _BoundedMessage(False, True)


class _BoundedFrames(websocket.frame_buffer):
    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > LARGEST_ANSWER:
            raise TooLarge


class _BoundedMessage(websocket.continuous_frame):
    def add(self, frame: websocket.ABNF) -> None:
        before = len(self.cont_data[1]) if self.cont_data else 0
        if before + len(frame.data) > LARGEST_ANSWER:
            raise TooLarge
        super().add(frame)
