"""Sending a message to an address, by Apprise. An address holds tokens: nothing here shows one."""

import logging

import structlog

from config.secrets import Secret

log = structlog.get_logger(__name__)


def name_of(url: Secret) -> str:
    """What stands for an address where it must not be shown."""
    return url.digest().hex()[:16]


def scheme_of(url: Secret) -> str:
    """The service of an address, without what is secret about it."""
    return url.reveal().partition(":")[0]


def is_address(text: str) -> bool:
    """Whether Apprise knows how to reach this."""
    import apprise  # of all that load the settings few need it, and it is large

    _be_silent()
    return apprise.Apprise.instantiate(text, suppress_exceptions=True) is not None


def send(url: Secret, title: str, body: str) -> bool:
    """Whether a message was taken. Apprise waits four seconds to connect, and as long for the answer."""
    import apprise

    _be_silent()
    message = apprise.Apprise()
    try:
        if not message.add(url.reveal()):
            return False
        return bool(message.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
    except Exception as exc:
        # A plug-in of many, by many hands: what it raises must end nothing here. Its words may hold the address.
        log.error("notification_failed", address=name_of(url), error=type(exc).__name__)
        return False


def _be_silent() -> None:
    """Apprise's own log may name the address, which is a secret."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
