"""What positions and fills prove, as tables: before, target and after; what was reached, explained or left alone."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Fraction, Quantity
from app.domain.positions import Fill, Holding, Order, Position, Report, Side, Source
from workers import evidence
from workers.backoff import FIRST_READ_BACK, LONGEST_READ_BACK, LONGEST_RETRY, read_back_delay, retry_delay
from workers.closed import closed_by_fills, closed_positions, closed_quantity, exact

TODAY = date(2026, 11, 20)
SENT_AT = datetime(2026, 11, 20, 12, 0, 0, 700_000, UTC)
MES = "MES 12-26"
SIM = "Sim101"


def position(quantity: int = 10, side: Side = Side.LONG, **changes: Any) -> Position:
    made = Position(SIM, MES, side, Decimal(abs(quantity)), Decimal(5000), Decimal(5100), Decimal(500))
    return replace(made, **changes)


def holding(before: int = 10, target: int = 6, after: int | None = None, **changes: Any) -> Holding:
    left = None if after is None else Decimal(after)
    made = Holding(SIM, MES, Side.LONG, Decimal(before), Decimal(target), left, Decimal(5000))
    return replace(made, **changes)


def fill(quantity: int, at: float = 1.0, **changes: Any) -> Fill:
    """So many bought, or sold below zero, so many seconds after the attempt."""
    reduces = Side.SHORT if quantity > 0 else Side.LONG
    moment = SENT_AT + timedelta(seconds=at)
    return replace(Fill(SIM, MES, reduces, Decimal(abs(quantity)), Decimal(5100), moment, "o1"), **changes)


def close(size: Any = None, **changes: Any) -> ClosePosition:
    made = ClosePosition("nt8", SIM, MES) if size is None else ClosePosition("nt8", SIM, MES, size)
    return replace(made, **changes)


# What a command is about, and its target


@pytest.mark.parametrize(
    ("command", "matches"),
    [
        (close(), True),
        (close(account="SIM101"), True),
        (close(account="Sim10"), False),
        (close(side=Side.LONG), True),
        (close(side=Side.SHORT), False),
        *((close(instrument=name), True) for name in ("MES", "mes 12-26", "MES1!", "MESZ6", "MESZ2026")),
        *((close(instrument=name), False) for name in ("ES", "MES 03-27", "MESH7", "M", "MESZ2036")),
        (FlattenEverything("nt8"), True),
        (FlattenMatching("nt8", account="sim101", instrument="MES", side=Side.LONG), True),
        (FlattenMatching("nt8", account="Sim102"), False),
        (FlattenMatching("nt8", side=Side.SHORT), False),
        (FlattenMatching("nt8", instrument="MNQ"), False),
    ],
    ids=str,
)
def test_a_command_is_about_what_all_its_names_fit(command: Command, matches: bool) -> None:
    assert bool(evidence.matching(command, [position()], TODAY)) is matches


@pytest.mark.parametrize(
    ("size", "open_now", "lot", "target"),
    [
        (Quantity(Decimal(4)), "10", "1", "6"),
        (Quantity(Decimal(10)), "10", "1", "0"),
        (Quantity(Decimal(11)), "10", "1", "0"),
        (Quantity(Decimal("0.3")), "1", "0.1", "0.7"),
        (Fraction(Decimal("0.5")), "10", "1", "5"),
        (Fraction(Decimal("0.5")), "9", "1", "4"),  # rounded up to the lot
        (Fraction(Decimal("0.07")), "100", "1", "93"),  # as floats, 7.000000000000001 would be 8
        (Fraction(Decimal("0.1")), "1", "1", "0"),
        (Fraction(Decimal("0.000001")), "3", "1", "2"),
        (Fraction(Decimal("0.999999")), "3", "1", "0"),
        (Fraction(Decimal("0.5")), "0.25", "0.1", "0.05"),
        (Fraction(Decimal("0.9")), "0.25", "0.1", "0"),  # never below nothing
        (Fraction(Decimal(1) / 3), "3", "1", "2"),
    ],
    ids=str,
)
def test_a_size_becomes_a_target(size: Any, open_now: str, lot: str, target: str) -> None:
    shown = position(quantity=1, side=Side.SHORT)
    (planned,) = evidence.plan(close(size), [replace(shown, quantity=Decimal(open_now))], Decimal(lot))

    assert (planned.before, planned.target, planned.after) == (Decimal(open_now), Decimal(target), None)
    assert (planned.side, planned.average_price) == (Side.SHORT, Decimal(5000))


parts = st.decimals("0.000001", "0.999999", places=6)


@given(part=parts, lots=st.integers(1, 10**9), lot=st.sampled_from(["1", "0.1", "0.00000001"]))
def test_a_fraction_is_rounded_up_by_less_than_a_lot_and_closes_at_least_one(
    part: Decimal, lots: int, lot: str
) -> None:
    size, step = lots * Decimal(lot), Decimal(lot)
    (planned,) = evidence.plan(close(Fraction(part)), [replace(position(), quantity=size)], step)
    closes = planned.before - planned.target

    assert 0 <= planned.target < planned.before == size
    assert size * part <= closes < size * part + step
    assert closes % step == 0
    assert evidence.to_close(planned) == closes


@pytest.mark.parametrize(
    ("before", "target", "after", "amount"),
    [(10, 6, None, 4), (10, 0, None, 10), (10, 0, 7, 7), (10, 6, 7, 1), (10, 0, 12, 10)],
)
def test_a_call_closes_what_still_stands_and_never_more_than_was_asked(
    before: int, target: int, after: int | None, amount: int
) -> None:
    assert evidence.to_close(holding(before, target, after)) == amount


# Where the position is


@pytest.mark.parametrize(
    ("open_now", "after", "reached", "grew"),
    [
        ([position(10)], 10, False, False),
        ([position(7)], 7, False, False),
        ([position(6)], 6, True, False),
        ([position(1)], 1, True, False),
        ([], 0, True, False),
        ([position(11)], 11, False, True),
        ([position(3, Side.SHORT)], 0, True, False),  # our close could not have turned it round
        ([position(10, instrument="MES 03-27"), position(10, account="Sim102")], 0, True, False),
        ([position(10, instrument="MESZ2026", account="SIM101")], 10, False, False),
    ],
)
def test_what_is_left_tells_whether_the_target_is_reached(
    open_now: list[Position], after: int, reached: bool, grew: bool
) -> None:
    (seen,) = evidence.with_after([holding()], open_now, TODAY)

    assert seen.after == after
    assert (evidence.reached(seen), evidence.grew(seen)) == (reached, grew)


def test_what_was_not_looked_at_is_neither_reached_nor_grown() -> None:
    assert not evidence.reached(holding())
    assert not evidence.grew(holding())


@pytest.mark.parametrize(
    ("known", "seen", "is_another"),
    [
        ("5000", "5000.00", False),
        ("5000", "5000.25", True),
        (None, "5000.25", False),  # a close that went out at once: nobody knows
        ("5000", None, False),
        (None, None, False),
    ],
)
def test_another_average_price_is_another_position(
    known: str | None, seen: str | None, is_another: bool
) -> None:
    before, now = (None if price is None else Decimal(price) for price in (known, seen))
    held = holding(average_price=before)

    assert evidence.replaced(held, [position(average_price=now)], TODAY) is is_another
    assert not evidence.replaced(held, [position(10, Side.SHORT, average_price=now)], TODAY)


# What fills prove


@pytest.mark.parametrize(
    ("after", "fills", "proved"),
    [
        (10, [fill(-4), fill(4)], True),  # done, and bought back
        (10, [fill(-1), fill(-3), fill(4)], True),
        (13, [fill(-4), fill(7)], True),
        (10, [], False),
        (10, [fill(-3), fill(3)], False),
        (10, [fill(-4)], False),  # of the close before: the position does not show it
        (10, [fill(-4), fill(3)], False),
        (10, [fill(-4), fill(5)], False),
        (10, [fill(4)], False),
        (10, [fill(-4, at=-1), fill(4)], False),  # before the attempt
        (10, [fill(-4, at=-0.6), fill(4)], True),  # venues give whole seconds
        (10, [fill(-4, account="Sim102"), fill(4)], False),
        (10, [fill(-4, instrument="MES 03-27"), fill(4)], False),
        (10, [fill(-4, instrument="MESZ6", account="SIM101"), fill(4)], True),
        (None, [fill(-4), fill(4)], False),
    ],
)
def test_fills_prove_a_close_if_they_did_it_and_add_up_to_the_position(
    after: int | None, fills: list[Fill], proved: bool
) -> None:
    assert evidence.accounted_for(holding(10, 6, after), fills, SENT_AT, TODAY) is proved


@pytest.mark.parametrize(
    ("fills", "proved"), [([fill(2)], True), ([fill(3), fill(-1)], True), ([fill(1)], False), ([], False)]
)
def test_fills_prove_that_a_position_was_opened_after(fills: list[Fill], proved: bool) -> None:
    assert evidence.accounted_for(evidence.opened_after(position(2)), fills, SENT_AT, TODAY) is proved


trades = st.lists(st.integers(-9, 9).filter(bool), max_size=8)


@given(
    before=st.integers(1, 20),
    closes=st.integers(1, 20),
    others=trades,
    ours=st.booleans(),
    place=st.integers(0, 8),
)
def test_a_close_that_did_not_happen_is_proved_only_by_others_who_sold_as_much(
    before: int, closes: int, others: list[int], ours: bool, place: int
) -> None:
    target = max(0, before - closes)
    moves = list(others)
    if ours:
        moves.insert(place, target - before)
    after = before + sum(moves)
    if after <= target:
        return
    sold = -sum(move for move in moves if move < 0)
    proved = evidence.accounted_for(
        holding(before, target, after), [fill(move) for move in moves], SENT_AT, TODAY
    )

    assert proved == (sold >= before - target)
    assert proved or not ours


@pytest.mark.parametrize(
    ("seen", "untouched", "unreduced"),
    [
        ([], True, True),
        ([fill(-1)], False, False),
        ([fill(1)], False, True),
        ([fill(-1, at=-20)], False, False),  # whoever asks has chosen how far back to look
        ([fill(-1, instrument="MES")], False, False),
        ([fill(-1, instrument="MESZ6", account="SIM101")], False, False),
        ([fill(-1, instrument="MES 03-27")], True, True),
        ([fill(-1, account="Sim102")], True, True),
    ],
)
def test_a_position_is_untouched_if_no_fill_could_be_of_it(
    seen: list[Fill], untouched: bool, unreduced: bool
) -> None:
    assert evidence.untouched(position(), seen, TODAY) is untouched
    assert evidence.unreduced(position(), seen, TODAY) is unreduced


def test_an_order_could_be_of_a_position_whatever_it_calls_it() -> None:
    def could(instrument: str) -> bool:
        return evidence.could_be_of(position(), Order(SIM, instrument, "o1", market=True), TODAY)

    assert [could(name) for name in (MES, "MES", "MESZ6", "MES 03-27", "ES")] == [
        True,
        True,
        True,
        False,
        False,
    ]


# What was closed


@pytest.mark.parametrize(
    ("before", "target", "after", "quantity"),
    [
        (10, 6, 6, 4),
        (10, 6, 8, 2),
        (10, 6, 0, 4),
        (10, 0, 0, 10),
        (10, 6, 10, 0),
        (10, 6, None, 0),
        (10, 6, 12, -2),
    ],
)
def test_what_went_beyond_the_target_was_not_ours(
    before: int, target: int, after: int | None, quantity: int
) -> None:
    closed = closed_positions([holding(before, target, after)], None, TODAY)

    assert closed_quantity(holding(before, target, after)) == quantity
    assert [one.quantity for one in closed] == ([quantity] if quantity > 0 else [])


@pytest.mark.parametrize(
    ("shown", "profit_loss", "close_price"),
    [
        ([position(10)], "200", "5100"),  # a mark of all that was open
        ([position(4)], "500", "5100"),  # of what was closed
        ([position(3)], "500", "5100"),  # of less than we believed: never more than the whole of it
        ([], "40", "5050"),  # the read before
        ([position(10, Side.SHORT), position(10, account="Sim102")], "40", "5050"),
        ([position(10, profit_loss=None)], None, "5100"),
    ],
)
def test_the_profit_is_the_closed_part_of_what_the_mark_says(
    shown: list[Position], profit_loss: str | None, close_price: str
) -> None:
    held = holding(10, 6, 6, market_price=Decimal(5050), profit_loss=Decimal(100))
    report = Report(tuple(shown), ("o1",)) if shown else None
    (closed,) = closed_positions([held], report, TODAY)

    assert closed.profit_loss == (None if profit_loss is None else Decimal(profit_loss))
    assert (closed.close_price, closed.quantity, closed.source) == (Decimal(close_price), 4, Source.SNAPSHOT)
    assert closed.order_ids == (("o1",) if shown else ())


def test_at_its_target_is_what_was_closed_though_it_was_opened_again() -> None:
    again, beyond = evidence.at_target([holding(10, 6, 10), holding(10, 6, 2)])

    assert (again.after, beyond.after) == (6, 2)


def test_fills_alone_tell_what_was_closed_at_their_average_price() -> None:
    fills = [
        fill(-3, price=Decimal(5100)),
        fill(-1, at=2, price=Decimal(5104), order_id="o2"),
        fill(2, at=3),  # somebody is in again
        fill(5, at=1, account="Sim102", order_id=None),
        fill(-9, at=-5),  # before the attempt
    ]

    first, second = sorted(closed_by_fills(fills, SENT_AT), key=lambda one: one.account)
    assert (first.side, first.quantity, first.close_price) == (Side.LONG, 4, Decimal("5101"))
    assert (first.order_ids, first.profit_loss, first.source) == (("o1", "o2"), None, Source.FILLS)
    assert (second.side, second.quantity, second.order_ids) == (Side.SHORT, 5, ())


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0.0"),
        ("-0", "0.0"),
        ("0E+5", "0.0"),
        ("1e3", "1000.0"),
        ("1000", "1000.0"),
        ("5797.2500", "5797.25"),
        ("-12.50", "-12.5"),
        ("0.000000001", "0.0"),
        ("-0.000000001", "0.0"),
        ("0.000000005", "0.0"),
        ("0.000000015", "0.00000002"),
        ("0.00000001", "0.00000001"),
        ("999999999999999", "999999999999999.0"),
        ("-999999999999999.12345678", "-999999999999999.12345678"),
        ("12345678901234567890", "12345678901234567890.0"),
    ],
)
def test_a_number_has_eight_decimals_at_most_and_no_exponent(value: str, text: str) -> None:
    assert format(exact(Decimal(value)), "f") == text


@given(st.decimals(-(10**15), 10**15, allow_nan=False, allow_infinity=False))
@example(Decimal("1e15"))
@example(Decimal("-1e-30"))
def test_a_number_is_the_same_but_for_its_ninth_decimal(value: Decimal) -> None:
    shown = exact(value)

    assert abs(shown - value) <= Decimal("5e-9")
    assert exact(shown) == shown
    assert -8 <= shown.as_tuple().exponent < 0
    assert not (shown == 0 and shown.is_signed())


# Waits


@given(tries=st.integers(0, 10_000), asked=st.none() | st.floats(0, 90_000), jitter=st.floats(0, 1))
def test_a_retry_waits_as_long_as_the_venue_asked_and_else_within_its_bounds(
    tries: int, asked: float | None, jitter: float
) -> None:
    delay = retry_delay(tries, asked, jitter=jitter)

    assert 0.25 <= delay <= max(LONGEST_RETRY, asked or 0)
    assert delay >= (asked or 0)
    assert retry_delay(tries + 1, asked, jitter=jitter) >= delay


@given(st.floats(-100, 1e9))
def test_a_read_back_comes_ever_more_slowly(age: float) -> None:
    assert FIRST_READ_BACK <= read_back_delay(age) <= read_back_delay(age + 1) <= LONGEST_READ_BACK


def test_an_order_without_a_name_could_be_of_any_position_of_its_account() -> None:
    nameless = Order("Sim101", "", "o1", market=True)

    assert evidence.closing_already(holding(10, 0), [nameless], TODAY) == (nameless,)
    assert evidence.closing_already(holding(10, 0), [replace(nameless, account="Sim102")], TODAY) == ()
