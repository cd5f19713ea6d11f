"""The dashboard's pages. What changes is asked for again every two seconds; no view holds a thread for longer."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from app.domain.capabilities import CAPABILITIES
from app.domain.commands import Action, Unit
from app.ledger import readers
from app.ledger.pauses import paused
from app.web.access import signed_in
from app.web.presentation import command_document, pause_document

dashboard = Blueprint("dashboard", __name__)

SHOWN = 40
_IN_THE_FILE = {"base_url", "credential", "settings", "transports"}
"""What is no capability, but how a broker is set up."""
MINUS = "\N{MINUS SIGN}"


class LoginForm(FlaskForm):
    name = StringField("Name", [InputRequired(), Length(max=100)])
    password = PasswordField("Password", [InputRequired(), Length(max=1000)])


@dashboard.get("/")
@login_required
def closes() -> str:
    """The newest commands with what they closed."""
    return render_template("closes.html", **_closes(), **_brokers())


@dashboard.get("/closes")
def closes_table() -> Response:
    """The part of the page that changes; 304 if it did not."""
    if not current_user.is_authenticated:
        # A redirect would be followed, and the login page be put where the table stands.
        login_page = url_for("dashboard.login", ended=1, next=url_for("dashboard.closes"))
        return Response(status=401, headers={"HX-Redirect": login_page})
    response = make_response(render_template("_closes.html", **_closes()))
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]


@dashboard.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("dashboard.closes"))
    form = LoginForm()
    if form.validate_on_submit():
        user = signed_in(form.name.data or "", form.password.data or "")
        if user:
            login_user(user)
            return redirect(_own_page(request.args.get("next")))
    wrong = form.is_submitted()
    return render_template("login.html", form=form, wrong=wrong), 401 if wrong else 200


@dashboard.post("/logout")
@login_required
def logout() -> Response:
    logout_user()
    return redirect(url_for("dashboard.login"))  # type: ignore[return-value]


@dashboard.app_context_processor
def _on_every_page() -> dict[str, Any]:
    return {"live": any(hook.live for hook in current_app.extensions["flatwire_hooks"].values())}


@dashboard.app_template_filter()
def grouped(text: str, decimals: int = 0) -> str:
    """A decimal as people read it: `5,779.8125`. Nothing is rounded; so many decimals are there at least."""
    whole, _, rest = text.lstrip("-").partition(".")
    rest = rest.ljust(decimals, "0")
    digits = f"{int(whole or 0):,}" + (f".{rest}" if rest else "")
    return f"{MINUS}{digits}" if text.startswith("-") else digits


@dashboard.app_template_filter()
def signed(text: str) -> str:
    """Money with its sign: `+859.375`, `−80.00`."""
    return ("+" if Decimal(text) > 0 else "") + grouped(text, decimals=2)


@dashboard.app_template_filter()
def lasting(seconds: float, exact: bool = False) -> str:
    """A time span, as coarse as it is long, so that a long wait does not change the page at every look."""
    if exact and 0 <= seconds < 10:
        return f"{seconds:.2f} s"
    for unit, many, next_unit in (("s", 60, 60), ("min", 60, 60), ("h", 48, 24)):
        if seconds < many:
            return f"{max(seconds, 0):.0f} {unit}"
        seconds /= next_unit
    return f"{seconds:.0f} days"


def _closes() -> dict[str, Any]:
    ledger = current_app.extensions["flatwire_ledger"]
    page = readers.commands_page(ledger, {}, limit=SHOWN)
    commands = [_shown(history) for history in readers.histories(ledger, page.rows)]
    return {
        "commands": commands,
        "more": page.next is not None,
        "health": readers.health(ledger),
        "pauses": [pause_document(row) for row in paused(ledger)],
        "example": _example(),
    }


def _shown(history: readers.CommandHistory) -> dict[str, Any]:
    row, document = history.command, command_document(history)
    lasted = (row.settled_at or datetime.now(UTC)) - row.accepted_at
    return document | {
        "asked": _asked(document),
        "lasted": lasted.total_seconds(),
        "lines": _lines(row.holdings or [], document["closed_positions"]),
    }


def _asked(document: Mapping[str, Any]) -> str:
    if document["action"] != "close":
        return str(document["action"]).replace("_", " ")
    if document["quantity"] is not None:
        unit = " in coins" if document["quantity_unit"] == Unit.BASE else ""
        return f"close {grouped(document['quantity'])}{unit}"
    if document["percent"] is not None:
        percent = (Decimal(document["percent"]) * 100).normalize()
        return f"close {percent:f}\N{NO-BREAK SPACE}%"
    return "close all"


def _lines(
    holdings: Sequence[Mapping[str, Any]], closed: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What a command did to each position, with the numbers of what it closed there."""
    found = list(closed)
    lines = []
    for holding in holdings:
        # A venue can hold two positions of one side: what was closed of them stands in the same order.
        own = next((position for position in found if _place(position) == _place(holding)), None)
        lines.append({**holding, "closed": own})
        if own:
            found.remove(own)
    unseen = dict.fromkeys(("before", "target", "after"))
    return lines + [{**unseen, **position, "closed": position} for position in found]


def _place(position: Mapping[str, Any]) -> tuple[Any, ...]:
    return position["account"], position["instrument"], position["side"]


def _brokers() -> dict[str, Any]:
    """The brokers of the file, and what each can do."""
    told = [line for name, line in CAPABILITIES.items() if name not in _IN_THE_FILE]
    return {"brokers": list(current_app.extensions["flatwire_brokers"].values()), "capabilities": told}


def _example() -> dict[str, str] | None:
    """A hook's address, and a text that it would take: what to do when nothing has come yet."""
    for hook in current_app.extensions["flatwire_hooks"].values():
        base = current_app.config["PUBLIC_URL"] or request.host_url.rstrip("/")
        account = hook.default_account or next(iter(hook.accounts), None)
        where = "" if account in (None, "*") or not hook.venue.names_accounts else f" in {account}"
        names = [*hook.symbols.values(), hook.venue.example]
        instrument = next((name for name in names if hook.allows_instrument(name)), None)
        if instrument is None or Action.CLOSE not in hook.allow:
            continue
        return {"address": f"{base}/hooks/{hook.name}/SECRET", "text": f"close {instrument}{where}"}
    return None


def _own_page(target: str | None) -> str:
    """Where to go after the login: a path of ours, never another site."""
    parts = urlsplit(target or "")
    # A browser reads a backslash as a slash, so "/\host" leaves the site as "//host" does.
    if target and target.startswith("/") and not parts.netloc and not target.startswith(("//", "/\\")):
        return target
    return url_for("dashboard.closes")
