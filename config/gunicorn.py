"""gunicorn's settings for the web process: `gunicorn -c python:config.gunicorn "app.web:create_app()"`."""

import gc
import os
import re
import sys
from threading import Thread
from typing import Any, NoReturn

from gunicorn.glogging import Logger

from config.environment import drop_broker_secrets, load, log_settings
from config.file import ConfigurationFault, Role
from config.logging import configure_logging


def _whole(name: str, otherwise: int) -> int:
    """A number of the environment. A faulty one is reported by on_starting(), with all the others."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise


# gunicorn reads plain names of this module, so the environment is read here, at import.
bind = f"0.0.0.0:{_whole('PORT', 8000)}"
workers = _whole("WEB_CONCURRENCY", 1)
threads = _whole("WEB_THREADS", 16)
worker_class = "config.patience.PatientWorker"
worker_connections = 900  # a process may often open 1024 files
timeout = 30
graceful_timeout = 20
keepalive = 5
control_socket_disable = True
sendfile = False  # it would wait without limit for a client that does not read
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
accesslog = None  # a hook's secret may stand in the path


class Discreet(Logger):
    """gunicorn's lines among ours, without what strangers sent: even a request line that can't be read may hold a secret."""

    def setup(self, cfg: Any) -> None:
        """It logs before the settings are checked, so that faulty ones of these are as if they were not set."""
        super().setup(cfg)
        level, style = log_settings(os.environ)
        configure_logging(level, style)
        self.error_log.handlers[:] = []
        # At DEBUG it tells each request's path.
        self.error_log.setLevel("INFO" if level == "DEBUG" else level)
        self.error_log.propagate = True

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if str(msg).startswith("Invalid request"):
            msg = re.split(r"['\"(]", str(msg), maxsplit=1)[0].rstrip(" :")
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(sys.exception(), BlockingIOError):
            super().info("a client stopped reading its answer")
        else:
            super().exception(str(msg).partition("%")[0].rstrip(), **kwargs)


logger_class = Discreet


def on_starting(server: Any) -> None:
    """Before it listens: check all settings, and start anew without the brokers' credentials if there are any.

    Deleting them from `os.environ` alone would leave them in the process's memory, as /proc shows it.
    """
    gc.disable()  # nothing of what is loaded now is garbage, and to look for it takes a tenth of the start
    try:
        settings = load(Role.WEB)
    except ConfigurationFault as exc:
        _end(exc)
    environ = dict(os.environ)
    if drop_broker_secrets(environ, settings.configuration):
        os.execve(sys.executable, sys.orig_argv, environ)  # noqa: S606 (the same command line, a smaller environment)
    _check_ledger(settings.database_url)


def when_ready(server: Any) -> None:
    """Before the first worker is forked; it is to share this memory, which looking for garbage would copy."""
    gc.freeze()
    gc.enable()


def post_fork(server: Any, worker: Any) -> None:
    """Until the application is loaded."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """That no worker is alive only the web process can tell."""
    from app.notifying import watch_for_workers

    # What is loaded by now stays: to look through it for garbage once in a while would hold an alert up.
    gc.freeze()
    gc.enable()
    settings = load(Role.WEB)
    if settings.configuration.notify:
        watching = Thread(target=watch_for_workers, args=(settings,), name="watching", daemon=True)
        watching.start()


def _check_ledger(url: str) -> None:
    """Each worker process checks again; here the reason is told in one line, and nothing listens in vain."""
    # Loading it takes long, and would be done twice by a process that starts anew.
    from app.ledger.connection import Ledger, LedgerUnavailable
    from app.ledger.schema import SchemaMismatch, check_schema

    try:
        ledger = Ledger(url)
        try:
            check_schema(ledger)
        finally:
            ledger.dispose()  # the worker processes are forked from this one, and must not share its connections
    except (SchemaMismatch, LedgerUnavailable) as exc:
        _end(exc)


def _end(reason: Exception) -> NoReturn:
    print(f"web: {reason}", file=sys.stderr)
    sys.exit(2)
