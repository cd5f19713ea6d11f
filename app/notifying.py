"""Telling people what came up: one message for all that is due to each address."""

import time
import unicodedata
from collections.abc import Mapping, Sequence

import structlog

from app.domain.causes import CAUSES, HEALTH
from app.ledger import condition, notices
from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.notices import Cause, Notice
from app.messages import name_of, send
from config.environment import Settings
from config.file import Notify
from config.secrets import Secret

log = structlog.get_logger(__name__)

BETWEEN = 10.0
"""Seconds between two messages to one address: what comes up meanwhile is told in one."""
LINES, LONGEST_TEXT = 6, 160
"""Causes that a message names, and characters of each: more are counted, for some services take no longer message."""
NO_WORKER = "health workers"
GONE_FOR = 30.0
"""Seconds without a worker, beyond those after which one counts as gone: a deploy is no news."""
LOOK_EVERY = 10.0


class Notifier:
    """Tells what comes up, each cause once to each address. Safe in any number of processes."""

    def __init__(self, ledger: Ledger, notify: Notify, public_url: str | None) -> None:
        self._ledger = ledger
        self._causes = notify.on
        self._public_url = (public_url or "").rstrip("/")
        self._addresses = {name_of(url): url for url in notify.urls}
        self._told_at = dict.fromkeys(self._addresses, float("-inf"))

    @property
    def addresses(self) -> Mapping[str, Secret]:
        return self._addresses

    def once(self) -> None:
        """Gather what came up, and tell it. Raises LedgerUnavailable."""
        notices.gather(self._ledger, self._causes, self._addresses)
        for name, url in self._addresses.items():
            if time.monotonic() - self._told_at[name] >= BETWEEN:
                self._tell(name, url)

    def tells_of(self, cause: str) -> bool:
        """Whether anybody wants to be told of this."""
        return cause in self._causes

    def note(self, cause: Cause) -> None:
        """Let something be told that is neither of a command nor of an alert, if it is to be told at all."""
        if self.tells_of(cause.cause):
            notices.note(self._ledger, [cause], self._addresses)

    def over(self, cause: Cause) -> None:
        """Something that lasted has ended: `cause` says so to who was told."""
        if notices.over(self._ledger, cause.about):
            ended = Cause(f"{cause.about} over at {time.time_ns()}", cause.cause, cause.text, cause.path)
            self.note(ended)

    def _tell(self, name: str, url: Secret) -> None:
        taken = notices.take(self._ledger, name)
        if not taken:
            return
        self._told_at[name] = time.monotonic()
        if send(url, title_of(taken), text_of(taken, self._public_url)):
            notices.told(self._ledger, taken)
            log.info("notified", address=name, causes=len(taken))
        else:
            wait = notices.not_told(self._ledger, taken)
            log.error("notification_failed", address=name, causes=len(taken), tried_again_in=wait)


def watch_for_workers(settings: Settings) -> None:
    """Tell when no worker is alive: then nobody else does. It never ends."""
    notify = settings.configuration.notify
    assert notify is not None, "without it nobody watches"
    ledger = Ledger(settings.database_url, threads=1)
    lookout = Lookout(ledger, Notifier(ledger, notify, settings.public_url))
    while True:
        try:
            lookout.once()
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", reason=str(exc))
        except Exception:
            log.exception("watch_failed")
        time.sleep(LOOK_EVERY)


class Lookout:
    """Looks whether any worker is alive."""

    def __init__(self, ledger: Ledger, notifier: Notifier) -> None:
        self._ledger = ledger
        self._notifier = notifier
        self._gone_since: float | None = None

    def once(self) -> None:
        """One look. Raises LedgerUnavailable."""
        if condition.health(self._ledger).workers:
            self._gone_since = None
            self._notifier.over(Cause(NO_WORKER, HEALTH, "a worker is alive again", "/system"))
            return
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since >= GONE_FOR:
            text = "no worker is alive: alerts are taken and kept, and nothing is sent to a broker"
            self._notifier.note(Cause(NO_WORKER, HEALTH, text, "/system"))
            self._notifier.once()


def title_of(taken: Sequence[Notice]) -> str:
    if len(taken) == 1:
        return f"Flatwire: {taken[0].cause}"
    return f"Flatwire: {len(taken)} things to look at"


def text_of(taken: Sequence[Notice], public_url: str) -> str:
    """The gravest first, each with where more of it is."""
    ordered = sorted(taken, key=lambda it: CAUSES.index(it.cause))
    lines = [_line(it, public_url) for it in ordered[:LINES]]
    if len(ordered) > LINES:
        lines.append(f"… and {len(ordered) - LINES} more: {public_url}/attention")
    return "\n".join(lines)


def _line(notice: Notice, public_url: str) -> str:
    said = f"{notice.noted_at:%H:%M:%S} UTC {notice.cause}: {_plain(notice.text)}"
    return f"{said} {public_url}{notice.path}" if notice.path else said


def _plain(text: str) -> str:
    """Others' words, on one line: no control characters, none that turn the writing round, and nobody is called by @."""
    kept = "".join(" " if unicodedata.category(ch)[0] == "C" else ch for ch in text)
    kept = kept.replace("@", "(at)")
    return kept if len(kept) <= LONGEST_TEXT else f"{kept[: LONGEST_TEXT - 1]}…"
