"""Alert texts of other products, understood as they stand by the hooks that name their dialect.

A dialect is a module with a schema of its fields and a function that says the same in Flatwire's own words; what comes
out goes through the schemas of `app.alerts.schemas` like everything else. A verb that is no exit raises NoExit, an exit
that Flatwire can't do as it is meant raises WrongAlert: it must not look done.
"""

from collections.abc import Collection, Mapping
from typing import Any

from app.alerts.dialects import crosstrade, okx_signal, traderspost
from app.alerts.dialects.dialect import Dialect, Translation
from app.alerts.schemas import FIELD_NAMES

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (crosstrade.DIALECT, traderspost.DIALECT, okx_signal.DIALECT)
}


_MAY_BE_IGNORED = {"id", "time", "timenow", "timestamp", "maxLag", "note", "comment", "orderType"}
NARROWING = (
    frozenset(FIELD_NAMES).union(*(dialect.meaningful for dialect in DIALECTS.values())) - _MAY_BE_IGNORED
)
"""What a hook can't ignore, whichever dialects it takes: without it an alert could close more than it says."""


def translated(fields: Mapping[str, Any], taken: Collection[str]) -> Translation:
    """The fields in Flatwire's own words, by the first of the dialects `taken` that speaks so; else as they are.

    Raises NoExit or WrongAlert.
    """
    for name in taken:
        if DIALECTS[name].speaks(fields):
            return DIALECTS[name].translate(fields)
    return Translation(fields)


def spoken_by(fields: Mapping[str, Any]) -> str | None:
    """The dialect that a text is in, whether its hook takes that or not; None: no other product's."""
    return next((name for name, dialect in DIALECTS.items() if dialect.speaks(fields)), None)


def has_comments(taken: Collection[str]) -> bool:
    """Whether a line that begins with `//` is a comment in one of these dialects."""
    return any(DIALECTS[name].comments for name in taken)
