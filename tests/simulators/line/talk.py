"""A WebSocket on a connection of the handler's: the protocol is the library's, the bytes leave where faults can cut them.

Its own log is off: it would show every header, the secret ones too.
"""

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

SILENT = logging.Logger("websockets.silent", logging.CRITICAL)


class Talk:
    """One WebSocket. One thread reads it; what others send leaves frame by frame, and is lost once it has ended."""

    def __init__(
        self, connection: socket.socket, incoming: BinaryIO, head: bytes, stopping: threading.Event
    ) -> None:
        self.stopping = stopping
        self.pings = 0
        """Ping frames that came; each was answered."""
        self.pongs = 0
        self._connection = connection
        self._incoming = incoming
        self._head = head
        self._lock = threading.RLock()
        self._protocol = ServerProtocol(logger=SILENT)
        self._torn = False

    @property
    def connection(self) -> socket.socket:
        return self._connection

    def open(self) -> bool:
        """Answer the handshake. False if it was none."""
        with self._lock:
            self._protocol.receive_data(self._head)
            for request in self._protocol.events_received():
                self._protocol.send_response(self._protocol.accept(request))
            self._flush()
            return self._protocol.state is State.OPEN

    def texts(self) -> Iterator[str]:
        """The messages that come, until the WebSocket ends."""
        parts = []
        for frame in self._frames():
            self.pings += frame.opcode is Opcode.PING
            self.pongs += frame.opcode is Opcode.PONG
            if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                parts.append(bytes(frame.data))
                if frame.fin:
                    yield b"".join(parts).decode()
                    parts = []
        if self._torn:
            # Here, and not where it is asked for: while a thread reads, a closed descriptor sends no reset.
            os.close(self._connection.detach())

    def frame(self, payload: bytes) -> tuple[bytes, bytes]:
        """A text message as it goes out: what comes before the payload, and the payload."""
        whole = Frame(Opcode.TEXT, payload).serialize(mask=False)
        return whole[: len(whole) - len(payload)], payload

    def say(self, payload: bytes) -> None:
        self.send(b"".join(self.frame(payload)))

    def ping(self) -> None:
        with self._lock:
            self._protocol.send_ping(b"still there?")
            self._flush()

    def send(self, data: bytes) -> None:
        """Raises OSError when the line is down."""
        with self._lock:
            self._connection.sendall(data)

    def close(self, code: int, reason: str) -> None:
        """Close the WebSocket as its protocol says."""
        with self._lock:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason)
                self._flush()
                self._end(socket.SHUT_WR)

    def hang_up(self) -> None:
        """End the line without another byte."""
        self._end(socket.SHUT_RDWR)

    def tear(self) -> None:
        """End the line with a RST: the client sees a reset, not an end."""
        with self._lock:
            self._torn = True
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end(socket.SHUT_RD)

    def _frames(self) -> Iterator[Frame]:
        while chunk := self._chunk():
            with self._lock:
                self._protocol.receive_data(chunk)
                frames = self._protocol.events_received()
                self._flush()
            yield from frames
            if self._protocol.state is not State.OPEN:
                return

    def _chunk(self) -> bytes:
        try:
            return self._incoming.read1(64 * 1024)
        except OSError:
            return b""

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            try:
                self._connection.sendall(data) if data else self._end(socket.SHUT_WR)
            except OSError:
                return

    def _end(self, how: int) -> None:
        try:
            self._connection.shutdown(how)
        except OSError:
            return
