"""Bad days: what may go wrong, on which calls, how many times."""

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .routes import Operation

EVERY = "*"
Options = dict[str, Any]


class Fault(StrEnum):
    """One thing that goes wrong with a call. OPTIONS has what each may be told, with the defaults."""

    REFUSE = "refuse"
    """A definite no: `status` with `error`, nothing done."""
    INVALID_ACCOUNT = "invalid_account"
    """400 `invalid_account`, whatever the account."""
    THROTTLE = "throttle"
    """429, nothing done; `retry_after` (seconds) becomes the header, if given."""

    TIMEOUT_408 = "timeout_408"
    """408, and it never reached NinjaTrader."""
    TIMEOUT_408_AFTER_ACTING = "timeout_408_after_acting"
    """408, though it was done."""
    ERROR_500 = "error_500"
    """500 with an HTML page, nothing done."""
    ERROR_500_AFTER_ACTING = "error_500_after_acting"
    """500 with an HTML page, though it was done."""
    ERROR_502 = "error_502"
    """502 with a proxy's HTML page, nothing done."""
    ERROR_502_AFTER_ACTING = "error_502_after_acting"
    """502 with a proxy's HTML page, though it was done."""

    HANG_THEN_ACT = "hang_then_act"
    """Silent for `seconds`, then done and answered, even if nobody waits any more."""
    ACT_THEN_HANG = "act_then_hang"
    """Done at once, silent for `seconds`, then closed without an answer."""
    LATE_ACTION = "late_action"
    """408 at once, and done `seconds` later."""

    CUT_BEFORE_ACTING = "cut_before_acting"
    """The connection is reset after the request was read, nothing done."""
    CUT_AFTER_ACTING = "cut_after_acting"
    """Done, then the connection is reset before the first byte of an answer."""
    CUT_MID_ANSWER = "cut_mid_answer"
    """Done, then the connection is reset in the middle of the answer."""

    NOT_JSON = "not_json"
    """200 with a body that is not JSON though it says so; done if `acts`."""
    HTML_PAGE = "html_page"
    """200 with an HTML page; done if `acts`."""
    TRUNCATED_JSON = "truncated_json"
    """200 whose Content-Length is right and whose body stops half-way; done if `acts`."""
    SUCCESS_FALSE = "success_false"
    """200 with `success` false and `error`; done if `acts`."""
    WRONG_SHAPE = "wrong_shape"
    """200 with `body`, JSON that answers nothing; done if `acts`."""
    REDIRECT = "redirect"
    """302 to `location`, which answers 200 to whoever follows; done if `acts`."""
    HUGE_BODY = "huge_body"
    """The right answer, padded to `mebibytes`; done if `acts`."""
    SLOW_DRIP = "slow_drip"
    """The right answer, one byte every `milliseconds`; done if `acts`."""

    NO_EFFECT = "no_effect"
    """Answered as done, but its orders end Rejected after `seconds`; stops go only if `cancels_orders`."""
    SLOW_FILL = "slow_fill"
    """Answered as done, but its orders fill in `parts` over `seconds`."""


OPTIONS: dict[Fault, Options] = {
    Fault.REFUSE: {"status": 400, "error": "Order rejected by the broker"},
    Fault.INVALID_ACCOUNT: {},
    Fault.THROTTLE: {"retry_after": None},
    Fault.TIMEOUT_408: {},
    Fault.TIMEOUT_408_AFTER_ACTING: {},
    Fault.ERROR_500: {},
    Fault.ERROR_500_AFTER_ACTING: {},
    Fault.ERROR_502: {},
    Fault.ERROR_502_AFTER_ACTING: {},
    Fault.HANG_THEN_ACT: {"seconds": 5.0},
    Fault.ACT_THEN_HANG: {"seconds": 30.0},
    Fault.LATE_ACTION: {"seconds": 2.0},
    Fault.CUT_BEFORE_ACTING: {},
    Fault.CUT_AFTER_ACTING: {},
    Fault.CUT_MID_ANSWER: {},
    Fault.NOT_JSON: {"acts": True, "text": "OK"},
    Fault.HTML_PAGE: {"acts": True},
    Fault.TRUNCATED_JSON: {"acts": True},
    Fault.SUCCESS_FALSE: {"acts": False, "error": "Command blocked: managed by another strategy"},
    Fault.WRONG_SHAPE: {"acts": True, "body": {"result": "ok", "data": [1, 2, 3]}},
    Fault.REDIRECT: {"acts": False, "location": "/v1/api/_endpoints"},
    Fault.HUGE_BODY: {"acts": True, "mebibytes": 4},
    Fault.SLOW_DRIP: {"acts": True, "milliseconds": 20},
    Fault.NO_EFFECT: {"seconds": 0.0, "cancels_orders": False},
    Fault.SLOW_FILL: {"seconds": 2.0, "parts": 1},
}

ONLY_WHERE_ORDERS_ARE_SENT = frozenset({Fault.NO_EFFECT, Fault.SLOW_FILL})
SENDS_ORDERS = frozenset({Operation.CLOSE, Operation.FLATTEN})


@dataclass(slots=True)
class BadDay:
    """A fault, the calls it is for, and how many of them are left; None is without end."""

    fault: Fault
    on: str
    left: int | None
    options: Options

    def is_for(self, operation: Operation) -> bool:
        if self.fault in ONLY_WHERE_ORDERS_ARE_SENT and operation not in SENDS_ORDERS:
            return False
        return self.on in (EVERY, operation)


class Forecast:
    """The bad days to come, in the order they were asked for; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._days: list[BadDay] = []

    def add(self, fault: Fault, on: str = EVERY, times: int | None = 1, **options: Any) -> None:
        """Raises ValueError for an operation, a count or an option that the fault does not have."""
        if on != EVERY:
            Operation(on)
        if fault in ONLY_WHERE_ORDERS_ARE_SENT and on not in (EVERY, *SENDS_ORDERS):
            raise ValueError(f"{fault} is for calls that send orders")
        if times is not None and times < 1:
            raise ValueError("times is at least 1, or None for always")
        unknown = options.keys() - OPTIONS[fault].keys()
        if unknown:
            raise ValueError(f"{fault} has no option {', '.join(sorted(unknown))}")
        with self._lock:
            self._days.append(BadDay(fault, on, times, OPTIONS[fault] | options))

    def take(self, operation: Operation) -> BadDay | None:
        """The first bad day for this call, used up by one."""
        with self._lock:
            day = next((day for day in self._days if day.is_for(operation)), None)
            if day is not None and day.left is not None:
                day.left -= 1
                if not day.left:
                    self._days.remove(day)
            return day

    def clear(self) -> None:
        with self._lock:
            self._days.clear()
