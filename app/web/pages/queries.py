"""The filters of a list, as they stand in a page's address."""

from collections.abc import Mapping
from typing import Any

from flask import request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.strict import Fault, faults_in
from app.web.documents import Moment, Name

_NO_FAULT: tuple[Fault, ...] = ()


class Day(fields.Field[Any]):
    """A moment with its zone, or a day (its beginning, in UTC) as a date picker writes it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = f"{value}T00:00:00Z" if len(str(value)) == len("2026-11-20") else value
        return Moment().deserialize(text)


class Query(Schema):
    """What every list of a page can be narrowed to. What can't be read narrows nothing, and is told."""

    class Meta:
        unknown = EXCLUDE

    hook = Name()
    broker = Name()
    account = Name()
    instrument = Name()
    since = Day()
    until = Day()
    cursor = fields.Integer(validate=validate.Range(1, 2**62))


def asked(schema: type[Query] = Query) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """The filters that stand in the address, and what of them can't be read."""
    given: Mapping[str, str] = {name: value.strip() for name, value in request.args.items() if value.strip()}
    try:
        found: dict[str, Any] = schema().load(given)
    except ValidationError as exc:
        valid = exc.valid_data if isinstance(exc.valid_data, dict) else {}
        return valid, tuple(faults_in(exc.messages))
    return found, _NO_FAULT
