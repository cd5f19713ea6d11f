"""The envelope around all that Clear Street says: success, definite noes, lists in pages. Pure.

Page: https://docs.clearstreet.com/guides/api-fundamentals.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app.domain.failures import BrokerError, OutcomeUnknown, Refused, Throttled
from workers.brokers.broker import Page
from workers.brokers.clearstreet.fields import optional_name_of
from workers.brokers.fields import Unreadable
from workers.brokers.http import HttpAnswer

T = TypeVar("T")


def data_of(answer: HttpAnswer) -> Any:
    """What a definite success holds.

    https://docs.clearstreet.com/guides/api-fundamentals: success is 200 with `data` and no `error`; a refusal has
    `error` with the code of the HTTP status. No page tells what a 5xx leaves behind.
    """
    body = answer.body
    if answer.status == 200 and isinstance(body, dict) and "data" in body and body.get("error") is None:
        return body["data"]
    raise _failure(answer)


def _failure(answer: HttpAnswer) -> BrokerError:
    record = answer.for_the_record()
    error = error_of(answer)
    if error and answer.status == 429:  # refused by the limiter, before the call is looked at
        return Throttled(f"Clear Street: {error}", answer=record, retry_after=answer.retry_after)
    if error and answer.status in (400, 401, 403, 404, 409, 422):
        return Refused(f"Clear Street: {error}", answer=record)
    return OutcomeUnknown(
        f"Clear Street answered {answer.status} in a form that settles nothing", answer=record
    )


def error_of(answer: HttpAnswer) -> str | None:
    """The venue's words for a definite no; None where it is not the documented one."""
    body = answer.body
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or body.get("data"):
        return None
    code, message = error.get("code"), error.get("message")
    if isinstance(code, bool) or code != answer.status or not isinstance(message, str) or not message:
        return None
    details = error.get("details")
    reasons = [reason for reason in map(_reason_of, details if isinstance(details, list) else []) if reason]
    return f"{message}: {'; '.join(reasons)}" if reasons else message


def _reason_of(detail: Any) -> str | None:
    texts = [detail.get("description"), detail.get("reason")] if isinstance(detail, dict) else []
    return next((text for text in texts if isinstance(text, str) and text), None)


def page_of(answer: HttpAnswer, page: str | None, read: Callable[[Mapping[str, Any]], T | None]) -> Page[T]:
    """One page of a list; what is read as None is left out. Raises Unreadable for a list that may not be whole."""
    items = objects_of(data_of(answer))
    metadata = answer.body.get("metadata")
    metadata = object_of({} if metadata is None else metadata)
    following = optional_name_of(metadata, "next_page_token")
    total = metadata.get("total_items")
    if following is not None and following == page:
        raise Unreadable("the list goes round in a circle")
    if page is None and following is None and isinstance(total, int) and total > len(items):
        raise Unreadable(f"the list has {len(items)} of {total} items, and no more pages")
    return Page(tuple(it for it in map(read, items) if it is not None), following)


def objects_of(data: Any) -> list[dict[str, Any]]:
    """Data that must be a list of objects. Raises Unreadable."""
    if not isinstance(data, list):
        raise Unreadable("a list was expected")
    return [object_of(item) for item in data]


def object_of(item: Any) -> dict[str, Any]:
    """Data that must be an object. Raises Unreadable."""
    if not isinstance(item, dict):
        raise Unreadable("an object was expected")
    return item
