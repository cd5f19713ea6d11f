"""What may stand in the TOML file: one schema a table."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates, validates_schema

from app.alerts.dialects import DIALECTS, NARROWING
from app.alerts.schedules import Timetable
from app.alerts.strategies import Scale
from app.domain.causes import CAUSES
from app.domain.commands import Action, Unit
from app.domain.venues import VENUES
from app.strict import StrictSchema, did_you_mean, fault
from config.values import (
    Accounts,
    BaseUrl,
    Count,
    Cron,
    Name,
    Number,
    Seconds,
    SecretText,
    Source,
    Switch,
    TableOf,
    Text,
    Zone,
)

SECRETS = frozenset({"token", "api_key", "api_secret", "passphrase"})
"""The credentials of brokers: which of them a kind needs is in `app.domain.venues`."""
ONLY_OF_SOME = frozenset({"demo", "margin_mode"})


class BrokerSchema(StrictSchema):
    """A `[brokers.<name>]` table. Which of these a kind has is checked with its row of `app.domain.venues`."""

    kind = Text(required=True, validate=validate.OneOf(VENUES, error="must be one of: {choices}"))
    transport = Text(load_default="rest")
    token = SecretText(allow_none=True)
    api_key = SecretText(allow_none=True)
    api_secret = SecretText(allow_none=True)
    passphrase = SecretText(allow_none=True)
    demo = Switch()
    margin_mode = Text(validate=validate.OneOf(["cross", "isolated"], error="must be one of: {choices}"))
    live = Switch(load_default=False)
    symbols = fields.Dict(keys=Text(), values=Name(), load_default=dict)
    base_url = BaseUrl()
    connect_timeout = Seconds(0.1, 30, load_default=3.0)
    read_timeout = Seconds(0.1, 60, load_default=10.0)
    deadline = Seconds(0.2, 20, load_default=12.0)  # a lease of 30 s covers a call
    settle = Seconds(0, 600, load_default=10.0)
    verify_for = Seconds(1, 3600, load_default=60.0)
    retry_for = Seconds(1, 3600, load_default=120.0)
    rate = Number(0.01, 1000)
    burst = Number(4, 1000)  # a step of a command makes up to four calls

    @validates_schema
    def fit_the_kind(self, data: dict[str, Any], **_kw: Any) -> None:
        venue = VENUES[data["kind"]]
        faults: dict[str, Any] = {}
        for name in venue.credential:
            if name not in data:
                faults[name] = {
                    "message": "is missing",
                    "hint": f'write {name} = "${{…}}", a variable of the environment',
                }
        for name in (SECRETS | ONLY_OF_SOME) & data.keys():
            if name not in venue.credential and name not in venue.settings:
                hint = f"take it out; {venue.title} has {', '.join((*venue.credential, *venue.settings))}"
                faults[name] = {"message": f"has no meaning with kind {venue.kind}", "hint": hint}
        if data["transport"] not in venue.transports:
            faults["transport"] = {"message": f"must be one of: {', '.join(venue.transports)}", "hint": None}
        if "burst" in data and "rate" not in data:
            faults["burst"] = {
                "message": "has no meaning without rate",
                "hint": "add rate, in calls a second",
            }
        if faults:
            raise ValidationError(faults)


class HookSchema(StrictSchema):
    """A `[hooks.<name>]` table."""

    broker = Text(required=True)
    accounts = Accounts(load_default=())
    default_account = Name()
    secrets = fields.Dict(
        keys=Text(), values=SecretText(allow_none=True), required=True, validate=validate.Length(min=1)
    )
    allow = fields.List(
        fields.Enum(Action, by_value=True),
        load_default=lambda: [Action.CLOSE, Action.FLATTEN],
    )
    instruments = fields.List(Text(), load_default=list)
    require = fields.List(Text(), load_default=list)
    ignore = fields.List(Text(), load_default=list)
    symbols = fields.Dict(keys=Text(), values=Name(), load_default=dict)
    quantity_unit = fields.Enum(Unit, by_value=True)
    cancel_orders = Switch()
    max_age = Seconds(1, 86400, load_default=300.0)
    dedupe_window = Seconds(0, 86400, load_default=30.0)
    dialects = fields.List(
        fields.String(validate=validate.OneOf(DIALECTS, error="must be one of: {choices}")), load_default=list
    )
    sources = fields.List(Source(), load_default=list)
    scale = fields.Enum(Scale, by_value=True, load_default=Scale.QUANTITY)
    rate = Number(0.1, 1000)
    max_positions = Count()
    heartbeat = Seconds(60, 31 * 86400)
    dry_run = Switch(load_default=False)

    @validates("ignore")
    def keep_what_narrows(self, names: list[str], **_kw: Any) -> None:
        narrowing = sorted(NARROWING & set(names))
        if narrowing:
            hint = "take it out of ignore: without it an alert would close more than it says"
            raise fault(f'can\'t hold "{narrowing[0]}"', hint)

    @validates_schema
    def hear_each_heartbeat(self, data: dict[str, Any], **_kw: Any) -> None:
        if data.get("heartbeat", float("inf")) <= data["dedupe_window"]:
            hint = "make it longer: the same text within dedupe_window counts as one alert"
            raise ValidationError({"heartbeat": {"message": "is no longer than dedupe_window", "hint": hint}})

    @post_load
    def freeze(self, data: dict[str, Any], **_kw: Any) -> dict[str, Any]:
        for key in ("instruments", "require", "ignore", "dialects"):
            data[key] = tuple(data[key])
        sources = tuple(network for networks in data["sources"] for network in networks)
        return {**data, "allow": frozenset(data["allow"]), "sources": sources}


class ScheduleSchema(StrictSchema):
    """A `[schedules.<name>]` table. What its text asks for is checked with its hook."""

    hook = Text(required=True)
    cron = Cron(required=True)
    timezone = Zone(required=True)
    text = Text(required=True)
    late = Seconds(10, 86400, load_default=120.0)

    @validates_schema
    def make_up_for_one_run_at_most(self, data: dict[str, Any], **_kw: Any) -> None:
        gap = Timetable(data["cron"], data["timezone"]).shortest_gap()
        if data["late"] > gap:
            hint = "lower it: a run that was missed would be made up for beside the one after it"
            message = f"is longer than the {gap:g} s between two runs"
            raise ValidationError({"late": {"message": message, "hint": hint}})


class NotifySchema(StrictSchema):
    """The `[notify]` table."""

    urls = fields.List(SecretText(allow_none=True), required=True, validate=validate.Length(min=1))
    on = fields.List(
        fields.String(validate=validate.OneOf(CAUSES, error="must be one of: {choices}")),
        load_default=lambda: list(CAUSES),
    )


def _missing(table: str) -> dict[str, Any]:
    return {"required": {"message": "is missing", "hint": f"write a table {table}; docs/configuration.md"}}


class FileSchema(StrictSchema):
    """The whole file."""

    brokers = TableOf(BrokerSchema, "broker", required=True, error_messages=_missing("[brokers.<name>]"))
    hooks = TableOf(HookSchema, "hook", required=True, error_messages=_missing("[hooks.<name>]"))
    schedules = TableOf(ScheduleSchema, "schedule")
    notify = fields.Nested(NotifySchema)

    def unknown_fault(self, name: str, known: list[str]) -> dict[str, str | None]:
        hint = did_you_mean(
            name, known, otherwise="tables: [brokers.…], [hooks.…], [schedules.…] and [notify]"
        )
        return {"message": "is not known here", "hint": hint}
