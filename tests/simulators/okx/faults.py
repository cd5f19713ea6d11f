"""Bad days in OKX's words: what may go wrong, and what the venue then says."""

from enum import StrEnum

from tests.simulators.line import (
    Answer,
    Exchange,
    Kind,
    Options,
    Wording,
    acting_if_told,
    shared,
)

from . import envelopes
from .codes import CODES, Code


class Fault(StrEnum):
    """One thing that goes wrong with a call. KINDS has what each may be told, `line.faults` what each means."""

    REFUSE = "refuse"
    """A definite no with `code`, and perhaps `message` and `status`; in `data` if `as_scode`."""
    THROTTLE = "throttle"
    CODE = "code"
    """Like `refuse`, but done all the same if `acts`: for the codes that do not say."""
    TIMEOUT_50004 = "timeout_50004"
    """400 with 50004, which says neither yes nor no; done if `acts`."""
    TIMEOUT_408 = "timeout_408"
    """The same with nothing done: OKX has no 408, but every venue has these two names."""
    TIMEOUT_408_AFTER_ACTING = "timeout_408_after_acting"
    LATE_ACTION = "late_action"
    """50004 at once, and done `seconds` later."""
    ERROR_500 = "error_500"
    ERROR_500_AFTER_ACTING = "error_500_after_acting"
    ERROR_502 = "error_502"
    ERROR_502_AFTER_ACTING = "error_502_after_acting"
    HANG_THEN_ACT = "hang_then_act"
    ACT_THEN_HANG = "act_then_hang"
    CUT_BEFORE_ACTING = "cut_before_acting"
    CUT_AFTER_ACTING = "cut_after_acting"
    CUT_MID_ANSWER = "cut_mid_answer"
    NOT_JSON = "not_json"
    HTML_PAGE = "html_page"
    WRONG_TYPE = "wrong_type"
    TRUNCATED_JSON = "truncated_json"
    WRONG_SHAPE = "wrong_shape"
    REDIRECT = "redirect"
    HUGE_BODY = "huge_body"
    SLOW_DRIP = "slow_drip"
    NO_EFFECT = "no_effect"
    SLOW_FILL = "slow_fill"


class Words(Wording):
    refusal: Options = {"code": "50027", "status": None, "message": None, "as_scode": False}
    elsewhere = "/api/v5/public/time"
    page_title = "OKX | Log in"
    # OKX docs, rate limits: 50011, and no header that says when.
    tells_wait = False

    def refused(self, options: Options) -> Answer:
        return coded(options)

    def throttled(self, retry_after: object) -> Answer:
        answer = envelopes.refused("50011")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return Answer(answer.status, answer.body, headers=headers)

    def silent(self) -> Answer:
        return envelopes.refused("50004")

    def nothing_done(self) -> Answer:
        return envelopes.data([])

    def no_length(self) -> Answer:
        return envelopes.refused("50000")


def coded(options: Options) -> Answer:
    """A code of the table, or any other, at the top level or as `sCode`."""
    code, message, status = str(options["code"]), options["message"], options["status"]
    if not options["as_scode"]:
        return envelopes.refused(code, message, status)
    words = CODES.get(code, Code(200, "Operation failed")).message.format("")
    item = {"clOrdId": "", "ordId": "", "sCode": code, "sMsg": message or words, "tag": ""}
    body = {"code": "1", "data": [item], "msg": envelopes.ALL_FAILED}
    return Answer(200 if status is None else int(status), body)


def _code(exchange: Exchange, options: Options) -> None:
    exchange.answer(coded(options))


def _silent(exchange: Exchange, options: Options) -> None:
    exchange.answer(WORDS.silent())


WORDS = Words()
KINDS: dict[str, Kind] = {
    **shared(WORDS),
    Fault.CODE: Kind(acting_if_told(_code), WORDS.refusal | {"acts": False}),
    Fault.TIMEOUT_50004: Kind(acting_if_told(_silent), {"acts": False}),
}
