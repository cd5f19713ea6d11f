"""Domain values as columns and JSON, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from app.domain.commands import (
    Action,
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Fraction,
    Quantity,
    Size,
    Unit,
    Whole,
    action_of,
    urgency_of,
)
from app.domain.instruments import account_key, contract_of, is_opaque
from app.domain.positions import Holding, Place, Position, Report, Side
from app.ledger.types import decimal_text


def columns_of(command: Command, today: date) -> dict[str, Any]:
    """A command as columns, with its lane: the canonical names of what it could touch. What it does not name is None."""
    asked = dict.fromkeys(_COMMAND_FIELDS) | _asked(command)
    return {**asked, **_lane(asked["account"], asked["instrument"], today), "urgency": urgency_of(command)}


def _asked(command: Command) -> dict[str, Any]:
    """What a command asks for, as columns."""
    row: dict[str, Any] = {"broker": command.broker, "action": action_of(command), "cancel_orders": True}
    if not isinstance(command, ClosePosition):
        row["max_positions"] = command.max_positions
    if isinstance(command, FlattenEverything):
        return row
    row |= {
        "account": command.account,
        "instrument": command.instrument,
        "position": command.side,
        "cancel_orders": command.cancel_orders,
    }
    if isinstance(command, ClosePosition):
        match command.size:
            case Quantity(amount, unit):
                row["quantity"] = amount
                row["quantity_unit"] = None if unit is Unit.CONTRACTS else unit
            case Fraction(part):
                row["percent"] = part
    return row


def _lane(account: str | None, instrument: str | None, today: date) -> dict[str, Any]:
    # An opaque name could be of any instrument.
    contract = contract_of(instrument, today) if instrument and not is_opaque(instrument) else None
    return {
        "lane_account": account_key(account) if account else None,
        "lane_root": contract.root if contract else None,
        "lane_expiry": contract.expiry if contract else None,
    }


def command_of(row: Any) -> Command:
    """The command that `columns_of` made the columns of; a row of them, or anything with their names."""
    side = Side(row.position) if row.position else None
    match Action(row.action):
        case Action.CLOSE:
            size = _size(row)
            return ClosePosition(row.broker, row.account, row.instrument, size, side, row.cancel_orders)
        case Action.FLATTEN:
            filters = (row.account, row.instrument, side, row.cancel_orders)
            return FlattenMatching(row.broker, *filters, row.max_positions)
        case Action.FLATTEN_EVERYTHING:
            return FlattenEverything(row.broker, row.max_positions)


def command_json(command: Command) -> dict[str, Any]:
    """What a command asks for, as JSON."""
    return {name: _plain(value) for name, value in _asked(command).items()}


def command_of_json(encoded: Mapping[str, Any]) -> Command:
    row = dict.fromkeys(_COMMAND_FIELDS) | dict(encoded)
    row |= {name: _decimal(row[name]) for name in ("quantity", "percent")}
    return command_of(SimpleNamespace(**row))


_COMMAND_FIELDS = (
    "broker",
    "action",
    "account",
    "instrument",
    "quantity",
    "quantity_unit",
    "percent",
    "position",
    "cancel_orders",
    "max_positions",
)


def _size(row: Any) -> Size:
    if row.quantity is not None:
        return Quantity(row.quantity, Unit(row.quantity_unit or Unit.CONTRACTS))
    return Fraction(row.percent) if row.percent is not None else Whole()


def holding_json(holding: Holding) -> dict[str, Any]:
    return {field.name: _plain(getattr(holding, field.name)) for field in fields(holding)}


def holdings_of(encoded: Iterable[Mapping[str, Any]] | None) -> tuple[Holding, ...] | None:
    """The holdings of a command, or None while nothing of them is known."""
    if encoded is None:
        return None
    return tuple(
        Holding(
            account=item["account"],
            instrument=item["instrument"],
            side=Side(item["side"]),
            before=Decimal(item["before"]),
            target=Decimal(item["target"]),
            after=_decimal(item["after"]),
            average_price=_decimal(item["average_price"]),
            market_price=_decimal(item["market_price"]),
            profit_loss=_decimal(item["profit_loss"]),
            currency=item.get("currency"),
            unit_value=_decimal(item.get("unit_value")),
            opened_at=_moment(item.get("opened_at")),
            handle=item.get("handle", {}),
            aliases=tuple(item.get("aliases", ())),
        )
        for item in encoded
    )


def place_json(place: Place) -> dict[str, Any]:
    return {field.name: _plain(getattr(place, field.name)) for field in fields(place)}


def place_of(encoded: Mapping[str, Any]) -> Place:
    return Place(encoded["account"], encoded["instrument"], Side(encoded["side"]), encoded["handle"])


def report_json(report: Report) -> dict[str, Any]:
    return {
        "positions": [position_json(it) | {"raw": dict(it.raw)} for it in report.positions],
        "order_ids": list(report.order_ids),
        "nothing_open": report.nothing_open,
    }


def position_json(position: Position) -> dict[str, Any]:
    return {name: _plain(getattr(position, name)) for name in _POSITION_FIELDS}


_POSITION_FIELDS = (
    "account",
    "instrument",
    "side",
    "quantity",
    "average_price",
    "market_price",
    "profit_loss",
    "currency",
)


def report_of(encoded: Mapping[str, Any]) -> Report:
    return Report(
        positions=tuple(
            Position(
                account=item["account"],
                instrument=item["instrument"],
                side=Side(item["side"]),
                quantity=Decimal(item["quantity"]),
                average_price=_decimal(item["average_price"]),
                market_price=_decimal(item["market_price"]),
                profit_loss=_decimal(item["profit_loss"]),
                currency=item.get("currency"),
                raw=item["raw"],
            )
            for item in encoded["positions"]
        ),
        order_ids=tuple(encoded["order_ids"]),
        nothing_open=encoded["nothing_open"],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return decimal_text(value) if isinstance(value, Decimal) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
