"""What a value of the TOML file may be."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from marshmallow import ValidationError, fields

from app.alerts.schedules import Timetable
from app.strict import StrictSchema, did_you_mean, fault
from config.secrets import Secret

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Text(fields.String):
    """Text that says something."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        if not isinstance(value, str):
            raise fault("must be text", 'put it in quotes, like "Sim101"')
        if not value.strip() or value != value.strip():
            raise fault("is blank or has spaces at its ends", "write the value, or take the key out")
        return value


class Name(Text):
    """The name of an account or an instrument."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        name = super()._deserialize(value, attr, data, **kw)
        if name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
            raise fault("can't be a name", "names hold no slash, no control character, and are no dots")
        return name


class Number(fields.Field[float]):
    """A number in a range."""

    wanted = ("must be a number", "without quotes")
    unit = ""

    def __init__(self, least: float, most: float, **kw: Any) -> None:
        super().__init__(**kw)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise fault(*self.wanted)
        if not self.least <= value <= self.most:
            raise fault(f"must be from {self.least:g} to {self.most:g}{self.unit}")
        return float(value)


class Seconds(Number):
    """A time in seconds; fractions allowed."""

    wanted = ("must be a number of seconds", "like 10 or 2.5, without quotes")
    unit = " seconds"


class Count(fields.Field[int]):
    """A whole number, 1 or more."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
            raise fault("must be a whole number from 1 to 10000", "without quotes")
        return value


class Switch(fields.Field[bool]):
    """`true` or `false`, and nothing else."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> bool:
        if not isinstance(value, bool):
            raise fault("must be true or false", "without quotes")
        return value


class SecretText(fields.Field[Secret]):
    """A secret, already taken from the environment; None in a process that is not given it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> Any:
        if value is not None and not isinstance(value, Secret):
            raise fault("must be ${NAME}, the name of an environment variable")
        return value


class BaseUrl(Text):
    """Where a venue is reached. Plain http only to this machine."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        url = super()._deserialize(value, attr, data, **kw)
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError as exc:
            raise fault("is not an address", "like https://app.crosstrade.io") from exc
        if (
            parts.scheme not in ("http", "https")
            or not host
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise fault("is not an address", "like https://app.crosstrade.io")
        if parts.scheme == "http" and not _is_loopback(host):
            raise fault("is plain http to another machine", "the credential would be readable: use https")
        return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Accounts(fields.Field[tuple[str, ...]]):
    """`"*"` for all, or a list of names."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> tuple[str, ...]:
        if value == "*":
            return ("*",)
        if not isinstance(value, list) or not value or "*" in value:
            raise fault('must be a list of account names, or "*"', 'like ["Sim101"]')
        names = tuple(Name()._deserialize(item, attr, data) for item in value)
        if len({name.casefold() for name in names}) < len(names):
            raise fault("names an account twice", "names that differ only by case are one account")
        return names


TRADINGVIEW = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
"""From where TradingView calls: https://www.tradingview.com/support/solutions/43000529348/"""


class Source(fields.Field[tuple[IPv4Network | IPv6Network, ...]]):
    """`tradingview`, an address, or a CIDR block: the networks that it means."""

    def _deserialize(
        self, value: Any, attr: Any, data: Any, **kw: Any
    ) -> tuple[IPv4Network | IPv6Network, ...]:
        if value == "tradingview":
            return tuple(ip_network(address) for address in TRADINGVIEW)
        try:
            return (ip_network(value if isinstance(value, str) else ""),)
        except ValueError:
            hint = 'like "tradingview", "203.0.113.7" or "203.0.113.0/24"'
            raise fault("is no address and no CIDR block", hint) from None


class Zone(Text):
    """A time zone by its name in the IANA database."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kw)
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:  # OSError: it names a folder of zones
            near = did_you_mean(name, sorted(available_timezones()))
            raise fault("is no time zone", near or 'like "America/New_York"') from exc


class Cron(Text):
    """The five fields of cron."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> str:
        cron = super()._deserialize(value, attr, data, **kw)
        try:
            return Timetable(cron, ZoneInfo("UTC")).cron
        except ValueError as exc:
            hint = 'minute, hour, day, month, weekday; "55 15 * * 1-5" is 15:55 from Monday to Friday'
            raise fault(str(exc), hint) from exc


class TableOf(fields.Field[dict[str, Any]]):
    """A table of named tables; each is checked, and the faults of all are told."""

    def __init__(self, schema: type[StrictSchema], noun: str, **kw: Any) -> None:
        super().__init__(**kw)
        self.schema, self.noun = schema, noun

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not value:
            raise fault(f"there is no {self.noun}", f"add a table [{self.noun}s.<name>]")
        loaded: dict[str, Any] = {}
        faults: dict[str, Any] = {}
        for name, entry in value.items():
            messages = self._load_entry(name, entry, loaded)
            if messages:
                faults[name] = messages
        if faults:
            raise ValidationError(faults, valid_data=loaded)
        return loaded

    def _load_entry(self, name: str, entry: Any, loaded: dict[str, Any]) -> Any:
        if not _SLUG.fullmatch(name):
            return {"message": "is no name for it", "hint": "small letters, digits, - and _"}
        if not isinstance(entry, dict):
            return {"message": "must be a table", "hint": f"[{self.noun}s.{name}]"}
        schema = self.schema()
        messages = schema.validate(entry)
        if messages:
            return messages
        loaded[name] = schema.load(entry)
        return None
