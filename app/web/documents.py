"""What the API takes and answers, as marshmallow schemas: the OpenAPI description is made from them."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate
from webargs.multidictproxy import MultiDictProxy

from app.domain.statuses import Attention, Status
from app.strict import StrictSchema, fault


class Name(fields.String):
    """The name of something in the ledger, as a filter."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, attr, data, **kwargs)
        if not name or not name.isprintable() or len(name) > 200:
            raise fault("is not a name", "1 to 200 printable characters")
        return name


class Moment(fields.AwareDateTime):
    """A time with its zone, of the years in which there can be records."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        moment = super()._deserialize(value, attr, data, **kwargs)
        if not 1970 < moment.year < 9999:
            raise fault("is outside the calendar of our records", "for example 2026-11-20T14:30:00Z")
        return moment


class Filters(StrictSchema):
    """What every list can be narrowed to. Each name may stand once."""

    hook = Name()
    since = Moment(metadata={"description": "ISO 8601 with its zone; from then on"})
    until = Moment(metadata={"description": "ISO 8601 with its zone; before then"})

    @pre_load
    def refuse_repeated(self, query: MultiDictProxy, **_kw: Any) -> MultiDictProxy:
        """One of two values would be left out without a word."""
        repeated = [name for name in query if len(query.data.getlist(name)) > 1]
        if repeated:
            hint = "give it once; ask twice for two of them"
            raise ValidationError(
                {name: fault("is there more than once", hint).messages for name in repeated}
            )
        return query


class PlaceFilters(Filters):
    broker = Name()
    account = Name()
    instrument = Name()


class CommandFilters(PlaceFilters):
    status = fields.Enum(Status, by_value=True)
    attention = fields.Enum(Attention, by_value=True)


class AlertFilters(Filters):
    outcome = fields.String(validate=validate.OneOf(["accepted", "ignored", "refused"]))


class Paging(Schema):
    """Beside the filters of what is answered by the page."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.Integer(validate=validate.Range(1, 2**62), metadata={"description": "`next` of a page"})


class CommandQuery(CommandFilters, Paging):
    pass


class AlertQuery(AlertFilters, Paging):
    pass


class ClosedPositionQuery(PlaceFilters, Paging):
    pass


class Reason(fields.String):
    """Why an operator does something: kept with it for ever."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        reason: str = super()._deserialize(value, attr, data, **kwargs).strip()
        if not reason or len(reason) > 500:
            raise fault("must say why", "1 to 500 characters, for whoever reads it later")
        return reason


class Choice(fields.String):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(metadata={"enum": list(words)}, **kwargs)
        self.words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if value not in self.words:
            raise fault("is none of the words for it", f"one of: {', '.join(self.words)}")
        return str(value)


class Switch(fields.Boolean):
    """`true` or `false`, and nothing like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise fault("must be true or false", "without quotes")
        return value


class ReasonBody(StrictSchema):
    reason = Reason(required=True)


class ResolveBody(ReasonBody):
    outcome = Choice("done", "not_done", required=True)


class FlattenBody(ReasonBody):
    broker = Name(required=True)
    account = Name(required=True, metadata={"description": "`*`: each one, with an instrument or a side"})
    instrument = Name()
    side = Choice("long", "short")


class PauseBody(ReasonBody):
    scope = Choice("all", "broker", "hook", required=True)
    name = fields.String(allow_none=True, metadata={"description": "of the broker or hook; none with all"})
    paused = Switch(required=True)


class Document(Schema):
    """An answer: what it holds is made by `app.web.presentation`, and described here."""

    class Meta:
        unknown = EXCLUDE


def _text(description: str | None = None) -> fields.String:
    return fields.String(allow_none=True, metadata={"description": description} if description else {})


_AMOUNT = "a decimal as text"
_TIME = "ISO 8601 in UTC"


class ClosedPositionDocument(Document):
    account = _text()
    instrument = _text()
    side = _text("long or short")
    quantity = _text(f"{_AMOUNT}: what was closed")
    average_price = _text(_AMOUNT)
    close_price = _text(_AMOUNT)
    profit_loss = _text(_AMOUNT)
    currency = _text()
    source = _text("fills, or snapshot: a mark, not a fill")
    order_ids = fields.List(fields.String())
    raw = fields.Raw()


class ListedClosedPositionDocument(ClosedPositionDocument):
    command = _text()
    hook = _text()
    broker = _text()
    closed_at = _text(_TIME)


class AttemptDocument(Document):
    number = fields.Integer()
    kind = _text("close, cancel or read")
    client_id = _text()
    sent_at = _text(_TIME)
    answered_at = _text(_TIME)
    outcome = _text("reported, not_sent, throttled, refused or outcome_unknown; null: in flight")
    request = fields.Raw()
    answer = fields.Raw(allow_none=True)
    detail = _text()


class CommandDocument(Document):
    id = _text()
    alert = _text()
    retry_of = _text()
    hook = _text()
    broker = _text()
    account = _text()
    instrument = _text()
    action = _text()
    quantity = _text(_AMOUNT)
    quantity_unit = _text("base; null: what the venue counts in (contracts, shares)")
    percent = _text("a fraction below 1")
    position = _text("the side guard")
    cancel_orders = fields.Boolean()
    status = fields.String(metadata={"enum": [str(status) for status in Status]})
    reason = _text()
    attention = _text()
    dry_run = fields.Boolean(metadata={"description": "of a hook in shadow mode: nothing of it is sent"})
    accepted_at = _text(_TIME)
    settled_at = _text(_TIME)
    next_attempt_at = _text(_TIME)
    before = _text(_AMOUNT)
    target = _text(_AMOUNT)
    after = _text(_AMOUNT)
    positions = fields.List(fields.Raw())
    attempts = fields.List(fields.Nested(AttemptDocument))
    closed_positions = fields.List(fields.Nested(ClosedPositionDocument))


class CommandWithEvents(CommandDocument):
    events = fields.List(fields.Raw())


class AlertDocument(Document):
    id = _text()
    hook = _text()
    received_at = _text(_TIME)
    outcome = _text()
    reason = _text()
    errors = fields.List(fields.Raw())
    warnings = fields.List(fields.Raw())
    text = _text("as received, its secrets gone")
    size = fields.Integer(metadata={"description": "bytes as received"})
    source_address = _text()
    secret_label = _text()
    deliveries = fields.Integer()
    commands = fields.List(fields.String())


class SecretDocument(Document):
    label = _text()
    last_used_at = _text(f"{_TIME}; null: never")


class HookDocument(Document):
    name = _text()
    url = _text("without a secret")
    broker = _text()
    live = fields.Boolean()
    dry_run = fields.Boolean(metadata={"description": "shadow mode"})
    accounts = fields.List(fields.String())
    allow = fields.List(fields.String())
    instruments = fields.List(fields.String())
    dialects = fields.List(fields.String())
    sources = fields.List(fields.String())
    secrets = fields.List(fields.Nested(SecretDocument))


class HookList(Document):
    items = fields.List(fields.Nested(HookDocument))
    next = _text("always null: the list is whole")


class FailedAuthenticationDocument(Document):
    address = _text("from where")
    hook = _text("null: there is none of the name that was called, or it was the API")
    reason = _text(
        "no_such_hook, no_secret, wrong_secret or wrong_signature; of the API no_token or wrong_token"
    )
    first_at = _text(_TIME)
    last_at = _text(_TIME)
    times = fields.Integer()


class FailedAuthenticationList(Document):
    items = fields.List(fields.Nested(FailedAuthenticationDocument))
    next = _text("always null: so many are kept, the latest")


class FlattenDocument(Document):
    commands = fields.List(fields.Nested(CommandDocument))


class PositionDocument(Document):
    broker = _text()
    account = _text()
    instrument = _text()
    side = _text("long or short")
    quantity = _text(_AMOUNT)
    average_price = _text(_AMOUNT)
    market_price = _text(_AMOUNT)
    profit_loss = _text(f"{_AMOUNT}: not realised")
    currency = _text()
    read_at = _text(_TIME)


class ReadingDocument(Document):
    broker = _text()
    read_at = _text(f"{_TIME}; null: it could not be read yet")
    problem = _text("why it can't be read now; what is shown is of `read_at`")
    unreadable = fields.Dict(metadata={"description": "accounts that the venue does not show, and why"})


class PositionList(Document):
    items = fields.List(fields.Nested(PositionDocument))
    brokers = fields.List(fields.Nested(ReadingDocument))
    next = _text("always null: the list is whole")


class OverviewDocument(Document):
    brokers = fields.List(fields.Raw())
    hours = fields.List(fields.Raw())
    profits = fields.List(fields.Raw())
    latencies = fields.Raw(metadata={"description": "seconds, of the latest closes"})


class SystemDocument(Document):
    version = _text()
    workers = fields.List(fields.Raw())
    redis = fields.Raw(allow_none=True)
    ledger = fields.Raw()
    findings = fields.List(fields.Raw())


class PauseDocument(Document):
    scope = _text("all, broker or hook")
    name = _text("of the broker or hook; null: all")
    paused = fields.Boolean()
    reason = _text()
    actor = _text()
    since = _text(_TIME)


class PauseList(Document):
    items = fields.List(fields.Nested(PauseDocument))
    next = _text("always null: the list is whole")


def _page_of(document: type[Document], name: str) -> type[Schema]:
    page = {"items": fields.List(fields.Nested(document)), "next": _text("the cursor of the next page")}
    return Schema.from_dict(page, name=name)  # type: ignore[arg-type]


CommandPage = _page_of(CommandDocument, "CommandPage")
AlertPage = _page_of(AlertDocument, "AlertPage")
ClosedPositionPage = _page_of(ListedClosedPositionDocument, "ClosedPositionPage")
