"""What a client asks for, read and legal in itself; whether the book takes it is the book's to say."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class CloseTicket:
    inst_id: str
    margin_mode: str
    pos_side: str = ""
    ccy: str = ""
    cancels_first: bool = False
    client_id: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class OrderTicket:
    inst_id: str
    margin_mode: str
    side: str
    order_type: str
    quantity: Decimal
    pos_side: str = ""
    price: Decimal | None = None
    reduce_only: bool = False
    client_id: str = ""
    tag: str = ""
