"""The door: `POST /hooks/<hook>[/<secret>]`. The answer goes out before any broker is called."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any

import structlog
from flask import Blueprint, Response, current_app, request
from gunicorn.http.errors import ParseException
from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter
from werkzeug.exceptions import ClientDisconnected

from app.alerts.authentication import (
    NotAuthenticated,
    authenticate,
    authenticate_signed,
    secret_in,
    without_secret,
)
from app.alerts.dialects import has_comments
from app.alerts.errors import AlertRefused, NoExit, NotAllowed, UnreadableAlert, WrongAlert
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text, secret_named_in, without
from app.ledger.connection import Ledger
from app.ledger.encoding import columns_of
from app.ledger.intake import Delivery, Taken, Wish, accept, refuse
from app.ledger.once import KeyReused
from app.ledger.readers import Record
from app.ledger.waiting import one_deadline
from app.queueing import Doorbell
from app.strict import Fault, did_you_mean
from app.web.presentation import command_summary, planned_summary
from app.web.problems import problem, problem_of
from app.web.strangers import Strangers

LARGEST_BODY = 16 * 1024
_RATE_WINDOW = 10
"""Seconds over which a hook's own rate is measured."""

_LEAST_SECRET = 8
"""Characters of a secret that is looked for in names."""

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
    fields = _fields(body, hook)
    offered = _offered(fields, body, secret)
    try:
        label = _authenticated(hook, offered, body)
    except NotAuthenticated as exc:
        return _turned_away(exc, hook, offered)
    assert hook is not None, "only a hook that exists authenticates"
    delivery = Delivery(
        hook=hook.name,
        body=body,
        text=kept_text(body[:LARGEST_BODY], offered.secret),
        secret_label=label,
        source_address=_address(),
    )
    dry_run = False
    try:
        dry_run = _dry_run()
        _check_source(hook)
        if not dry_run and (wait := _over_its_rate(hook)):
            return _too_fast(hook, wait)
        return _answer(hook, delivery, fields, offered.secret, dry_run)
    except AlertRefused as exc:
        refused = _without_secret(exc, offered.secret)
        alert = None if dry_run else _kept(delivery, refused, refused.faults)
        if len(body) > LARGEST_BODY:
            return problem(413, "The alert is too large", str(refused), errors=refused.faults, alert=alert)
        return problem_of(refused, alert)
    except KeyReused as exc:
        return problem_of(exc, _kept(delivery, exc, [Fault("", str(exc))]))


@dataclass(frozen=True, slots=True)
class Offered:
    """What a sender shows of itself: a secret, or a signature of the body."""

    secret: str = ""
    signed: bool = False

    @property
    def what_failed(self) -> str:
        return "wrong_signature" if self.signed else "wrong_secret" if self.secret else "no_secret"


def _offered(fields: dict[str, Any] | AlertRefused, body: bytes, path_secret: str | None) -> Offered:
    """The first that is there: in the path, the header, the text; else a signature."""
    given = path_secret if path_secret is not None else _bearer()
    if given is None:
        given = secret_named_in(body) if isinstance(fields, AlertRefused) else secret_in(fields)
    if given is not None:
        return Offered(given)
    return Offered(signed="webhook-signature" in request.headers)


def _authenticated(hook: Hook | None, offered: Offered, body: bytes) -> str:
    """The label of the secret that was used. Raises NotAuthenticated."""
    if offered.signed:
        return authenticate_signed(hook, dict(request.headers), body)
    return authenticate(hook, offered.secret)


def _turned_away(exc: NotAuthenticated, hook: Hook | None, offered: Offered) -> Response:
    reason = offered.what_failed if hook else "no_such_hook"
    log.warning(
        "not_authenticated", source_address=_address(), hook=hook.name if hook else None, reason=reason
    )
    strangers: Strangers = current_app.extensions["flatwire_strangers"]
    wait = strangers.turn_away(_ledger(), _address(), hook.name if hook else None, reason)
    if wait is None:
        return problem_of(exc)
    detail = f"from this address; wait {wait} s. A right secret is taken all the same"
    headers = {"Retry-After": str(wait)}
    return problem(429, "Too many failed authentications", detail, headers=headers)


def _check_source(hook: Hook) -> None:
    """Raises NotAllowed unless the hook may be called from where the call came."""
    if not hook.sources:
        return
    try:
        address = ip_address(_address() or "")
    except ValueError:
        address = None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is None or not any(address in network for network in hook.sources):
        hint = "add it to the sources of the hook, or mend TRUSTED_PROXIES if it is a proxy's"
        raise NotAllowed(Fault("", f"this hook may not be called from {_address()}", hint))


def _over_its_rate(hook: Hook) -> int:
    """The seconds to wait if the hook had more alerts than its own `rate` lets through; else 0."""
    if hook.rate is None:
        return 0
    limiter: MovingWindowRateLimiter = current_app.extensions["flatwire_hook_rates"]
    allowed = RateLimitItemPerSecond(math.ceil(hook.rate * _RATE_WINDOW), _RATE_WINDOW)
    return 0 if limiter.hit(allowed, hook.name) else 1


def _too_fast(hook: Hook, wait: int) -> Response:
    log.warning("hook_rate_exceeded", hook=hook.name)
    detail = f"hook {hook.name} takes {hook.rate:g} a second; nothing was kept: send it again"
    return problem(503, "Too many alerts", detail, headers={"Retry-After": str(wait)})


def _kept(delivery: Delivery, exc: Exception, faults: Sequence[Fault]) -> str:
    """The id under which an alert that is not taken is kept: whoever is authenticated can find it, and why."""
    alert = refuse(_ledger(), delivery, str(exc), [fault.as_dict() for fault in faults])
    log.info("alert_refused", hook=delivery.hook, alert=alert, reason=str(exc))
    return alert


def _without_secret(exc: AlertRefused, secret: str) -> AlertRefused:
    """The same refusal; its messages quote the text, and a misplaced secret with it."""
    return type(exc)(
        *(
            Fault(
                _starred(fault.field, secret),
                _starred(fault.message, secret),
                _starred(fault.hint, secret) if fault.hint else None,
            )
            for fault in exc.faults
        )
    )


def _starred(text: str, secret: str) -> str:
    """A message without the secret, and without any other that the text it quotes may carry."""
    return without(kept_text(text.encode("utf-8", "replace"), secret), secret)


def _answer(
    hook: Hook, delivery: Delivery, fields: dict[str, Any] | AlertRefused, secret: str, dry_run: bool
) -> Any:
    if isinstance(fields, AlertRefused):
        raise fields
    try:
        asked = request_of(without_secret(fields), hook, datetime.now(UTC))
    except NoExit as exc:
        if dry_run:
            return {"status": "ignored", "alert": None, "reason": str(exc)}, 200
        wish = Wish(commands=(), dedupe_window=hook.dedupe_window, ignored=str(exc))
    else:
        _check_names(asked, secret)
        if dry_run:
            return _rehearsed(asked)
        wish = _wish(asked, hook)
    return _taken(hook, accept(_ledger(), _with_header_key(delivery), wish), wish)


def _check_names(asked: Request, secret: str) -> None:
    """Raises WrongAlert where the secret stands for an account or an instrument: names are shown and sent on."""
    if len(secret) < _LEAST_SECRET:
        return  # it may well be a part of a name
    for command in asked.commands:
        for field in ("account", "instrument"):
            if secret.casefold() in (getattr(command, field, None) or "").casefold():
                hint = "take it out: it belongs into the address, the header or the field for it"
                raise WrongAlert(Fault(field, "is the hook's secret", hint))


def _taken(hook: Hook, taken: Taken, wish: Wish) -> tuple[dict[str, Any], int]:
    summaries = [command_summary(row) for row in taken.commands]
    if wish.ignored and not summaries:
        log.info("alert_ignored", hook=hook.name, alert=taken.alert, reason=wish.ignored)
        return {"status": "ignored", "alert": taken.alert, "reason": wish.ignored}, 200
    if taken.duplicate:
        log.info("alert_repeated", hook=hook.name, alert=taken.alert)
        return {"status": "duplicate", "alert": taken.alert, "commands": summaries}, 200
    with structlog.contextvars.bound_contextvars(alert=taken.alert):
        _ring(taken.commands)
    ids = [row.id for row in taken.commands]
    log.info("alert_accepted", hook=hook.name, alert=taken.alert, commands=ids)
    return {
        "status": "accepted",
        "alert": taken.alert,
        "commands": summaries,
        "warnings": list(taken.warnings),
    }, 202


def _fields(body: bytes, hook: Hook | None) -> dict[str, Any] | AlertRefused:
    if len(body) > LARGEST_BODY:
        message = f"is larger than {LARGEST_BODY} bytes"
        return UnreadableAlert(Fault("", message, "an alert is a short text; send less"))
    try:
        comments = hook is not None and has_comments(hook.dialects)
        return fields_of(body, hook.known_accounts if hook else (), comments=comments)
    except AlertRefused as exc:
        return exc


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
    shadow = [Fault("", "dry_run", f"hook {hook.name} is in shadow mode: nothing is sent")]
    return Wish(
        commands=asked.commands,
        warnings=[it.as_dict() for it in (*asked.warnings, *(shadow if hook.dry_run else ()))],
        sender_id=asked.sender_id,
        fired_at=asked.fired_at,
        max_age=hook.max_age,
        max_lag=asked.max_lag,
        stale_hint=asked.stale_hint,
        dedupe_window=hook.dedupe_window,
        symbol=asked.symbol,
        dry_run=hook.dry_run,
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


def _address() -> str | None:
    """Where the call came from; behind proxies that are not trusted, the last of them. Not to be believed blindly."""
    return request.remote_addr[:64] if request.remote_addr else None


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
