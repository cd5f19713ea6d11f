"""How OKX wants requests signed.

Page: https://www.okx.com/docs-v5/en/#overview-rest-authentication
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from config.secrets import Secret
from workers.brokers.http import HttpRequest

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

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must be printed nowhere."""
        return self.key, self.secret, self.passphrase


def timestamp(moment: int) -> str:
    """The venue's milliseconds since 1970 as it wants them in a signature: `2020-12-08T09:08:57.715Z`."""
    text = (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def signature(secret: str, at: str, method: str, path: str, content: bytes | None) -> str:
    """The signature of a request made at a time (as `timestamp` spells it); `path` has the query with it."""
    message = f"{at}{method}{path}".encode() + (content or b"")
    return base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()


def signed(request: HttpRequest, credential: Credential, moment: int) -> tuple[HttpRequest, Secret]:
    """A request with the headers that authenticate it, and the signature. Its URL is the path alone: what is signed."""
    at = timestamp(moment)
    sign = signature(credential.secret.reveal(), at, request.method, request.url, request.content)
    headers = {
        "OK-ACCESS-KEY": credential.key.reveal(),
        "OK-ACCESS-SIGN": sign,
        "OK-ACCESS-TIMESTAMP": at,
        "OK-ACCESS-PASSPHRASE": credential.passphrase.reveal(),
    }
    return replace(request, headers={**request.headers, **headers}), Secret(sign)
