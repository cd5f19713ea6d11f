"""What each venue can do, held against what the door lets through: the texts are those of an alert."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.alerts.errors import AlertRefused
from app.alerts.grammar import fields_of
from app.alerts.hooks import Hook
from app.alerts.mapping import Request, request_of
from app.domain.commands import Action, ClosePosition, FlattenMatching, Quantity, Unit
from app.domain.instruments import contract_of, is_opaque
from app.domain.positions import Side
from app.domain.venues import VENUES
from config.file import ConfigurationFault, Role, read
from tests.shop import TODAY

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
UUID = "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8"


def hook(kind: str, *accounts: str, **settings: Any) -> Hook:
    return Hook(
        name="a-hook",
        broker="desk",
        venue=VENUES[kind],
        accounts=accounts,
        default_account=accounts[0] if accounts and accounts[0] != "*" else None,
        secrets={},
        allow=frozenset(Action),
        **settings,
    )


FUTURES = hook("crosstrade", "Sim101", "Sim102")
STOCKS = hook("clearstreet", "19816", "19817")
CRYPTO = hook("okx", "desk")


def asked(text: str, by: Hook) -> Request:
    return request_of(fields_of(text.encode(), by.accounts), by, NOW)


def refused(text: str, by: Hook) -> str:
    with pytest.raises(AlertRefused) as told:
        asked(text, by)
    return " ".join(f"{fault.field}: {fault.message} ({fault.hint})" for fault in told.value.faults)


# Names


@pytest.mark.parametrize(
    ("by", "said", "meant"),
    [
        (FUTURES, "CME_MINI:ES1!", "ES1!"),
        (FUTURES, "ES1!", "ES1!"),
        (FUTURES, "MES 12-26", "MES 12-26"),
        (FUTURES, "ESH2027", "ESH2027"),
        (STOCKS, "NASDAQ:AAPL", "AAPL"),
        (STOCKS, "aapl", "AAPL"),
        (STOCKS, "NYSE:BRK.B", "BRK.B"),
        (STOCKS, "AAPL260320C180.0", "AAPL260320C00180000"),
        (STOCKS, "OPRA:AAPL260320P187.5", "AAPL260320P00187500"),
        (STOCKS, "F260320C9.125", "F260320C00009125"),
        (STOCKS, "AAPL260320C00180000", "AAPL260320C00180000"),
        (STOCKS, "AAPL  260320C00180000", "AAPL  260320C00180000"),
        (STOCKS, UUID, UUID),
        (CRYPTO, "BTCUSDT.P", "BTC-USDT-SWAP"),
        (CRYPTO, "OKX:ETHUSDC.P", "ETH-USDC-SWAP"),
        (CRYPTO, "BTCUSDT", "BTC-USDT"),
        (CRYPTO, "btcusdt.p", "BTC-USDT-SWAP"),
        (CRYPTO, "BTC-USDT-270326", "BTC-USDT-270326"),
        (CRYPTO, "1INCHUSDT.P", "1INCH-USDT-SWAP"),
        (CRYPTO, "USDCUSDT", "USDC-USDT"),
        (CRYPTO, "ETHBTC", "ETH-BTC"),
    ],
)
def test_a_charts_name_becomes_the_venues(by: Hook, said: str, meant: str) -> None:
    request = asked(f"action=close;instrument={said}", by)

    (command,) = request.commands
    assert isinstance(command, ClosePosition)
    assert command.instrument == meant
    assert request.symbol == (said if said != meant else None)


def test_the_tables_win_over_the_rule_and_see_what_it_gives() -> None:
    by = replace(CRYPTO, symbols={"BTCUSDT.P": "BTC-USD-SWAP", "ETH-USDT-SWAP": "ETH-USDC-SWAP"})

    assert [by.instrument(name) for name in ("BTCUSDT.P", "ETHUSDT.P", "SOLUSDT.P")] == [
        "BTC-USD-SWAP",
        "ETH-USDC-SWAP",
        "SOL-USDT-SWAP",
    ]


@pytest.mark.parametrize(
    ("by", "name"),
    [
        (STOCKS, "ES1!"),
        (STOCKS, "BTC-USDT-SWAP"),
        (STOCKS, "MES 12-26"),
        (CRYPTO, "AAPL"),
        (CRYPTO, "MES 12-26"),
        (CRYPTO, "BTC1!"),
        (CRYPTO, UUID.replace("-", "")),
    ],
)
def test_what_can_be_no_instrument_there_is_refused_with_an_example(by: Hook, name: str) -> None:
    told = refused(f"action=close;instrument={name}", by)

    assert told.startswith("instrument:")
    assert by.venue.example in told


@pytest.mark.parametrize(
    "names",
    [
        ("AAPL260320C00180000", "AAPL  260320C00180000", "aapl260320c00180000"),
        ("ES 12-26", "ESZ6", "ESZ26", "ESZ2026"),
        ("BTC-USDT-SWAP", "btc-usdt-swap"),
    ],
)
def test_names_of_one_contract_are_one(names: tuple[str, ...]) -> None:
    assert len({contract_of(name, TODAY) for name in names}) == 1


def test_an_id_tells_nobody_which_contract_it_is() -> None:
    assert is_opaque(UUID.upper())
    assert not is_opaque("AAPL")


# Accounts and sizes


def test_a_key_of_okx_is_one_account() -> None:
    (command,) = asked("close BTCUSDT.P", CRYPTO).commands
    assert command.account == "desk"  # type: ignore[union-attr]
    assert "account" in refused("action=close;instrument=BTCUSDT.P;account=other", CRYPTO)


@pytest.mark.parametrize("account", ["Sim101", "../19816", "19816x", "-1", "1" * 20])
def test_an_account_that_can_be_none_there_is_refused_even_where_all_are_allowed(account: str) -> None:
    assert "account" in refused(
        f'{{"action":"close","instrument":"AAPL","account":"{account}"}}', hook("clearstreet", "*")
    )


def test_one_alert_for_several_accounts_is_a_command_each() -> None:
    commands = asked("action=close;instrument=AAPL;account=19816,19817", STOCKS).commands
    flattens = asked("action=flatten;account=*", STOCKS).commands

    assert [command.account for command in commands] == ["19816", "19817"]  # type: ignore[union-attr]
    assert flattens == (FlattenMatching("desk", "19816"), FlattenMatching("desk", "19817"))


@pytest.mark.parametrize("by", [FUTURES, STOCKS])
def test_parts_of_a_lot_are_refused_where_all_lots_are_one(by: Hook) -> None:
    assert "quantity" in refused(f"action=close;instrument={by.venue.example};quantity=1.5", by)


def test_okx_counts_what_its_lots_say_and_in_the_unit_of_the_hook() -> None:
    text = "action=close;instrument=BTC-USDT-SWAP;quantity=0.05"
    for by, unit in ((CRYPTO, Unit.CONTRACTS), (replace(CRYPTO, quantity_unit=Unit.BASE), Unit.BASE)):
        (command,) = asked(text, by).commands
        assert isinstance(command, ClosePosition)
        assert command.size == Quantity(Decimal("0.05"), unit)


def test_a_charts_quantity_does_not_say_whether_it_counts_contracts_or_coins() -> None:
    assert "quantity_unit" in refused("action=close;instrument=BTCUSDT.P;quantity=2", CRYPTO)


# What a venue can't do


def test_crosstrade_flattens_cancel_orders() -> None:
    text = "action=flatten;account=19816;cancel_orders=false"

    assert "cancel_orders" in refused(text.replace("19816", "Sim101"), FUTURES)
    assert asked(text, STOCKS).commands == (FlattenMatching("desk", "19816", cancel_orders=False),)
    assert asked("action=flatten;position=long;cancel_orders=false", CRYPTO).commands == (
        FlattenMatching("desk", "desk", side=Side.LONG, cancel_orders=False),
    )


# The file

ENVIRON = {"A": "first", "B": "second", "C": "third", "H": "the hook's own secret"}


def file(kind: str, broker: str = "", hook: str = "") -> str:
    secrets = "\n".join(
        f'{name} = "${{{letter}}}"' for name, letter in zip(VENUES[kind].credential, "ABC", strict=False)
    )
    desk = f'[brokers.desk]\nkind = "{kind}"\n{secrets}\n{broker}\n'
    return desk + f'[hooks.a]\nbroker = "desk"\nsecrets = {{ main = "${{H}}" }}\n{hook}'


def faults(text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationFault) as told:
        read(text, Role.CHECK, ENVIRON)
    return {fault.field: f"{fault.message} {fault.hint}" for fault in told.value.faults}


def test_each_kind_is_configured_with_its_own_secrets_and_settings() -> None:
    stocks = read(file("clearstreet", hook='accounts = ["19816"]'), Role.CHECK, ENVIRON)
    crypto = read(
        file("okx", 'demo = true\nmargin_mode = "cross"', 'quantity_unit = "base"'), Role.CHECK, ENVIRON
    )
    futures = read(file("crosstrade", 'transport = "websocket"', 'accounts = "*"'), Role.CHECK, ENVIRON)

    assert stocks.brokers["desk"].base_url == "https://api.clearstreet.com"
    assert crypto.hooks["a"].accounts == ("desk",)
    assert set(crypto.brokers["desk"].secrets) == {"api_key", "api_secret", "passphrase"}
    assert (crypto.brokers["desk"].demo, crypto.brokers["desk"].margin_mode) == (True, "cross")
    assert (futures.brokers["desk"].exclusive, crypto.brokers["desk"].exclusive) == (True, False)


@pytest.mark.parametrize(
    ("kind", "broker", "hook", "field"),
    [
        ("clearstreet", 'transport = "websocket"', 'accounts = ["19816"]', "brokers.desk.transport"),
        ("clearstreet", "demo = true", 'accounts = ["19816"]', "brokers.desk.demo"),
        ("clearstreet", 'token = "${A}"', 'accounts = ["19816"]', "brokers.desk.token"),
        ("clearstreet", "", 'accounts = ["Sim101"]', "hooks.a.accounts"),
        ("clearstreet", "", "", "hooks.a.accounts"),
        ("clearstreet", "", 'accounts = ["19816"]\nquantity_unit = "base"', "hooks.a.quantity_unit"),
        ("okx", 'margin_mode = "both"', "", "brokers.desk.margin_mode"),
        ("okx", "", 'accounts = ["19816"]', "hooks.a.accounts"),
        ("crosstrade", 'margin_mode = "cross"', 'accounts = "*"', "brokers.desk.margin_mode"),
        ("crosstrade", "burst = 5", 'accounts = "*"', "brokers.desk.burst"),
        ("crosstrade", "", 'accounts = "*"\ncancel_orders = false', "hooks.a.cancel_orders"),
    ],
)
def test_what_a_kind_has_not_is_a_fault_with_its_place(kind: str, broker: str, hook: str, field: str) -> None:
    assert list(faults(file(kind, broker, hook))) == [field]


@pytest.mark.parametrize(
    "host", ["https://eea.okx.com", "https://us.okx.com/", "https://my.okx.com/a/prefix"]
)
def test_a_key_of_another_region_has_another_host(host: str) -> None:
    crypto = read(file("okx", f'base_url = "{host}"'), Role.CHECK, ENVIRON)

    assert crypto.brokers["desk"].base_url == host.rstrip("/")


def test_a_secret_that_is_missing_is_named() -> None:
    text = file("okx").replace('passphrase = "${C}"', "")

    assert "brokers.desk.passphrase" in faults(text)


def test_two_brokers_with_one_credential_are_a_fault() -> None:
    two = (
        file("okx")
        + '\n[brokers.other]\nkind = "okx"\napi_key = "${A}"\napi_secret = "${B}"\npassphrase = "${C}"\n'
    )

    assert list(faults(two)) == ["brokers.other.api_key"]
