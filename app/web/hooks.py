"""The door: `POST /hooks/<hook>[/<secret>]`. The answer goes out before any broker is called."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from app.alerts.authentication import NotAuthenticated, authenticate, secret_in, without_secret
from app.alerts.errors import AlertRefused, UnreadableAlert, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text, without
from app.ledger.connection import Ledger
from app.ledger.encoding import columns_of
from app.ledger.intake import Delivery, KeyReused, Wish, accept, refuse
from app.ledger.readers import Record
from app.ledger.waiting import one_deadline
from app.queueing import Doorbell
from app.strict import Fault, did_you_mean
from app.web.presentation import command_summary, planned_summary
from app.web.problems import problem, problem_of

LARGEST_BODY = 16 * 1024

log = structlog.get_logger(__name__)
hooks = Blueprint("hooks", __name__)


@hooks.post("/hooks/<name>")
@hooks.post("/hooks/<name>/<secret>")
def take(name: str, secret: str | None = None) -> Response | tuple[dict[str, Any], int]:
    """Take an alert: authenticate, read, map, commit, ring, answer. However often the ledger is asked, in one time."""
    with one_deadline():
        return _take(name, secret)


def _take(name: str, secret: str | None) -> Response | tuple[dict[str, Any], int]:
    hook: Hook | None = current_app.extensions["flatwire_hooks"].get(name)
    body = _body()
    if body is None:
        return problem(400, "The alert can't be read", "the body did not arrive whole; send it again")
    try:
        label, fields, spoken = _authenticated(hook, body, secret)
    except NotAuthenticated as exc:
        log.warning("not_authenticated", source_address=request.remote_addr)
        return problem_of(exc)
    assert hook is not None, "only a hook that exists authenticates"
    delivery = Delivery(
        hook=hook.name,
        body=body,
        text=kept_text(body[:LARGEST_BODY], spoken),
        secret_label=label,
        source_address=request.remote_addr,
    )
    dry_run = False
    try:
        dry_run = _dry_run()
        return _answer(hook, delivery, fields, dry_run)
    except AlertRefused as exc:
        refused = _without_secret(exc, spoken)
        alert = None if dry_run else _kept(delivery, refused, refused.faults)
        if len(body) > LARGEST_BODY:
            return problem(413, "The alert is too large", str(refused), errors=refused.faults, alert=alert)
        return problem_of(refused, alert)
    except KeyReused as exc:
        return problem_of(exc, _kept(delivery, exc, [Fault("", str(exc))]))


def _kept(delivery: Delivery, exc: Exception, faults: Sequence[Fault]) -> str:
    """The id under which an alert that is not taken is kept: whoever is authenticated can find it, and why."""
    alert = refuse(_ledger(), delivery, str(exc), [fault.as_dict() for fault in faults])
    log.info("alert_refused", hook=delivery.hook, alert=alert, reason=str(exc))
    return alert


def _without_secret(exc: AlertRefused, secret: str) -> AlertRefused:
    """The same refusal; its messages quote the text, and a misplaced secret with it."""
    return type(exc)(
        *(
            Fault(without(fault.field, secret), without(fault.message, secret), fault.hint)
            for fault in exc.faults
        )
    )


def _answer(hook: Hook, delivery: Delivery, fields: dict[str, Any] | AlertRefused, dry_run: bool) -> Any:
    if isinstance(fields, AlertRefused):
        raise fields
    asked = request_of(without_secret(fields), hook, datetime.now(UTC))
    if dry_run:
        return _rehearsed(asked)
    taken = accept(_ledger(), _with_header_key(delivery), _wish(asked, hook))
    summaries = [command_summary(row) for row in taken.commands]
    if taken.duplicate:
        return {"status": "duplicate", "alert": taken.alert, "commands": summaries}, 200
    _ring(taken.commands)
    log.info("alert_accepted", hook=hook.name, alert=taken.alert, commands=len(summaries))
    return {
        "status": "accepted",
        "alert": taken.alert,
        "commands": summaries,
        "warnings": list(taken.warnings),
    }, 202


def _authenticated(
    hook: Hook | None, body: bytes, path_secret: str | None
) -> tuple[str, dict[str, Any] | AlertRefused, str]:
    """The label of the secret, the fields of the text (or why there are none), and the secret as it was given.

    Raises NotAuthenticated. The text is read before the secret is known to be right only if it is what carries it.
    """
    given = path_secret if path_secret is not None else _bearer()
    if given is not None:
        return authenticate(hook, given), _fields(body, hook), given
    fields = _fields(body, hook)
    spoken = None if isinstance(fields, AlertRefused) else secret_in(fields)
    return authenticate(hook, spoken or ""), fields, spoken or ""


def _fields(body: bytes, hook: Hook | None) -> dict[str, Any] | AlertRefused:
    if len(body) > LARGEST_BODY:
        message = f"is larger than {LARGEST_BODY} bytes"
        return UnreadableAlert(Fault("", message, "an alert is a short text; send less"))
    try:
        return fields_of(body, _known_accounts(hook))
    except AlertRefused as exc:
        return exc


def _known_accounts(hook: Hook | None) -> tuple[str, ...]:
    if hook is None:
        return ()
    return (*hook.accounts, *([hook.default_account] if hook.default_account else []))


def _bearer() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _body() -> bytes | None:
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


def _dry_run() -> bool:
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


def _with_header_key(delivery: Delivery) -> Delivery:
    for name in ("webhook-id", "Idempotency-Key"):
        key = request.headers.get(name)
        if key is None:
            continue
        if not key.strip():
            raise WrongAlert(Fault(name, "is blank", "send a key, or leave the header out"))
        return delivery.keyed(key)
    return delivery


def _wish(asked: Request, hook: Hook) -> Wish:
    return Wish(
        commands=asked.commands,
        warnings=[warning.as_dict() for warning in asked.warnings],
        sender_id=asked.sender_id,
        fired_at=asked.fired_at,
        max_age=hook.max_age,
        dedupe_window=hook.dedupe_window,
        symbol=asked.symbol,
    )


def _rehearsed(asked: Request) -> tuple[dict[str, Any], int]:
    today = datetime.now(UTC).date()
    return {
        "status": "dry_run",
        "commands": [planned_summary(columns_of(command, today)) for command in asked.commands],
        "warnings": [warning.as_dict() for warning in asked.warnings],
    }, 200


def _ring(commands: Sequence[Record]) -> None:
    doorbell: Doorbell = current_app.extensions["flatwire_doorbell"]
    doorbell.ring(row.id for row in commands if row.settled_at is None)


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
