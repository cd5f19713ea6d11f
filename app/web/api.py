"""The JSON API under /api/v1, with its OpenAPI description."""

from typing import Any

from flask import Flask, Response, current_app
from flask.views import MethodView
from flask_smorest import Api, Blueprint
from werkzeug.exceptions import HTTPException

from app import __version__
from app.alerts.hooks import Hook
from app.ledger import readers, strangers
from app.ledger.connection import Ledger
from app.strict import Fault, faults_in
from app.web import access, spreadsheet, vitals
from app.web.documents import (
    AlertDocument,
    AlertPage,
    AlertQuery,
    ClosedPositionPage,
    ClosedPositionQuery,
    CommandPage,
    CommandQuery,
    CommandWithEvents,
    FailedAuthenticationList,
    HookList,
    OverviewDocument,
    PlaceFilters,
    SystemDocument,
)
from app.web.operations import operations
from app.web.presentation import (
    alert_document,
    command_document,
    event_document,
    hook_document,
    listed_closed_position,
    stranger_document,
)
from app.web.problems import problem


class ProblemApi(Api):
    """flask-smorest's API, with every HTTP error of the app as a problem document."""

    def handle_http_exception(self, error: HTTPException) -> Response:
        found = getattr(error, "data", None) or {}
        messages = found.get("messages", {})
        errors = [
            Fault(fault.field.partition(".")[2] or fault.field, fault.message, fault.hint)
            for fault in faults_in(messages)
        ]
        headers = dict(error.get_headers()) if error.code in (401, 405, 429) else {}
        headers.pop("Content-Type", None)
        return problem(error.code or 500, error.name, error.description, errors=errors, headers=headers)


commands = Blueprint("commands", __name__, url_prefix="/api/v1")
alerts = Blueprint("alerts", __name__, url_prefix="/api/v1")
hooks = Blueprint("hook_list", __name__, url_prefix="/api/v1")
closed_positions = Blueprint("closed_positions", __name__, url_prefix="/api/v1")
for _blueprint in (commands, alerts, hooks, closed_positions):
    _blueprint.before_request(access.require_token)


@commands.route("/commands")
class Commands(MethodView):
    @commands.arguments(CommandQuery, location="query")
    @commands.response(200, CommandPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Commands, newest first."""
        filters, paging = _split(query)
        page = readers.commands_page(_ledger(), filters, **paging)
        histories = readers.histories(_ledger(), page.rows)
        return {"items": [command_document(history) for history in histories], "next": page.next}


@commands.route("/commands/<command_id>")
class Command(MethodView):
    @commands.response(200, CommandWithEvents)
    def get(self, command_id: str) -> Any:
        """One command, with all that happened to it."""
        history = readers.command_history(_ledger(), command_id)
        if history is None:
            return problem(
                404, "No such command", "check the id; ids are in the answers to alerts and in the lists"
            )
        return {**command_document(history), "events": [event_document(row) for row in history.events]}


@alerts.route("/alerts")
class Alerts(MethodView):
    @alerts.arguments(AlertQuery, location="query")
    @alerts.response(200, AlertPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Alerts that came to a hook and were authenticated, refused ones too, newest first."""
        filters, paging = _split(query)
        page = readers.alerts_page(_ledger(), filters, **paging)
        ids = readers.commands_of_alerts(_ledger(), [row.id for row in page.rows])
        return {"items": [alert_document(row, ids[row.id]) for row in page.rows], "next": page.next}


@alerts.route("/alerts/<alert_id>")
class Alert(MethodView):
    @alerts.response(200, AlertDocument)
    def get(self, alert_id: str) -> Any:
        """One alert."""
        row = readers.alert(_ledger(), alert_id)
        if row is None:
            return problem(
                404, "No such alert", "check the id; ids are in the answers to alerts and in the lists"
            )
        return alert_document(row, readers.commands_of_alerts(_ledger(), [row.id])[row.id])


@hooks.route("/hooks")
class Hooks(MethodView):
    @hooks.response(200, HookList)
    def get(self) -> dict[str, Any]:
        """The hooks of the configuration file, and when each secret was last used."""
        known: dict[str, Hook] = current_app.extensions["flatwire_hooks"]
        uses = {name: readers.last_uses(_ledger(), name, hook.labels) for name, hook in known.items()}
        return {"items": [hook_document(hook, uses[name]) for name, hook in known.items()], "next": None}


@hooks.route("/overview")
class Overview(MethodView):
    @hooks.response(200, OverviewDocument)
    def get(self) -> dict[str, Any]:
        """How brokers answered lately, and the last 24 hours: outcomes by hour, profit or loss, latencies."""
        return vitals.overview()


@hooks.route("/system")
class System(MethodView):
    @hooks.response(200, SystemDocument)
    def get(self) -> dict[str, Any]:
        """Workers, Redis and the ledger."""
        return vitals.system()


@hooks.route("/failed-authentications")
class FailedAuthentications(MethodView):
    @hooks.response(200, FailedAuthenticationList)
    def get(self) -> dict[str, Any]:
        """Calls at the door that nobody authenticated, by address, hook and reason: the latest first."""
        return {"items": [stranger_document(row) for row in strangers.latest(_ledger())], "next": None}


@closed_positions.route("/closed-positions")
class ClosedPositions(MethodView):
    @closed_positions.arguments(ClosedPositionQuery, location="query")
    @closed_positions.response(200, ClosedPositionPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """What was closed, newest first."""
        filters, paging = _split(query)
        page = readers.closed_positions_page(_ledger(), filters, **paging)
        return {"items": [listed_closed_position(row) for row in page.rows], "next": page.next}


@closed_positions.route("/closed-positions.csv")
class ClosedPositionsSheet(MethodView):
    @closed_positions.arguments(PlaceFilters, location="query")
    @closed_positions.response(200, {"type": "string"}, content_type="text/csv")
    def get(self, filters: dict[str, Any]) -> Response:
        """All that was closed, newest first, for a spreadsheet."""
        lines = spreadsheet.lines_of(_ledger(), filters)
        headers = {"Content-Disposition": 'attachment; filename="closed-positions.csv"'}
        return Response(lines, content_type="text/csv; charset=utf-8", headers=headers)


def init_app(app: Flask) -> None:
    """Add the API and its description to the app."""
    app.config |= {
        "API_TITLE": "Flatwire",
        "API_VERSION": __version__,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/api/v1",
        "OPENAPI_JSON_PATH": "openapi.json",
        "API_SPEC_OPTIONS": {
            "security": [{"bearer": []}],
            "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        },
    }
    api = ProblemApi(app)
    for blueprint in (commands, alerts, hooks, closed_positions, operations):
        api.register_blueprint(blueprint)


def _split(query: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters, and where to page."""
    paging = {"limit": query.pop("limit"), "before": query.pop("cursor", None)}
    return query, paging


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
