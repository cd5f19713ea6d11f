"""Errors as `application/problem+json` (RFC 9457): the one table from what went wrong to what is answered."""

import json
from collections.abc import Iterable
from typing import Any

from flask import Response

from app.alerts.authentication import NotAuthenticated
from app.alerts.errors import AlertRefused, NotAllowed, UnreadableAlert, WrongAlert
from app.ledger.connection import LedgerUnavailable
from app.ledger.once import KeyReused
from app.strict import Fault

STATUS: dict[type[Exception], tuple[int, str]] = {
    UnreadableAlert: (400, "The alert can't be read"),
    NotAuthenticated: (401, "Not authenticated, or no such hook"),
    NotAllowed: (403, "This hook may not do that"),
    KeyReused: (409, "This idempotency key was used with another body"),
    WrongAlert: (422, "The alert was read, and something in it is wrong"),
    LedgerUnavailable: (503, "The alert can't be recorded now"),
}


def problem(
    status: int,
    title: str,
    detail: str | None = None,
    *,
    errors: Iterable[Fault] = (),
    alert: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem as an answer. `alert` is the id under which a refused alert was kept."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "errors": [error.as_dict() for error in errors],
        "alert": alert,
    }
    response = Response(json.dumps(document), status, content_type="application/problem+json")
    response.headers.update(headers or {})
    return response


def problem_of(exc: Exception, alert: str | None = None) -> Response:
    """The answer to one of the exceptions in the table."""
    status, title = next(entry for kind, entry in STATUS.items() if isinstance(exc, kind))
    match exc:
        case AlertRefused():
            return problem(status, title, str(exc), errors=exc.faults, alert=alert)
        case KeyReused():
            hint = "send a new key with each new alert"
            detail = f"{exc}: by alert {exc.alert}"
            return problem(status, title, detail, errors=[Fault("", str(exc), hint)], alert=alert)
        case NotAuthenticated():
            detail = "check the hook's name in the address, and the secret in the path, the bearer header or the text"
            return problem(status, title, detail, headers={"WWW-Authenticate": "Bearer"})
        case _:
            detail = "it may not have been kept; send it again"
            return problem(status, title, detail, alert=alert, headers={"Retry-After": "5"})
