"""What every dialect is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from app.alerts.errors import WrongAlert
from app.alerts.schemas import FIELD_NAMES
from app.alerts.values import Value
from app.domain.commands import Unit
from app.strict import Fault, StrictSchema, did_you_mean, fault, faults_in, shown


@dataclass(frozen=True, slots=True)
class Translation:
    """The same request in Flatwire's own words."""

    fields: Mapping[str, Any]
    unit: Unit | None = None
    """What its quantity counts; None: as the hook says."""
    max_lag: float | None = None
    """Seconds from firing to arrival after which its sender wants it no more; None: no such limit of its own."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How another product spells its alerts."""

    name: str
    source: str
    """The address of the page that describes it."""
    speaks: Callable[[Mapping[str, Any]], bool]
    """Whether a text is in this dialect, by its verb and the names of its fields."""
    translate: Callable[[Mapping[str, Any]], Translation]
    schemas: tuple[type["DialectSchema"], ...]
    """Of all its texts."""
    comments: bool = False
    """Whether a line that begins with `//` is a comment."""

    @property
    def meaningful(self) -> frozenset[str]:
        """The names of the fields that say something of what is closed, or when."""
        named = (schema().fields.items() for schema in self.schemas)
        return frozenset(name for fields in named for name, it in fields if not isinstance(it, Unused))


class Unused(fields.Field[None]):
    """A field that the product knows and that says nothing about an exit. It may be blank."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(allow_none=True, **kw)


class AtMarket(Value):
    """The order type of an exit: Flatwire closes at the market."""

    def understood(self, value: Any) -> str:
        if not isinstance(value, str) or value.strip().lower() != "market":
            raise fault(f'is no market order: "{shown(str(value))}"', "Flatwire closes at the market only")
        return "market"


class Word(Value):
    """One of a few words, in any case."""

    def __init__(self, *words: str, **kw: Any) -> None:
        super().__init__(**kw)
        self.words = words

    def understood(self, value: Any) -> str:
        word = word_in(value)
        if word not in self.words:
            hint = did_you_mean(word, self.words, otherwise=f"one of: {', '.join(self.words)}")
            raise fault(f'is not known: "{shown(str(value))}"', hint)
        return word


class DialectSchema(StrictSchema):
    """Refuses what the product's documentation does not name: it may be a misspelt size."""

    def unknown_fault(self, name: str, known: list[str]) -> dict[str, str | None]:
        if name in FIELD_NAMES:
            return {
                "message": "has no meaning here",
                "hint": "take it out: it would change nothing of what is closed",
            }
        otherwise = "if it says nothing about the exit, list it under ignore in the hook"
        return {"message": "is not known", "hint": did_you_mean(name, known, otherwise=otherwise)}


def values_of(schema: type[DialectSchema], fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema makes of the fields. Raises WrongAlert with every fault."""
    try:
        values: dict[str, Any] = schema().load(fields)
        return values
    except ValidationError as exc:
        found = faults_in(exc.messages)
        raise WrongAlert(*(Fault(shown(f.field), f.message, f.hint) for f in found)) from exc


def check_spelling(schema: type[DialectSchema], fields: Mapping[str, Any]) -> None:
    """Raises WrongAlert if a field is misspelt that would tell an exit from an entry: an exit must not be ignored."""
    known = schema().known_names()
    misspelt = {name: hint for name in fields if name not in known and (hint := did_you_mean(name, known))}
    if misspelt:
        raise WrongAlert(*(Fault(shown(name), "is not known", hint) for name, hint in misspelt.items()))


def word_in(value: Any) -> str:
    """A verb as it is compared: without spaces and case; blank if it is no text."""
    return value.strip().lower() if isinstance(value, str) else ""


def as_percent(part: Decimal) -> str:
    """A fraction up to 1 as Flatwire's own texts write it."""
    return f"{part * 100:f}%"


def picked(values: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The values that are there, each under Flatwire's name of it."""
    return {ours: values[theirs] for ours, theirs in names.items() if theirs in values}
