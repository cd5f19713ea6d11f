"""Which names may go into a request to Clear Street. All raise ValueError rather than change its meaning. Pure."""

import re
from urllib.parse import quote

_ACCOUNT = re.compile(r"0|[1-9][0-9]{0,18}")


def account_id(name: str) -> str:
    """An account as the venue counts them, a 64-bit number; raises ValueError for any other text."""
    if not _ACCOUNT.fullmatch(name) or int(name) >= 2**63:
        raise ValueError(f"not a name of an account: {name!r}")
    return name


def named(name: str) -> str:
    """A name that may go into a request; raises ValueError for one that could change its meaning."""
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"not a name: {name!r}")
    return name


def segment(name: str) -> str:
    """A name as one segment of a path. HTTP clients fold dot segments even when quoted, so those are no names."""
    if named(name) in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"not a name for a path: {name!r}")
    return quote(name, safe="")


def one_of_a_list(name: str) -> str:
    """A name for a filter whose values are separated by commas; raises ValueError for one that would be several."""
    if "," in named(name):
        raise ValueError(f"not a name for a list: {name!r}")
    return name
