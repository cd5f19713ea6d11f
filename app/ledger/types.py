"""Column types and the database's clock, the same on SQLite and PostgreSQL."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Integer,
    Text,
    TypeDecorator,
    bindparam,
    literal,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Serial = BigInteger().with_variant(Integer(), "sqlite")
"""An integer key that counts up by itself; SQLite does that for INTEGER only."""


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, kept as whole microseconds since 1970, so that both databases compare it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else instant_of(value)


def instant_of(microseconds: int) -> datetime:
    """The moment so long after 1970."""
    return EPOCH + microseconds * MICROSECOND


class Seconds(TypeDecorator[float]):
    """A length of time, as the whole microseconds that an `Instant` is counted in."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:
        return None if value is None else round(value * 1_000_000)


class Amount(TypeDecorator[Decimal]):
    """A decimal kept as text: SQLite has no exact decimals, and no sum is ever made in SQL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else decimal_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Json(TypeDecorator[Any]):
    """JSON as ASCII text: what a database's own JSON type refuses (NUL, lone surrogates) must not be lost."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), default=str)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def decimal_text(value: Decimal) -> str:
    """`4`, `0.25`, `5797.0`: plain digits, never an exponent."""
    return format(value, "f")


class _Clock(FunctionElement[int]):
    """The database's clock in microseconds since 1970."""

    type = BigInteger()
    inherit_cache = True


# SQLite keeps milliseconds; unixepoch('subsec') needs 3.42, which Debian 12 has not.
SQLITE_CLOCK = "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)"
# clock_timestamp() and not now(): a transaction may have waited for a lock.
POSTGRESQL_CLOCK = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(_Clock, "sqlite")
def _sqlite_clock(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    return SQLITE_CLOCK


@compiles(_Clock, "postgresql")
def _postgresql_clock(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    return POSTGRESQL_CLOCK


def now() -> ColumnElement[datetime]:
    """The moment, by the database's clock: leases and due times know no other."""
    return type_coerce(_Clock(), Instant())


def from_now(seconds: float | BindParameter[float]) -> ColumnElement[datetime]:
    """So many seconds after now, by the database's clock; null after null seconds."""
    length = seconds if isinstance(seconds, BindParameter) else literal(seconds, Seconds())
    return type_coerce(_Clock() + length, Instant())


def seconds(name: str) -> BindParameter[float]:
    """A length of time that a statement is given when it is executed."""
    return bindparam(name, type_=Seconds())
