"""Each hook: its address, texts to paste, which secrets are in use; and the tester."""

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Response, abort, current_app, render_template, request, url_for

from app.alerts.authentication import without_secret
from app.alerts.dialects import has_comments
from app.alerts.errors import AlertRefused, NoExit
from app.alerts.grammar import fields_of
from app.alerts.hooks import ALL, Hook
from app.alerts.mapping import Request, request_of
from app.alerts.redaction import kept_text
from app.alerts.schemas import STRATEGY
from app.domain.commands import Action, Command
from app.ledger import questions, readers
from app.ledger.encoding import columns_of, command_json
from app.web.acting import ledger
from app.web.pages.base import dashboard, live
from app.web.pages.rows import asked
from app.web.presentation import hook_document, planned_summary

LONGEST = 16 * 1024
PREVIEWED = 10
"""Commands of a text that a worker is asked about, the first ones: each is a reading of its broker."""


@dashboard.get("/hooks")
def hooks() -> Response:
    known: dict[str, Hook] = current_app.extensions["flatwire_hooks"]
    uses = {name: readers.last_uses(ledger(), name, hook.labels) for name, hook in known.items()}
    return live(
        "hooks",
        hooks=[
            hook_document(hook, uses[name])
            | {"address": _address(hook), "title": hook.venue.title, "texts": texts_for(hook)}
            for name, hook in known.items()
        ],
        known=list(known),
    )


@dashboard.post("/tester")
def try_text() -> str:
    """What a text would ask for at the door: nothing is kept or sent."""
    hook: Hook | None = current_app.extensions["flatwire_hooks"].get(request.form.get("hook", ""))
    if hook is None:
        abort(404)
    text = request.form.get("text", "")[:LONGEST]
    found = tried(text, hook)
    previews = _ask(found.get("commands", ())) if request.form.get("preview") else []
    summaries = [_summary(command) for command in found.get("commands", ())]
    return render_template(
        "tester.html", hook=hook, text=text, found=found, commands=summaries, previews=previews
    )


@dashboard.get("/previews/<question_id>")
def preview(question_id: str) -> Response:
    """What a worker says that a command would send now; empty until it says so."""
    row = questions.answer_of(ledger(), question_id)
    if row is None or row.kind != questions.Kind.PREVIEW:
        abort(404)
    page = render_template("_preview.html", answer=row.answer, question_id=question_id)
    return Response(page)


def tried(text: str, hook: Hook) -> dict[str, Any]:
    """The commands that a text would make, or its faults, or why it is ignored."""
    try:
        read = fields_of(
            text.encode("utf-8", "replace"), hook.known_accounts, comments=has_comments(hook.dialects)
        )
        wanted: Request = request_of(without_secret(read), hook, datetime.now(UTC))
    except NoExit as exc:
        return {"ignored": str(exc)}
    except AlertRefused as exc:
        faults = [{**fault.as_dict(), "hint": _starred(fault.hint)} for fault in exc.faults]
        return {"faults": faults}
    return {"commands": wanted.commands, "warnings": [warning.as_dict() for warning in wanted.warnings]}


def _starred(hint: str | None) -> str | None:
    return kept_text(hint.encode("utf-8", "replace"), None) if hint else None


def _ask(commands: Sequence[Command]) -> list[str]:
    """The ids of the questions about these commands, as many as a worker answers in a while."""
    asked_about = {secrets.token_hex(16): command for command in commands[:PREVIEWED]}
    details = {key: (command.broker, command_json(command)) for key, command in asked_about.items()}
    questions.ask_for_previews(ledger(), details)
    return list(asked_about)


def _summary(command: Command) -> dict[str, Any]:
    summary = planned_summary(columns_of(command, datetime.now(UTC).date()))
    return summary | {"asked": asked(summary)}


def _address(hook: Hook) -> str:
    base = current_app.config["PUBLIC_URL"] or request.host_url.rstrip("/")
    return f"{base}{url_for('hooks.take', name=hook.name)}/SECRET"


def texts_for(hook: Hook) -> list[tuple[str, str]]:
    """What to paste into a chart's alert, and where; with what tells a repeat from a second close."""
    once = {"id": "{{strategy.order.id}}-{{timenow}}", "timenow": "{{timenow}}"}
    bar = {"id": "{{ticker}}-{{timenow}}", "timenow": "{{timenow}}"}
    account = {"account": _account(hook)} if hook.venue.names_accounts and not hook.default_account else {}
    close = {"action": "close", "ticker": "{{ticker}}", **account}
    found: list[tuple[str, str]] = []
    if Action.CLOSE in hook.allow:
        strategy = {"action": STRATEGY, "ticker": "{{ticker}}", **account, **_PLACEHOLDERS, **once}
        found += [
            ("One alert for all orders of a strategy: its exits act", json.dumps(strategy)),
            ("An indicator's alert: close all of it", json.dumps(close | bar)),
            ("An indicator's alert: close half of it", json.dumps(close | {"percent": "50%"} | bar)),
            ("In Pine; the alert's message is {{strategy.order.alert_message}}", _pine(account)),
        ]
    if Action.FLATTEN in hook.allow and not hook.instruments:
        flatten = {"action": "flatten", "account": _account(hook), **bar}
        found.append(("Flatten the account", json.dumps(flatten)))
    return found


_PLACEHOLDERS = {
    "market_position": "{{strategy.market_position}}",
    "position_size": "{{strategy.market_position_size}}",
    "prev_market_position": "{{strategy.prev_market_position}}",
    "prev_position_size": "{{strategy.prev_market_position_size}}",
}


def _pine(account: dict[str, str]) -> str:
    """Pine joins its own values: placeholders inside an alert_message are not filled in."""
    fields = "".join(f', "{name}": "{value}"' for name, value in account.items())
    text = (
        f'\'{{"action": "close"{fields}, "ticker": "\' + syminfo.ticker + \'", '
        '"id": "long-\' + str.tostring(timenow) + \'", "timenow": \' + str.tostring(timenow) + \'}\''
    )
    return f'strategy.close("Long", alert_message = {text})'


def _account(hook: Hook) -> str:
    if not hook.venue.names_accounts:
        return hook.broker
    return hook.default_account or next((it for it in hook.accounts if it != ALL), "ACCOUNT")
