"""Who may call a hook: bytes in, a label out, and exactly one exception."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook

from app.alerts.hooks import Hook
from app.alerts.schemas import SECRET_FIELDS

SIGNING_PREFIX = "whsec_"
_LEAST_KEY, _LONGEST_KEY = 24, 64
_NOBODY = {"": hashlib.sha256(b"no such hook").digest()}
"""What is compared where there is nothing to compare with, so that it takes as long. It never authenticates."""


class NotAuthenticated(Exception):
    """Raised when the secret is wrong or missing, or there is no such hook: the three look alike."""


def authenticate(hook: Hook | None, secret: str) -> str:
    """The label of the secret that was used. Raises NotAuthenticated."""
    # Digests are compared, as bytes: compare_digest raises on non-ASCII text, and a digest's length says nothing.
    given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
    known: Mapping[str, bytes] = hook.secrets if hook else {}
    label = ""
    for name, digest in (known or _NOBODY).items():
        if hmac.compare_digest(given, digest):
            label = name
    if label not in known:
        raise NotAuthenticated
    return label


def authenticate_signed(hook: Hook | None, headers: Mapping[str, str], body: bytes) -> str:
    """The label of the secret that signed the body and its `webhook-id` and `webhook-timestamp`, less than five minutes
    ago (https://www.standardwebhooks.com). Raises NotAuthenticated.
    """
    known: Mapping[str, bytes] = hook.signing_keys if hook else {}
    label = ""
    for name, key in (known or _NOBODY).items():
        try:
            Webhook(key).verify(body, dict(headers), json_parse=False)
            label = name
        except Exception:  # noqa: S112 (a malformed header raises a ValueError as easily as its own error)
            continue
    if label not in known:
        raise NotAuthenticated
    return label


def signing_key(secret: str) -> bytes | None:
    """The key of a signing secret; None if it is another kind of secret. Raises ValueError if it is no base64 key."""
    if not secret.startswith(SIGNING_PREFIX):
        return None
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING_PREFIX), validate=True)
    except binascii.Error as exc:
        raise ValueError("is no base64") from exc
    if not _LEAST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(f"holds {len(key)} bytes")
    return key


def secret_in(fields: Mapping[str, Any]) -> str | None:
    """The secret that a text carries, or None."""
    for name in SECRET_FIELDS:
        if name in fields:
            value = fields[name]
            return value if isinstance(value, str) else None
    return None


def without_secret(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in SECRET_FIELDS}
