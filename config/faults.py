"""What is wrong between the entries of the file, though each is right by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.alerts.authentication import signing_key
from app.domain.commands import Action
from app.domain.instruments import account_key
from app.domain.venues import VENUES, Venue
from app.messages import is_address
from app.strict import Fault, did_you_mean
from config.secrets import Secret


def faults_between(loaded: Mapping[str, Any], named: Any) -> list[Fault]:
    """Faults between entries: unknown brokers, shared credentials, hooks that their venue can't serve."""
    faults: list[Fault] = []
    named = list(named) if isinstance(named, dict) else []
    faults += _address_faults(loaded.get("notify") or {})
    faults += _shared_credentials(loaded["brokers"])
    for name, hook in loaded["hooks"].items():
        if hook["broker"] not in named:
            hint = did_you_mean(hook["broker"], named, otherwise=f"brokers: {', '.join(named) or 'none yet'}")
            faults.append(Fault(f"hooks.{name}.broker", "names a broker that is not in the file", hint))
        elif hook["broker"] in loaded["brokers"]:  # else the broker's own faults are told first
            faults += _hook_faults(f"hooks.{name}", hook, VENUES[loaded["brokers"][hook["broker"]]["kind"]])
    return faults


def _shared_credentials(brokers: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    """Two brokers with one credential would not know of each other's calls. The first of a kind's secrets names it."""
    owners: dict[tuple[str, Secret], str] = {}
    for name, broker in brokers.items():
        key = VENUES[broker["kind"]].credential[0]
        secret = broker.get(key)
        if secret is None:
            continue
        owner = owners.setdefault((key, secret), name)
        if owner != name:
            message = f"is the same credential as broker {owner}'s"
            yield Fault(f"brokers.{name}.{key}", message, "name one broker twice in hooks instead")


def _hook_faults(place: str, hook: Mapping[str, Any], venue: Venue) -> list[Fault]:
    faults: list[Fault] = []
    accounts, allow = hook["accounts"], hook["allow"]
    if not accounts and venue.names_accounts:
        faults.append(Fault(f"{place}.accounts", "is missing", 'list the accounts, or "*" for all'))
    if not venue.names_accounts and set(accounts) - {"*", hook["broker"]}:
        message = f"a credential of {venue.title} is one account"
        faults.append(Fault(f"{place}.accounts", message, f'leave it out: the account is "{hook["broker"]}"'))
    elif strange := [name for name in accounts if name != "*" and not venue.account_name.fullmatch(name)]:
        message = f'"{strange[0]}" is no account of {venue.title}'
        faults.append(Fault(f"{place}.accounts", message, "write its number, in quotes"))
    if (unit := hook.get("quantity_unit")) and unit not in venue.quantity_units:
        hint = f"one of: {', '.join(venue.quantity_units)}"
        faults.append(Fault(f"{place}.quantity_unit", f"{venue.title} does not count so", hint))
    default = hook.get("default_account")
    keys = {account_key(account) for account in accounts}
    if default and "*" not in accounts and account_key(default) not in keys:
        faults.append(Fault(f"{place}.default_account", "is not one of its accounts", "add it to accounts"))
    if Action.FLATTEN_EVERYTHING in allow and "*" not in accounts:
        hint = 'set accounts = "*", or take flatten_everything out of allow'
        faults.append(Fault(f"{place}.allow", "flatten_everything reaches every account", hint))
    if hook.get("cancel_orders") is False and Action.FLATTEN in allow and not venue.flatten_can_keep_orders:
        hint = "leave cancel_orders out and set it in the alerts that need it, or take flatten out of allow"
        message = f"{venue.title} cancels working orders with each flatten"
        faults.append(Fault(f"{place}.cancel_orders", message, hint))
    faults += _secret_faults(f"{place}.secrets", hook["secrets"])
    return faults


def _secret_faults(place: str, secrets: Mapping[str, Secret | None]) -> Iterator[Fault]:
    given = {label: secret for label, secret in secrets.items() if secret is not None}
    if len(set(given.values())) < len(given):
        yield Fault(place, "two labels have the same secret", "give each its own")
    for label, secret in given.items():
        try:
            signing_key(secret.reveal())
        except ValueError:
            hint = "whsec_ and then 24 to 64 bytes in base64, as the sender shows it"
            yield Fault(f"{place}.{label}", "begins with whsec_ and is no signing secret", hint)


def _address_faults(notify: Mapping[str, Any]) -> Iterator[Fault]:
    given = [url for url in notify.get("urls", ()) if url is not None]
    if len(set(given)) < len(given):
        yield Fault("notify.urls", "names an address twice", "everything would be told twice")
    for number, url in enumerate(given):
        if not is_address(url.reveal()):
            hint = "see https://appriseit.com/services/ for how each is written"
            yield Fault(f"notify.urls.{number}", "is no address that Apprise knows", hint)
