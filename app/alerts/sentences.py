"""Alerts as sentences: `close 25% of MES 12-26 in Sim101`, `flatten short MES 12-26`, `flatten everything`.

    close    [<quantity> | <percent>% [of]] [long | short] <instrument> [in <account>]
    flatten  [long | short] [<account> | <instrument>] [in <account>]
    flatten  everything
    heartbeat

An instrument is one word, or a word and an expiry (`MES 12-26`). An account is one that the hook knows, or one word.
Anything left over is refused; nothing is guessed.
"""

import re

from app.alerts.errors import UnreadableAlert, WrongAlert
from app.domain.instruments import account_key
from app.strict import Fault, shown

RESERVED = {"close", "flatten", "everything", "all", "long", "short", "in", "of"}

_EXPIRY = re.compile(r"(0[1-9]|1[0-2])-[0-9]{2}")
_SIZE = re.compile(r"[0-9]+(\.[0-9]+)?%?")
_EXAMPLES = 'like "close MES 12-26", "close 4 MES 12-26 in Sim101" or "flatten Sim101"'


def fields_of_sentence(text: str, accounts: tuple[str, ...]) -> dict[str, str]:
    """The fields that a sentence means. Raises UnreadableAlert or WrongAlert."""
    if "\n" in text:
        hint = "send one sentence per alert, or key=value pairs"
        raise UnreadableAlert(Fault("", "is several lines without key=value pairs", hint))
    words = text.split()
    if [word.lower() for word in words] == ["heartbeat"]:
        return {"action": "heartbeat"}
    verb, rest = words[0].lower(), words[1:]
    if verb not in ("close", "flatten"):
        raise UnreadableAlert(Fault("", "is not a JSON object, key=value pairs or a sentence", _EXAMPLES))
    rest, account = _account_after_in(rest, accounts)
    fields = _close(rest) if verb == "close" else _flatten(rest, accounts, account)
    if account is not None:
        fields["account"] = account
    return fields


def _account_after_in(words: list[str], accounts: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The words before `in`, and the account after it."""
    lowered = [word.lower() for word in words]
    if "in" not in lowered:
        return words, None
    place = lowered.index("in")
    return words[:place], _account(words[place + 1 :], accounts)


def _account(words: list[str], accounts: tuple[str, ...]) -> str:
    name = " ".join(words)
    if any(account_key(own) == account_key(name) for own in accounts):
        return name
    if len(words) != 1 or name.lower() in RESERVED:
        raise WrongAlert(Fault("account", f'"{shown(name)}" is not an account of this hook', _EXAMPLES))
    return name


def _close(words: list[str]) -> dict[str, str]:
    fields = {"action": "close"}
    if words and _SIZE.fullmatch(words[0]):
        size, words = words[0], words[1:]
        fields["percent" if size.endswith("%") else "quantity"] = size
        if words and words[0].lower() == "of":
            words = words[1:]
    side, words = _side(words)
    if not words or [word.lower() for word in words] in (["all"], ["everything"]):
        hint = 'name one, or say "flatten <account>"; closing everything is "flatten everything"'
        raise WrongAlert(Fault("instrument", "is missing: what shall be closed?", hint))
    return {**fields, **side, "instrument": _instrument(words)}


def _flatten(words: list[str], accounts: tuple[str, ...], account: str | None) -> dict[str, str]:
    if [word.lower() for word in words] == ["everything"] and account is None:
        return {"action": "flatten_everything"}
    side, words = _side(words)
    fields = {"action": "flatten", **side}
    if not words:
        return fields
    name = " ".join(words)
    if any(account_key(own) == account_key(name) for own in accounts):
        if account is not None:
            raise WrongAlert(Fault("account", "is named twice", "name one account"))
        return {**fields, "account": name}
    return {**fields, "instrument": _instrument(words)}


def _side(words: list[str]) -> tuple[dict[str, str], list[str]]:
    if words and words[0].lower() in ("long", "short"):
        return {"position": words[0].lower()}, words[1:]
    return {}, words


def _instrument(words: list[str]) -> str:
    word, *expiry = words
    fits = not expiry or (len(expiry) == 1 and _EXPIRY.fullmatch(expiry[0]))
    if not fits or word.lower() in RESERVED:
        left = " ".join(words)
        raise WrongAlert(Fault("instrument", f'"{shown(left)}" can\'t be read as an instrument', _EXAMPLES))
    return " ".join(words)
