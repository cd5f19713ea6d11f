"""Addresses of databases, servers and pages, as they stand in the environment."""

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import fields

from app.strict import fault

_PLACE = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]*)(?::([0-9]{1,5}))?")
"""A host, and a port if there is one."""


class Address(fields.String):
    """A URL of one of the given schemes; the fault never shows the value, which may hold a password."""

    def __init__(self, *schemes: str, **kw: Any) -> None:
        super().__init__(**kw)
        self.schemes = schemes

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        if not re.match(rf"({'|'.join(map(re.escape, self.schemes))})", value):
            raise fault(f"must begin with {' or '.join(self.schemes)}")
        if not _names_a_place(value):
            raise fault(
                "has no host and port that can be read", "in a password write %23 for #, %2F for /, %5B for ["
            )
        return str(value).rstrip("/") if self.schemes[0].startswith("http") else str(value)


class RedisAddress(Address):
    """One of a Redis, that its client understands to the end."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        url = super()._deserialize(value, attr, data, **kw)
        if "?" in url and not _redis_takes(url):
            raise fault(
                "has something behind its ? that can't be read", "leave it out: nothing is needed there"
            )
        return url


def _redis_takes(url: str) -> bool:
    from redis import ConnectionPool, RedisError  # loading it takes long, and hardly any address has a ?

    try:
        ConnectionPool.from_url(url).make_connection()  # which opens nothing
    except (RedisError, AttributeError, TypeError, ValueError):  # by which of them depends on the option
        return False
    return True


def _names_a_place(url: str) -> bool:
    """Whether the host and the port of a URL can be told from a password beside them, by all who will read it."""
    scheme, _, rest = url.partition("://")
    if scheme in ("sqlite", "unix"):
        return True
    place = re.split(r"[/?#]", rest.rpartition("@")[2])[0]
    port = _PLACE.fullmatch(place)
    if port is None or int(port[1] or 0) > 65535:
        return False
    if scheme.startswith("postgres"):  # whose reader takes all before the last @ as it is
        return True
    try:
        return bool(urlsplit(url).hostname and (urlsplit(url).port or True))
    except ValueError:
        return False
