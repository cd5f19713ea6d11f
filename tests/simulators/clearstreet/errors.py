"""What the venue refuses, with the status and the words of its error envelope."""

from collections.abc import Sequence
from typing import Any


class Refusal(Exception):
    """Base of all refusals; the book is as it was."""

    def __init__(self, status: int, message: str, details: Sequence[Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


class InvalidRequest(Refusal):
    """Raised when a query, a path or a value makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class WrongShape(Refusal):
    """Raised when a body is JSON, but not the JSON that is wanted."""

    def __init__(self, what: str) -> None:
        super().__init__(422, f"Failed to deserialize the JSON body into the target type: {what}")


class Forbidden(Refusal):
    """Raised for an account that is not the caller's, which is any that is not there."""

    def __init__(self) -> None:
        super().__init__(403, "The caller does not have permission to execute the specified operation")


class UnknownInstrument(Refusal):
    """Raised when a name means no instrument. The venue's answer is not documented."""

    def __init__(self, name: str, status: int = 400) -> None:
        super().__init__(status, f"Instrument {name} not found")


class NothingOpen(Refusal):
    """Raised when a close finds no position and the book answers that with an error."""

    def __init__(self, account: int, status: int) -> None:
        super().__init__(status, f"No open position found for account {account}")


class UnknownOrder(Refusal):
    """Raised when an account has no such order."""

    def __init__(self, order_id: str, account: int) -> None:
        super().__init__(404, f"Order {order_id} not found for account {account}")


class NoOrdersMatch(Refusal):
    """Raised when filters of a cancel match no open order."""

    def __init__(self) -> None:
        super().__init__(404, "No orders match the specified filters")


class DuplicateOrderId(Refusal):
    """Raised when an account has had an order of that id. The venue's answer is not documented."""

    def __init__(self, client_order_id: str) -> None:
        super().__init__(409, f"An order with id {client_order_id} already exists for this account")


class RiskRefusal(Refusal):
    """Raised when a check before the order is sent says no."""

    def __init__(self, reason: str, description: str, account: int, symbol: str, side: str) -> None:
        about = {"account_id": str(account), "symbol": symbol, "side": side.title()}
        details = [
            {"type": reason, "subject": f"symbol:{symbol}", "description": description},
            {"domain": "com.clearstreet.oems.risk", "reason": reason, "metadata": about},
        ]
        super().__init__(400, "Risk check failed", details)
