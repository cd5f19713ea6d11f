"""Kills the product's process that comes to an armed point of its code, as `kill -9` would just then.

Python imports this by itself in every process that has this folder on its PYTHONPATH. The product knows nothing of it:
its functions are wrapped as their modules are imported. A point is armed by an empty file of its name in the folder
that FAIL_POINTS names. Who renames it was there first, and dies; to all others the point is nothing. The new name
ends with the process and the time.

The points, each written `what:when` or `what:when:of which`:

- `claims.take`, `claims.recover`, `journal.begin` (of `close`, `cancel`), `journal.move` (of `sending-working`, …),
  `web.accept` (of one alert, or of `several`): `before`, in the transaction with all written and the commit about to be
  asked for; `after` it.
- `send` (of `close`, `cancel`): `before` its first byte; `sent`, all written and nothing read; `answered`, all read and
  nothing committed.
- `web.ring`: `after`, with the answer not yet given.
"""

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("FAIL_POINTS")
Function = Callable[..., Any]


class _Thread(threading.local):
    """What this thread is about."""

    write: tuple[str, str] | None = None
    """What its transaction is of, once it is known to write."""
    kind: str = "close"
    """Of the calls that it may make now."""
    sends: bool = False
    """Whether a call that acts is being made."""


_thread = _Thread()


def come_to(what: str, when: str, which: str = "") -> None:
    """Die here if the point is armed."""
    point = f"{FOLDER}/{what}:{when}" + (f":{which}" if which else "")
    try:
        os.rename(point, f"{point}.{os.getpid()}.{time.time_ns()}")
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def before_commit(_connection: Any) -> None:
    if _thread.write is not None:
        what, which = _thread.write
        come_to(what, "before", which)


def writing(function: Function, about: Callable[..., tuple[str, str] | None]) -> Function:
    """A function that makes one transaction. `about` tells its name from the arguments; None: who is `found` does."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _thread.write = about(*args)
        try:
            result = function(*args, **kwargs)
            write = _thread.write
        finally:
            _thread.write = None
        if write is not None:
            what, which = write
            come_to(what, "after", which)
        return result

    return wrapped


def found(function: Function, what: str) -> Function:
    """A function inside a transaction, called only if there is something to write."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _thread.write = (what, "")
        return function(*args, **kwargs)

    return wrapped


def of_the_ledger(module: ModuleType) -> None:
    from sqlalchemy import Engine, event

    event.listen(Engine, "commit", before_commit)


def of_claims(module: Any) -> None:
    claims = module.Claims
    claims.take = writing(claims.take, lambda *_: None)
    claims.take_read_backs = writing(claims.take_read_backs, lambda *_: None)
    module.claim_of = found(module.claim_of, "claims.take")
    claims.recover = writing(claims.recover, lambda *_: None)


def of_recovery(module: Any) -> None:
    module._take_back = found(module._take_back, "claims.recover")


def of_the_journal(module: ModuleType) -> None:
    journal: Any = module.Journal

    def beginning(_self: Any, _claim: Any, outgoing: Any) -> tuple[str, str]:
        _thread.kind = outgoing[0].kind
        return "journal.begin", _thread.kind

    def moving(_self: Any, claim: Any, step: Any, *_answers: Any) -> tuple[str, str]:
        return "journal.move", f"{claim.status}-{step.status}"

    journal.begin = writing(journal.begin, beginning)
    journal.move = writing(journal.move, moving)


def of_http(module: Any) -> None:
    from urllib3.connection import HTTPConnection

    send, read = module.send, HTTPConnection.getresponse

    @functools.wraps(send)
    def sending(request: Any, timeouts: Any, guard: Any) -> Any:
        if request.method == "GET":
            return send(request, timeouts, guard)

        def guarded(left: float) -> None:
            guard(left)
            come_to("send", "before", _thread.kind)

        _thread.sends = True
        try:
            answer = send(request, timeouts, guarded)
        finally:
            _thread.sends = False
        come_to("send", "answered", _thread.kind)
        return answer

    @functools.wraps(read)
    def reading(self: Any) -> Any:
        if _thread.sends:
            come_to("send", "sent", _thread.kind)
        return read(self)

    module.send = sending
    HTTPConnection.getresponse = reading  # type: ignore[method-assign]


def of_intake(module: Any) -> None:
    def accepting(_ledger: Any, batch: Any, *_: Any) -> tuple[str, str]:
        return "web.accept", "several" if len(batch) > 1 else ""

    module._commit = writing(module._commit, accepting)


def of_the_doorbell(module: Any) -> None:
    ring = module.Doorbell.ring

    @functools.wraps(ring)
    def ringing(*args: Any) -> Any:
        heard = ring(*args)
        come_to("web.ring", "after")
        return heard

    module.Doorbell.ring = ringing


WRAPS: dict[str, Callable[[ModuleType], None]] = {
    "app.ledger.connection": of_the_ledger,
    "app.ledger.claims": of_claims,
    "app.ledger.recovery": of_recovery,
    "app.ledger.journal": of_the_journal,
    "app.ledger.intake": of_intake,
    "app.queueing": of_the_doorbell,
    "workers.brokers.http": of_http,
}


class Wrapping(MetaPathFinder):
    """Finds the modules that have points, and wraps their functions once they have run."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        wrap = WRAPS.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if wrap else None
        if wrap is None or spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_wrap(module: ModuleType) -> None:
            run(module)
            wrap(module)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


if FOLDER is not None:
    sys.meta_path.insert(0, Wrapping())
