"""Whatever goes wrong at whichever venue, over real sockets: parts close no more than their sum, and nothing is hidden."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.commands import ClosePosition, Quantity
from app.domain.positions import Side
from app.ledger import tables
from app.ledger.connection import Ledger
from app.ledger.types import now
from tests.contract.cards import DONE, UNDONE
from tests.contract.markets import SECRETS, ClearStreetMarket, CrossTradeMarket, Market, OkxMarket
from tests.shop import Shop, came_to, numbers
from tests.simulators.clearstreet import ClearStreetSimulator
from tests.simulators.crosstrade import CrossTradeSimulator
from tests.simulators.okx import OkxSimulator

Day = tuple[str, dict[str, Any]]

HELD = 10
SOMETIMES: list[Day] = [
    ("refuse", {}),
    ("throttle", {"retry_after": 1}),
    ("throttle", {"retry_after": 40}),
    ("slow_drip", {"acts": False, "milliseconds": 0}),
    ("slow_fill", {"seconds": 20, "parts": 4}),
    ("slow_fill", {"seconds": 100, "parts": 2}),
    ("no_effect", {}),
]
LATE: list[Day] = [("late_action", {"seconds": 25}), ("late_action", {"seconds": 200})]
"""A request that comes after everybody went on: what no venue without a reduce-only order protects from."""

bad_reads = st.sampled_from(
    [
        ("cut_before_acting", {}),
        ("error_500", {}),
        ("not_json", {"acts": False}),
        ("throttle", {"retry_after": 3}),
    ]
)


@pytest.fixture(params=["crosstrade", "clearstreet", "okx"])
def market(request: pytest.FixtureRequest) -> Iterator[Market]:
    if request.param == "crosstrade":
        with CrossTradeSimulator(SECRETS["token"]) as crosstrade:
            yield CrossTradeMarket(crosstrade)
    elif request.param == "clearstreet":
        with ClearStreetSimulator(SECRETS["api_key"]) as clearstreet:
            yield ClearStreetMarket(clearstreet)
    else:
        with OkxSimulator(SECRETS["api_key"], SECRETS["api_secret"], SECRETS["passphrase"]) as okx:
            yield OkxMarket(okx)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=8)
def test_parts_close_no_more_than_their_sum(ledger: Ledger, market: Market, data: st.DataObject) -> None:
    days = [*DONE, *UNDONE, *SOMETIMES, *([] if market.settings.venue.closing_can_flip else LATE)]
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=2), "sizes")
    for name, options in data.draw(st.lists(st.sampled_from(days), max_size=3), "closes"):
        market.bad_day(name, part=True, **options)
    reads = st.tuples(st.sampled_from(["positions", "orders"]), bad_reads)
    for kind, (name, options) in data.draw(st.lists(reads, max_size=4), "reads"):
        market.venue.bad_day(name, on=kind, **options)
    stop = data.draw(st.none() | st.tuples(st.integers(0, 30), st.integers(1, HELD)), "stopped out")
    place = market.accounts[0], market.instruments[0]
    market.hold(*place, Side.LONG, HELD)
    shop = Shop(ledger, market, market.settings)
    by_others = 0

    ids = [
        command_id
        for size in sizes
        for command_id in shop.take(
            ClosePosition("desk", *place, Quantity(Decimal(size)), cancel_orders=False)
        )
    ]
    if stop is not None:
        shop.wait(stop[0])
        by_others = market.stopped_out(*place, stop[1])
    shop.wait(320)

    held = market.held(*place)
    histories = [shop.history(command_id) for command_id in ids]
    told = sum(row.quantity or 0 for history in histories for row in history.closed_positions)
    closed = HELD - by_others - held
    assert closed <= sum(sizes)
    assert told <= HELD - held
    for history in histories:
        status, attention = came_to(history)
        if status == "closed" and attention is None:
            assert 0 <= held <= Decimal(numbers(history)[0][1])
        assert status != "sending"
    if held < 0:
        assert any(came_to(history)[1] for history in histories)
    market.venue.good_days()
    market.venue.book.clear_positions()
    with ledger.writing() as connection:  # the next example must not wait behind this one
        connection.execute(tables.commands.update().values(status="cancelled", due_at=None, settled_at=now()))
