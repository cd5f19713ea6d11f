"""The door: `POST /hooks/<hook>[/<secret>]`. The answer goes out before any broker is called."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any

import structlog
from flask import Blueprint, Response, current_app, request
from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from app.alerts.authentication import (
    NotAuthenticated,
    authenticate,
    authenticate_signed,
    without_secret,
)
from app.alerts.errors import AlertRefused, NoExit, NotAllowed, WrongAlert
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text, without
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Taken, Wish
from app.ledger.encoding import columns_of
from app.ledger.intake import Intake, refuse
from app.ledger.once import KeyReused
from app.ledger.waiting import one_deadline
from app.strict import Fault
from app.web.delivered import (
    LARGEST_BODY,
    Offered,
    is_dry_run,
    offered,
    read_body,
    read_fields,
    source_address,
    with_header_key,
)
from app.web.presentation import command_summary, planned_summary
from app.web.problems import problem, problem_of
from app.web.strangers import turned_away

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
    body = read_body()
    if body is None:
        return problem(400, "The alert can't be read", "the body did not arrive whole; send it again")
    fields = read_fields(body, hook)
    shown = offered(fields, body, secret)
    try:
        label = _authenticated(hook, shown, body)
    except NotAuthenticated as exc:
        reason = shown.what_failed if hook else "no_such_hook"
        return turned_away(hook.name if hook else None, reason) or problem_of(exc)
    assert hook is not None, "only a hook that exists authenticates"
    delivery = Delivery(
        hook=hook.name,
        body=body,
        text=kept_text(body[:LARGEST_BODY], shown.secret),
        secret_label=label,
        source_address=source_address(),
    )
    dry_run = False
    try:
        dry_run = is_dry_run()
        _check_source(hook)
        if not dry_run and (wait := _over_its_rate(hook)):
            return _too_fast(hook, wait)
        return _answer(hook, delivery, fields, shown.secret, dry_run)
    except AlertRefused as exc:
        refused = _without_secret(exc, shown.secret)
        alert = None if dry_run else _kept(delivery, refused, refused.faults)
        if len(body) > LARGEST_BODY:
            return problem(413, "The alert is too large", str(refused), errors=refused.faults, alert=alert)
        return problem_of(refused, alert)
    except KeyReused as exc:
        return problem_of(exc, _kept(delivery, exc, [Fault("", str(exc))]))


def _authenticated(hook: Hook | None, offered: Offered, body: bytes) -> str:
    """The label of the secret that was used. Raises NotAuthenticated."""
    if offered.signed:
        return authenticate_signed(hook, dict(request.headers), body)
    return authenticate(hook, offered.secret)


def _check_source(hook: Hook) -> None:
    """Raises NotAllowed unless the hook may be called from where the call came."""
    if not hook.sources:
        return
    try:
        address = ip_address(source_address() or "")
    except ValueError:
        address = None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is None or not any(address in network for network in hook.sources):
        hint = "add it to the sources of the hook, or mend TRUSTED_PROXIES if it is a proxy's"
        raise NotAllowed(Fault("", f"this hook may not be called from {source_address()}", hint))


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
    intake: Intake = current_app.extensions["flatwire_intake"]
    return _taken(hook, intake.accept(with_header_key(delivery), wish), wish)


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
    # That it was accepted is logged with each of its commands.
    return {
        "status": "accepted",
        "alert": taken.alert,
        "commands": summaries,
        "warnings": list(taken.warnings),
    }, 202


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


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
