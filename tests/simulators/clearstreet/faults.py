"""Bad days in Clear Street's words: what may go wrong, and what the venue then says."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tests.simulators.line import EVERY, Answer, Exchange, Forecast, Kind, Options, Wording, shared

from .presentation import failure, success
from .records import Ending, OrderStatus


class Fault(StrEnum):
    """One thing that goes wrong with a call. KINDS has what each may be told, with the defaults."""

    REFUSE = "refuse"
    """A definite no: `status` with `message` and `details`, nothing done."""
    THROTTLE = "throttle"
    """429, nothing done; `retry_after` (seconds) becomes the header, if given."""

    TIMEOUT_408 = "timeout_408"
    """408, nothing done."""
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
    WRONG_TYPE = "wrong_type"
    """200 with the right answer, told to be text/html; done if `acts`."""
    TRUNCATED_JSON = "truncated_json"
    """200 whose Content-Length is right and whose body stops half-way; done if `acts`."""
    WRONG_SHAPE = "wrong_shape"
    """200 with `body`, JSON that answers nothing; done if `acts`."""
    REDIRECT = "redirect"
    """302 to `location`, which answers 200 to whoever follows; done if `acts`."""
    HUGE_BODY = "huge_body"
    """The right answer, padded to `mebibytes`; done if `acts`."""
    SLOW_DRIP = "slow_drip"
    """The right answer, one byte every `milliseconds`; done if `acts`."""

    NO_EFFECT = "no_effect"
    """Answered as done, but its orders end REJECTED after `seconds`; `cancels_orders` else leaves the others."""
    SLOW_FILL = "slow_fill"
    """Answered as done, but its orders fill in `parts` over `seconds`."""
    ENDS_AS = "ends_as"
    """Answered as done; after `seconds`, so much is `filled` and the orders say `status`, with `details`."""


class Words(Wording):
    refusal: Options = {"status": 400, "message": "Order rejected", "details": None}
    elsewhere = "/v1/clock"
    page_title = "Clear Street | Sign in"

    def refused(self, options: Options) -> Answer:
        status = int(options["status"])
        return Answer(status, failure(status, str(options["message"]), options["details"]))

    def throttled(self, retry_after: object) -> Answer:
        # brokers.md, 3.1: 429 is not in the spec; the SDK reads this header.
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return Answer(429, failure(429, "Too many requests"), headers=headers)

    def silent(self) -> Answer:
        # Not in the spec either; brokers.md, 3.5: the SDK sends a request again that got it.
        return Answer(408, failure(408, "Request timed out"))

    def nothing_done(self) -> Answer:
        return Answer(200, success([]))

    def no_length(self) -> Answer:
        return Answer(411, failure(411, "Content-Length is required"))


def _ends_as(exchange: Exchange, options: Options) -> None:
    exchange.answer(exchange.act(ending(**options)))


def ending(status: str, filled: object, details: Iterable[str] | None, seconds: float) -> Ending:
    """What `ends_as` is told, as the plan that the book carries out."""
    return Ending(
        delay=float(seconds),
        status=OrderStatus(status),
        filled=Decimal(str(filled)),
        details=tuple(details or ()),
    )


WORDS = Words()
KINDS: dict[str, Kind] = {
    **shared(WORDS),
    Fault.ENDS_AS: Kind(
        _ends_as,
        {"status": "REJECTED", "filled": "0", "details": None, "seconds": 0.0},
        sends_orders=True,
    ),
}


class ClearStreetForecast(Forecast):
    """Bad days, of which a status that there is not is refused when it is asked for."""

    def add(self, fault: str, on: str = EVERY, times: int | None = 1, **options: Any) -> None:
        if "status" in options and str(fault).lower() == Fault.ENDS_AS:
            OrderStatus(options["status"])
        super().add(fault, on, times, **options)
