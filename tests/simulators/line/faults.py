"""
The faults that any venue may have, by name, and what each does to one exchange.

`refuse`                    a definite no in the venue's words, nothing done
`throttle`                  429, nothing done; `retry_after` (seconds) becomes the header, if given
`timeout_408`               the venue says that what is behind it is silent, nothing done
`late_action`               the same at once, and done `seconds` later
`error_500`, `error_502`    an HTML page, nothing done
`hang_then_act`             silent for `seconds`, then done and answered, even if nobody waits any more
`act_then_hang`             done at once, silent for `seconds`, then closed without an answer
`cut_before_acting`         the connection is reset after the request was read, nothing done
`cut_after_acting`          done, then the connection is reset before the first byte of an answer
`cut_mid_answer`            done, then the connection is reset in the middle of the answer
`not_json`                  200 with a body that is not JSON though it says so; done if `acts`
`html_page`                 200 with an HTML page; done if `acts`
`wrong_type`                200 with the right answer, told to be text/html; done if `acts`
`truncated_json`            200 whose Content-Length is right and whose body stops half-way; done if `acts`
`wrong_shape`               200 with `body`, JSON that answers nothing; done if `acts`
`redirect`                  302 to `location`, which answers 200 to whoever follows; done if `acts`
`huge_body`                 the right answer, padded to `mebibytes`; done if `acts`
`slow_drip`                 the right answer, one byte every `milliseconds`; done if `acts`
`no_effect`                 answered as done, but its orders end rejected after `seconds`;
                            stops go only if `cancels_orders`
`slow_fill`                 answered as done, but its orders fill in `parts` over `seconds`

`timeout_408_after_acting`, `error_500_after_acting`, `error_502_after_acting`: the same, though it was done.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .exchange import JSON_TYPE, Exchange, json_bytes
from .records import Answer, FillPlan

HTML = "text/html; charset=utf-8"

Options = dict[str, Any]
Play = Callable[[Exchange, Options], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does, and what it may be told, with the defaults."""

    play: Play
    options: Options = field(default_factory=dict)
    sends_orders: bool = False
    """Whether it is only for calls that send orders."""


class Wording(ABC):
    """The venue's own bodies for what goes wrong."""

    refusal: Options
    """What `refuse` may be told, with the defaults."""
    elsewhere: str
    """A path that answers 200, for `redirect`."""
    page_title: str
    """Of the page that a person would see in place of an answer."""
    tells_wait = True
    """Whether the venue's own rate limit says how long to wait."""
    wrong_shape: Any = {"result": "ok", "data": [1, 2, 3]}

    @abstractmethod
    def refused(self, options: Options) -> Answer:
        """A definite no."""

    @abstractmethod
    def throttled(self, retry_after: object) -> Answer:
        """Asked to wait; `retry_after` (seconds, or None) becomes the header if the venue has it."""

    @abstractmethod
    def silent(self) -> Answer:
        """What is behind the venue's door did not answer in time."""

    @abstractmethod
    def nothing_done(self) -> Answer:
        """The right answer's shape, for a call that was never carried out."""

    def no_length(self) -> Answer:
        """The body's length is not said."""
        return Answer(411, {"success": False, "error": "Content-Length is required"})


def shared(wording: Wording) -> dict[str, Kind]:
    """The faults of the table above, in the venue's words."""
    acts: Options = {"acts": True}
    return {
        "refuse": Kind(lambda exchange, options: exchange.answer(wording.refused(options)), wording.refusal),
        "throttle": Kind(
            lambda exchange, options: exchange.answer(wording.throttled(options["retry_after"])),
            {"retry_after": None},
        ),
        "timeout_408": Kind(_silent(wording)),
        "timeout_408_after_acting": Kind(after_acting(_silent(wording))),
        "late_action": Kind(_late_action(wording), {"seconds": 2.0}),
        "error_500": Kind(_error_500),
        "error_500_after_acting": Kind(after_acting(_error_500)),
        "error_502": Kind(_error_502),
        "error_502_after_acting": Kind(after_acting(_error_502)),
        "hang_then_act": Kind(_hang_then_act, {"seconds": 5.0}),
        "act_then_hang": Kind(after_acting(_hang), {"seconds": 30.0}),
        "cut_before_acting": Kind(_cut),
        "cut_after_acting": Kind(after_acting(_cut)),
        "cut_mid_answer": Kind(_cut_mid_answer),
        "not_json": Kind(acting_if_told(_not_json), acts | {"text": "OK"}),
        "html_page": Kind(acting_if_told(_html_page(wording)), acts),
        "wrong_type": Kind(_wrong_type(wording), acts),
        "truncated_json": Kind(_truncated_json(wording), acts),
        "wrong_shape": Kind(acting_if_told(_wrong_shape), acts | {"body": wording.wrong_shape}),
        "redirect": Kind(acting_if_told(_redirect), {"acts": False, "location": wording.elsewhere}),
        "huge_body": Kind(_huge_body(wording), acts | {"mebibytes": 4}),
        "slow_drip": Kind(_slow_drip(wording), acts | {"milliseconds": 20}),
        "no_effect": Kind(_no_effect, {"seconds": 0.0, "cancels_orders": False}, sends_orders=True),
        "slow_fill": Kind(_slow_fill, {"seconds": 2.0, "parts": 1}, sends_orders=True),
    }


def after_acting(then: Play) -> Play:
    def acting(exchange: Exchange, options: Options) -> None:
        exchange.act()
        then(exchange, options)

    return acting


def acting_if_told(then: Play) -> Play:
    """For a fault that has the option `acts`."""

    def perhaps_acting(exchange: Exchange, options: Options) -> None:
        if options["acts"]:
            exchange.act()
        then(exchange, options)

    return perhaps_acting


def _silent(wording: Wording) -> Play:
    return lambda exchange, options: exchange.answer(wording.silent())


def _late_action(wording: Wording) -> Play:
    def late_action(exchange: Exchange, options: Options) -> None:
        exchange.act_later(float(options["seconds"]))
        exchange.answer(wording.silent())

    return late_action


def _error_500(exchange: Exchange, options: Options) -> None:
    _page(exchange, 500, "Internal Server Error")


def _error_502(exchange: Exchange, options: Options) -> None:
    _page(exchange, 502, "502 Bad Gateway")


def _html_page(wording: Wording) -> Play:
    return lambda exchange, options: _page(exchange, 200, wording.page_title)


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


def _truncated_json(wording: Wording) -> Play:
    def truncated_json(exchange: Exchange, options: Options) -> None:
        _half(exchange, _answer_if_told(exchange, options, wording))
        exchange.hang_up()

    return truncated_json


def _half(exchange: Exchange, answer: Answer) -> None:
    before, body = exchange.encoded(answer)
    exchange.note_status(answer.status)
    exchange.send(before + body[: len(body) // 2])


def _not_json(exchange: Exchange, options: Options) -> None:
    exchange.reply(200, str(options["text"]).encode(), JSON_TYPE)


def _wrong_shape(exchange: Exchange, options: Options) -> None:
    exchange.answer(Answer(200, options["body"]))


def _wrong_type(wording: Wording) -> Play:
    def wrong_type(exchange: Exchange, options: Options) -> None:
        answer = _answer_if_told(exchange, options, wording)
        exchange.reply(answer.status, json_bytes(answer.body), HTML, answer.headers)

    return wrong_type


def _redirect(exchange: Exchange, options: Options) -> None:
    exchange.reply(302, b"", HTML, {"Location": str(options["location"])})


def _huge_body(wording: Wording) -> Play:
    def huge_body(exchange: Exchange, options: Options) -> None:
        answer = _answer_if_told(exchange, options, wording)
        padding = "x" * (int(options["mebibytes"]) * 1024 * 1024)
        exchange.answer(Answer(answer.status, {"padding": padding, **answer.body}))

    return huge_body


def _slow_drip(wording: Wording) -> Play:
    def slow_drip(exchange: Exchange, options: Options) -> None:
        answer = _answer_if_told(exchange, options, wording)
        before, body = exchange.encoded(answer)
        exchange.note_status(answer.status)
        for byte in before + body:
            exchange.send(bytes([byte]))
            exchange.wait(float(options["milliseconds"]) / 1000)

    return slow_drip


def _no_effect(exchange: Exchange, options: Options) -> None:
    plan = FillPlan(float(options["seconds"]), rejected=True, cancels_orders=bool(options["cancels_orders"]))
    exchange.answer(exchange.act(plan))


def _slow_fill(exchange: Exchange, options: Options) -> None:
    plan = FillPlan(float(options["seconds"]), int(options["parts"]))
    exchange.answer(exchange.act(plan))


def _answer_if_told(exchange: Exchange, options: Options, wording: Wording) -> Answer:
    return exchange.act() if options["acts"] else wording.nothing_done()
