"""What OKX's codes mean for a close: one row a code.

Page: https://www.okx.com/docs-v5/en/#error-code. The page tells what a code says; the reading of it is ours.
A code stands at the top of an answer or in an item's `sCode`, and means the same in both places. The HTTP status adds
nothing to it: most failures come with 200, and both "too fast" (50013, 51113) and "cancel first" (51115) with 429.
"""

from collections.abc import Mapping
from enum import Enum


class Verdict(Enum):
    """What a code proves."""

    REFUSED = "a definite no, until somebody changes something"
    THROTTLED = "refused for now, before anything was done"
    UNKNOWN = "it may have been done, or is being done"
    FLAT = "there is nothing to close"
    GONE = "the order to cancel is cancelled or filled already"
    MISSING = "there is no such order"


_REFUSED, _THROTTLED, _UNKNOWN = Verdict.REFUSED, Verdict.THROTTLED, Verdict.UNKNOWN

VERDICTS: Mapping[str, Verdict] = {
    "50000": _REFUSED,  # empty body
    "50001": _THROTTLED,  # service temporarily unavailable (503)
    "50002": _REFUSED,  # not JSON
    "50004": _UNKNOWN,  # endpoint timeout; the page: it implies neither success nor failure
    "50005": _THROTTLED,  # API offline (410)
    "50006": _REFUSED,  # content type
    "50011": _THROTTLED,  # rate limit
    "50012": _REFUSED,  # account status
    "50013": _THROTTLED,  # system busy
    "50014": _REFUSED,  # a parameter is missing
    "50015": _REFUSED,  # one of two parameters is missing
    "50016": _REFUSED,  # two parameters do not match
    "50017": _THROTTLED,  # position frozen by auto-deleveraging
    "50018": _THROTTLED,  # currency frozen by auto-deleveraging
    "50019": _THROTTLED,  # account frozen by auto-deleveraging
    "50020": _THROTTLED,  # position frozen by liquidation
    "50021": _THROTTLED,  # currency frozen by liquidation
    "50022": _THROTTLED,  # account frozen by liquidation
    "50023": _THROTTLED,  # frozen while funding is settled
    "50026": _UNKNOWN,  # system error (500)
    "50027": _REFUSED,  # account restricted from trading
    "50035": _REFUSED,  # permission, verification
    "50036": _THROTTLED,  # came after its expiry: not placed, and the next attempt has a later one
    "50037": _THROTTLED,  # expired on the way: as before
    "50040": _THROTTLED,  # operating too often
    "50042": _UNKNOWN,  # repeated request: the earlier one may have been carried out
    "50061": _THROTTLED,  # order rate of the account
    "50071": _UNKNOWN,  # our order id is there already: it may be this very order
    "50100": _REFUSED,  # API frozen
    "50101": _REFUSED,  # key of another environment
    "50102": _THROTTLED,  # timestamp more than 30 s off: not processed, and mended by reading the clock again
    "50103": _REFUSED,  # no key
    "50104": _REFUSED,  # no passphrase
    "50105": _REFUSED,  # wrong passphrase
    "50106": _REFUSED,  # no signature
    "50107": _REFUSED,  # no timestamp
    "50108": _REFUSED,  # exchange id
    "50109": _REFUSED,  # exchange domain
    "50110": _REFUSED,  # address not allowed
    "50111": _REFUSED,  # wrong key
    "50112": _REFUSED,  # form of the timestamp
    "50113": _REFUSED,  # wrong signature
    "50114": _REFUSED,  # wrong authorization
    "50115": _REFUSED,  # HTTP method
    "50119": _REFUSED,  # no such key
    "50120": _REFUSED,  # the key lacks the permission
    "51000": _REFUSED,  # parameter error
    "51001": _REFUSED,  # no such instrument
    "51010": _REFUSED,  # account mode
    "51015": _REFUSED,  # instrument of another type
    "51016": _UNKNOWN,  # our order id is pending already: it may be this very order
    "51020": _REFUSED,  # below the smallest size
    "51022": _THROTTLED,  # contract suspended
    "51023": Verdict.FLAT,  # no such position
    "51024": _REFUSED,  # trading account blocked
    "51027": _THROTTLED,  # contract expired
    "51028": _THROTTLED,  # in delivery
    "51029": _THROTTLED,  # in settlement
    "51030": _THROTTLED,  # funding is being settled
    "51032": _UNKNOWN,  # all positions are being closed
    "51043": Verdict.FLAT,  # no such isolated position
    "51054": _UNKNOWN,  # timed out (500)
    "51108": _REFUSED,  # above the size of a market close
    "51112": _REFUSED,  # more than is available: closing orders hold it
    "51113": _THROTTLED,  # market closes too often (429)
    "51115": _REFUSED,  # pending closing orders in the way (429): sent again as it is, it would never pass
    "51117": _REFUSED,  # too many pending closing orders
    "51121": _REFUSED,  # no multiple of the lot
    "51127": _UNKNOWN,  # nothing available: often flat, and no proof of it
    "51149": _UNKNOWN,  # order timed out (500)
    "51156": _REFUSED,  # lead trader
    "51169": Verdict.FLAT,  # no position in that direction
    "51170": _UNKNOWN,  # reduce-only on the wrong side: what was read of the position does not hold any more
    "51202": _REFUSED,  # above the market size limit
    "51203": _REFUSED,  # above the size limit
    "51205": _REFUSED,  # reduce-only not available
    "51206": _REFUSED,  # conflicts with reduce-only
    "51207": _REFUSED,  # too large for one market close
    "51342": _UNKNOWN,  # a closing order exists already
    "51400": Verdict.GONE,  # no order to cancel
    "51401": Verdict.GONE,  # cancelled already
    "51402": Verdict.GONE,  # completed already
    "51405": Verdict.GONE,  # no pending orders at all
    "51410": Verdict.GONE,  # being cancelled already
    "51603": Verdict.MISSING,  # no such order
}

_SLICES = "it is above the market size limit: close in slices"
_HELD = "closing orders hold the position: set cancel_orders"

ADVICE: Mapping[str, str] = {
    "50101": "the key is of the other environment: set demo to what it was made for",
    "50105": "the passphrase is not the one that was set for this key",
    "50110": "add this machine's address to the key's allowed ones, or take the restriction off",
    "50111": "the key is unknown: see that it was copied whole",
    "50113": "the signature is wrong: see that the api_secret is this key's",
    "50119": "the key does not exist (any more): make a new one",
    "50120": "give the key the permission to trade",
    "51108": _SLICES,
    "51112": _HELD,
    "51115": "pending closing orders: set cancel_orders",
    "51117": _HELD,
    "51202": _SLICES,
    "51203": _SLICES,
    "51207": _SLICES,
}
"""What to do about a refusal, where the venue's own words leave it open."""

CLOCK_IS_OFF = frozenset({"50036", "50037", "50102"})
"""What a time that is not the venue's makes it say."""

THIS_ONE_ONLY = CLOCK_IS_OFF | frozenset(
    {
        *("50017", "50018", "50019", "50020", "50021", "50022", "50023"),
        *("51022", "51027", "51028", "51029", "51030"),
    }
)
"""Not now because of what was asked for (what is frozen, suspended, settled; a time that has passed), not how fast."""


def verdict_of(code: object) -> Verdict:
    """What a code proves: nothing, if it is not in the table or is no text."""
    return VERDICTS.get(code, _UNKNOWN) if isinstance(code, str) else _UNKNOWN
