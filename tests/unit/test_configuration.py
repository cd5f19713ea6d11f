"""The TOML file and the environment: every fault is told at once, with its place and what to do, and no secret in it."""

from collections.abc import Callable
from dataclasses import fields as fields_of
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.causes import CAUSES
from app.domain.commands import Action
from app.strict import Fault
from config.environment import drop_broker_secrets, load, process_values
from config.file import ConfigurationFault, Role, read
from config.secrets import Secret

TOKEN, HOOK_SECRET = "the-venue's-token-0123", "the-hook's-secret-0123"
ENVIRON = {"CROSSTRADE_TOKEN": TOKEN, "HOOK_SECRET": HOOK_SECRET, "ROOT": "MES", "BLANK": "  "}
WEB = {"SECRET_KEY": "a secret key that is long enough", "DASHBOARD_USERS": "ada:operator:$argon2id$x"}
GOOD = """
[brokers.nt8]
kind = "crosstrade"
token = "${CROSSTRADE_TOKEN}"

[hooks.futures]
broker = "nt8"
accounts = ["Sim101", "Sim102"]
secrets = { main = "${HOOK_SECRET}" }
"""


def faults_of(text: str, role: Role = Role.CHECK, environ: dict[str, str] | None = None) -> dict[str, str]:
    """The faults by place, each as its message and hint."""
    with pytest.raises(ConfigurationFault) as told:
        read(text, role, ENVIRON if environ is None else environ)
    message = str(told.value)
    assert all(secret not in message for secret in (TOKEN, HOOK_SECRET))
    return {fault.field: f"{fault.message} {fault.hint or ''}" for fault in told.value.faults}


def with_broker(line: str) -> str:
    return GOOD.replace('kind = "crosstrade"\n', f'kind = "crosstrade"\n{line}\n')


def with_hook(line: str) -> str:
    return GOOD + line + "\n"


def test_a_good_file_is_read_with_the_documented_defaults() -> None:
    configuration = read(GOOD, Role.CHECK, ENVIRON)

    hook, broker = configuration.hooks["futures"], configuration.brokers["nt8"]
    assert (hook.broker, hook.accounts, hook.default_account) == ("nt8", ("Sim101", "Sim102"), None)
    assert set(hook.allow) == {Action.CLOSE, Action.FLATTEN}
    assert (hook.max_age, hook.dedupe_window, hook.live) == (300, 30, False)
    assert broker.base_url == "https://app.crosstrade.io"
    times = (broker.connect_timeout, broker.read_timeout, broker.deadline, broker.settle)
    assert times == (3, 10, 12, 10)
    assert (broker.verify_for, broker.retry_for, broker.settle_window) == (60, 120, 12)


@pytest.mark.parametrize(
    ("role", "token", "secrets"), [(Role.WEB, False, 1), (Role.WORKER, True, 0), (Role.CHECK, True, 1)]
)
def test_each_process_gets_its_own_secrets_only(role: Role, token: bool, secrets: int) -> None:
    needed = {Role.WEB: "HOOK_SECRET", Role.WORKER: "CROSSTRADE_TOKEN"}.get(role)
    environ = {needed: ENVIRON[needed]} if needed else ENVIRON
    configuration = read(GOOD, role, environ)

    assert ("token" in configuration.brokers["nt8"].secrets) is token
    assert len(configuration.hooks["futures"].secrets) == secrets


def test_the_variables_that_only_brokers_need_are_dropped_from_the_web_process() -> None:
    shared = (
        with_hook('instruments = ["${ROOT}*"]') + '[brokers.two]\nkind = "crosstrade"\ntoken = "${ROOT}"\n'
    )
    environ = dict(ENVIRON)

    assert drop_broker_secrets(environ, read(shared, Role.WEB, ENVIRON)) == ["CROSSTRADE_TOKEN"]
    assert set(environ) == {"HOOK_SECRET", "ROOT", "BLANK"}


def test_values_are_taken_from_the_environment_anywhere_in_a_text() -> None:
    text = with_hook('symbols = { "X" = "${ROOT} 12-26" }')

    assert read(text, Role.CHECK, ENVIRON).hooks["futures"].symbols == {"X": "MES 12-26"}


def test_all_faults_are_told_at_once() -> None:
    text = """
    colour = "red"
    [brokers.nt8]
    kind = "crosstrad"
    token = "in plain sight"
    deadline = "long"
    [hooks.Futures]
    broker = "nt9"
    account = ["Sim101"]
    secrets = {}
    allow = ["close", "open"]
    """

    assert set(faults_of(text)) == {
        "colour",
        "brokers.nt8.kind",
        "brokers.nt8.token",
        "brokers.nt8.deadline",
        "hooks.Futures",
    } | {field for field in faults_of(text) if field.startswith("hooks.Futures.")}


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a = \n", "file", "line 1"),
        ("[brokers", "file", "TOML"),
        ("", "brokers", "missing"),
        (GOOD.split("[hooks")[0], "hooks", "missing"),
        ("brokers = 1\nhooks = 2", "brokers", "table"),
        (GOOD.replace('"${CROSSTRADE_TOKEN}"', '"plain"'), "brokers.nt8.token", "${NAME}"),
        (
            GOOD.replace('"${CROSSTRADE_TOKEN}"', '"Bearer ${CROSSTRADE_TOKEN}"'),
            "brokers.nt8.token",
            "${NAME}",
        ),
        (
            GOOD.replace('"${HOOK_SECRET}"', '"plain"'),
            "hooks.futures.secrets.main",
            "must not stand in the file",
        ),
        (GOOD.replace("${HOOK_SECRET}", "${NOT_SET}"), "hooks.futures.secrets.main", "NOT_SET"),
        (GOOD.replace("${HOOK_SECRET}", "${BLANK}"), "hooks.futures.secrets.main", "BLANK"),
        (
            GOOD.replace("{ main = ", '{ main = "${HOOK_SECRET}", next = '),
            "hooks.futures.secrets",
            "same secret",
        ),
        (GOOD.replace('{ main = "${HOOK_SECRET}" }', "{}"), "hooks.futures.secrets", ""),
        (GOOD.replace('broker = "nt8"', 'broker = "nt7"'), "hooks.futures.broker", "nt8"),
        (GOOD.replace("crosstrade", "crosstraid"), "brokers.nt8.kind", "crosstrade"),
        (GOOD.replace("accounts", "acounts"), "hooks.futures.acounts", "accounts"),
        (GOOD.replace('["Sim101", "Sim102"]', "[]"), "hooks.futures.accounts", "list"),
        (GOOD.replace('["Sim101", "Sim102"]', '["*", "Sim101"]'), "hooks.futures.accounts", "list"),
        (GOOD.replace('["Sim101", "Sim102"]', '["Sim101", "SIM101"]'), "hooks.futures.accounts", "twice"),
        (GOOD.replace('["Sim101", "Sim102"]', '["../x"]'), "hooks.futures.accounts", "slash"),
        (GOOD.replace('["Sim101", "Sim102"]', "[101]"), "hooks.futures.accounts", "text"),
        (with_hook('default_account = "Live1"'), "hooks.futures.default_account", "accounts"),
        (with_hook('allow = ["flatten_everything"]'), "hooks.futures.allow", "every account"),
        (with_hook("cancel_orders = false"), "hooks.futures.cancel_orders", "cancels working orders"),
        (with_hook('cancel_orders = "no"'), "hooks.futures.cancel_orders", "true or false"),
        (with_hook("max_age = 0"), "hooks.futures.max_age", "1"),
        (with_hook("max_age = true"), "hooks.futures.max_age", "number"),
        (with_hook("dedupe_window = -1"), "hooks.futures.dedupe_window", "0"),
        (with_hook('dialects = ["pineconnector"]'), "hooks.futures.dialects.0", "crosstrade"),
        (with_hook('dialects = "crosstrade"'), "hooks.futures.dialects", "list"),
        (with_hook('scale = "half"'), "hooks.futures.scale", "proportion"),
        (with_hook('sources = ["home"]'), "hooks.futures.sources.0", "CIDR"),
        (with_hook('sources = ["203.0.113.1/24"]'), "hooks.futures.sources.0", "CIDR"),
        (with_hook("sources = [1]"), "hooks.futures.sources.0", "tradingview"),
        (with_hook("rate = 0"), "hooks.futures.rate", "0.1"),
        (with_hook("max_positions = 0"), "hooks.futures.max_positions", "whole number"),
        (with_hook("max_positions = 2.5"), "hooks.futures.max_positions", "whole number"),
        (with_hook('dry_run = "true"'), "hooks.futures.dry_run", "true or false"),
        *(
            (with_hook(f'ignore = ["price", "{name}"]'), "hooks.futures.ignore", "close more than it says")
            for name in ("quantity", "qty", "side", "market_position", "require_market_position", "amount")
        ),
        (with_broker("deadline = nan"), "brokers.nt8.deadline", "from"),
        (with_broker("deadline = inf"), "brokers.nt8.deadline", "from"),
        (with_broker("deadline = 21"), "brokers.nt8.deadline", "20"),
        (with_broker('live = "yes"'), "brokers.nt8.live", "true or false"),
        (with_broker('base_url = "http://example.com"'), "brokers.nt8.base_url", "https"),
        (with_broker('base_url = "https://a:b@example.com"'), "brokers.nt8.base_url", "address"),
        (with_broker('base_url = "https://example.com:port"'), "brokers.nt8.base_url", "address"),
        (with_broker("deadlin = 3"), "brokers.nt8.deadlin", "deadline"),
        (
            GOOD + '[brokers.two]\nkind = "crosstrade"\ntoken = "${CROSSTRADE_TOKEN}"',
            "brokers.two.token",
            "same",
        ),
    ],
)
def test_a_fault_is_told_with_its_place_and_what_to_do(text: str, place: str, says: str) -> None:
    faults = faults_of(text)

    assert place in faults, faults
    assert says in faults[place]


def test_what_a_hook_may_do_is_read_as_it_says() -> None:
    lines = """
    dialects = ["okx_signal", "crosstrade"]
    sources = ["tradingview", "203.0.113.0/24", "2001:db8::1"]
    scale = "proportion"
    rate = 2
    max_positions = 5
    dry_run = true
    ignore = ["price", "time"]
    """
    hook = read(with_hook(lines), Role.CHECK, ENVIRON).hooks["futures"]

    assert (hook.dialects, hook.scale, hook.rate) == (("okx_signal", "crosstrade"), "proportion", 2)
    assert (hook.max_positions, hook.dry_run, hook.ignore) == (5, True, ("price", "time"))
    assert [str(network) for network in hook.sources[-2:]] == ["203.0.113.0/24", "2001:db8::1/128"]
    assert len(hook.sources) == 4 + 2


@pytest.mark.parametrize("secret", ["whsec_", "whsec_short", "whsec_" + "é" * 40, "whsec_" + "A" * 200])
def test_a_signing_secret_that_is_none_is_told(secret: str) -> None:
    faults = faults_of(GOOD, environ=ENVIRON | {"HOOK_SECRET": secret})

    assert "no signing secret" in faults["hooks.futures.secrets.main"]
    assert secret == "whsec_" or secret not in str(faults)


# The environment


def settings_of(role: Role = Role.WEB, **changes: str) -> Any:
    return load(role, ENVIRON | WEB | {"FLATWIRE_CONFIG_TOML": GOOD} | changes)


def test_the_environment_has_the_documented_defaults() -> None:
    settings = settings_of()

    assert settings.database_url == "sqlite:///var/flatwire.db"
    assert (settings.redis_url, settings.redis_tls_verify) == (None, True)
    assert (settings.port, settings.web_concurrency, settings.web_threads, settings.workers) == (
        8000,
        1,
        16,
        2,
    )
    assert (settings.api_tokens, settings.trusted_proxies, settings.public_url) == ((), 0, None)
    assert (settings.log_level, settings.log_format) == ("INFO", "text")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("PORT", "80.5"),
        ("WORKERS", "-1"),
        ("WEB_THREADS", "1e3"),
        ("WEB_CONCURRENCY", "9" * 5000),
        ("DATABASE_URL", "mysql://ada:geheim@h/d"),
        ("DATABASE_URL", "geheim"),
        ("REDIS_URL", "http://geheim@h"),
        ("REDIS_TLS_VERIFY", "no"),
        ("SECRET_KEY", "geheim"),
        ("DASHBOARD_USERS", "ada:geheim"),
        ("DASHBOARD_USERS", "ada:admin:$argon2id$geheim"),
        ("DASHBOARD_USERS", "ada:viewer:geheim"),
        ("DASHBOARD_USERS", "ada:viewer:$argon2id$x ada:operator:$argon2id$y"),
        ("API_TOKENS", "operator:geheim"),
        ("API_TOKENS", "geheim-geheim-geheim"),
        ("TRUSTED_PROXIES", "many"),
        ("PUBLIC_URL", "flatwire.example"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_faulty_variable_is_named_and_its_value_is_not_quoted(name: str, value: str) -> None:
    with pytest.raises(ConfigurationFault) as told:
        settings_of(**{name: value})

    assert [fault.field for fault in told.value.faults] == [name]
    assert "geheim" not in str(told.value)


def test_a_blank_variable_counts_as_not_set() -> None:
    settings = settings_of(PORT="  ", REDIS_URL="", PUBLIC_URL=" ")

    assert (settings.port, settings.redis_url, settings.public_url) == (8000, None, None)


def test_faults_of_the_environment_and_of_the_file_are_told_together() -> None:
    with pytest.raises(ConfigurationFault) as told:
        load(Role.WEB, {"PORT": "x", "FLATWIRE_CONFIG_TOML": GOOD})

    assert {fault.field for fault in told.value.faults} == {"PORT", "hooks.futures.secrets.main"}


def test_only_the_web_process_needs_a_login_and_a_key() -> None:
    with pytest.raises(ConfigurationFault) as told:
        load(Role.WEB, ENVIRON | {"FLATWIRE_CONFIG_TOML": GOOD})

    assert {fault.field for fault in told.value.faults} == {"SECRET_KEY", "DASHBOARD_USERS"}
    assert load(Role.WORKER, ENVIRON | {"FLATWIRE_CONFIG_TOML": GOOD}).secret_key is None


@pytest.mark.parametrize("platform", ["DYNO", "RENDER"])
def test_sqlite_is_refused_where_the_disk_is_emptied(platform: str) -> None:
    with pytest.raises(ConfigurationFault, match="PostgreSQL"):
        settings_of(**{platform: "web.1"})

    assert settings_of(**{platform: "web.1", "DATABASE_URL": "postgres://h/d"}).database_url


@pytest.mark.parametrize("platform", ["DYNO", "RENDER"])
def test_sources_need_a_trusted_proxy_behind_a_router(platform: str) -> None:
    limited = {
        "FLATWIRE_CONFIG_TOML": with_hook('sources = ["tradingview"]'),
        "DATABASE_URL": "postgres://h/d",
        platform: "web.1",
    }
    with pytest.raises(ConfigurationFault, match="TRUSTED_PROXIES=1") as told:
        settings_of(**limited)

    assert [fault.field for fault in told.value.faults] == ["hooks.futures.sources"]
    assert settings_of(**limited, TRUSTED_PROXIES="1").configuration.hooks["futures"].sources


def test_a_file_that_can_not_be_read_is_named(tmp_path: Any) -> None:
    odd = tmp_path / "odd.toml"
    odd.write_bytes(b"\xff\xfe")
    for path, reason in (
        (tmp_path / "none.toml", "No such file"),
        (odd, "not UTF-8"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(ConfigurationFault) as told:
            load(Role.CHECK, {"FLATWIRE_CONFIG": str(path)})
        (fault,) = told.value.faults
        assert (fault.field, reason in fault.message) == (str(path), True)


def test_a_secret_does_not_show_itself() -> None:
    settings = settings_of()

    assert HOOK_SECRET not in repr(settings)
    assert WEB["SECRET_KEY"] not in f"{settings} {settings.secret_key} {[*fields_of(settings)]}"
    assert Secret("x") == Secret("x") != Secret("y")


toml_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["${HOOK_SECRET}", "${CROSSTRADE_TOKEN}", "crosstrade", "nt8", "*", TOKEN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["brokers", "hooks", "schedules"]),
    st.dictionaries(
        st.sampled_from(
            [
                "kind",
                "token",
                "live",
                "symbols",
                "base_url",
                "deadline",
                "settle",
                "broker",
                "accounts",
                "default_account",
                "secrets",
                "allow",
                "instruments",
                "require",
                "ignore",
                "quantity_unit",
                "cancel_orders",
                "max_age",
                "hook",
                "cron",
                "timezone",
                "text",
                "late",
                "x",
            ]
        ),
        toml_values,
        max_size=6,
    ),
    st.sampled_from(list(Role)),
)
def test_no_file_makes_the_check_itself_fail(table: str, entry: dict[str, Any], role: Role) -> None:
    good = {
        "brokers": {"kind": "crosstrade", "token": "${CROSSTRADE_TOKEN}"},
        "hooks": {"broker": "nt8", "accounts": "*", "secrets": {"main": "${HOOK_SECRET}"}},
        "schedules": {"hook": "futures", "cron": "* * * * *", "timezone": "UTC", "text": "flatten MES 12-26"},
    }
    named = {"brokers": "nt8", "hooks": "futures", "schedules": "end"}
    document = {name: {named[name]: value | (entry if name == table else {})} for name, value in good.items()}
    faults = told_by(lambda: read(toml_of(document), role, ENVIRON))

    assert all(fault.field and fault.message for fault in faults)
    assert TOKEN not in str(faults) or TOKEN in str(entry)


def told_by(check: Callable[[], object]) -> list[Fault]:
    """The faults that a check finds; it fails in no other way."""
    try:
        check()
    except ConfigurationFault as told:
        return told.faults
    return []


def toml_of(value: Any) -> str:
    """A document as TOML, its tables inline."""
    return "\n".join(f"{text_of(key)} = {inline(item)}" for key, item in value.items())


def inline(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return text_of(value)
        case list():
            return f"[{', '.join(map(inline, value))}]"
        case dict():
            return "{" + ", ".join(f"{text_of(key)} = {inline(item)}" for key, item in value.items()) + "}"
    return str(value)


def text_of(text: str) -> str:
    escaped = "".join(
        ch if (ch.isascii() and ch.isalnum()) or ch in " _-$*." else ch if ch in "{}" else f"\\U{ord(ch):08X}"
        for ch in text
        if not 0xD800 <= ord(ch) <= 0xDFFF
    )
    return f'"{escaped}"'


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "PORT",
                "WORKERS",
                "DATABASE_URL",
                "REDIS_URL",
                "SECRET_KEY",
                "DASHBOARD_USERS",
                "API_TOKENS",
                "PUBLIC_URL",
                "LOG_LEVEL",
            ]
        ),
        st.text(max_size=30),
    )
)
def test_no_environment_makes_the_check_itself_fail(changes: dict[str, str]) -> None:
    assert {fault.field for fault in told_by(lambda: process_values(changes))} <= set(changes)


# [notify]

TELLING = (
    GOOD
    + """
[notify]
urls = ["${NOTIFY_URL}"]
"""
)


@pytest.mark.parametrize("role", list(Role))
def test_each_process_knows_whom_to_tell_of_everything_unless_told_otherwise(role: Role) -> None:
    notify = read(TELLING, role, ENVIRON | {"NOTIFY_URL": "json://127.0.0.1/x"}).notify

    assert notify is not None
    assert [url.reveal() for url in notify.urls] == ["json://127.0.0.1/x"]
    assert notify.on == set(CAUSES)


def test_without_a_table_nobody_is_told() -> None:
    assert read(GOOD, Role.CHECK, ENVIRON).notify is None


@pytest.mark.parametrize(
    ("text", "url", "place", "says"),
    [
        (TELLING, "nonsense://x", "notify.urls.0", "no address that Apprise knows"),
        (TELLING, "", "notify.urls", "NOTIFY_URL"),
        (
            TELLING.replace("${NOTIFY_URL}", "json://127.0.0.1"),
            "",
            "notify.urls",
            "must not stand in the file",
        ),
        (TELLING.replace('["${NOTIFY_URL}"]', "[]"), "", "notify.urls", ""),
        (TELLING.replace("urls", "url"), "json://127.0.0.1", "notify.url", 'did you mean "urls"'),
        (TELLING + 'on = ["in_dout"]\n', "json://127.0.0.1", "notify.on.0", "must be one of"),
        (
            TELLING.replace('["${NOTIFY_URL}"]', '["${NOTIFY_URL}", "${NOTIFY_URL}"]'),
            "json://127.0.0.1",
            "notify.urls",
            "twice",
        ),
        (with_hook("heartbeat = 5"), "", "hooks.futures.heartbeat", "from 60 to"),
        (
            with_hook("heartbeat = 600\ndedupe_window = 600"),
            "",
            "hooks.futures.heartbeat",
            "no longer than dedupe_window",
        ),
    ],
)
def test_faults_of_whom_to_tell(text: str, url: str, place: str, says: str) -> None:
    faults = faults_of(text, environ=ENVIRON | {"NOTIFY_URL": url})

    assert says in faults[place]
    assert not url or url not in str(faults)
