"""The dashboard's pages. What changes is asked for again every two seconds; no view holds a thread for longer."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from app.ledger import readers
from app.web.access import signed_in
from app.web.presentation import command_document

dashboard = Blueprint("dashboard", __name__)

SHOWN = 50


class LoginForm(FlaskForm):
    name = StringField("Name", [InputRequired(), Length(max=100)])
    password = PasswordField("Password", [InputRequired(), Length(max=1000)])


@dashboard.get("/")
@login_required
def closes() -> str:
    """The newest commands with what they closed."""
    return render_template("closes.html", live=_any_live(), **_closes())


@dashboard.get("/closes")
@login_required
def closes_table() -> str:
    """The part of the page that changes."""
    return render_template("_closes.html", **_closes())


@dashboard.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("dashboard.closes"))
    form = LoginForm()
    wrong = False
    if form.validate_on_submit():
        user = signed_in(form.name.data or "", form.password.data or "")
        if user:
            login_user(user)
            return redirect(_own_page(request.args.get("next")))
        wrong = True
    return render_template("login.html", form=form, wrong=wrong), 401 if wrong else 200


@dashboard.post("/logout")
@login_required
def logout() -> Response:
    logout_user()
    return redirect(url_for("dashboard.login"))  # type: ignore[return-value]


def _closes() -> dict[str, Any]:
    ledger = current_app.extensions["flatwire_ledger"]
    page = readers.commands_page(ledger, {}, limit=SHOWN)
    commands = [command_document(history) for history in readers.histories(ledger, page.rows)]
    return {"commands": commands, "health": readers.health(ledger)}


def _any_live() -> bool:
    return any(hook.live for hook in current_app.extensions["flatwire_hooks"].values())


def _own_page(target: str | None) -> str:
    """Where to go after the login: a path of ours, never another site."""
    parts = urlsplit(target or "")
    # A browser reads a backslash as a slash, so "/\host" leaves the site as "//host" does.
    if target and target.startswith("/") and not parts.netloc and not target.startswith(("//", "/\\")):
        return target
    return url_for("dashboard.closes")
