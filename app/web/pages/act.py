"""Acting: one page that says what would be done, to what and how many, and asks once, with a reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import abort, current_app, flash, redirect, request, url_for
from flask_login import current_user

from app.alerts.errors import AlertRefused
from app.alerts.hooks import ALL
from app.domain.instruments import account_key, contract_of
from app.ledger import readers
from app.ledger.operators import NoSuchCommand, NotPossible
from app.ledger.pauses import Scope
from app.web import acting, looking
from app.web.acting import NothingSoCalled, ledger
from app.web.pages.base import dashboard, sheet
from app.web.pages.overview import known_now
from app.web.pages.rows import shown

MOST = 200
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to commands."""

    verb: str
    warning: str
    do: Callable[[str, str, str], Any]
    """Given the command's id, who does it, and why."""


ACTS: Mapping[str, Act] = {
    "retry": Act(
        "Retry",
        "Each is asked for anew, as far as it was not done: a new command is sent to the broker.",
        acting.retry,
    ),
    "cancel": Act("Cancel", "What waits to be sent is ended. It is not sent.", acting.cancel),
    "acknowledge": Act(
        "Acknowledge",
        "They leave the list. Nothing is sent, and nothing else of them changes.",
        acting.acknowledge,
    ),
    "resolve_done": Act(
        "Resolve as done",
        "You have seen at the broker that it was done. A worker reads once more: it is closed if that is so, else "
        "cancelled, with what is still open.",
        lambda command, actor, reason: acting.resolve(command, True, actor, reason),
    ),
    "resolve_not_done": Act(
        "Resolve as not done",
        "You have seen at the broker that nothing was done, and nothing of it is at work any more. It is cancelled.",
        lambda command, actor, reason: acting.resolve(command, False, actor, reason),
    ),
}


@dashboard.before_request
def only_operators_act() -> None:
    """A viewer's every POST but signing out is refused."""
    if request.method == "POST" and request.endpoint not in (
        "dashboard.login",
        "dashboard.logout",
        "dashboard.try_text",
    ):
        _check_operator()


@dashboard.get("/act/<name>")
def act(name: str) -> str:
    """Ask once."""
    _check_operator()
    return _asked(name)


@dashboard.post("/act/<name>")
def do_act(name: str) -> Any:
    """Do it to each, and say what could not be done."""
    known, reason = _act(name), _reason()
    if reason is None:
        return _asked(name, "Say why, in 1 to 500 characters: whoever reads it later will want to know.")
    done, failed = 0, []
    for command_id in _named():
        try:
            known.do(command_id, _actor(), reason)
            done += 1
        except NotPossible as exc:
            failed.append(f"{command_id[:8]}: {exc} ({exc.hint})")
        except NoSuchCommand:
            failed.append(f"{command_id[:8]}: there is no such command")
    if done:
        flash(f"{known.verb}: {done} command{'s' if done != 1 else ''}.", "good")
    for what in failed:
        flash(what, "bad")
    return redirect(_back())


@dashboard.get("/flatten")
def flatten() -> str:
    """Ask once, with what is open of it."""
    _check_operator()
    return _asked_to_flatten()


@dashboard.post("/flatten")
def do_flatten() -> Any:
    reason = _reason()
    if reason is None:
        return _asked_to_flatten("Say why, in 1 to 500 characters.")
    try:
        rows = acting.flatten(request.form, _actor(), reason)
    except NothingSoCalled as exc:
        return _asked_to_flatten(f"{exc}: {exc.fault.hint}")
    except AlertRefused as exc:
        return _asked_to_flatten("; ".join(f"{fault.field}: {fault.message}" for fault in exc.faults))
    flash("On its way. What becomes of it shows here within a second or two.", "good")
    return redirect(url_for("dashboard.command", command_id=rows[0].id))


@dashboard.get("/pause")
def pause() -> str:
    _check_operator()
    return _asked_to_pause()


@dashboard.post("/pause")
def do_pause() -> Any:
    reason = _reason()
    if reason is None:
        return _asked_to_pause("Say why, in 1 to 500 characters.")
    scope, name, paused = _paused_what()
    try:
        acting.set_pause(scope, name, paused, _actor(), reason)
    except NothingSoCalled as exc:
        return _asked_to_pause(f"{exc}: {exc.fault.hint}")
    what = "everything" if scope is Scope.ALL else f"{scope} {name}"
    flash(f"{'Paused' if paused else 'Goes on'}: {what}.", "good")
    return redirect(url_for("dashboard.system"))


def _asked(name: str, wrong: str | None = None) -> str:
    ids = _named()
    commands = shown(readers.commands_named(ledger(), ids))
    if not commands:
        abort(404)
    return sheet("act.html", act=_act(name), commands=commands, wrong=wrong, back=_back())


def _asked_to_flatten(wrong: str | None = None) -> str:
    asked = {name: request.values.get(name, "") for name in ("broker", "account", "instrument", "side")}
    settings = current_app.extensions["flatwire_brokers"].get(asked["broker"])
    if settings is None:
        abort(404)
    read = looking.positions()
    (reading,) = (it for it in read["brokers"] if it["broker"] == asked["broker"])
    named = (
        acting.hook_of_operators(settings).instrument(asked["instrument"]) if asked["instrument"] else None
    )
    matching = [it for it in read["items"] if _matches(it, asked, named)]
    return sheet(
        "flatten.html",
        asked=asked,
        matching=matching,
        reading=reading,
        live_broker=settings.live,
        known=known_now(reading),
        wrong=wrong,
    )


def _matches(position: Mapping[str, Any], asked: Mapping[str, str], instrument: str | None) -> bool:
    """As the workers match: accounts whatever their case, an alias for its whole root."""
    if position["broker"] != asked["broker"] or asked["side"] not in ("", position["side"]):
        return False
    if asked["account"] != ALL and account_key(position["account"]) != account_key(asked["account"]):
        return False
    if instrument is None or instrument == position["instrument"]:
        return True
    today = datetime.now(UTC).date()
    meant, there = contract_of(instrument, today), contract_of(position["instrument"], today)
    return meant.root == there.root and meant.expiry in (None, there.expiry)


def _asked_to_pause(wrong: str | None = None) -> str:
    scope, name, paused = _paused_what()
    return sheet("pause.html", scope=scope, name=name, paused=paused, wrong=wrong)


def _paused_what() -> tuple[Scope, str, bool]:
    values = request.values
    try:
        return Scope(values.get("scope", "")), values.get("name", ""), values.get("paused") == "1"
    except ValueError:
        abort(404)


def _act(name: str) -> Act:
    return ACTS.get(name) or abort(404)


def _named() -> list[str]:
    return list(dict.fromkeys(request.values.getlist("command")))[:MOST]


def _reason() -> str | None:
    reason = request.form.get("reason", "").strip()
    return reason if 0 < len(reason) <= LONGEST_REASON else None


def _back() -> str:
    """To the command if it is one, else to the list."""
    ids = _named()
    if len(ids) == 1:
        return url_for("dashboard.command", command_id=ids[0])
    return url_for("dashboard.attention")


def _actor() -> str:
    return str(current_user.name)


def _check_operator() -> None:
    if current_user.role != "operator":
        abort(403)
