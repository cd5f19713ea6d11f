"""What was closed of each position, and at which price: by our orders, by the fills, or else by a mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from app.domain.positions import ClosedPosition, Fill, Holding, Order, Report, Side, Source
from workers.evidence import NOTHING, same_position


def closed_positions(
    holdings: Sequence[Holding],
    report: Report | None,
    today: date,
    orders: Sequence[Order] = (),
    fills: Sequence[Fill] = (),
) -> tuple[ClosedPosition, ...]:
    """What was closed of each holding, with the numbers that the venue gave. Nothing for one that was not reduced.

    `orders` are ours, and `fills` those since the attempt: where they tell what was closed, they are the numbers.
    """
    told = ((holding, executed(holding, orders, fills, today)) for holding in holdings)
    closed = ((holding, did, did.quantity if did else closed_quantity(holding)) for holding, did in told)
    return tuple(
        _executed(holding, did) if did else _marked(holding, quantity, report, today)
        for holding, did, quantity in closed
        if quantity > NOTHING
    )


@dataclass(frozen=True, slots=True)
class Executed:
    """What was executed for a close of ours, at which price on average."""

    quantity: Decimal
    price: Decimal | None
    profit_loss: Decimal | None
    currency: str | None
    order_ids: tuple[str, ...]


def executed(
    holding: Holding, orders: Sequence[Order], fills: Sequence[Fill], today: date
) -> Executed | None:
    """What our orders did to a holding; else what the fills did, if they account for just what was closed."""
    ours = [o for o in orders if o.reduces in (None, holding.side) and same_position(holding, o, today)]
    if ours:
        parts = [(o.filled, o.average_price, o.profit_loss, o.currency, o.order_id) for o in ours]
    else:
        mine = [f for f in fills if f.reduces is holding.side and same_position(holding, f, today)]
        parts = [(f.quantity, f.price, f.profit_loss, f.currency, f.order_id or "") for f in mine]
        if not mine or sum(part[0] for part in parts) != closed_quantity(holding):
            return None
    quantity = sum((part[0] for part in parts), NOTHING)
    filled = [part for part in parts if part[0]]
    price = None
    if filled and all(part[1] is not None for part in filled):
        price = exact(sum((part[0] * part[1] for part in filled if part[1] is not None), NOTHING) / quantity)
    profits = [part[2] for part in filled if part[2] is not None]
    return Executed(
        quantity,
        price,
        exact(sum(profits, NOTHING)) if filled and len(profits) == len(filled) else None,
        next((part[3] for part in filled if part[3]), None),
        tuple(sorted({part[4] for part in parts if part[4]})),
    )


def _executed(holding: Holding, did: Executed) -> ClosedPosition:
    return ClosedPosition(
        account=holding.account,
        instrument=holding.instrument,
        side=holding.side,
        quantity=did.quantity,
        average_price=holding.average_price,
        close_price=did.price,
        profit_loss=_profit_loss(holding, did) if did.profit_loss is None else did.profit_loss,
        source=Source.FILLS,
        order_ids=did.order_ids,
        currency=did.currency or holding.currency,
    )


def _profit_loss(holding: Holding, did: Executed) -> Decimal | None:
    """From the prices, where the venue tells what a point is worth."""
    if did.price is None or holding.average_price is None or holding.unit_value is None:
        return None
    gained = did.price - holding.average_price
    return exact((gained if holding.side is Side.LONG else -gained) * did.quantity * holding.unit_value)


def closed_quantity(holding: Holding) -> Decimal:
    """Before less after, and never more than was asked: what went beyond the target was somebody else's doing."""
    after = holding.before if holding.after is None else holding.after
    return holding.before - max(after, holding.target)


def _marked(holding: Holding, quantity: Decimal, report: Report | None, today: date) -> ClosedPosition:
    """A mark at the time of closing: from the venue's answer, else from the read before it."""
    shown = report.positions if report else ()
    mine = [p for p in shown if p.side is holding.side and same_position(holding, p, today)]
    mark = mine[0] if mine else None
    size = mark.quantity if mark else holding.before
    profit_loss = mark.profit_loss if mark else holding.profit_loss
    return ClosedPosition(
        account=holding.account,
        instrument=holding.instrument,
        side=holding.side,
        quantity=quantity,
        average_price=mark.average_price if mark else holding.average_price,
        close_price=mark.market_price if mark else holding.market_price,
        # The mark's profit is of all that was open; ours is the part that was closed.
        profit_loss=None if profit_loss is None else exact(profit_loss * min(quantity, size) / size),
        source=Source.SNAPSHOT,
        order_ids=report.order_ids if report else (),
        currency=holding.currency,
        raw=dict(mark.raw) if mark else {},
    )


def closed_by_fills(fills: Sequence[Fill], since: datetime) -> tuple[ClosedPosition, ...]:
    """What fills alone tell, where nobody saw the position before: the price is the fills' average.

    The first fill of a contract since the attempt tells the side; what comes on the other side is somebody's re-entry.
    """
    groups: dict[tuple[str, str], list[Fill]] = {}
    for fill in sorted(fills, key=lambda fill: fill.at):
        if fill.at >= since.replace(microsecond=0):
            group = groups.setdefault((fill.account, fill.instrument), [])
            if not group or group[0].reduces is fill.reduces:
                group.append(fill)
    return tuple(_closed_by(group) for group in groups.values())


def _closed_by(fills: Sequence[Fill]) -> ClosedPosition:
    quantity = sum((fill.quantity for fill in fills), NOTHING)
    value = sum((fill.quantity * fill.price for fill in fills), NOTHING)
    return ClosedPosition(
        account=fills[0].account,
        instrument=fills[0].instrument,
        side=fills[0].reduces,
        quantity=quantity,
        average_price=None,
        close_price=exact(value / quantity),
        profit_loss=None,
        source=Source.FILLS,
        order_ids=tuple(sorted({fill.order_id for fill in fills if fill.order_id})),
    )


def exact(value: Decimal) -> Decimal:
    """At most eight decimals, and no trailing zeros beyond the first. Zero has no sign."""
    rounded = (value.quantize(Decimal("1e-8"), ROUND_HALF_EVEN) + NOTHING).normalize()
    return rounded if rounded.as_tuple().exponent < 0 else rounded.quantize(Decimal("0.1"))  # type: ignore[operator]
