"""`python -m workers doctor`: what only a worker may know, each broker's credential tried by a harmless read."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from app.doctor import Finding, fault, fine, warning
from app.domain.failures import BrokerError
from config.file import BrokerSettings
from workers.brokers.registry import broker_of
from workers.looking import reading

SLOW = 3.0
"""Seconds for a list of positions after which a close may be late."""


def of_brokers(brokers: Iterable[BrokerSettings]) -> Iterator[Finding]:
    """Each broker asked for its open positions."""
    for settings in brokers:
        yield of_broker(settings)


def of_broker(settings: BrokerSettings) -> Finding:
    """One broker asked; always by REST, so that no other's socket is closed by it."""
    about = f"broker {settings.name}"
    began = time.monotonic()
    try:
        found = reading(broker_of(replace(settings, transport="rest")), settings.name)
    except BrokerError as exc:
        do = "check the credential, base_url, and that the venue's own program is connected"
        return fault(about, f"{settings.venue.title}: {exc.detail}", do)
    took = time.monotonic() - began
    said = f"{settings.venue.title}: {len(found['positions'])} position(s), read in {took:.1f} s"
    if found["unreadable"]:
        do = "check that the credential may see these accounts"
        return warning(about, f"{said}; not shown: {', '.join(found['unreadable'])}", do)
    if took > SLOW:
        return warning(about, said, "the venue is slow, or far away: a close takes several calls")
    return fine(about, said)
