"""What each fault does to one exchange."""

from collections.abc import Callable

from .calls import Answer, refused
from .errors import UnknownAccount
from .exchange import JSON_TYPE, Exchange, head, json_bytes
from .faults import BadDay, Fault, Options
from .records import FillPlan

HTML = "text/html; charset=utf-8"
# XT docs, llms-full, "Common gotchas": 408 is the add-on that is not connected. Its words are not shown.
ADDON_SILENT = Answer(408, {"success": False, "error": "CrossTrade add-on is not connected or timed out"})
NOTHING_CLOSED = Answer(200, {"closedPositions": [], "success": True})

Play = Callable[[Exchange, Options], None]


def play(day: BadDay, exchange: Exchange) -> None:
    """Let one call have its bad day."""
    PLAYS[day.fault](exchange, day.options)


def throttled(exchange: Exchange, retry_after: object) -> None:
    # XT docs, rate limiting.
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    exchange.answer(Answer(429, {"error": "Rate limit exceeded"}), headers)


def _refuse(exchange: Exchange, options: Options) -> None:
    exchange.answer(Answer(int(options["status"]), {"error": options["error"]}))


def _invalid_account(exchange: Exchange, options: Options) -> None:
    exchange.answer(refused(UnknownAccount(exchange.account)))


def _throttle(exchange: Exchange, options: Options) -> None:
    throttled(exchange, options["retry_after"])


def _addon_silent(exchange: Exchange, options: Options) -> None:
    exchange.answer(ADDON_SILENT)


def _late_action(exchange: Exchange, options: Options) -> None:
    exchange.act_later(float(options["seconds"]))
    exchange.answer(ADDON_SILENT)


def _error_500(exchange: Exchange, options: Options) -> None:
    _page(exchange, 500, "Internal Server Error")


def _error_502(exchange: Exchange, options: Options) -> None:
    _page(exchange, 502, "502 Bad Gateway")


def _html_page(exchange: Exchange, options: Options) -> None:
    _page(exchange, 200, "CrossTrade | Log in")


def _page(exchange: Exchange, status: int, title: str) -> None:
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    exchange.reply(status, page.encode(), HTML)


def _hang_then_act(exchange: Exchange, options: Options) -> None:
    exchange.wait(float(options["seconds"]))
    exchange.answer(exchange.act())


def _hang(exchange: Exchange, options: Options) -> None:
    exchange.wait(float(options["seconds"]))
    exchange.hang_up()


def _cut(exchange: Exchange, options: Options) -> None:
    exchange.reset()


def _cut_mid_answer(exchange: Exchange, options: Options) -> None:
    _half(exchange, exchange.act())
    # A RST may overtake what was sent: give the client the time to read its half.
    exchange.wait(0.05)
    exchange.reset()


def _truncated_json(exchange: Exchange, options: Options) -> None:
    _half(exchange, _answer_if_told(exchange, options))
    exchange.hang_up()


def _half(exchange: Exchange, answer: Answer) -> None:
    body = json_bytes(answer.body)
    exchange.note_status(answer.status)
    exchange.send(head(answer.status, len(body), JSON_TYPE) + body[: len(body) // 2])


def _not_json(exchange: Exchange, options: Options) -> None:
    exchange.reply(200, str(options["text"]).encode(), JSON_TYPE)


def _success_false(exchange: Exchange, options: Options) -> None:
    exchange.answer(Answer(200, {"success": False, "error": options["error"]}))


def _wrong_shape(exchange: Exchange, options: Options) -> None:
    exchange.reply(200, json_bytes(options["body"]), JSON_TYPE)


def _redirect(exchange: Exchange, options: Options) -> None:
    exchange.reply(302, b"", HTML, {"Location": str(options["location"])})


def _huge_body(exchange: Exchange, options: Options) -> None:
    answer = _answer_if_told(exchange, options)
    padding = "x" * (int(options["mebibytes"]) * 1024 * 1024)
    exchange.answer(Answer(answer.status, {"padding": padding, **answer.body}))


def _slow_drip(exchange: Exchange, options: Options) -> None:
    answer = _answer_if_told(exchange, options)
    body = json_bytes(answer.body)
    exchange.note_status(answer.status)
    for byte in head(answer.status, len(body), JSON_TYPE) + body:
        exchange.send(bytes([byte]))
        exchange.wait(float(options["milliseconds"]) / 1000)


def _no_effect(exchange: Exchange, options: Options) -> None:
    plan = FillPlan(float(options["seconds"]), rejected=True, cancels_orders=bool(options["cancels_orders"]))
    exchange.answer(exchange.act(plan))


def _slow_fill(exchange: Exchange, options: Options) -> None:
    plan = FillPlan(float(options["seconds"]), int(options["parts"]))
    exchange.answer(exchange.act(plan))


def _answer_if_told(exchange: Exchange, options: Options) -> Answer:
    return exchange.act() if options["acts"] else NOTHING_CLOSED


def _after_acting(then: Play) -> Play:
    def acting(exchange: Exchange, options: Options) -> None:
        exchange.act()
        then(exchange, options)

    return acting


def _acting_if_told(then: Play) -> Play:
    def perhaps_acting(exchange: Exchange, options: Options) -> None:
        if options["acts"]:
            exchange.act()
        then(exchange, options)

    return perhaps_acting


PLAYS: dict[Fault, Play] = {
    Fault.REFUSE: _refuse,
    Fault.INVALID_ACCOUNT: _invalid_account,
    Fault.THROTTLE: _throttle,
    Fault.TIMEOUT_408: _addon_silent,
    Fault.TIMEOUT_408_AFTER_ACTING: _after_acting(_addon_silent),
    Fault.LATE_ACTION: _late_action,
    Fault.ERROR_500: _error_500,
    Fault.ERROR_500_AFTER_ACTING: _after_acting(_error_500),
    Fault.ERROR_502: _error_502,
    Fault.ERROR_502_AFTER_ACTING: _after_acting(_error_502),
    Fault.HANG_THEN_ACT: _hang_then_act,
    Fault.ACT_THEN_HANG: _after_acting(_hang),
    Fault.CUT_BEFORE_ACTING: _cut,
    Fault.CUT_AFTER_ACTING: _after_acting(_cut),
    Fault.CUT_MID_ANSWER: _cut_mid_answer,
    Fault.NOT_JSON: _acting_if_told(_not_json),
    Fault.HTML_PAGE: _acting_if_told(_html_page),
    Fault.TRUNCATED_JSON: _truncated_json,
    Fault.SUCCESS_FALSE: _acting_if_told(_success_false),
    Fault.WRONG_SHAPE: _acting_if_told(_wrong_shape),
    Fault.REDIRECT: _acting_if_told(_redirect),
    Fault.HUGE_BODY: _huge_body,
    Fault.SLOW_DRIP: _slow_drip,
    Fault.NO_EFFECT: _no_effect,
    Fault.SLOW_FILL: _slow_fill,
}
