"""What a field of an alert may hold. A value that is there but wrong is never taken for absent."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from marshmallow import fields

from app.alerts.strategies import Stance
from app.domain.positions import Side
from app.strict import fault, shown

_PLAIN_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,28})?")
_SIGNED_NUMBER = re.compile(r"-?" + _PLAIN_NUMBER.pattern)
_MOST = Decimal(10) ** 12
_DIGITS = 28
"""More are rounded by decimal's arithmetic, and a quantity never is."""
_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class NotANumber:
    """What stands where a JSON text says NaN or Infinity: kept so that the field can be named."""

    spelled: str

    def __str__(self) -> str:
        return self.spelled


class Value(fields.Field[Any]):
    """A value that says something: not null, not blank, not an unexpanded placeholder, not NaN."""

    default_error_messages = {
        "required": {"message": "is missing", "hint": "it is required: write it"},
        "null": {
            "message": "is null",
            "hint": "a placeholder may have had no value; take the field out or fill it",
        },
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kw: Any) -> Any:
        # As TradingView spells it; NAN is a fund's ticker.
        if isinstance(value, NotANumber) or value in ("NaN", "null"):
            raise fault(f"is {value}", "a placeholder had no number; take the field out or fill it")
        if isinstance(value, dict | list):
            raise fault("must be one value", "write text or a number, not a list or an object")
        if isinstance(value, str):
            if not value.strip():
                raise fault("is blank", "fill it, or take the field out: a blank is not the same as none")
            if "{{" in value or "}}" in value:
                hint = "this placeholder does not expand in this kind of alert; strategy.* needs a strategy's alert"
                raise fault(f'was not filled in: "{shown(value)}"', hint)
        return self.understood(value)

    def understood(self, value: Any) -> Any:
        return value


class Name(Value):
    """The name of an account or an instrument, as it may stand in a request's path."""

    def understood(self, value: Any) -> str:
        # Compared, not computed with: arithmetic on 1e9999999 raises.
        if isinstance(value, Decimal) and -_MOST < value < _MOST and value == value.to_integral_value():
            value = str(int(value))
        if not isinstance(value, str):
            raise fault("must be a name", "write it as text")
        # Dot segments, slashes and spaces at the ends change the path of a request: clients fold them.
        if value in (".", "..") or "/" in value or "\\" in value or value != value.strip():
            raise fault(
                f'can\'t be a name: "{shown(value)}"', "names hold no slash and no space at their ends"
            )
        if not value.isprintable() or len(value) > _NAME_LENGTH or set(value) & set(";=?#%"):
            hint = f"names hold no control character, none of ; = ? # %, and at most {_NAME_LENGTH} letters"
            raise fault(f'can\'t be a name: "{shown(value)}"', hint)
        return value


class Accounts(Value):
    """One account, several separated by commas, or `*`."""

    def understood(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, str):
            return (Name().deserialize(value),)
        names = tuple(Name().deserialize(part.strip()) for part in value.split(","))
        if len({name.casefold() for name in names}) < len(names):
            raise fault("names an account twice", "name each account once")
        return names


class Instrument(Name):
    """The name of one instrument; no patterns."""

    def understood(self, value: Any) -> str:
        name = super().understood(value)
        if "*" in name:
            raise fault("can't hold a *", "name one instrument; to close several, flatten their account")
        if "," in name:
            raise fault("can't hold a comma", "name one instrument an alert, with no comma after it")
        return name


class Number(Value):
    """A plain decimal above zero, as a number or text."""

    def understood(self, value: Any) -> Decimal:
        if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
            value = Decimal(value.strip())
        if isinstance(value, bool) or not isinstance(value, Decimal):
            raise fault(f"must be a number, not {_spelled(value)}", "write plain digits, like 4 or 0.5")
        if value <= 0:
            raise fault("must be above zero", "leave it out to close the whole position")
        _, digits, exponent = value.as_tuple()
        if value > _MOST or len(digits) > _DIGITS or int(exponent) < -_DIGITS:
            raise fault(
                "is too large, or has too many digits", f"at most {_MOST:f}, and {_DIGITS} digits in all"
            )
        return plain(value)


class SignedNumber(Value):
    """A plain decimal, zero and below too: the size of a strategy's position."""

    def understood(self, value: Any) -> Decimal:
        if isinstance(value, str) and _SIGNED_NUMBER.fullmatch(value.strip()):
            value = Decimal(value.strip())
        if not isinstance(value, Decimal) or not value:
            return value if isinstance(value, Decimal) else cast(Decimal, Number().deserialize(value))
        size = cast(Decimal, Number().deserialize(abs(value)))
        return -size if value < 0 else size


class Part(Value):
    """A part of the position on a dialect's own scale, above 0 and up to `whole`. Returns a fraction, 1 for all of it."""

    def __init__(self, whole: int, **kw: Any) -> None:
        super().__init__(**kw)
        self.whole = whole

    def understood(self, value: Any) -> Decimal:
        part: Decimal = Number().deserialize(value)
        if part > self.whole:
            raise fault(f"is over {self.whole}: {part:f}", f"here {self.whole} is the whole position")
        return plain(part / self.whole)


class Percent(Value):
    """A fraction below 1, or text with a percent sign up to `100%`. Returns the fraction, 1 for `100%`."""

    def understood(self, value: Any) -> Decimal:
        if isinstance(value, str) and value.strip().endswith("%"):
            return self._with_sign(value.strip()[:-1].strip())
        part: Decimal = Number().deserialize(value)
        if part >= 1:
            spelled = f"{part:f}"
            hint = (
                f'write "{spelled}%" if you mean percent; a bare number must be a fraction below 1, like 0.25'
            )
            raise fault(f"is ambiguous: {spelled}", hint)
        return part

    def _with_sign(self, digits: str) -> Decimal:
        percent: Decimal = Number().deserialize(digits)
        if percent > 100:
            raise fault("is over 100%", "leave it out to close the whole position")
        return plain(percent / 100)


class Guard(Value):
    """The side that the position must be on: `long` or `short`."""

    def understood(self, value: Any) -> Side:
        try:
            return Side(value.strip().lower())
        except (ValueError, AttributeError):
            raise fault(
                f"must be long or short, not {_spelled(value)}", "the side of the position to close"
            ) from None


class Standing(Value):
    """Where a strategy stands: `long`, `short` or `flat`."""

    def understood(self, value: Any) -> Stance:
        try:
            return Stance(value.strip().lower())
        except (ValueError, AttributeError):
            hint = 'as "{{strategy.market_position}}" writes it'
            raise fault(f"must be long, short or flat, not {_spelled(value)}", hint) from None


class YesNo(Value):
    """true or false."""

    def understood(self, value: Any) -> bool:
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        if not isinstance(value, bool):
            raise fault(f"must be true or false, not {_spelled(value)}")
        return value


class SenderId(Value):
    """The sender's own id: any text or number."""

    def understood(self, value: Any) -> str:
        if isinstance(value, bool) or len(str(value)) > 256:
            raise fault("must be text of at most 256 characters", 'like "{{strategy.order.id}}-{{timenow}}"')
        return str(value)


class Moment(Value):
    """A time: ISO 8601 with its zone, or seconds or milliseconds since 1970."""

    def understood(self, value: Any) -> datetime:
        if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
            value = Decimal(value.strip())
        if isinstance(value, Decimal):
            return self._from_epoch(value)
        hint = "like 2026-03-02T14:31:00Z (as {{timenow}} writes it), or seconds since 1970"
        try:
            moment = datetime.fromisoformat(value.strip())
        except (ValueError, AttributeError):
            raise fault(f"is not a time: {_spelled(value)}", hint) from None
        if moment.tzinfo is None:
            raise fault("has no time zone", "end it with Z for UTC, " + hint)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise fault("is no time of this age", hint) from None

    def _from_epoch(self, number: Decimal) -> datetime:
        if not 0 < number < 10**14:
            raise fault("is no time of this age", "seconds or milliseconds since 1970")
        seconds = number / 1000 if number > 10**11 else number
        try:
            return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(seconds * 10**6))
        except OverflowError:
            raise fault("is no time of this age", "seconds or milliseconds since 1970") from None


class Note(fields.Field[None]):
    """Kept with the text, never acted on; may be blank, null or anything."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(allow_none=True, **kw)


def plain(value: Decimal) -> Decimal:
    """The same number without an exponent or trailing zeros: 4, not 4.0 or 4E+0."""
    return Decimal(f"{value.normalize():f}")


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{shown(str(value))}"'
