"""
One contract has many names: `ES`, `ES1!`, `ESZ5`, `ESZ2025` and `ES 12-25` can all mean the same position. Names of
other kinds (`AAPL`, `BTC-USDT-SWAP`, an option's OSI symbol) stand for themselves.

Lanes and read-backs compare contracts, never names (design, section 7, Identity).
"""

import re
from dataclasses import dataclass
from datetime import date

MONTH_CODES = "FGHJKMNQUVXZ"

_NINJATRADER = re.compile(r"(?P<root>[A-Z0-9.]+) (?P<month>0[1-9]|1[0-2])-(?P<year>\d{2})")
_EXCHANGE_CODE = re.compile(
    rf"(?P<root>[A-Z0-9]*[A-Z][A-Z0-9]*?)(?P<code>[{MONTH_CODES}])(?P<year>\d{{4}}|\d{{1,2}})"
)
_CONTINUOUS = re.compile(r"(?P<root>[A-Z0-9]+)\d!")
_OPTION = re.compile(r"(?P<root>[A-Z0-9.]{1,6}) *(?P<terms>\d{6}[CP]\d{8})")  # OSI, padded to 21 or not
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Contract:
    """A root with an expiry as `YYYY-MM`; without one it stands for every contract of its root."""

    root: str
    expiry: str | None = None

    def overlaps(self, other: "Contract") -> bool:
        """Whether the two could name the same position."""
        return self.root == other.root and (
            self.expiry is None or other.expiry is None or self.expiry == other.expiry
        )


def contract_of(name: str, today: date) -> Contract:
    """The contract that a name means. `today` decides the decade of a one-digit year."""
    spelled = name.strip().upper()
    if match := _NINJATRADER.fullmatch(spelled):
        return Contract(match["root"], f"20{match['year']}-{match['month']}")
    if match := _CONTINUOUS.fullmatch(spelled):
        return Contract(match["root"])
    if match := _OPTION.fullmatch(spelled):
        return Contract(match["root"] + match["terms"])
    if match := _EXCHANGE_CODE.fullmatch(spelled):
        month = MONTH_CODES.index(match["code"]) + 1
        return Contract(match["root"], f"{_full_year(match['year'], today)}-{month:02}")
    return Contract(spelled)


def is_opaque(name: str) -> bool:
    """Whether a name is a venue's id of an instrument, which tells nobody else which one it is."""
    return _UUID.fullmatch(name.strip()) is not None


def root_of(name: str) -> str:
    """The root of the contract that a name means. The date tells only its decade."""
    return contract_of(name, date.min.replace(year=2000)).root


def _full_year(digits: str, today: date) -> int:
    if len(digits) == 4:
        return int(digits)
    if len(digits) == 2:
        return 2000 + int(digits)
    # A one-digit year repeats each decade; a contract that is named is at most a year past.
    earliest = today.year - 1
    return earliest + (int(digits) - earliest) % 10


def account_key(name: str) -> str:
    """Accounts whose names differ only by case are one account."""
    return name.strip().casefold()
