"""A call's parameters, read strictly. An empty text is an absent parameter: python-okx sends those."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from .codes import Refusal
from .tickets import CloseTicket, OrderTicket

Arguments = Mapping[str, Any]

MARKET_TYPES = frozenset({"market", "optimal_limit_ioc"})
LIMIT_TYPES = frozenset({"limit", "post_only", "ioc", "fok"})
# OKX docs, place order: letters and digits, 32 of them for clOrdId, 16 for tag.
CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
TAG = re.compile(r"[A-Za-z0-9]{1,16}")


def close_ticket(args: Arguments) -> CloseTicket:
    return CloseTicket(
        inst_id=required(args, "instId"),
        margin_mode=one_of(args, "mgnMode", ("cross", "isolated")),
        pos_side=text(args, "posSide"),
        ccy=text(args, "ccy"),
        cancels_first=flag(args, "autoCxl"),
        client_id=legal(args, "clOrdId", CLIENT_ID),
        tag=legal(args, "tag", TAG),
    )


def order_ticket(args: Arguments) -> OrderTicket:
    order_type = one_of(args, "ordType", MARKET_TYPES | LIMIT_TYPES)
    return OrderTicket(
        inst_id=required(args, "instId"),
        margin_mode=one_of(args, "tdMode", ("cross", "isolated")),
        side=one_of(args, "side", ("buy", "sell")),
        order_type=order_type,
        quantity=amount(args, "sz"),
        pos_side=text(args, "posSide"),
        price=amount(args, "px") if order_type in LIMIT_TYPES else None,
        reduce_only=flag(args, "reduceOnly"),
        client_id=legal(args, "clOrdId", CLIENT_ID),
        tag=legal(args, "tag", TAG),
    )


def text(args: Arguments, name: str) -> str:
    value = args.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal("51000", name)
    return value


def required(args: Arguments, name: str) -> str:
    value = text(args, name)
    if not value:
        raise Refusal("50014", name)
    return value


def one_of(args: Arguments, name: str, words: "tuple[str, ...] | frozenset[str]") -> str:
    value = required(args, name)
    if value not in words:
        raise Refusal("51000", name)
    return value


def legal(args: Arguments, name: str, pattern: re.Pattern[str]) -> str:
    value = text(args, name)
    if value and not pattern.fullmatch(value):
        raise Refusal("51000", name)
    return value


def flag(args: Arguments, name: str) -> bool:
    """A boolean, or its text; false when absent."""
    value = args.get(name)
    if value in (None, ""):
        return False
    spelled = str(value).lower()
    if spelled not in ("true", "false"):
        raise Refusal("51000", name)
    return spelled == "true"


def amount(args: Arguments, name: str) -> Decimal:
    """Above zero."""
    value = args.get(name)
    if value is None or value == "":
        raise Refusal("50014", name)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Refusal("51000", name) from None
    if isinstance(value, bool) or not number.is_finite() or number <= 0:
        raise Refusal("51000", name)
    return number


def listed(args: Arguments, name: str, most: int) -> list[str]:
    """Values with commas between them."""
    values = [value for value in text(args, name).split(",") if value]
    if len(values) > most:
        raise Refusal("50025", name)
    return values


def whole(args: Arguments, name: str, default: int | None = None) -> int | None:
    value = text(args, name)
    if not value:
        return default
    if not value.isdigit():
        raise Refusal("51000", name)
    return int(value)
