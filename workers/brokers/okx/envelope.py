"""The envelope around all that OKX says, `{"code", "msg", "data": [row, …]}`: what an answer proves. Pure.

Pages: https://www.okx.com/docs-v5/en/#overview-general-info and #error-code.
"""

from dataclasses import dataclass
from typing import Any

from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from workers.brokers.http import HttpAnswer
from workers.brokers.okx.codes import ADVICE, CLOCK_IS_OFF, THIS_ONE_ONLY, Verdict, verdict_of
from workers.brokers.okx.fields import Row


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says: its rows if it is a definite success (`verdict` is None), else its code and words."""

    verdict: Verdict | None
    code: str = ""
    words: str = ""
    rows: tuple[Row, ...] = ()


def said_in(answer: HttpAnswer) -> Said:
    """What an answer says. Where its parts contradict each other, nothing is proved.

    https://www.okx.com/docs-v5/en/#overview-general-info and #error-code: success is HTTP 200 and code 0; code 1 or 2
    is a failure of all or of some, told by each row's own code; any other code is the failure of the whole request.
    """
    body = answer.body
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(code, str):
        return Said(Verdict.UNKNOWN)
    data = body.get("data")
    rows = tuple(data) if isinstance(data, list) and all(isinstance(row, dict) for row in data) else None
    failed = [row for row in rows or () if has_failed(row)]
    if code == "0":
        done = answer.status == 200 and rows is not None and not failed
        return Said(None, rows=rows or ()) if done else Said(Verdict.UNKNOWN)
    told = [(row.get("sCode"), row.get("sMsg")) for row in failed]
    if code not in ("1", "2"):
        told.insert(0, (code, body.get("msg")))
    elif rows is None or len(failed) < len(rows):
        return Said(Verdict.UNKNOWN)  # something was done
    return agreed(told)


def agreed(told: list[tuple[Any, Any]]) -> Said:
    """What several codes, each with its words, say together: nothing, if they do not prove the same."""
    verdicts = {verdict_of(code) for code, _ in told}
    if len(verdicts) != 1:
        return Said(Verdict.UNKNOWN)
    code, words = (it.strip() if isinstance(it, str) else "" for it in told[0])
    return Said(verdicts.pop(), code, words)


def has_failed(row: Row) -> bool:
    """Whether a row tells of a failure of its own."""
    return row.get("sCode", "") not in ("", "0")


def rows_of(answer: HttpAnswer) -> tuple[Row, ...]:
    """The rows of a definite success. Raises Refused, Throttled or OutcomeUnknown."""
    said = said_in(answer)
    if said.verdict is not None:
        raise failure_of(said, answer)
    return said.rows


def clock_is_off(answer: HttpAnswer) -> bool:
    """Whether the venue says that our time is not its own."""
    return said_in(answer).code in CLOCK_IS_OFF


def failure_of(said: Said, answer: HttpAnswer) -> BrokerError:
    """What is raised for an answer that is no success."""
    record = answer.for_the_record()
    words = f"OKX: {said.code} {said.words}".strip()
    match said.verdict:
        case Verdict.REFUSED:
            advice = ADVICE.get(said.code)
            return Refused(f"{words} ({advice})" if advice else words, answer=record)
        case Verdict.THROTTLED:
            others_too = said.code not in THIS_ONE_ONLY
            return Throttled(words, answer=record, retry_after=answer.retry_after, others_too=others_too)
    if said.code:
        return OutcomeUnknown(f"{words} (which settles nothing)", answer=record)
    return OutcomeUnknown(f"OKX answered {answer.status} in a form that settles nothing", answer=record)
