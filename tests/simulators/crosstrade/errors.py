"""What the venue refuses, before any transport gives it a status and a body."""


class Refusal(Exception):
    """Base of all refusals; the book is as it was."""


class InvalidRequest(Refusal):
    """Raised when a call lacks what it needs, or says it wrongly."""


class UnknownAccount(Refusal):
    """Raised when no account has that name, in any case."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


class NothingOpen(Refusal):
    """Raised when a close finds no position, whether the instrument is flat or does not exist."""

    def __init__(self, instrument: str) -> None:
        super().__init__(instrument)
        self.instrument = instrument


class UnknownOrder(Refusal):
    """Raised when an order is not there, or has ended and can no longer be cancelled."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id


class UnknownExecution(Refusal):
    """Raised when no execution has that id."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id
