"""One contract, four spellings: whatever comes in, the venue answers with NinjaTrader's `ES 12-26`."""

import re
from collections.abc import Mapping
from datetime import date, timedelta

MONTH_CODES = "FGHJKMNQUVXZ"
QUARTERS = (3, 6, 9, 12)
FRIDAY = 4

# Currency per point of one contract, from the exchange's contract specifications.
POINT_VALUES = {
    "ES": 50.0,
    "MES": 5.0,
    "NQ": 20.0,
    "MNQ": 2.0,
    "RTY": 50.0,
    "M2K": 5.0,
    "YM": 5.0,
    "MYM": 0.5,
    "CL": 1000.0,
    "MCL": 100.0,
    "GC": 100.0,
    "MGC": 10.0,
}

_NINJATRADER = re.compile(r"(?P<root>[A-Z0-9]+) (?P<month>0[1-9]|1[0-2])-(?P<year>\d{2})")
_CONTINUOUS = re.compile(r"(?P<root>[A-Z0-9]+?)1!")
_EXCHANGE = re.compile(
    rf"(?P<root>[A-Z0-9]*[A-Z][A-Z0-9]*?)(?P<code>[{MONTH_CODES}])(?P<year>\d{{4}}|\d{{1,2}})"
)


def ninjatrader_name(spelled: str, today: date, front_months: Mapping[str, str]) -> str:
    """The name in NinjaTrader's form. `front_months` (a root's `MM-YY`) wins over the calendar."""
    # XT docs, API overview, "Instrument Name Formats".
    name = " ".join(spelled.upper().split())
    if _NINJATRADER.fullmatch(name):
        return name
    if match := _CONTINUOUS.fullmatch(name):
        return f"{match['root']} {_front_month(match['root'], today, front_months)}"
    if match := _EXCHANGE.fullmatch(name):
        month = MONTH_CODES.index(match["code"]) + 1
        return f"{match['root']} {month:02}-{_full_year(match['year'], today) % 100:02}"
    if name in POINT_VALUES or name in front_months:
        return f"{name} {_front_month(name, today, front_months)}"
    return name


def instrument_type(name: str) -> str:
    """NinjaTrader's word for what kind of thing a resolved name is."""
    return "Future" if _NINJATRADER.fullmatch(name) else "Stock"


def point_value(name: str) -> float:
    """What one point is worth for one unit; 1 where the contract is not in the table."""
    return POINT_VALUES.get(name.split(" ")[0], 1.0)


def _front_month(root: str, today: date, front_months: Mapping[str, str]) -> str:
    return front_months.get(root) or _quarterly_front_month(today)


def _quarterly_front_month(today: date) -> str:
    # Index futures expire on the third Friday of a quarter's last month; other roots need `front_months`.
    for year in (today.year, today.year + 1):
        for month in QUARTERS:
            if _third_friday(year, month) >= today:
                return f"{month:02}-{year % 100:02}"
    raise AssertionError("a quarter ends in every year")


def _third_friday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(FRIDAY - first.weekday()) % 7 + 14)


def _full_year(digits: str, today: date) -> int:
    if len(digits) == 4:
        return int(digits)
    if len(digits) == 2:
        return 2000 + int(digits)
    # A one-digit year repeats each decade; a contract that is still named is at most a year past.
    earliest = today.year - 1
    return earliest + (int(digits) - earliest) % 10
