"""Bad days in CrossTrade's words: what may go wrong, and what the venue then says.

Over the WebSocket the same days go the same way as far as they can: bodies come in messages, which have no status and
no headers; a page or what is not JSON is a message of that text; an answer of the wrong type is one without an id, which
answers nobody; what cuts or ends a line takes all the calls on it along.
"""

from collections.abc import Callable
from enum import StrEnum

from tests.simulators.line import Answer, Exchange, Kind, Options, Play, Wording, acting_if_told, shared

from .calls import refused
from .errors import UnknownAccount
from .rpc import RpcExchange


class Fault(StrEnum):
    """One thing that goes wrong with a call. KINDS has what each may be told, with the defaults."""

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
    WRONG_TYPE = "wrong_type"
    """200 with the right answer, told to be text/html; done if `acts`."""
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

    WRONG_ID = "wrong_id"
    """Done, and answered under an id that nobody chose. Over REST a good day, like the next four."""
    NO_ID = "no_id"
    """Done, and answered without an id."""
    REPLY_TWICE = "reply_twice"
    """Done once, and answered twice."""
    NOT_A_NUMBER = "not_a_number"
    """Done; a number of the answer is NaN, which is not JSON."""
    CLOSES = "closes"
    """The WebSocket is closed with `code` and `reason`; done if `acts`."""

    NO_EFFECT = "no_effect"
    """Answered as done, but its orders end Rejected after `seconds`; stops go only if `cancels_orders`."""
    SLOW_FILL = "slow_fill"
    """Answered as done, but its orders fill in `parts` over `seconds`."""


class Words(Wording):
    refusal: Options = {"status": 400, "error": "Order rejected by the broker"}
    elsewhere = "/v1/api/_endpoints"
    page_title = "CrossTrade | Log in"

    def refused(self, options: Options) -> Answer:
        return Answer(int(options["status"]), {"error": options["error"]})

    def throttled(self, retry_after: object) -> Answer:
        # XT docs, rate limiting.
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return Answer(429, {"error": "Rate limit exceeded"}, headers=headers)

    def silent(self) -> Answer:
        # XT docs, llms-full, "Common gotchas": 408 is the add-on that is not connected. Its words are not shown.
        return Answer(408, {"success": False, "error": "CrossTrade add-on is not connected or timed out"})

    def nothing_done(self) -> Answer:
        return Answer(200, {"closedPositions": [], "success": True})


def _invalid_account(exchange: Exchange, options: Options) -> None:
    exchange.answer(refused(UnknownAccount(exchange.about)))


def _success_false(exchange: Exchange, options: Options) -> None:
    exchange.answer(Answer(200, {"success": False, "error": options["error"]}))


def _wrong_id(exchange: RpcExchange, options: Options) -> None:
    exchange.answer_under("0" * 32, exchange.act())


def _no_id(exchange: RpcExchange, options: Options) -> None:
    exchange.answer_under(None, exchange.act())


def _reply_twice(exchange: RpcExchange, options: Options) -> None:
    exchange.answer(exchange.act())
    exchange.answer(exchange.act())


def _not_a_number(exchange: RpcExchange, options: Options) -> None:
    exchange.answer_with_nan(exchange.act())


def _closes(exchange: RpcExchange, options: Options) -> None:
    exchange.close(int(options["code"]), str(options["reason"]))


def _over_websocket(then: Callable[[RpcExchange, Options], None]) -> Play:
    """For a day that only the WebSocket can have."""

    def play(exchange: Exchange, options: Options) -> None:
        if isinstance(exchange, RpcExchange):
            then(exchange, options)
        else:
            exchange.answer(exchange.act())

    return play


WORDS = Words()
KINDS: dict[str, Kind] = {
    **shared(WORDS),
    Fault.INVALID_ACCOUNT: Kind(_invalid_account),
    Fault.SUCCESS_FALSE: Kind(
        acting_if_told(_success_false),
        {"acts": False, "error": "Command blocked: managed by another strategy"},
    ),
    Fault.WRONG_ID: Kind(_over_websocket(_wrong_id)),
    Fault.NO_ID: Kind(_over_websocket(_no_id)),
    Fault.REPLY_TWICE: Kind(_over_websocket(_reply_twice)),
    Fault.NOT_A_NUMBER: Kind(_over_websocket(_not_a_number)),
    Fault.CLOSES: Kind(
        acting_if_told(_over_websocket(_closes)), {"acts": True, "code": 1001, "reason": "Going away"}
    ),
}
