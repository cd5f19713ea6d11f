"""What a request to the door holds: its body, what its sender shows of itself, and what it asks beside the text."""

import sys
from dataclasses import dataclass
from typing import Any

from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from app.alerts.authentication import secret_in
from app.alerts.dialects import has_comments
from app.alerts.errors import AlertRefused, UnreadableAlert, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.redaction import secret_named_in
from app.ledger.delivery import Delivery
from app.strict import Fault, did_you_mean

LARGEST_BODY = 16 * 1024


def read_body() -> bytes | None:
    """The bytes of the request, at most one more than is allowed; None if they did not all come.

    Werkzeug's own limit cuts a chunked body silently, so the stream is read here, past the limit, and measured.
    """
    request.max_content_length = sys.maxsize  # None would be the application's own limit
    try:
        body = request.stream.read(LARGEST_BODY + 1)
    except (ClientDisconnected, ParseException, OSError, ValueError):
        return None
    # A sender that hangs up looks like the end of the body, and half a text may ask for more than all of it.
    promised = min(request.content_length or 0, LARGEST_BODY + 1)
    return body if len(body) >= promised else None


def read_fields(body: bytes, hook: Hook | None) -> dict[str, Any] | AlertRefused:
    """What the text says, or why it can't be read: its sender is to be authenticated before it is told."""
    if len(body) > LARGEST_BODY:
        message = f"is larger than {LARGEST_BODY} bytes"
        return UnreadableAlert(Fault("", message, "an alert is a short text; send less"))
    try:
        comments = hook is not None and has_comments(hook.dialects)
        return fields_of(body, hook.known_accounts if hook else (), comments=comments)
    except AlertRefused as exc:
        return exc


@dataclass(frozen=True, slots=True)
class Offered:
    """What a sender shows of itself: a secret, or a signature of the body."""

    secret: str = ""
    signed: bool = False

    @property
    def what_failed(self) -> str:
        return "wrong_signature" if self.signed else "wrong_secret" if self.secret else "no_secret"


def offered(fields: dict[str, Any] | AlertRefused, body: bytes, path_secret: str | None) -> Offered:
    """The first that is there: in the path, the header, the text; else a signature."""
    given = path_secret if path_secret is not None else _bearer()
    if given is None:
        given = secret_named_in(body) if isinstance(fields, AlertRefused) else secret_in(fields)
    if given is not None:
        return Offered(given)
    return Offered(signed="webhook-signature" in request.headers)


def _bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_dry_run() -> bool:
    """`?dry_run=1`. A misspelt one must not close for real."""
    try:
        query = request.args
    except UnicodeDecodeError as exc:  # raw bytes behind the question mark, where Werkzeug expects ASCII
        raise WrongAlert(Fault("", "the address is not UTF-8 text", "end it after the hook's name")) from exc
    for name in query:
        if name != "dry_run" and (hint := did_you_mean(name, ["dry_run"])):
            raise WrongAlert(Fault(name, "is not known in the address", hint))
    values = {value.lower() for value in query.getlist("dry_run")} or {"0"}
    said = values.pop()
    if values or said not in ("0", "1", "true", "false"):
        raise WrongAlert(
            Fault("dry_run", "must be 1 or 0 in the address", "?dry_run=1 shows and sends nothing")
        )
    return said in ("1", "true")


def with_header_key(delivery: Delivery) -> Delivery:
    for name in ("webhook-id", "Idempotency-Key"):
        key = request.headers.get(name)
        if key is None:
            continue
        if not key.strip():
            raise WrongAlert(Fault(name, "is blank", "send a key, or leave the header out"))
        return delivery.keyed(key)
    return delivery


def source_address() -> str | None:
    """Where the call came from; behind proxies that are not trusted, the last of them. Not to be believed blindly."""
    return request.remote_addr[:64] if request.remote_addr else None
