"""A marshmallow schema that takes nothing for granted, and says of each fault where it is and what to do."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, validates_schema
from marshmallow.fields import Field


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where, what, and what to do next."""

    field: str
    message: str
    hint: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)


def fault(message: str, hint: str | None = None) -> ValidationError:
    """What a field or a validator raises, so that the hint is kept beside the message."""
    return ValidationError({"message": message, "hint": hint})


def faults_in(messages: Any, place: str = "") -> Iterator[Fault]:
    """The faults in what marshmallow gathered, flat, each with its dotted place."""
    if isinstance(messages, Mapping):
        if "message" in messages and isinstance(messages["message"], str):
            yield Fault(place, messages["message"], messages.get("hint"))
            return
        for key, below in messages.items():
            yield from faults_in(
                below, place if key == "_schema" else f"{place}.{key}" if place else str(key)
            )
    elif isinstance(messages, list):
        for message in messages:
            yield from faults_in(message, place)
    else:
        yield Fault(place, str(messages))


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """`did you mean "quantity"?`, if something known is near; else `otherwise`."""
    near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else otherwise


def shown(text: str) -> str:
    """A piece of a hostile text, fit to be quoted in a message."""
    printable = "".join(ch if ch.isprintable() else "�" for ch in text)
    return printable if len(printable) <= 60 else printable[:57] + "…"


class StrictSchema(Schema):
    """Refuses what it does not know, with a hint, beside all that the fields find."""

    class Meta:
        unknown = EXCLUDE  # refused below, where a hint can be given

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        if field_obj.error_messages["required"] == Field.default_error_messages["required"]:
            field_obj.error_messages["required"] = {
                "message": "is missing",
                "hint": "it is required: write it",
            }

    def known_names(self) -> list[str]:
        return [field.data_key or name for name, field in self.fields.items()]

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unknown(self, _data: Any, original: Any, **_kw: Any) -> None:
        if not isinstance(original, Mapping):
            return  # that is told already
        known = self.known_names()
        unknown = [name for name in original if name not in known]
        if unknown:
            raise ValidationError({name: self.unknown_fault(name, known) for name in unknown})

    def unknown_fault(self, name: str, known: list[str]) -> dict[str, str | None]:
        hint = did_you_mean(name, known, otherwise=f"known here: {', '.join(sorted(known))}")
        return {"message": "is not known here", "hint": hint}
