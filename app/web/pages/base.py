"""What all pages of the dashboard share: who may look, how a page is kept up to date, the masthead."""

from typing import Any

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user

from app.ledger import condition
from app.web.acting import ledger

dashboard = Blueprint("dashboard", __name__)

PAGES = (
    ("overview", "Overview"),
    ("attention", "Attention"),
    ("positions", "Positions"),
    ("closes", "Closes"),
    ("alerts", "Alerts"),
    ("hooks", "Hooks"),
    ("system", "System"),
)
"""Endpoint and name of each page in the masthead."""
OPEN_TO_ALL = ("dashboard.login",)


@dashboard.before_request
def only_for_users() -> Any:
    """Everything but the login page asks who is there."""
    if current_user.is_authenticated or request.endpoint in OPEN_TO_ALL:
        return None
    if is_update():
        # A redirect would be followed, and the login page be put where the table stands.
        page = request.full_path.rstrip("?")
        return Response(status=401, headers={"HX-Redirect": url_for("dashboard.login", ended=1, next=page)})
    return redirect(url_for("dashboard.login", next=request.full_path.rstrip("?")))


def is_update() -> bool:
    """Whether only the part of the page that changes is asked for."""
    return request.headers.get("HX-Request") == "true"


def live(page: str, **context: Any) -> Response:
    """A page whose content is kept up to date: whole, or only what changes; 304 if that did not."""
    context["count"] = condition.health(ledger())
    if not is_update():
        return make_response(render_template(f"{page}.html", **context))
    response = make_response(render_template(f"_{page}.html", **context))
    response.add_etag()
    response.headers["Vary"] = "HX-Request"
    return response.make_conditional(request)  # type: ignore[return-value]


def sheet(template: str, **context: Any) -> str:
    """A page that stands still: a question, an answer."""
    return render_template(template, count=condition.health(ledger()), **context)


@dashboard.app_context_processor
def on_every_page() -> dict[str, Any]:
    hooks = current_app.extensions["flatwire_hooks"].values()
    return {
        "live": any(hook.live for hook in hooks),
        "shadows": [hook.name for hook in hooks if hook.dry_run],
        "pages": PAGES,
        "may_act": current_user.is_authenticated and current_user.role == "operator",
    }
