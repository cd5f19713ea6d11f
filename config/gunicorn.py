"""gunicorn's settings for the web process: `gunicorn -c python:config.gunicorn "app.web:create_app()"`."""

import os
import re
import socket
import struct
import sys
import time
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import http, util
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.schema import SchemaMismatch, check_schema
from config.environment import drop_broker_secrets, load
from config.file import ConfigurationFault, Role

RECEIVE_SECONDS = 3
ENOUGH = 64 * 1024
"""Bytes of a body after which the application may refuse it without the rest."""

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,18})[ \t]*\r$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:")


def _whole(name: str, otherwise: int) -> int:
    """A number of the environment. A faulty one is reported by on_starting(), with all the others."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise


# gunicorn reads plain names of this module, so the environment is read here, at import.
bind = f"0.0.0.0:{_whole('PORT', 8000)}"
workers = _whole("WEB_CONCURRENCY", 1)
threads = _whole("WEB_THREADS", 16)
worker_class = "config.gunicorn.PatientWorker"
worker_connections = 900  # a process may often open 1024 files
timeout = 30
graceful_timeout = 20
keepalive = 5
control_socket_disable = True
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
accesslog = None  # a hook's secret may stand in the path


class PatientWorker(ThreadWorker):
    """gunicorn's threads, given whole requests only: clients that send slowly, or half, wait outside.

    gunicorn itself gives each connection a thread before it has sent a byte, and lingers on a closing one for up to
    two seconds in the one thread that accepts: two dozen idle sockets would close the door for half a minute.
    """

    def enqueue_req(self, conn: TConn) -> None:
        received = b"" if conn.parser is None else conn.parser.unreader.take_buffered()
        conn.received = bytearray(received)
        if _is_whole(conn.received):
            self._serve(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + RECEIVE_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        try:
            data = client.recv(ENOUGH)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.received += data
        whole = _is_whole(conn.received)
        if data and not whole:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if whole:
            self._serve(conn)
        else:
            self.nr_conns -= 1
            conn.close()

    def _serve(self, conn: TConn) -> None:
        if conn.parser is None:
            conn.parser = http.get_parser(conn.cfg, conn.sock, conn.client)
        conn.parser.unreader.unread(bytes(conn.received))
        conn.data_ready = True
        super().enqueue_req(conn)

    def finish_request(self, conn: TConn, done: Any) -> None:
        if not done.cancelled() and not done.exception() and done.result():
            super().finish_request(conn, done)
            return
        self.nr_conns -= 1
        with suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            for _ in range(16):  # bytes left unread would reset the connection, and the answer with it
                if not conn.sock.recv(ENOUGH):
                    break
        util.close(conn.sock)


def _is_whole(received: bytearray) -> bool:
    """Whether a request has arrived as far as it will be read."""
    head, blank, body = bytes(received).partition(b"\r\n\r\n")
    if not blank:
        return len(received) > ENOUGH
    if len(body) >= ENOUGH:
        return True
    if _CHUNKED.search(head + b"\r\n"):
        return _has_last_chunk(body)
    length = _LENGTH.search(head + b"\r\n")
    return length is None or len(body) >= int(length[1])


def _has_last_chunk(body: bytes) -> bool:
    place = 0
    while (end := body.find(b"\r\n", place)) >= 0:
        size = re.match(rb"[0-9A-Fa-f]{1,8}", body[place:end])
        if size is None:
            return True  # nonsense: gunicorn says so
        if int(size[0], 16) == 0:
            return b"\r\n\r\n" in body[end:]
        place = end + 2 + int(size[0], 16) + 2
        if place > len(body):
            return False
    return False


class Discreet(Logger):
    """gunicorn's log without what strangers sent: even a request line that can't be read may hold a hook's secret."""

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Invalid request"):
            msg = re.split(r"['\"(]", str(msg), maxsplit=1)[0].rstrip(" :")
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(sys.exception(), BlockingIOError):
            super().info("a client fell silent within its request")
        else:
            super().exception(str(msg).partition("%")[0].rstrip(), **kwargs)


logger_class = Discreet


def on_starting(server: Any) -> None:
    """Before it listens: check all settings, and start anew without the brokers' credentials if there are any.

    Deleting them from `os.environ` alone would leave them in the process's memory, as /proc shows it.
    """
    try:
        settings = load(Role.WEB)
        _check_ledger(settings.database_url)
    except (ConfigurationFault, SchemaMismatch, LedgerUnavailable) as exc:
        print(f"web: {exc}", file=sys.stderr)
        sys.exit(2)
    environ = dict(os.environ)
    if drop_broker_secrets(environ, settings.configuration):
        os.execve(sys.executable, sys.orig_argv, environ)  # noqa: S606 (the same command line, a smaller environment)


def _check_ledger(url: str) -> None:
    """Each worker process checks again; here the reason is told in one line, and nothing listens in vain."""
    ledger = Ledger(url)
    try:
        check_schema(ledger)
    finally:
        ledger.dispose()  # the worker processes are forked from this one, and must not share its connections


def when_ready(server: Any) -> None:
    """A half-sent request would hold a thread for ever: give up on a silent socket."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", RECEIVE_SECONDS, 0))
