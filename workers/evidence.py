"""What positions and fills prove about a close. Pure: the reading is done elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from app.domain.commands import (
    ClosePosition,
    Command,
    FlattenEverything,
    FlattenMatching,
    Fraction,
    Quantity,
    Unit,
    Whole,
)
from app.domain.instruments import Contract, account_key, contract_of
from app.domain.positions import Fill, Holding, Order, Position, Side

T = TypeVar("T")

NOTHING = Decimal(0)

Placed = Holding | Position | Fill | Order
"""What is of one contract in one account."""


def matching(command: Command, positions: Iterable[Position], today: date) -> tuple[Position, ...]:
    """The positions that the command is about, whatever they are called."""
    return tuple(position for position in positions if is_about(command, position, position.side, today))


def is_about(command: Command, thing: Placed, side: Side, today: date) -> bool:
    """Whether something of a position on this side is of one that the command is about."""
    if isinstance(command, FlattenEverything):
        return True
    return (
        (command.account is None or account_key(command.account) == account_key(thing.account))
        and (command.instrument is None or _could_mean(command.instrument, thing, today))
        and command.side in (None, side)
    )


def _could_mean(name: str, thing: Placed, today: date) -> bool:
    """Whether a name, with an expiry or without, could be of the thing's contract."""
    wanted = contract_of(name, today)
    return any(wanted.overlaps(own) for own in _contracts(thing, today))


def _contracts(thing: Placed, today: date) -> list[Contract]:
    """What the names of a thing mean, the venue's other names for it among them."""
    aliases = () if isinstance(thing, Fill) else thing.aliases
    return [contract_of(name, today) for name in (thing.instrument, *aliases)]


def plan(
    command: Command, positions: Sequence[Position], lot: Decimal, unit: Decimal | None = None
) -> tuple[Holding, ...]:
    """Before and target of each position. A fraction becomes a quantity here, once, rounded up to the lot.

    `unit` is how much of the base is in one of what positions count, for a quantity that is told in the base.
    """
    return tuple(
        Holding(
            account=position.account,
            instrument=position.instrument,
            side=position.side,
            before=position.quantity,
            target=_target(command, position.quantity, lot, unit),
            average_price=position.average_price,
            market_price=position.market_price,
            profit_loss=position.profit_loss,
            currency=position.currency,
            unit_value=position.unit_value,
            opened_at=position.opened_at,
            handle=position.handle,
            aliases=position.aliases,
        )
        for position in positions
    )


def _target(command: Command, quantity: Decimal, lot: Decimal, unit: Decimal | None) -> Decimal:
    match command:
        case ClosePosition(size=Quantity() as asked):
            return max(NOTHING, shortest(quantity - counted(asked, unit)))
        case ClosePosition(size=Fraction(part)):
            lots = (quantity * part / lot).to_integral_value(ROUND_CEILING)
            return max(NOTHING, shortest(quantity - lots * lot))
        case ClosePosition(size=Whole()) | FlattenMatching() | FlattenEverything():
            return NOTHING
        case _:
            raise AssertionError(command)


def shortest(value: Decimal) -> Decimal:
    """The same without zeros at its end."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


def counted(asked: Quantity, unit: Decimal | None) -> Decimal:
    """A quantity in what positions count."""
    if asked.unit is Unit.BASE:
        assert unit is not None, "a quantity in the base is planned on the venue's terms"
        return asked.amount / unit
    return asked.amount


def same_position(one: Placed, other: Placed, today: date) -> bool:
    """Whether two things are of the same account and contract, whatever those are called, on either side."""
    others = _contracts(other, today)
    return (
        account_key(one.account) == account_key(other.account)
        and any(contract in others for contract in _contracts(one, today))
        and _alike_handles(one, other)
    )


def _alike_handles(one: Placed, other: Placed) -> bool:
    """A venue may hold several positions of one contract. Fills and orders do not say of which they are."""
    if isinstance(one, Holding | Position) and isinstance(other, Holding | Position):
        return not (one.handle and other.handle) or one.handle == other.handle
    return True


def could_be_of(position: Position | Holding, thing: Placed, today: date) -> bool:
    """The same, generously: a name without an expiry could be of any. For where there must be nothing."""
    return account_key(position.account) == account_key(thing.account) and (
        not thing.instrument
        or any(
            own.overlaps(other) for own in _contracts(position, today) for other in _contracts(thing, today)
        )
    )


def left_of(holding: Holding, positions: Iterable[Position], today: date) -> Decimal:
    """What is left of a holding. What is open on the other side is no part of it."""
    return sum(
        (p.quantity for p in positions if p.side is holding.side and same_position(holding, p, today)),
        NOTHING,
    )


def with_after(
    holdings: Sequence[Holding], positions: Sequence[Position], today: date
) -> tuple[Holding, ...]:
    """The holdings with what the positions show is left of each."""
    return tuple(replace(h, after=left_of(h, positions, today)) for h in holdings)


def reached(holding: Holding) -> bool:
    """Whether the position is where the command wanted it."""
    return holding.after is not None and holding.after <= holding.target


def grew(holding: Holding) -> bool:
    """Whether somebody else is adding to the position."""
    return holding.after is not None and holding.after > holding.before


def replaced(holding: Holding, positions: Iterable[Position], today: date) -> bool:
    """Whether what is open now was, in part at least, opened after: its average price or its beginning is another."""
    return any(
        _differ(position.average_price, holding.average_price)
        or _differ(position.opened_at, holding.opened_at)
        for position in positions
        if same_position(holding, position, today) and position.side is holding.side
    )


def _differ(one: T | None, other: T | None) -> bool:
    return one is not None and other is not None and one != other


def turned(holding: Holding, positions: Iterable[Position], today: date) -> bool:
    """Whether the other side is open now."""
    return any(
        same_position(holding, position, today) and position.side is not holding.side
        for position in positions
    )


def closing_already(holding: Holding, orders: Iterable[Order], today: date) -> tuple[Order, ...]:
    """The market orders that work to make a holding smaller. Stops and targets wait for a price that may never come."""
    return tuple(
        order
        for order in orders
        if order.market
        and order.state.live
        and order.reduces in (None, holding.side)
        and could_be_of(holding, order, today)
    )


def opened_after(position: Position) -> Holding:
    """A position as one of which nothing was there before, for the fills to bear out."""
    return Holding(position.account, position.instrument, position.side, NOTHING, NOTHING, position.quantity)


def accounted_for(holding: Holding, fills: Iterable[Fill], sent_at: datetime, today: date) -> bool:
    """Whether the fills since the attempt did all of it, and what was opened besides explains what is there.

    `fills` are recent by the venue's clock; they must be by ours too, so that a clock that is wrong proves nothing.
    They must add up to the position as well: venues give whole seconds, so a fill from just before the attempt can be
    among them, of the close before this one, say.
    """
    since = sent_at.replace(microsecond=0)
    mine = [fill for fill in fills if fill.at >= since and same_position(holding, fill, today)]
    reduced = sum((fill.quantity for fill in mine if fill.reduces is holding.side), NOTHING)
    opened = sum((fill.quantity for fill in mine if fill.reduces is not holding.side), NOTHING)
    return reduced >= holding.before - holding.target and holding.after == holding.before - reduced + opened


def opened_since(position: Position, fills: Iterable[Fill], moment: datetime, today: date) -> bool:
    """Whether all of a position was opened after that moment: it was flat then, or became so, and is what was filled since.

    Strictly after: a fill of the very moment could be of the position that was there then.
    """
    mine = [fill for fill in fills if fill.at > moment and same_position(position, fill, today)]

    def opened_after(flat_at: datetime) -> Decimal:
        later = (fill for fill in mine if fill.at > flat_at)
        return sum((-it.quantity if it.reduces is position.side else it.quantity for it in later), NOTHING)

    return any(opened_after(it) == position.quantity for it in (moment, *(fill.at for fill in mine)))


def untouched(position: Position, fills: Iterable[Fill], today: date) -> bool:
    """Whether no fill, on either side, is of this position."""
    return not any(could_be_of(position, fill, today) for fill in fills)


def unreduced(position: Position, fills: Iterable[Fill], today: date) -> bool:
    """Whether no fill made this position smaller."""
    return untouched(position, (fill for fill in fills if fill.reduces is position.side), today)


def alike(command: Command, positions: Sequence[Position], today: date) -> tuple[Position, ...]:
    """What is open of the same root, in the command's account: another expiry, or the other side."""
    if isinstance(command, FlattenEverything) or command.instrument is None:
        return ()
    root = contract_of(command.instrument, today).root
    return tuple(
        position
        for position in positions
        if contract_of(position.instrument, today).root == root
        and (command.account is None or account_key(command.account) == account_key(position.account))
    )


def at_target(holdings: Iterable[Holding]) -> tuple[Holding, ...]:
    """The holdings as the close left them, whatever was opened after."""
    return tuple(h if reached(h) else replace(h, after=h.target) for h in holdings)


def to_close(holding: Holding) -> Decimal:
    """How much a call may close: what still stands above the target, and never more than was asked."""
    standing = holding.before if holding.after is None else min(holding.before, holding.after)
    return standing - holding.target
