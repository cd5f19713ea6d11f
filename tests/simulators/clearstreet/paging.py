"""Pages of a list, and the tokens that lead from one to the next."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from .errors import InvalidRequest
from .presentation import Json

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000


def page(items: Sequence[Json], query: Mapping[str, str]) -> tuple[list[Json], Json]:
    """The items of the page that is asked for, and its list metadata."""
    number, size = _asked(query)
    pages = max(1, -(-len(items) // size))
    metadata = {
        "page_number": number,
        "total_items": len(items),
        "total_pages": pages,
        "next_page_token": _token(number + 1, size) if number < pages else None,
        "previous_page_token": _token(number - 1, size) if number > 1 else None,
    }
    return list(items[(number - 1) * size : number * size]), metadata


def _asked(query: Mapping[str, str]) -> tuple[int, int]:
    # SDK 0.11.0: with a token, the page size is ignored.
    if "page_token" in query:
        return _read(query["page_token"])
    size = query.get("page_size", str(DEFAULT_SIZE))
    if not size.isdecimal() or int(size) < 1:
        raise InvalidRequest(f"Failed to deserialize query string: page_size: invalid value `{size}`")
    return 1, min(int(size), LARGEST_SIZE)


def _token(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, size]).encode()).decode()


def _read(token: str) -> tuple[int, int]:
    try:
        number, size = json.loads(base64.urlsafe_b64decode(token))
        return int(number), int(size)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidRequest("Invalid page token") from None
