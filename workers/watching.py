"""What people must hear of though no command tells it: a silent hook, a broker that does not answer, Redis gone.

It runs in a process of its own under the supervisor, which tells all else that comes up too: no close waits for a
message, and no message for a close.
"""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from app.alerts.hooks import Hook
from app.domain.causes import HEALTH, HEARTBEAT
from app.ledger import condition, notices, questions, readers
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.notices import Cause
from app.ledger.schema import check_schema
from app.notifying import Notifier
from app.queueing import Doorbell
from config.environment import Settings
from workers.stopping import Stopping, stop_on_signals, supervisor

log = structlog.get_logger(__name__)

EVERY = 1.0
LOOK_EVERY = 60.0
"""Seconds between two looks at what may have fallen silent."""
BAD_LOOKS = 2
"""Looks in a row that must find it so: one lost answer is no news."""
SLOW = 5.0
"""Seconds for one call after which an exit may be late: a close takes several."""
UNREAD = 30.0
"""Seconds for which a question may wait: another may have asked it just now."""


def run(name: str, settings: Settings) -> None:
    """Watch until told to stop by SIGTERM or SIGINT, or until the supervisor is gone."""
    stopping, parent = Stopping(), supervisor()
    stop_on_signals(stopping)
    notify = settings.configuration.notify
    assert notify is not None, "without it nobody watches"
    ledger = Ledger(settings.database_url, threads=1)
    check_schema(ledger)
    notifier = Notifier(ledger, notify, settings.public_url)
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    watch = Watch(ledger, notifier, doorbell, settings.configuration.hooks, settings.configuration.brokers)
    log.info("watch_started", watch=name, addresses=len(notifier.addresses))
    while not stopping.is_set() and os.getppid() == parent:
        try:
            watch.once()
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
        except Exception:
            log.exception("watch_failed")
        stopping.wait(EVERY)


@dataclass(slots=True)
class Watch:
    """One round a second of telling what came up, and one a minute of looking for what fell silent."""

    ledger: Ledger
    notifier: Notifier
    doorbell: Doorbell
    hooks: Mapping[str, Hook]
    brokers: Mapping[str, object]
    machine: str = field(default_factory=socket.gethostname)
    """Each has its own line to Redis."""
    bad_looks: dict[str, int] = field(default_factory=dict)
    looked_at: float = float("-inf")

    def once(self) -> None:
        if time.monotonic() - self.looked_at >= LOOK_EVERY:
            self.looked_at = time.monotonic()
            self.look()
        self.notifier.once()

    def look(self) -> None:
        """One look at everything that may be silent. Raises LedgerUnavailable."""
        if self.notifier.tells_of(HEALTH):
            self._judge(
                f"health redis {self.machine}", self._of_redis(), f"Redis answers again at {self.machine}"
            )
            # Without a worker nobody reads, and the web process tells of that.
            for name, problem in self._of_brokers().items() if condition.health(self.ledger).workers else ():
                self._judge(f"health broker {name}", problem, f"broker {name} answers again")
        for hook in self.hooks.values():
            self._listen(hook)

    def _judge(self, about: str, problem: str | None, again: str) -> None:
        bad = self.bad_looks.get(about, 0) + 1 if problem else 0
        self.bad_looks[about] = bad
        if problem and bad >= BAD_LOOKS:
            self.notifier.note(Cause(about, HEALTH, problem, "/system"))
        elif not problem:
            self.notifier.over(Cause(about, HEALTH, again, "/system"))

    def _of_redis(self) -> str | None:
        if self.doorbell.answers() is False:
            return f"Redis does not answer at {self.machine}: commands are found by the sweep, up to a second later"
        return None

    def _of_brokers(self) -> dict[str, str | None]:
        """What the last reading of each broker says against it; and have each read anew, by a worker."""
        readings = {row.broker: row for row in questions.readings(self.ledger)}
        moment = condition.moment(self.ledger)
        found = {}
        for name in self.brokers:
            row = readings.get(name)
            answer = (row.answer or {}) if row else {}
            problem = answer.get("problem")
            if not problem and (slowest := answer.get("slowest", 0.0)) > SLOW:
                problem = f"it is slow: {slowest:g} s for a list of positions"
            unread = row and (row.answered_at is None or row.answered_at < row.asked_at)
            if row and unread and (waits := (moment - row.asked_at).total_seconds()) >= UNREAD:
                problem = f"no worker read it for {waits:.0f} s"
            found[name] = f"broker {name}: {problem}" if problem else None
        questions.ask_for_positions(self.ledger, list(self.brokers))
        return found

    def _listen(self, hook: Hook) -> None:
        """A missing close is the alert that never came."""
        if hook.heartbeat is None:
            return
        last = readers.last_heard(self.ledger, hook.name)
        heard = last or notices.watched_since(self.ledger, f"hook {hook.name}")
        silent = (condition.moment(self.ledger) - heard).total_seconds()
        about = f"heartbeat {hook.name}"
        if silent > hook.heartbeat:
            text = f"hook {hook.name} heard nothing since {heard:%Y-%m-%d %H:%M} UTC"
            self.notifier.note(Cause(about, HEARTBEAT, text, "/alerts"))
        elif last:
            text = f"hook {hook.name} hears again"
            self.notifier.over(Cause(about, HEARTBEAT, text, "/alerts"))
