"""One open WebSocket and the calls in flight on it: each is answered by the reply with its id, or ends with it."""

import json
import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog
from websocket import ABNF, WebSocket, WebSocketException, WebSocketTimeoutException

from app.domain.failures import NotSent, OutcomeUnknown
from config.secrets import Secret
from workers.brokers.broker import Guard
from workers.brokers.crosstrade import messages
from workers.brokers.crosstrade.line import Line
from workers.brokers.crosstrade.messages import Message
from workers.brokers.crosstrade.opening import TooLarge
from workers.brokers.redaction import text_without

log = structlog.get_logger(__name__)

PULSE = 20.0
"""Seconds of silence after which the venue is pinged; after twice as long the connection counts as dead."""
PONG_WITHIN = 5.0
"""Seconds that our side of the keepalive may take to leave."""
GOODBYE_WITHIN = 0.5
JOIN_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended."""

    reason: str
    code: int | None = None
    """The venue's, if it closed the WebSocket."""
    evidence: dict[str, Any] | None = None
    ours: bool = False
    """Whether we gave it up ourselves."""
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take: moments of the monotonic clock, and seconds."""

    ends_at: float
    silence: float
    """From the request's leaving to its reply."""

    @property
    def left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())


@dataclass(slots=True)
class _InFlight:
    reply: Future[Message] = field(default_factory=Future)
    stray: dict[str, Any] | None = None
    """The last message that came in the meantime and answers nobody: perhaps our reply, garbled."""


class Connection:
    """
    An open WebSocket, read by a thread of its own until it ends; it never opens itself again.

    `secrets` are taken out of all that it says; its lines of the log name `broker`.
    """

    def __init__(
        self, broker: str, socket: WebSocket, line: Line, secrets: Sequence[Secret], pulse: float = PULSE
    ) -> None:
        self.answered = False
        """Whether it ever brought a reply, or the answer to a ping."""
        self._log = log.bind(broker=broker)  # its thread carries no command on, and knows of no context
        self._socket = socket
        self._line = line
        self._secrets = secrets
        self._pulse = pulse
        self._state = threading.Lock()  # of what is in flight, and of the end
        self._in_flight: dict[str, _InFlight] = {}
        self._end: End | None = None
        self._broken = False
        """Whether a frame may have left in part only, so that no other may follow it."""
        self._writing = threading.Lock()  # one frame at a time; whoever frees the line takes it last
        self._reader = threading.Thread(target=self._read, name="crosstrade-websocket", daemon=True)
        self._reader.start()

    @property
    def end(self) -> End | None:
        """How it ended; None while it stands."""
        return self._end

    def ask(self, request: dict[str, Any], guard: Guard, patience: Patience) -> Message:
        """Send a request once and wait for its reply. Raises NotSent, OutcomeUnknown, or what the guard raises."""
        frame = ABNF.create_frame(json.dumps(request), ABNF.OPCODE_TEXT)
        if not self._writing.acquire(timeout=patience.left):
            raise NotSent("other requests took the whole deadline to leave")
        try:
            call = self._take_off(request["id"], guard, patience)
            self._write(frame, patience.ends_at)
        finally:
            self._writing.release()
        return self._reply(request["id"], call, patience)

    def close(self) -> None:
        """Give the connection up. What is in flight on it ends unknown."""
        writing = self._writing.acquire(timeout=GOODBYE_WITHIN)
        try:
            if writing and self._end is None:
                self._write(_closing_frame(), time.monotonic() + GOODBYE_WITHIN)
            self._finish(End("the WebSocket was given up", ours=True))
        finally:
            if writing:
                self._writing.release()
        self._reader.join(JOIN_WITHIN)

    def _take_off(self, request_id: str, guard: Guard, patience: Patience) -> _InFlight:
        """The last moment to keep a request here."""
        if not patience.left:
            raise NotSent("nothing of the deadline was left")
        guard(patience.left)
        if not patience.left:
            raise NotSent("the guard took the whole deadline")
        call = _InFlight()
        with self._state:
            if self._end is not None or self._broken or self._line.at_end():
                raise NotSent("the WebSocket had ended")
            self._in_flight[request_id] = call
        return call

    def _reply(self, request_id: str, call: _InFlight, patience: Patience) -> Message:
        try:
            return call.reply.result(min(patience.left, patience.silence))
        except TimeoutError:
            raise OutcomeUnknown("no reply came in time", answer=call.stray) from None
        finally:
            with self._state:
                self._in_flight.pop(request_id, None)

    def _write(self, frame: ABNF, until: float) -> None:
        """Send one frame. If it may not have left whole the line is closed, and the reader ends the connection."""
        self._line.write_until = until
        try:
            self._socket.send_frame(frame)
        except (WebSocketException, OSError):
            # What has come is still read: it may be the venue's close, with the reason.
            self._broken = True
            self._line.close()

    # The reader's

    def _read(self) -> None:
        end = None
        try:
            end = self._listen()
        except TooLarge:
            end = End("a message was too large to be kept")
        except (WebSocketException, OSError, ValueError) as exc:
            end = End(f"the connection broke ({type(exc).__name__})")
        finally:
            self._finish(end or End("reading failed"))
            with self._writing:
                self._line.free()

    def _listen(self) -> End:
        """Take in what comes, until the venue closes or is silent for too long."""
        heard = pinged = time.monotonic()
        while True:
            self._line.read_until = max(heard, pinged) + self._pulse
            try:
                frame = self._socket.recv_frame()  # type: ignore[no-untyped-call]
            except WebSocketTimeoutException:
                if time.monotonic() - heard >= 2 * self._pulse:
                    return End("the venue was silent, even to pings")
                self._ping()
                pinged = time.monotonic()
                continue
            heard = time.monotonic()
            if frame.opcode == ABNF.OPCODE_CLOSE:
                return self._closed(frame.data)
            if frame.opcode == ABNF.OPCODE_PING:
                self._keep_alive(ABNF.create_frame(frame.data, ABNF.OPCODE_PONG))
            elif frame.opcode == ABNF.OPCODE_PONG:
                self.answered = True
            else:
                self._take_in(frame)

    def _take_in(self, frame: ABNF) -> None:
        """A message, or a part of one; text or binary is all the same."""
        parts = self._socket.cont_frame
        parts.validate(frame)
        parts.add(frame)
        if parts.is_fire(frame):
            _, whole = parts.extract(frame)
            self._receive(whole.data.decode("utf-8", "replace"))

    def _receive(self, text: str) -> None:
        message = messages.message_of(text, self._secrets)
        with self._state:
            call = self._in_flight.pop(message.id, None) if message.id is not None else None
            if message.id is None and not message.is_push:
                for waiting in self._in_flight.values():
                    waiting.stray = message.for_the_record()
        if call is not None:
            self.answered = True
            call.reply.set_result(message)
        elif message.id is not None:
            self._log.info("late_reply_dropped", request=message.id, characters=len(text))

    def _closed(self, data: bytes) -> End:
        code = struct.unpack("!H", data[:2])[0] if data else None
        words = text_without(data[2:].decode("utf-8", "replace"), self._secrets)
        self._keep_alive(_closing_frame())
        evidence = {"closed": {"code": code, "reason": words}}
        return End(f"CrossTrade closed the WebSocket ({code or 'no code'})", code, evidence)

    def _ping(self) -> None:
        # The page's keepalive is a message, and nothing is said of its answer; a ping frame must be answered.
        self._keep_alive(ABNF.create_frame(messages.PING, ABNF.OPCODE_TEXT))
        self._keep_alive(ABNF.create_frame(b"", ABNF.OPCODE_PING))

    def _keep_alive(self, frame: ABNF) -> None:
        if self._writing.acquire(timeout=PONG_WITHIN):
            try:
                self._write(frame, time.monotonic() + PONG_WITHIN)
            finally:
                self._writing.release()

    def _finish(self, end: End) -> None:
        """End the connection, if it stands; the first end counts."""
        with self._state:
            if self._end is not None:
                return
            self._end = end
            left_behind, self._in_flight = self._in_flight, {}
        self._line.close()
        self._log.info("websocket_ended", reason=end.reason, in_flight=len(left_behind))
        for call in left_behind.values():
            evidence = {**(call.stray or {}), **(end.evidence or {})}
            call.reply.set_exception(OutcomeUnknown(end.reason, answer=evidence or None))


def _closing_frame() -> ABNF:
    return ABNF.create_frame(struct.pack("!H", 1000), ABNF.OPCODE_CLOSE)
