"""What operators do over the API: retry, cancel, acknowledge and resolve commands; pause and resume."""

from collections.abc import Iterable
from typing import Any

import structlog
from flask import Request, current_app, g
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import Schema
from webargs.flaskparser import FlaskParser

from app.ledger import operators, pauses, readers
from app.ledger.connection import Ledger
from app.ledger.operators import NoSuchCommand, NotPossible
from app.ledger.pauses import Scope
from app.queueing import Doorbell
from app.strict import Fault, did_you_mean
from app.web import access
from app.web.documents import (
    CommandDocument,
    PauseBody,
    PauseDocument,
    PauseList,
    ReasonBody,
    ResolveBody,
)
from app.web.presentation import command_document, pause_document
from app.web.problems import problem

log = structlog.get_logger(__name__)

MAX_AGE_OF_A_GONE_HOOK = 300.0
"""Seconds for which a retry is wanted whose hook is in the file no more."""
RUNG = 16
"""Commands that are rung for at most: one ring wakes a worker, and workers look by themselves too."""


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


@operations.route("/commands/<command_id>/retry")
class Retry(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(201, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Ask anew for what a settled command left open: a new command, with `retry_of`. Once for each."""
        again = operators.retry(_ledger(), command_id, g.actor, body["reason"], _max_age(command_id))
        _ring([again])
        return _done("retried", again)


@operations.route("/commands/<command_id>/cancel")
class Cancel(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """End a command that waits to be sent."""
        operators.cancel(_ledger(), command_id, g.actor, body["reason"])
        _ring_for_next(command_id)
        return _done("cancelled", command_id)


@operations.route("/commands/<command_id>/acknowledge")
class Acknowledge(MethodView):
    @operations.arguments(ReasonBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Take note of what asks for attention: it does not ask for that again."""
        operators.acknowledge(_ledger(), command_id, g.actor, body["reason"])
        return _done("acknowledged", command_id)


@operations.route("/commands/<command_id>/resolve")
class Resolve(MethodView):
    @operations.arguments(ResolveBody)
    @operations.response(200, CommandDocument)
    def post(self, body: dict[str, Any], command_id: str) -> Any:
        """Say what became of a command that may have acted.

        `done`: `closed` if a fresh read agrees, else `cancelled`; a worker reads, so the answer may still show the
        status from before. `not_done`: `cancelled`.
        """
        done = body["outcome"] == "done"
        operators.resolve(_ledger(), command_id, done, g.actor, body["reason"])
        if done:
            _ring([command_id])
        else:
            _ring_for_next(command_id)
        return _done("resolved", command_id)


@operations.route("/pause")
class Pause(MethodView):
    @operations.response(200, PauseList)
    def get(self) -> dict[str, Any]:
        """What is paused now."""
        return {"items": [pause_document(row) for row in pauses.paused(_ledger())], "next": None}

    @operations.arguments(PauseBody)
    @operations.response(200, PauseDocument)
    def put(self, body: dict[str, Any]) -> Any:
        """Stop sending for all, a broker or a hook; or go on. Reads and reconciling go on, and so does time."""
        scope, name, reason = Scope(body["scope"]), body.get("name") or "", body["reason"]
        known = _names(scope)
        if not body["paused"]:  # what has left the file since can go on too
            known += [row.name for row in pauses.paused(_ledger()) if row.scope == scope]
        if name not in known:
            hint = did_you_mean(name, known, otherwise=f"one of: {', '.join(known)}")
            return problem(
                422,
                "Nothing of that name",
                f"no {scope} is called so",
                errors=[Fault("name", "is not known", hint)],
            )
        if body["paused"]:
            pauses.pause(_ledger(), scope, name, g.actor, reason)
        else:
            _ring(pauses.resume(_ledger(), scope, name, g.actor, reason))
        log.warning("paused" if body["paused"] else "resumed", scope=scope, name=name, actor=g.actor)
        now_paused = {(row.scope, row.name): row for row in pauses.paused(_ledger())}
        row = now_paused.get((scope, name))
        if row is not None:
            return pause_document(row)
        return {"scope": scope, "name": name or None, "paused": False, "reason": reason, "since": None}


def _names(scope: Scope) -> list[str]:
    match scope:
        case Scope.ALL:
            return [""]
        case Scope.BROKER:
            return list(current_app.extensions["flatwire_brokers"])
        case Scope.HOOK:
            return list(current_app.extensions["flatwire_hooks"])


def _done(act: str, command_id: str) -> Any:
    log.info("operator_acted", act=act, command=command_id, actor=g.actor)
    history = readers.command_history(_ledger(), command_id)
    assert history is not None, "it was acted on just now, and nothing is deleted"
    return command_document(history)


def _max_age(command_id: str) -> float:
    history = readers.command_history(_ledger(), command_id)
    hook = current_app.extensions["flatwire_hooks"].get(history.command.hook) if history else None
    return hook.max_age if hook else MAX_AGE_OF_A_GONE_HOOK


def _ring_for_next(command_id: str) -> None:
    _ring(readers.next_in_lanes(_ledger(), command_id, RUNG))


def _ring(command_ids: Iterable[str]) -> None:
    doorbell: Doorbell = current_app.extensions["flatwire_doorbell"]
    doorbell.ring(list(command_ids)[:RUNG])


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["flatwire_ledger"]
    return ledger
