"""Who is let in: OKX's signature and the five ways to get it wrong (brokers.md, section 4.1)."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from email.message import Message

from .codes import Refusal

LONGEST_SKEW = 30.0
DEMO_HEADER = "x-simulated-trading"
# Each header and the code for its absence.
REQUIRED = {
    "OK-ACCESS-KEY": "50103",
    "OK-ACCESS-PASSPHRASE": "50104",
    "OK-ACCESS-SIGN": "50106",
    "OK-ACCESS-TIMESTAMP": "50107",
}


@dataclass(frozen=True, slots=True)
class Credential:
    """A key, its secret and its passphrase."""

    key: str
    secret: str
    passphrase: str


def signature(secret: str, timestamp: str, method: str, path: str, body: bytes = b"") -> str:
    """`path` has the query; both it and the body are as sent."""
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def check(
    credential: Credential | None,
    demo: bool,
    now: float,
    headers: Message,
    method: str,
    path: str,
    body: bytes,
) -> None:
    """Raise Refusal for whoever is not let in. Without a credential any is, if its headers are there."""
    for name, missing in REQUIRED.items():
        if not headers.get(name):
            raise Refusal(missing)
    if credential is not None and headers["OK-ACCESS-KEY"] != credential.key:
        raise Refusal("50111")
    if (headers.get(DEMO_HEADER) == "1") is not demo:
        raise Refusal("50101")
    timestamp = headers["OK-ACCESS-TIMESTAMP"]
    if abs(_seconds(timestamp) - now) > LONGEST_SKEW:
        raise Refusal("50102")
    if credential is None:
        return
    if headers["OK-ACCESS-PASSPHRASE"] != credential.passphrase:
        raise Refusal("50105")
    expected = signature(credential.secret, timestamp, method, path, body)
    if not hmac.compare_digest(headers["OK-ACCESS-SIGN"].encode(), expected.encode()):
        raise Refusal("50113")


def _seconds(timestamp: str) -> float:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        raise Refusal("50112") from None
    if moment.tzinfo is None:
        raise Refusal("50112")
    return moment.timestamp()
