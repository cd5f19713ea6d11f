"""Signing in and out."""

import time
from typing import Any

import structlog
from flask import Response, current_app, redirect, render_template, request, url_for
from flask_login import current_user, login_user, logout_user
from flask_wtf import FlaskForm
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from app.web.access import signed_in
from app.web.pages.base import dashboard
from app.web.strangers import network_of

log = structlog.get_logger(__name__)

TRIES = RateLimitItemPerMinute(10)
"""Failed logins from one address; each web process counts its own. Names are not counted: whoever guesses a name could
lock its owner out at 15:55."""


class LoginForm(FlaskForm):
    name = StringField("Name", [InputRequired(), Length(max=100)])
    password = PasswordField("Password", [InputRequired(), Length(max=1000)])


@dashboard.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("dashboard.overview"))
    form = LoginForm()
    if not form.is_submitted():
        return render_template("login.html", form=form)
    limiter: MovingWindowRateLimiter = current_app.extensions["flatwire_logins"]
    key = network_of(request.remote_addr or "unknown")
    if not limiter.test(TRIES, key):
        wait = max(1, int(limiter.get_window_stats(TRIES, key).reset_time - time.time()) + 1)
        page = render_template("login.html", form=form, wait=wait)
        return Response(page, 429, {"Retry-After": str(wait)})
    if form.validate():
        user = signed_in(form.name.data or "", form.password.data or "")
        if user:
            login_user(user)
            return redirect(_own_page(request.args.get("next")))
    limiter.hit(TRIES, key)
    log.warning("login_failed", source_address=request.remote_addr)
    return render_template("login.html", form=form, wrong=True), 401


@dashboard.post("/logout")
def logout() -> Any:
    logout_user()
    return redirect(url_for("dashboard.login"))


def _own_page(target: str | None) -> str:
    """Where to go after the login: a path of ours, never another site."""
    # A browser reads a backslash as a slash, so "/\host" leaves the site as "//host" does.
    if (
        not target
        or not target.startswith("/")
        or target.startswith(("//", "/\\"))
        or not target.isprintable()
    ):
        return url_for("dashboard.overview")
    return target
