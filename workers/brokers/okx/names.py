"""Names, ids and words as they may stand in a request to OKX. All raise ValueError rather than change its meaning. Pure.

Page: https://www.okx.com/docs-v5/en.
"""

import re

KINDS = ("MARGIN", "SWAP", "FUTURES", "OPTION")
MODES = ("cross", "isolated")
POSITION_SIDES = ("net", "long", "short")

_INSTRUMENT = re.compile(r"[A-Z0-9_-]+")  # with the underscore of BTC-USD_UM-SWAP
_OPTION = re.compile(r"([A-Z0-9_]+-[A-Z0-9_]+)-[A-Z0-9_-]+-[CP]")
_ID = re.compile(r"[A-Za-z0-9]+")


def named(instrument: str) -> str:
    """An instrument's id; raises ValueError for a text that is none and could change the request's meaning."""
    if not _INSTRUMENT.fullmatch(instrument):
        raise ValueError(f"not an instrument of OKX: {instrument!r}")
    return instrument


def identified(text: str) -> str:
    """An id of an order, the venue's or ours, or of a bill; raises ValueError."""
    if not _ID.fullmatch(text) or len(text) > 32:
        raise ValueError(f"not an id: {text!r}")
    return text


def family_of(instrument: str) -> str | None:
    """The instrument family that an option is of: BTC-USD of BTC-USD-260327-90000-C; None for what is no option."""
    option = _OPTION.fullmatch(instrument)
    return option[1] if option else None
