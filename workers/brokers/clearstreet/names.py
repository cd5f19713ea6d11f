"""Which names may go into a request to Clear Street, beyond those of any venue. Pure."""

import re

from workers.brokers.names import named

_ACCOUNT = re.compile(r"0|[1-9][0-9]{0,18}")


def account_id(name: str) -> str:
    """An account as the venue counts them, a 64-bit number; raises ValueError for any other text."""
    if not _ACCOUNT.fullmatch(name) or int(name) >= 2**63:
        raise ValueError(f"not a name of an account: {name!r}")
    return name


def one_of_a_list(name: str) -> str:
    """A name for a filter whose values are separated by commas; raises ValueError for one that would be several."""
    if "," in named(name):
        raise ValueError(f"not a name for a list: {name!r}")
    return name
