"""What operators do over the API: act on commands, flatten, pause and resume; and what they see of the brokers."""

from typing import Any

from flask import Request, g
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import Schema
from webargs.flaskparser import FlaskParser

from app.alerts.errors import AlertRefused
from app.ledger import pauses, readers
from app.ledger.operators import NoSuchCommand, NotPossible
from app.ledger.pauses import Scope
from app.strict import Fault
from app.web import access, acting, looking
from app.web.acting import NothingSoCalled, ledger
from app.web.documents import (
    CommandDocument,
    FlattenBody,
    FlattenDocument,
    PauseBody,
    PauseDocument,
    PauseList,
    PositionList,
    ReasonBody,
    ResolveBody,
)
from app.web.presentation import command_document, pause_document
from app.web.problems import problem, problem_of


class BodyParser(FlaskParser):
    """JSON that Python won't read (a number of thousands of digits, say) is no JSON to us."""

    def load_json(self, req: Request, schema: Schema) -> Any:
        try:
            return super().load_json(req, schema)
        except (ValueError, RecursionError) as exc:
            return self._handle_invalid_json_error(exc, req)


class Operations(Blueprint):
    ARGUMENTS_PARSER = BodyParser()


operations = Operations("operations", __name__, url_prefix="/api/v1")
operations.before_request(access.require_token)


@operations.errorhandler(NotPossible)
def not_possible(exc: NotPossible) -> Any:
    return problem(409, "Not possible now", str(exc), errors=[Fault("", str(exc), exc.hint)])


@operations.errorhandler(NoSuchCommand)
def no_such_command(exc: NoSuchCommand) -> Any:
    detail = "check the id; ids are in the answers to alerts and in the lists"
    return problem(404, "No such command", detail)


@operations.errorhandler(NothingSoCalled)
def nothing_so_called(exc: NothingSoCalled) -> Any:
    return problem(422, "Nothing of that name", str(exc), errors=[exc.fault])


@operations.errorhandler(AlertRefused)
def refused(exc: AlertRefused) -> Any:
    return problem_of(exc)


@operations.route("/commands/<command_id>/retry")
class Retry(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(201, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Ask anew for what a settled command left open: a new command, with `retry_of`. Once for each."""
        return _document(acting.retry(command_id, g.actor, body["reason"]))


@operations.route("/commands/<command_id>/cancel")
class Cancel(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """End a command that waits to be sent."""
        acting.cancel(command_id, g.actor, body["reason"])
        return _document(command_id)


@operations.route("/commands/<command_id>/acknowledge")
class Acknowledge(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Take note of what asks for attention: it does not ask for that again."""
        acting.acknowledge(command_id, g.actor, body["reason"])
        return _document(command_id)


@operations.route("/commands/<command_id>/resolve")
class Resolve(MethodView):
    @operations.arguments(ResolveBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Say what became of a command that may have acted.

        `done`: `closed` if a fresh read agrees, else `cancelled`; a worker reads, so the answer may still show the
        status from before. `not_done`: `cancelled`.
        """
        acting.resolve(command_id, body["outcome"] == "done", g.actor, body["reason"])
        return _document(command_id)


@operations.route("/flatten")
class Flatten(MethodView):
    @operations.arguments(FlattenBody)
    @operations.response(201, FlattenDocument)
    def post(self, body: dict[str, Any]) -> Any:
        """An operator's own flatten of an account, or of an instrument or a side in it, through the same ledger."""
        rows = acting.flatten(body, g.actor, body["reason"])
        return {"commands": [_document(row.id) for row in rows]}


@operations.route("/positions")
class Positions(MethodView):
    @operations.response(200, PositionList)
    def get(self) -> Any:
        """What is open now, as a worker read it, with the time of the reading."""
        return looking.positions()


@operations.route("/pause")
class Pause(MethodView):
    @operations.response(200, PauseList)
    def get(self) -> dict[str, Any]:
        """What is paused now."""
        return {"items": [pause_document(row) for row in pauses.paused(ledger())], "next": None}

    @operations.arguments(PauseBody)
    @operations.response(200, PauseDocument)
    def put(self, body: dict[str, Any]) -> Any:
        """Stop sending for all, a broker or a hook; or go on. Reads and reconciling go on, and so does time."""
        scope, name, reason = Scope(body["scope"]), body.get("name") or "", body["reason"]
        acting.set_pause(scope, name, body["paused"], g.actor, reason)
        now_paused = {(row.scope, row.name): row for row in pauses.paused(ledger())}
        row = now_paused.get((scope, name))
        if row is not None:
            return pause_document(row)
        return {"scope": scope, "name": name or None, "paused": False, "reason": reason, "since": None}


def _document(command_id: str) -> Any:
    history = readers.command_history(ledger(), command_id)
    assert history is not None, "it was acted on just now, and nothing is deleted"
    return command_document(history)
