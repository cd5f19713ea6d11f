"""A delivery of an alert, what it asks for, and what became of it."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.commands import Command


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of an alert, authenticated."""

    hook: str
    body: bytes
    text: str
    """The text to keep: no secret in it."""
    secret_label: str
    source_address: str | None = None
    header_key: str | None = None
    """The sender's `Idempotency-Key` or `webhook-id`, if there was one."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def keyed(self, key: str) -> "Delivery":
        """The same delivery with the sender's key of a header."""
        return replace(self, header_key=key)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an accepted alert asks for, and for how long it is wanted."""

    commands: Sequence[Command]
    warnings: Sequence[dict[str, Any]] = ()
    sender_id: str | None = None
    fired_at: datetime | None = None
    max_age: float = 300
    max_lag: float | None = None
    """Seconds from firing to arrival after which the sender wants it no more; None: `max_age` decides."""
    stale_hint: str | None = None
    """What to change in the alert, should it be too old."""
    dedupe_window: float = 30
    symbol: str | None = None
    """The sender's name of the instrument, where the venue has another."""
    ignored: str | None = None
    """Why it asks for nothing; None: it does."""
    dry_run: bool = False
    """Its commands are kept to be shown, and are never sent."""

    def too_old(self, moment: datetime) -> bool:
        longest = self.max_age if self.max_lag is None else min(self.max_age, self.max_lag)
        return self.fired_at is not None and self.fired_at + timedelta(seconds=longest) <= moment


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery."""

    alert: str
    commands: Sequence[Any]
    """Their columns as attributes."""
    duplicate: bool = False
    warnings: Sequence[dict[str, Any]] = ()

    @property
    def to_ring_for(self) -> list[str]:
        """The ids of its commands that are new, and wait for a worker."""
        return [] if self.duplicate else [row.id for row in self.commands if row.settled_at is None]


def new_id() -> str:
    return secrets.token_hex(16)


def digest(text: str) -> str:
    """What stands for a text of a sender's where any length and any character may come."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
