"""How OKX wants requests signed, and how what signs them stays out of sight.

Page: https://www.okx.com/docs-v5/en/#overview-rest-authentication
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from config.secrets import Secret
from workers.brokers.http import HttpAnswer, HttpRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Credential:
    """What an API key of OKX consists of. Raises ValueError for one that can't be sent."""

    key: Secret
    secret: Secret
    passphrase: Secret

    def __post_init__(self) -> None:
        if not self.secret.reveal():
            raise ValueError("api_secret is empty")
        # An HTTP library that finds out would quote the value in its exception.
        for setting, value in (("api_key", self.key), ("passphrase", self.passphrase)):
            text = value.reveal()
            if not text or text != text.strip() or not (text.isascii() and text.isprintable()):
                raise ValueError(f"{setting} is not what a header can carry")

    def texts(self) -> tuple[str, str, str]:
        """What must be printed nowhere."""
        return self.key.reveal(), self.secret.reveal(), self.passphrase.reveal()


def timestamp(moment: int) -> str:
    """The venue's milliseconds since 1970 as it wants them in a signature: `2020-12-08T09:08:57.715Z`."""
    text = (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def signature(secret: str, at: str, method: str, path: str, content: bytes | None) -> str:
    """The signature of a request made at a time (as `timestamp` spells it); `path` has the query with it."""
    message = f"{at}{method}{path}".encode() + (content or b"")
    return base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()


def signed(request: HttpRequest, credential: Credential, moment: int) -> tuple[HttpRequest, str]:
    """A request with the headers that authenticate it, and the signature. Its URL is the path alone: what is signed."""
    at = timestamp(moment)
    sign = signature(credential.secret.reveal(), at, request.method, request.url, request.content)
    headers = {
        "OK-ACCESS-KEY": credential.key.reveal(),
        "OK-ACCESS-SIGN": sign,
        "OK-ACCESS-TIMESTAMP": at,
        "OK-ACCESS-PASSPHRASE": credential.passphrase.reveal(),
    }
    return replace(request, headers={**request.headers, **headers}), sign


def without(answer: HttpAnswer, unprintable: Sequence[str]) -> HttpAnswer:
    """An answer with these texts as stars: a venue may echo what it was sent, and answers get into the ledger."""
    text = answer.text
    for secret in unprintable:
        escaped = json.dumps(secret)[1:-1]
        for spelled in (secret, escaped, escaped.replace("/", "\\/")):
            text = text.replace(spelled, "***")
    try:
        return replace(answer, text=text, body=_without(answer.body, unprintable))
    except RecursionError:  # no answer of the venue's nests so deep
        return replace(answer, text=text, body=None)


def _without(value: Any, unprintable: Sequence[str]) -> Any:
    """However its texts were escaped on the wire, here they are plain."""
    if isinstance(value, str):
        for secret in unprintable:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, list):
        return [_without(item, unprintable) for item in value]
    if isinstance(value, dict):
        return {_without(name, unprintable): _without(item, unprintable) for name, item in value.items()}
    return value
