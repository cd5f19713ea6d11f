"""The messages of CrossTrade's WebSocket: what is sent, and what a reply settles. Pure.

Page: https://docs.crosstrade.io/api/websocket-api.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from config.secrets import Secret
from workers.brokers.crosstrade.envelope import Answer, Settles, error_in
from workers.brokers.crosstrade.requests import RpcRequest
from workers.brokers.http import KEPT_ANSWER, parsed
from workers.brokers.redaction import body_without, text_without

PING = json.dumps({"action": "ping"})
"""The page's keepalive. It does not show what answers it."""

_LIMIT = re.compile(r"rate limit", re.IGNORECASE)
# No page shows how an RPC fails, and a reply has no status: "not connected" and "no reply in time", which REST tells
# by 408, look here like any other error. So only words that can mean nothing but a no are taken for one.
_DEFINITE = re.compile(
    r"invalid request|invalid_account|no positions? found|order linked to|unknown api command"
    r"|unauthorized|api_requires_pro|tradovate_not_linked|command blocked|order rejected",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came."""

    text: str
    body: Any
    """JSON, parsed; None where it is not."""

    @property
    def id(self) -> str | None:
        """The id of the request that it answers; None where it answers none."""
        value = self.body.get("id") if isinstance(self.body, dict) else None
        return value if isinstance(value, str) else None

    @property
    def is_push(self) -> bool:
        """Whether it is news that nobody asked for: those have a type, and no id."""
        return (
            isinstance(self.body, dict) and "id" not in self.body and isinstance(self.body.get("type"), str)
        )

    def for_the_record(self) -> dict[str, Any]:
        return {"message": self.text[:KEPT_ANSWER] if self.body is None else self.body}


def stream_url(base_url: str) -> str:
    """The address of the WebSocket, below the same prefix as REST's."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws/stream", "", ""))


def rpc(request: RpcRequest, request_id: str) -> dict[str, Any]:
    """A request as it is sent, and for the record: no credential is in it."""
    return {"action": "rpc", "id": request_id, "api": request.api, "args": request.args}


def message_of(text: str, secrets: Sequence[Secret]) -> Message:
    """What came, with these as stars: a venue may echo what it was sent."""
    return Message(text_without(text, secrets), body_without(parsed(text), secrets))


def answer_of(message: Message) -> Answer:
    """What answers a request. An error stands in its `data` or beside its `id`; in both places it settles nothing."""
    reply = message.body if isinstance(message.body, dict) else {}
    data, error = reply.get("data"), reply.get("error")
    body = None if data and error else reply if error else data
    return Answer(body, _settled_by(error_in(body)), message.for_the_record())


def _settled_by(error: str | None) -> Settles:
    if error is None:
        return Settles.SUCCESS
    if _LIMIT.match(error):
        return Settles.LIMIT
    if _DEFINITE.match(error):
        return Settles.REFUSAL | Settles.NOTHING_OPEN
    return Settles.NOTHING
