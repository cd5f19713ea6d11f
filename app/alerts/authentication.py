"""Who may call a hook: bytes in, a label out, and exactly one exception."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from app.alerts.hooks import Hook
from app.alerts.schemas import SECRET_FIELDS

_NOBODY = {"": hashlib.sha256(b"no such hook").digest()}


class NotAuthenticated(Exception):
    """Raised when the secret is wrong or missing, or there is no such hook: the three look alike."""


def authenticate(hook: Hook | None, secret: str) -> str:
    """The label of the secret that was used. Raises NotAuthenticated."""
    # Digests are compared, as bytes: compare_digest raises on non-ASCII text, and a digest's length says nothing.
    given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
    label = None
    for name, digest in (hook.secrets if hook else _NOBODY).items():
        if hmac.compare_digest(given, digest):
            label = name
    if hook is None or label is None:
        raise NotAuthenticated
    return label


def secret_in(fields: Mapping[str, Any]) -> str | None:
    """The secret that a text carries, or None."""
    for name in SECRET_FIELDS:
        if name in fields:
            value = fields[name]
            return value if isinstance(value, str) else None
    return None


def without_secret(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in SECRET_FIELDS}
