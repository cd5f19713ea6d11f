"""The official SDK against the simulator: what it sends is understood, and what it reads back is right."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import clearstreet
import pytest
from clearstreet import ClearStreet

from tests.simulators.clearstreet import Book, ClearStreetSimulator, Fault, Timestamps

KEY = "key-id.secret-of-the-test"
MAIN, OTHER = 19816, 19817
AAPL = "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8"
PUT = "AAPL260320P00180000"
START = datetime(2025, 10, 3, 15, 0, 0, 250000, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> Iterator[ClearStreetSimulator]:
    """Long 100 AAPL, short 50 TSLA and long 2 puts."""
    book = Book((MAIN, OTHER), clock=clock)
    book.set_position(MAIN, "AAPL", "long", 100, "145.00", "151.00", "150.50", "2025-10-31")
    book.set_position(MAIN, "TSLA", "short", 50, "180.00", "178.50")
    book.set_position(MAIN, PUT, "long", 2, "6.20", "5.85")
    with ClearStreetSimulator(KEY, book=book) as venue:
        yield venue


@pytest.fixture
def client(venue: ClearStreetSimulator) -> Iterator[ClearStreet]:
    with ClearStreet(api_key=KEY, base_url=venue.url, max_retries=0) as client:
        yield client


def test_it_lists_positions_in_pages(client: ClearStreet) -> None:
    first = client.v1.positions.get_positions(MAIN, page_size=2)
    token = first.metadata.next_page_token
    assert token is not None
    second = client.v1.positions.get_positions(MAIN, page_token=token)

    aapl, tsla = first.data
    assert (aapl.account_id, aapl.instrument_id, aapl.symbol) == (MAIN, AAPL, "AAPL")
    assert (aapl.position_type, aapl.quantity, aapl.available_quantity) == ("LONG", "100", "100")
    assert (aapl.avg_price, aapl.market_value, aapl.unrealized_pnl) == ("145.00", "15100.00", "600.00")
    assert (aapl.closing_price, aapl.closing_price_date) == ("150.50", date(2025, 10, 31))
    assert (tsla.position_type, tsla.quantity, tsla.closing_price) == ("SHORT", "-50", None)
    assert [(position.symbol, position.instrument_type) for position in second.data] == [(PUT, "OPTION")]
    assert (first.metadata.total_items, first.metadata.total_pages, second.metadata.page_number) == (3, 2, 2)
    assert first.error is None


def test_it_filters_positions_by_uuid(client: ClearStreet) -> None:
    [position] = client.v1.positions.get_positions(MAIN, instrument_ids=[AAPL]).data

    assert position.symbol == "AAPL"


@pytest.mark.parametrize(
    ("name", "symbol"),
    [(AAPL, "AAPL"), ("AAPL", "AAPL"), (PUT, PUT), ("AAPL  260320P00180000", PUT)],
)
def test_it_closes_a_position_by_any_of_its_names(
    client: ClearStreet, venue: ClearStreetSimulator, name: str, symbol: str
) -> None:
    quantity = str(venue.book.position(MAIN, symbol))

    [order] = client.v1.positions.close_position(name, account_id=MAIN, cancel_orders=True).data

    assert (order.account_id, order.symbol, order.side, order.quantity) == (MAIN, symbol, "SELL", quantity)
    assert (order.status, order.order_type, order.time_in_force) == ("PENDING_NEW", "MARKET", "DAY")
    assert (order.filled_quantity, order.leaves_quantity, order.average_fill_price) == ("0", quantity, None)
    assert (order.created_at, order.updated_at) == (START, START)
    assert order.client_order_id.startswith("close-position-20251003-")
    assert venue.book.position(MAIN, symbol) == 0
    assert len(venue.book.positions(MAIN)) == 2
    assert venue.requests[-1].body == {"cancel_orders": True}


def test_it_closes_all_positions(client: ClearStreet, venue: ClearStreetSimulator) -> None:
    orders = client.v1.positions.close_positions(MAIN).data

    assert [(order.symbol, order.side) for order in orders] == [
        ("AAPL", "SELL"),
        ("TSLA", "BUY"),
        (PUT, "SELL"),
    ]
    assert venue.book.positions(MAIN) == []
    assert client.v1.positions.close_positions(MAIN, cancel_orders=True).data == []


def test_it_submits_part_of_a_position_and_finds_it_again(
    client: ClearStreet, venue: ClearStreetSimulator, clock: Clock
) -> None:
    venue.book.fill_delay = 2
    orders = client.v1.orders
    [sent] = orders.submit_orders(
        MAIN,
        orders=[
            {
                "id": "relay-7f3c9a-1",
                "symbol": "AAPL",
                "side": "SELL",
                "quantity": "10",
                "order_type": "MARKET",
                "time_in_force": "DAY",
                "position_intent": "CLOSE",
            }
        ],
    ).data
    by_id = orders.get_order_by_id(sent.id, account_id=MAIN).data
    by_client_id = orders.get_order_by_id("relay-7f3c9a-1", account_id=MAIN).data
    clock.now += 2
    [filled] = orders.get_orders(
        MAIN,
        order_ids=["relay-7f3c9a-1"],
        status=["FILLED", "PARTIALLY_FILLED"],
        from_=START,
        to=START + timedelta(seconds=1),
    ).data

    assert (sent.client_order_id, sent.status, sent.leaves_quantity) == (
        "relay-7f3c9a-1",
        "PENDING_NEW",
        "10",
    )
    assert by_id.id == by_client_id.id == filled.id == sent.id
    assert (filled.status, filled.filled_quantity, filled.average_fill_price) == ("FILLED", "10", "151.00")
    assert filled.updated_at == START + timedelta(seconds=2)
    assert venue.book.position(MAIN, "AAPL") == 90


def test_it_reads_an_order_that_is_held(client: ClearStreet, venue: ClearStreetSimulator) -> None:
    venue.book.market_open = False
    [order] = client.v1.positions.close_position("TSLA", account_id=MAIN).data

    assert order.queue_state == "AWAITING_RELEASE"
    assert order.releases_at == datetime(2025, 10, 6, 14, 30, tzinfo=UTC)


def test_it_reads_why_an_order_was_rejected(client: ClearStreet, venue: ClearStreetSimulator) -> None:
    venue.bad_day(Fault.ENDS_AS, on="close", status="REJECTED", details=["LIQUIDATION_ONLY"])
    [sent] = client.v1.positions.close_position("TSLA", account_id=MAIN).data

    order = client.v1.orders.get_order_by_id(sent.id, account_id=MAIN).data

    assert (order.status, order.details, order.filled_quantity) == ("REJECTED", ["LIQUIDATION_ONLY"], "0")


def test_it_cancels_one_order_and_then_the_rest(client: ClearStreet, venue: ClearStreetSimulator) -> None:
    stop = venue.book.work_order(MAIN, "AAPL", "SELL", 100, price="140")
    venue.book.work_order(MAIN, "TSLA", "BUY", 50, "LIMIT", price="150", client_order_id="target")
    orders = client.v1.orders

    one = orders.cancel_open_order(stop.order_id, account_id=MAIN).data
    again = orders.cancel_open_order(stop.order_id, account_id=MAIN).data
    [rest] = orders.cancel_all_open_orders(MAIN, instrument_ids=["TSLA"], side="BUY", type="LIMIT").data

    assert (one.status, one.stop_price, one.limit_price) == ("PENDING_CANCEL", "140.00", None)
    assert again.status == "CANCELED"
    assert (rest.client_order_id, rest.status, rest.limit_price) == ("target", "PENDING_CANCEL", "150.00")
    with pytest.raises(clearstreet.NotFoundError, match="No orders match the specified filters"):
        orders.cancel_all_open_orders(MAIN)


def test_it_lists_executions(client: ClearStreet) -> None:
    [order] = client.v1.positions.close_position(PUT, account_id=MAIN).data
    client.v1.positions.close_position("TSLA", account_id=MAIN)

    all_of_them = client.v1.orders.get_executions(MAIN, from_=START, instrument_ids=[AAPL, "TSLA", PUT])
    [fill] = client.v1.orders.get_executions(MAIN, order_ids=[order.id]).data

    assert [execution.symbol for execution in all_of_them.data] == ["TSLA", PUT]
    assert (fill.order_id, fill.side, fill.quantity, fill.price) == (order.id, "SELL", "2", "5.85")
    assert fill.transaction_time == START


@pytest.mark.parametrize("spelling", list(Timestamps))
def test_it_reads_both_spellings_of_a_time(
    client: ClearStreet, venue: ClearStreetSimulator, spelling: Timestamps
) -> None:
    venue.book.timestamps = spelling
    [order] = client.v1.positions.close_position("TSLA", account_id=MAIN).data
    [fill] = client.v1.orders.get_executions(MAIN).data

    assert order.created_at == order.updated_at == fill.transaction_time == START


def test_it_reads_the_accounts_and_the_clock(client: ClearStreet) -> None:
    accounts = client.v1.accounts.get_accounts()

    assert [(account.id, account.status, account.subtype) for account in accounts.data] == [
        (MAIN, "ACTIVE", "MARGIN"),
        (OTHER, "ACTIVE", "MARGIN"),
    ]
    assert accounts.data[0].open_date == date(2025, 1, 2)
    assert client.v1.calendar.get_clock().data.clock == START


def test_it_names_each_refusal(client: ClearStreet, venue: ClearStreetSimulator) -> None:
    with pytest.raises(clearstreet.PermissionDeniedError):
        client.v1.positions.get_positions(4711)
    with pytest.raises(clearstreet.NotFoundError):
        client.v1.orders.get_order_by_id("nothing", account_id=MAIN)
    with pytest.raises(clearstreet.UnprocessableEntityError):
        client.v1.orders.submit_orders(MAIN, orders=[{"symbol": "AAPL"}])  # type: ignore[typeddict-item]
    venue.bad_day(Fault.THROTTLE)
    with pytest.raises(clearstreet.RateLimitError):
        client.v1.calendar.get_clock()
    with (
        ClearStreet(api_key="wrong", base_url=venue.url, max_retries=0) as stranger,
        pytest.raises(clearstreet.AuthenticationError),
    ):
        stranger.v1.calendar.get_clock()


def test_with_the_sdks_default_retries_a_lost_answer_turns_the_position_round(
    venue: ClearStreetSimulator, clock: Clock
) -> None:
    # brokers.md, 3.5: two retries for every method, DELETE included, and nothing that tells them apart.
    venue.book.fill_delay = 2
    venue.bad_day(Fault.ERROR_502_AFTER_ACTING, on="close")

    with ClearStreet(api_key=KEY, base_url=venue.url) as client:
        [order] = client.v1.positions.close_position("AAPL", account_id=MAIN).data
    clock.now += 2

    assert [(request.status, request.acted) for request in venue.requests] == [(502, True), (200, True)]
    assert order.quantity == "100"
    assert venue.book.position(MAIN, "AAPL") == -100
