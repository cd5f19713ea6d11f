"""The JSON API under /api/v1, with its OpenAPI description."""

from typing import Any

from flask import Flask, Response, current_app
from flask.views import MethodView
from flask_smorest import Api, Blueprint
from marshmallow import EXCLUDE, Schema, fields, validate
from werkzeug.exceptions import HTTPException

from app import __version__
from app.domain.statuses import Attention, Status
from app.ledger import readers
from app.ledger.connection import Ledger
from app.strict import Fault, StrictSchema, faults_in
from app.web import access
from app.web.presentation import (
    alert_document,
    command_document,
    event_document,
    listed_closed_position,
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


class ListQuery(StrictSchema):
    """What every list takes."""

    hook = fields.String()
    since = fields.AwareDateTime(metadata={"description": "ISO 8601 with its zone; from then on"})
    until = fields.AwareDateTime(metadata={"description": "ISO 8601 with its zone; before then"})
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.Integer(validate=validate.Range(1, 2**62), metadata={"description": "`next` of a page"})


class PlaceQuery(ListQuery):
    broker = fields.String()
    account = fields.String()
    instrument = fields.String()


class CommandQuery(PlaceQuery):
    status = fields.Enum(Status, by_value=True)
    attention = fields.Enum(Attention, by_value=True)


class AlertQuery(ListQuery):
    outcome = fields.String(validate=validate.OneOf(["accepted", "ignored", "refused"]))


class Document(Schema):
    """An answer: what it holds is made by `app.web.presentation`, and described here."""

    class Meta:
        unknown = EXCLUDE


def _text(description: str | None = None) -> fields.String:
    return fields.String(allow_none=True, metadata={"description": description} if description else {})


_AMOUNT = "a decimal as text"
_TIME = "ISO 8601 in UTC"


class ClosedPositionDocument(Document):
    account = _text()
    instrument = _text()
    side = _text("long or short")
    quantity = _text(f"{_AMOUNT}: what was closed")
    average_price = _text(_AMOUNT)
    close_price = _text(_AMOUNT)
    profit_loss = _text(_AMOUNT)
    currency = _text()
    source = _text("fills, or snapshot: a mark, not a fill")
    order_ids = fields.List(fields.String())
    raw = fields.Raw()


class ListedClosedPositionDocument(ClosedPositionDocument):
    command = _text()
    hook = _text()
    broker = _text()
    closed_at = _text(_TIME)


class AttemptDocument(Document):
    number = fields.Integer()
    kind = _text("close, cancel or read")
    client_id = _text()
    sent_at = _text(_TIME)
    answered_at = _text(_TIME)
    outcome = _text("reported, not_sent, throttled, refused or outcome_unknown; null: in flight")
    request = fields.Raw()
    answer = fields.Raw(allow_none=True)
    detail = _text()


class CommandDocument(Document):
    id = _text()
    alert = _text()
    retry_of = _text()
    hook = _text()
    broker = _text()
    account = _text()
    instrument = _text()
    action = _text()
    quantity = _text(_AMOUNT)
    percent = _text("a fraction below 1")
    position = _text("the side guard")
    cancel_orders = fields.Boolean()
    status = fields.String(metadata={"enum": [str(status) for status in Status]})
    reason = _text()
    attention = _text()
    accepted_at = _text(_TIME)
    settled_at = _text(_TIME)
    next_attempt_at = _text(_TIME)
    before = _text(_AMOUNT)
    target = _text(_AMOUNT)
    after = _text(_AMOUNT)
    positions = fields.List(fields.Raw())
    attempts = fields.List(fields.Nested(AttemptDocument))
    closed_positions = fields.List(fields.Nested(ClosedPositionDocument))


class CommandWithEvents(CommandDocument):
    events = fields.List(fields.Raw())


class AlertDocument(Document):
    id = _text()
    hook = _text()
    received_at = _text(_TIME)
    outcome = _text()
    reason = _text()
    errors = fields.List(fields.Raw())
    warnings = fields.List(fields.Raw())
    text = _text("as received, its secrets gone")
    source_address = _text()
    secret_label = _text()
    deliveries = fields.Integer()
    commands = fields.List(fields.String())


def _page_of(document: type[Document], name: str) -> type[Schema]:
    page = {"items": fields.List(fields.Nested(document)), "next": _text("the cursor of the next page")}
    return Schema.from_dict(page, name=name)  # type: ignore[arg-type]


CommandPage = _page_of(CommandDocument, "CommandPage")
AlertPage = _page_of(AlertDocument, "AlertPage")
ClosedPositionPage = _page_of(ListedClosedPositionDocument, "ClosedPositionPage")

commands = Blueprint("commands", __name__, url_prefix="/api/v1/commands")
alerts = Blueprint("alerts", __name__, url_prefix="/api/v1/alerts")
closed_positions = Blueprint("closed_positions", __name__, url_prefix="/api/v1/closed-positions")


@commands.route("")
class Commands(MethodView):
    @commands.arguments(CommandQuery, location="query")
    @commands.response(200, CommandPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Commands, newest first."""
        filters, paging = _split(query)
        page = readers.commands_page(_ledger(), filters, **paging)
        histories = readers.histories(_ledger(), page.rows)
        return {"items": [command_document(history) for history in histories], "next": page.next}


@commands.route("/<command_id>")
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


@alerts.route("")
class Alerts(MethodView):
    @alerts.arguments(AlertQuery, location="query")
    @alerts.response(200, AlertPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Alerts that came to a hook and were authenticated, refused ones too, newest first."""
        filters, paging = _split(query)
        page = readers.alerts_page(_ledger(), filters, **paging)
        ids = readers.commands_of_alerts(_ledger(), [row.id for row in page.rows])
        return {"items": [alert_document(row, ids[row.id]) for row in page.rows], "next": page.next}


@alerts.route("/<alert_id>")
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


@closed_positions.route("")
class ClosedPositions(MethodView):
    @closed_positions.arguments(PlaceQuery, location="query")
    @closed_positions.response(200, ClosedPositionPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """What was closed, newest first."""
        filters, paging = _split(query)
        page = readers.closed_positions_page(_ledger(), filters, **paging)
        return {"items": [listed_closed_position(row) for row in page.rows], "next": page.next}


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
    for blueprint in (commands, alerts, closed_positions):
        blueprint.before_request(access.require_token)
        api.register_blueprint(blueprint)


def _split(query: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The filters, and where to page."""
    paging = {"limit": query.pop("limit"), "before": query.pop("cursor", None)}
    return query, paging


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
