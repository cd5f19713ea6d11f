"""The TOML file: read, checked as a whole, and made into hooks and brokers (design, section 5)."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from marshmallow import ValidationError

from app.alerts.authentication import signing_key
from app.alerts.errors import AlertRefused
from app.alerts.hooks import Hook
from app.alerts.mapping import Request
from app.alerts.schedules import Schedule, Timetable, asked_by
from app.domain.venues import VENUES, Venue
from app.strict import Fault, did_you_mean, faults_in
from config.faults import faults_between
from config.schemas import SECRETS, FileSchema
from config.secrets import Secret

_NAME = re.compile(r"\$\{([^}]*)\}")


class Role(Enum):
    """Which process reads the file: each gets only the secrets it needs."""

    WEB = "web"
    WORKER = "worker"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """A broker as the file describes it. Times are seconds."""

    name: str
    venue: Venue
    secrets: Mapping[str, Secret]
    """The credential, by the names of `Venue.credential`; empty in a process that is not given it."""
    base_url: str
    transport: str = "rest"
    demo: bool = False
    """Whether to trade on the venue's paper account."""
    margin_mode: str | None = None
    """Only positions of this margin mode; None: of any."""
    live: bool = False
    symbols: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 3
    read_timeout: float = 10
    deadline: float = 12
    settle: float = 10
    verify_for: float = 60
    retry_for: float = 120
    rate: float | None = None
    """Calls a second, on top of the venue's own limits; None: no further limit."""
    burst: float | None = None
    """Calls that may go at once, under that rate."""

    @property
    def exclusive(self) -> bool:
        """Whether the venue lets only one of us be connected at a time."""
        return self.transport == "websocket"

    @property
    def settle_window(self) -> float:
        """How long after a lost answer its effect may still come: never shorter than the call's own deadline."""
        return max(self.settle, self.deadline)


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told, and of what."""

    urls: tuple[Secret, ...]
    """Apprise's addresses; they hold tokens."""
    on: frozenset[str]
    """Some of `app.domain.causes`."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says, checked."""

    hooks: Mapping[str, Hook]
    brokers: Mapping[str, BrokerSettings]
    schedules: Mapping[str, Schedule]
    notify: Notify | None
    """None: nobody is told of anything."""
    broker_variables: frozenset[str]
    """The environment variables that hold broker credentials, and nothing that the web process needs."""


class ConfigurationFault(Exception):
    """Raised when a setting is wrong; carries every fault found, each with its place and a hint."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        lines = [f"  {f.field}: {f.message}" + (f" ({f.hint})" if f.hint else "") for f in faults]
        super().__init__("the configuration can't be used:\n" + "\n".join(lines))


def read(text: str, role: Role, environ: Mapping[str, str]) -> Configuration:
    """The configuration in a TOML text. Raises ConfigurationFault with all faults at once."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationFault([Fault("file", f"is not TOML: {exc}", "mend the place it names")]) from exc
    faults: list[Fault] = []
    expanded = _expanded(document, role, environ, faults)
    loaded = _loaded(expanded, faults)
    faults += faults_between(loaded, named=expanded.get("brokers"))
    schedules = _schedules(loaded, faults, named=expanded.get("hooks"))
    if faults:
        raise ConfigurationFault(sorted(set(faults), key=lambda f: f.field))
    brokers = {name: _broker(name, entry) for name, entry in loaded["brokers"].items()}
    hooks = {name: _hook(name, entry, brokers[entry["broker"]]) for name, entry in loaded["hooks"].items()}
    variables = _broker_variables(document)
    return Configuration(hooks, brokers, schedules, _notify(loaded.get("notify")), variables)


def _loaded(document: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = FileSchema().load(document)
        return loaded
    except ValidationError as exc:
        faults += faults_in(exc.messages)
        valid = exc.valid_data if isinstance(exc.valid_data, dict) else {}
        # What could be read is still checked for faults between entries, so that all are told at once.
        return {name: valid.get(name) or {} for name in ("brokers", "hooks", "schedules", "notify")}


def _expanded(
    document: Any, role: Role, environ: Mapping[str, str], faults: list[Fault], place: tuple[str, ...] = ()
) -> Any:
    """The document with `${NAME}` taken from the environment, but for the secrets that this process is not given."""
    if isinstance(document, dict):
        return {
            key: _expanded(value, role, environ, faults, (*place, key)) for key, value in document.items()
        }
    if isinstance(document, list):
        return [_expanded(value, role, environ, faults, place) for value in document]
    if not isinstance(document, str):
        return document
    where = ".".join(place)
    if is_secret(place):
        return _secret(document, where, role, place, environ, faults)
    return _NAME.sub(lambda match: _value_of(match[1], where, environ, faults), document)


def is_secret(place: tuple[str, ...]) -> bool:
    """Whether a value at this place of the file is a secret."""
    match place:
        case ("brokers", _, name) if name in SECRETS:
            return True
        case ("hooks", _, "secrets", _) | ("notify", "urls"):
            return True
    return False


def _secret(
    text: str, where: str, role: Role, place: tuple[str, ...], environ: Mapping[str, str], faults: list[Fault]
) -> Secret | None:
    name = _NAME.fullmatch(text)
    if not name:
        hint = "write it as ${NAME} and put the secret into the environment variable NAME"
        faults.append(Fault(where, "is a secret and must not stand in the file", hint))
        return None
    if (role is Role.WEB and place[0] == "brokers") or (role is Role.WORKER and place[0] == "hooks"):
        return None
    value = _value_of(name[1], where, environ, faults)
    return Secret(value) if value else None


def _value_of(name: str, where: str, environ: Mapping[str, str], faults: list[Fault]) -> str:
    value = environ.get(name, "")
    if not value.strip():
        faults.append(Fault(where, f"needs the environment variable {name}", f"set {name}, or mend the name"))
    return value


def _notify(entry: Mapping[str, Any] | None) -> Notify | None:
    return Notify(tuple(entry["urls"]), frozenset(entry["on"])) if entry else None


def _schedules(loaded: Mapping[str, Any], faults: list[Fault], named: Any) -> dict[str, Schedule]:
    """Each schedule whose hook is right by itself: what it asks for is known, or is a fault."""
    found = {}
    known = list(named) if isinstance(named, dict) else []
    for name, entry in (loaded.get("schedules") or {}).items():
        hook = loaded["hooks"].get(entry["hook"])
        if entry["hook"] not in known:
            hint = did_you_mean(entry["hook"], known, otherwise=f"hooks: {', '.join(known) or 'none yet'}")
            faults.append(Fault(f"schedules.{name}.hook", "names a hook that is not in the file", hint))
            continue
        mended = hook and not any(it.field.startswith(f"hooks.{entry['hook']}.") for it in faults)
        if mended and (broker := loaded["brokers"].get(hook["broker"])):
            of = _hook(entry["hook"], {**hook, "secrets": {}}, _broker(hook["broker"], broker))
            found[name] = _schedule(name, entry, of, faults)
    return found


def _schedule(name: str, entry: Mapping[str, Any], hook: Hook, faults: list[Fault]) -> Schedule:
    asked = Request(commands=())
    try:
        asked = asked_by(entry["text"], hook)
    except AlertRefused as exc:
        where = f"schedules.{name}.text"
        said = [f"{it.field}: {it.message}" if it.field else it.message for it in exc.faults]
        faults += [Fault(where, text, it.hint) for text, it in zip(said, exc.faults, strict=True)]
    timetable = Timetable(entry["cron"], entry["timezone"])
    return Schedule(name, hook, timetable, entry["text"], asked, entry["late"])


def _broker(name: str, entry: Mapping[str, Any]) -> BrokerSettings:
    entry = dict(entry)
    venue = VENUES[entry.pop("kind")]
    given = {key: entry.pop(key) for key in SECRETS & entry.keys()}
    secrets = {key: secret for key, secret in given.items() if secret is not None}
    entry.setdefault("base_url", venue.base_url)
    return BrokerSettings(name=name, venue=venue, secrets=secrets, **entry)


def _hook(name: str, entry: Mapping[str, Any], broker: BrokerSettings) -> Hook:
    entry = dict(entry)
    if not broker.venue.names_accounts:
        entry["accounts"] = entry["accounts"] or (broker.name,)
        entry["default_account"] = broker.name
    given = {label: secret for label, secret in entry.pop("secrets").items() if secret}
    keys = {label: key for label, secret in given.items() if (key := signing_key(secret.reveal()))}
    secrets = {label: secret.digest() for label, secret in given.items() if label not in keys}
    symbols = {**broker.symbols, **entry.pop("symbols", {})}
    return Hook(
        name=name,
        venue=broker.venue,
        live=broker.live,
        secrets=secrets,
        signing_keys=keys,
        symbols=symbols,
        **entry,
    )


def _broker_variables(document: Mapping[str, Any]) -> frozenset[str]:
    """The variables that only broker secrets name."""
    brokers, others = set[str](), set(_NAME.findall(str(document.get("notify"))))
    for section, entries in document.items():
        for entry in entries.values() if isinstance(entries, dict) else []:
            if isinstance(entry, dict):
                for key, value in entry.items():
                    ours = brokers if is_secret((section, "", key)) and section == "brokers" else others
                    ours.update(_NAME.findall(str(value)))
    return frozenset(brokers - others)
