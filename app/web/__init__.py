"""The web process: the door, the API, the dashboard and the probes. Flask lives here and nowhere else."""

from datetime import timedelta
from typing import Any

import structlog
from flask import Flask, Request, Response, render_template, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_wtf import CSRFProtect
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from app.ledger.connection import Ledger, LedgerUnavailable
from app.ledger.intake import Intake
from app.ledger.schema import check_schema
from app.queueing import Doorbell
from app.web import access, answers, api
from app.web.hooks import hooks
from app.web.metrics import metrics
from app.web.operations import operations
from app.web.pages import dashboard
from app.web.probes import probes
from app.web.problems import problem, problem_of
from app.web.strangers import Strangers
from config.environment import Settings, load
from config.file import Role
from config.logging import configure_logging

log = structlog.get_logger(__name__)

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SecureSessions(SecureCookieSessionInterface):
    """Cookies that only travel over TLS, unless the browser itself came without it (on one's own machine).

    Who has none, as each sender of alerts, costs nothing.
    """

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        known = self.get_cookie_name(app) in request.cookies
        return super().open_session(app, request) if known else self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application. Without settings it reads the environment, as gunicorn starts it."""
    if settings is None:
        settings = load(Role.WEB)
        configure_logging(settings.log_level, settings.log_format)
        if settings.configuration.notify is None:
            log.warning(
                "nobody_is_notified", hint="add [notify] to the file: docs/operating.md#notifications"
            )
    app = Flask(__name__)
    _configure(app, settings)
    _open(app, settings)
    access.init_app(app, settings.dashboard_users)
    answers.init_app(app)
    # Neither takes a cookie's word for who is calling.
    csrf = CSRFProtect(app)
    csrf.exempt(hooks)
    csrf.exempt(operations)
    app.register_blueprint(hooks)
    app.register_blueprint(probes)
    app.register_blueprint(metrics)
    app.register_blueprint(dashboard)
    api.init_app(app)
    _handle_errors(app)
    app.after_request(_with_headers)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    assert settings.secret_key is not None, "the environment's check asks for it"
    app.session_interface = SecureSessions()
    app.config |= {
        "SECRET_KEY": settings.secret_key.reveal(),
        "PUBLIC_URL": settings.public_url,
        "TRUSTED_PROXIES": settings.trusted_proxies,
        "SESSION_COOKIE_NAME": "flatwire",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "MAX_CONTENT_LENGTH": 64 * 1024,
        "WTF_CSRF_TIME_LIMIT": None,
    }
    # A doubled slash in a hook's address is a mistake to be told, not a redirect that loses the body.
    app.url_map.merge_slashes = False
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def _open(app: Flask, settings: Settings) -> None:
    ledger = Ledger(settings.database_url, threads=settings.web_threads)
    check_schema(ledger)
    app.extensions["flatwire_ledger"] = ledger
    app.extensions["flatwire_hooks"] = settings.configuration.hooks
    app.extensions["flatwire_brokers"] = settings.configuration.brokers
    app.extensions["flatwire_schedules"] = settings.configuration.schedules
    app.extensions["flatwire_notify"] = settings.configuration.notify
    app.extensions["flatwire_api_tokens"] = settings.api_tokens
    app.extensions["flatwire_strangers"] = Strangers()
    app.extensions["flatwire_logins"] = MovingWindowRateLimiter(MemoryStorage())
    app.extensions["flatwire_hook_rates"] = MovingWindowRateLimiter(MemoryStorage())
    doorbell = Doorbell(settings.redis_url, tls_verify=settings.redis_tls_verify)
    app.extensions["flatwire_doorbell"] = doorbell
    app.extensions["flatwire_intake"] = Intake(ledger, doorbell.ring)


def _handle_errors(app: Flask) -> None:
    @app.errorhandler(LedgerUnavailable)
    def ledger_unavailable(exc: LedgerUnavailable) -> Any:
        log.error("ledger_unavailable", reason=str(exc))
        if _for_people():
            return render_template("error.html", title="The ledger can't be reached now", status=503), 503
        return problem_of(exc)

    api_handler = app.error_handler_spec[None][None][HTTPException]

    @app.errorhandler(HTTPException)
    def http_error(exc: HTTPException) -> Any:
        if _for_people():
            return render_template("error.html", title=exc.name, status=exc.code), exc.code
        return api_handler(exc)

    @app.errorhandler(Exception)
    def bug(exc: Exception) -> Any:
        log.exception("bug", endpoint=request.endpoint)
        title = "Something went wrong on our side"
        if _for_people():
            return render_template("error.html", title=title, status=500), 500
        return problem(500, title, "it was logged; try again, and look into the log if it stays")


def _for_people() -> bool:
    """Whether a page is wanted, by where the request went."""
    door = request.path.startswith("/hooks") and (request.path != "/hooks" or request.method == "POST")
    return not door and not request.path.startswith(("/api", "/healthz", "/readyz", "/metrics"))


def _with_headers(response: Response) -> Response:
    response.headers.extend(_HEADERS)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
