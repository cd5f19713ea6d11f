"""Settings from the environment: read once, from a mapping that is passed in; every fault told at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from app.strict import Fault, fault, faults_in
from config.addresses import Address, RedisAddress
from config.file import Configuration, ConfigurationFault, Role, read
from config.secrets import Secret

DEFAULT_FILE = "config/flatwire.toml"
ROLES = ("viewer", "operator")
LOG_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
"""Of each the first is the default."""
_PLATFORMS = {"DYNO", "RENDER"}
"""Variables that Heroku and Render set: a router is in front, and the disk is emptied at each restart."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in to the dashboard, or (without a name) a bearer of an API token."""

    name: str
    role: str
    secret: Secret
    """An argon2 hash of the password; for the API, the token itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process needs to know to start."""

    database_url: str
    redis_url: str | None
    """None: no doorbell; the workers look into the ledger by themselves."""
    redis_tls_verify: bool
    port: int
    web_concurrency: int
    web_threads: int
    workers: int
    secret_key: Secret | None
    dashboard_users: tuple[User, ...]
    api_tokens: tuple[User, ...]
    trusted_proxies: int
    public_url: str | None
    log_level: str
    log_format: str
    configuration: Configuration


def load(role: Role, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a process of this role. Raises ConfigurationFault with every fault found."""
    environ = os.environ if environ is None else environ
    faults: list[Fault] = []
    values = _environment(role, environ, faults)
    configuration = _file(role, environ, faults)
    if values and configuration:
        faults += _behind_a_router(values, configuration, environ)
    if faults or configuration is None:
        raise ConfigurationFault(faults)
    return Settings(**values, configuration=configuration)


def process_values(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the environment says, without the file and what only a server needs. Raises ConfigurationFault."""
    faults: list[Fault] = []
    values = _environment(Role.CHECK, os.environ if environ is None else environ, faults)
    if faults:
        raise ConfigurationFault(faults)
    return values


def log_settings(environ: Mapping[str, str]) -> tuple[str, str]:
    """Level and style of the log, for what is told before the settings are checked: never a fault."""
    level, style = environ.get("LOG_LEVEL", ""), environ.get("LOG_FORMAT", "")
    return (
        level if level in LOG_LEVELS else LOG_LEVELS[0],
        style if style in LOG_FORMATS else LOG_FORMATS[0],
    )


def secret_variable(name: str) -> str:
    """A secret that a command line names by its variable; blank if there is none."""
    return os.environ.get(name, "").strip()


def drop_broker_secrets(environ: dict[str, str], configuration: Configuration) -> list[str]:
    """Take what only brokers need out of an environment. The names of what was there."""
    found = sorted(configuration.broker_variables & environ.keys())
    for name in found:
        del environ[name]
    return found


def _environment(role: Role, environ: Mapping[str, str], faults: list[Fault]) -> dict[str, Any]:
    try:
        values: dict[str, Any] = EnvironmentSchema().load(environ)
    except ValidationError as exc:
        faults += faults_in(exc.messages)
        return {}
    if values["database_url"].startswith("sqlite"):
        for platform in _PLATFORMS:
            if platform in environ:
                hint = "add a PostgreSQL database and set DATABASE_URL"
                message = "is SQLite, and this platform's disk is emptied at each restart"
                faults.append(Fault("DATABASE_URL", message, hint))
    if role is Role.WEB:
        faults += _web_faults(values)
    return values


def _behind_a_router(
    values: Mapping[str, Any], configuration: Configuration, environ: Mapping[str, str]
) -> list[Fault]:
    """Behind a router each call seems to come from the router: `sources` would turn all of them away."""
    if values["trusted_proxies"] or not _PLATFORMS & environ.keys():
        return []
    limited = [name for name, hook in configuration.hooks.items() if hook.sources]
    hint = "set TRUSTED_PROXIES=1: this platform has a router in front"
    return [Fault(f"hooks.{name}.sources", "can't be told behind a router", hint) for name in limited]


def _web_faults(values: Mapping[str, Any]) -> list[Fault]:
    faults = []
    if values["secret_key"] is None:
        hint = 'set it to a long random text: python -c "import secrets; print(secrets.token_urlsafe(48))"'
        faults.append(Fault("SECRET_KEY", "is not set; it signs the dashboard's sessions", hint))
    if not values["dashboard_users"]:
        hint = "set it to a line of `python -m app hash-password`"
        faults.append(Fault("DASHBOARD_USERS", "is not set; nobody could log in", hint))
    return faults


def _file(role: Role, environ: Mapping[str, str], faults: list[Fault]) -> Configuration | None:
    text = environ.get("FLATWIRE_CONFIG_TOML", "")
    if not text.strip():
        path = Path(environ.get("FLATWIRE_CONFIG") or DEFAULT_FILE)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            hint = "write it as docs/configuration.md says, or name yours in FLATWIRE_CONFIG"
            faults.append(Fault(str(path), f"can't be read: {reason}", hint))
            return None
    try:
        return read(text, role, environ)
    except ConfigurationFault as exc:
        faults += exc.faults
        return None


class _Lines(fields.Field[tuple[User, ...]]):
    """Items between white space: `name:role:hash` for users, `role:token` for the API."""

    def __init__(self, *, names: bool, **kw: Any) -> None:
        super().__init__(**kw)
        self.names = names

    def _deserialize(self, value: str, attr: Any, data: Any, **kw: Any) -> tuple[User, ...]:
        users = tuple(self._user(item, number) for number, item in enumerate(value.split(), start=1))
        if self.names and len({user.name for user in users}) < len(users):
            raise fault("has a name twice")
        return users

    def _user(self, item: str, number: int) -> User:
        name, _, rest = item.partition(":") if self.names else (f"token {number}", "", item)
        role, _, secret = rest.partition(":")
        shape = "name:role:hash, as `python -m app hash-password` prints it" if self.names else "role:token"
        if role not in ROLES or not name or not secret:
            raise fault(f"item {number} is not {shape}", f"roles: {', '.join(ROLES)}")
        if self.names and not secret.startswith("$argon2"):
            raise fault(f"item {number} holds no argon2 hash", "make it by `python -m app hash-password`")
        if not self.names and len(secret) < 16:
            raise fault(f"item {number} is shorter than 16 characters", "use a long random token")
        return User(name, role, Secret(secret))


class _SecretText(fields.String):
    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> Any:
        if len(value) < 16:
            raise fault("is shorter than 16 characters", "use a long random text")
        return Secret(value)


def _whole(least: int, most: int, default: int) -> fields.Integer:
    limits = validate.Range(least, most, error=f"must be a whole number from {least} to {most}")
    messages: dict[str, Any] = {"invalid": f"must be a whole number from {least} to {most}"}
    return fields.Integer(load_default=default, validate=limits, error_messages=messages)


def _choice(*choices: str) -> fields.String:
    one_of = validate.OneOf(choices, error="must be one of: {choices}")
    return fields.String(load_default=choices[0], validate=one_of)


class _Boolean(fields.Field[bool]):
    def _deserialize(self, value: str, attr: Any, data: Any, **kw: Any) -> bool:
        if value not in ("true", "false"):
            raise fault("must be true or false")
        return value == "true"


class EnvironmentSchema(Schema):
    """The environment variables, by name (design, section 5). A blank one counts as not set."""

    class Meta:
        unknown = EXCLUDE

    database_url = Address(
        "sqlite:///",
        "postgres://",
        "postgresql://",
        "postgresql+psycopg://",
        data_key="DATABASE_URL",
        load_default="sqlite:///var/flatwire.db",
    )
    redis_url = RedisAddress("redis://", "rediss://", "unix://", data_key="REDIS_URL", load_default=None)
    redis_tls_verify = _Boolean(data_key="REDIS_TLS_VERIFY", load_default=True)
    port = _whole(1, 65535, 8000)
    web_concurrency = _whole(1, 64, 1)
    web_threads = _whole(1, 256, 16)
    workers = _whole(1, 64, 2)
    secret_key = _SecretText(data_key="SECRET_KEY", load_default=None)
    dashboard_users = _Lines(names=True, data_key="DASHBOARD_USERS", load_default=())
    api_tokens = _Lines(names=False, data_key="API_TOKENS", load_default=())
    trusted_proxies = _whole(0, 8, 0)
    public_url = Address("https://", "http://", data_key="PUBLIC_URL", load_default=None)
    log_level = _choice(*LOG_LEVELS)
    log_format = _choice(*LOG_FORMATS)

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        field_obj.data_key = field_obj.data_key or field_name.upper()

    @pre_load
    def drop_blanks(self, data: Mapping[str, str], **_kw: Any) -> dict[str, str]:
        return {name: value for name, value in data.items() if value.strip()}
