"""What the workers decide, on a real ledger and with a scripted venue: what is sent, how often, and what it came to."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching, Fraction
from app.domain.failures import NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Order, Position, Report, Side
from app.ledger import tables
from app.ledger.claim import LEASE_SECONDS
from app.ledger.claims import Claims
from app.ledger.connection import Ledger, LedgerUnavailable
from tests.conftest import on_both_databases
from tests.desk import LOST, Desk, acts_in_part, only_says, raises
from tests.shop import MES, SETTINGS, SIM, Shop, came_to, closed, numbers, part, whole
from workers import execution
from workers.brokers.broker import Page
from workers.observation import NO_ROOM


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return desk


@pytest.fixture
def shop(ledger: Ledger, desk: Desk) -> Shop:
    return Shop(ledger, desk)


# What is sent when all goes well


@on_both_databases
def test_a_whole_close_goes_out_at_once_and_is_read_back(shop: Shop) -> None:
    history = shop.carried_out(whole())

    assert shop.desk.sent == ["close all MES 12-26 Sim101"]
    assert came_to(history) == ("closed", None)
    assert numbers(history) == [("10", "0", "0")]
    assert closed(history) == [(MES, Decimal(10), "snapshot")]
    assert [attempt.kind for attempt in history.attempts] == ["close", "read"]


THREE = ("Sim101", "Sim102", "Sim103")


def sent_of_three(shop: Shop) -> list[str]:
    """Three closes have left, each of an account of its own, and none is read back. Their ids."""
    for account in THREE:
        shop.desk.hold(account, MES, 10)
    ids = [shop.take(ClosePosition("nt8", account, MES))[0] for account in THREE]
    for sent in (1, 2, 3):
        assert shop.execution.step()
        assert len(shop.desk.sent) == sent
    assert [shop.history(it).command.status for it in ids] == ["working"] * 3
    assert shop.desk.lists == 0
    return ids


@on_both_databases
def test_what_waits_to_leave_goes_first_and_one_list_reads_all_of_it_back(shop: Shop) -> None:
    ids = sent_of_three(shop)

    shop.work()
    histories = [shop.history(it) for it in ids]
    assert [came_to(it) for it in histories] == [("closed", None)] * 3
    assert shop.desk.lists == 1
    assert [[attempt.kind for attempt in it.attempts] for it in histories] == [["close", "read"]] * 3
    assert len({str(it.attempts[-1].answer) for it in histories}) == 1
    assert all(it.attempts[0].answered_at <= it.attempts[-1].sent_at for it in histories)
    assert len(shop.desk.sent) == 3


def test_of_one_list_each_command_learns_what_is_its_own(shop: Shop) -> None:
    ids = sent_of_three(shop)
    shop.desk.hold("Sim102", MES, 10)  # as if its close had not filled yet

    shop.work()
    assert [shop.history(it).command.status for it in ids] == ["closed", "working", "closed"]
    shop.desk.hold("Sim102", MES, 0)
    shop.wait(5)
    assert [came_to(shop.history(it)) for it in ids] == [("closed", None)] * 3
    assert len(shop.desk.sent) == 3


def test_a_list_that_can_not_be_read_is_asked_for_once_by_all(shop: Shop) -> None:
    ids = sent_of_three(shop)
    shop.desk.script("positions", raises(OutcomeUnknown("no answer")))

    assert shop.execution.step()
    assert [shop.history(it).command.status for it in ids] == ["working"] * 3
    assert shop.desk.lists == 1
    assert [it.outcome for id in ids for it in shop.history(id).attempts if it.kind == "read"] == [
        "outcome_unknown"
    ] * 3
    shop.wait(5)
    assert [came_to(shop.history(it)) for it in ids] == [("closed", None)] * 3


def test_what_one_list_has_no_time_for_is_read_back_by_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "READ_BACK_FOR", 0)
    ids = sent_of_three(shop)

    assert shop.execution.step()
    assert [shop.history(it).command.status for it in ids] == ["closed", "working", "working"]
    shop.work()
    assert [came_to(shop.history(it)) for it in ids] == [("closed", None)] * 3
    assert shop.desk.lists == 3


@pytest.mark.parametrize("held", [10, 0])
def test_that_nothing_is_open_is_read_back_before_others_leave(shop: Shop, held: int) -> None:
    for account in THREE:
        shop.desk.hold(account, MES, held)
    shop.desk.script("close", only_says(Report(nothing_open=True)))
    first, *others = [shop.take(ClosePosition("nt8", account, MES))[0] for account in THREE]

    assert shop.execution.step()
    assert shop.desk.lists == 1
    assert shop.history(first).command.status == ("queued" if held else "nothing_open")
    assert [shop.history(it).command.status for it in others] == ["queued"] * 2


@pytest.mark.parametrize("stop_fills", ["long before", "just before", "on its way"])
@pytest.mark.parametrize("command", [whole(), FlattenMatching("nt8", account=SIM)], ids=["close", "flatten"])
def test_what_is_opened_after_the_venue_said_that_nothing_is_open_is_left_alone(
    shop: Shop, command: Command, stop_fills: str
) -> None:
    def and_then_an_entry_fills(act: Callable[[], Any]) -> Any:
        if stop_fills == "on its way":
            shop.desk.trade(SIM, MES, -10)
        said = act()
        shop.desk.trade(SIM, MES, 2)
        return said

    if stop_fills != "on its way":
        shop.desk.trade(SIM, MES, -10)
    shop.desk.later({"long before": 30, "just before": 0.8}.get(stop_fills, 0))
    shop.desk.script("close", and_then_an_entry_fills)
    history = shop.carried_out(command, seconds=60)

    assert came_to(history) == ("nothing_open", "nothing_open_suspect")
    assert (shop.desk.held(), len(shop.desk.sent)) == (2, 1)


def test_what_was_open_just_before_is_closed_though_the_venue_did_not_know_it_yet(shop: Shop) -> None:
    shop.desk.hold(SIM, MES, 0)
    shop.desk.trade(SIM, MES, 2)
    shop.desk.script("close", only_says(Report(nothing_open=True)))
    history = shop.carried_out(whole(), seconds=4)

    assert came_to(history) == ("closed", None)
    assert (shop.desk.held(), len(shop.desk.sent)) == (0, 2)


@pytest.mark.parametrize("command", [whole(), FlattenMatching("nt8", account=SIM)], ids=["close", "flatten"])
def test_what_stood_there_before_is_closed_though_as_much_is_filled_while_it_is_looked_at(
    shop: Shop, command: Command
) -> None:
    def and_then_as_much_is_bought(act: Callable[[], Any]) -> Any:
        seen = act()
        shop.desk.trade(SIM, MES, 10)
        return seen

    shop.desk.script("close", only_says(Report(nothing_open=True)))
    shop.desk.script("positions", and_then_as_much_is_bought)
    history = shop.carried_out(command, seconds=60)

    assert came_to(history) == ("closed", None)
    assert shop.desk.held() == 0


@pytest.mark.parametrize("listed_first", [1, 2])
def test_one_fill_does_not_count_for_two_positions_of_one_contract(shop: Shop, listed_first: int) -> None:
    before = Position(SIM, MES, Side.LONG, Decimal(10), Decimal(5000), handle={"margin": "cross"})
    both = (before, replace(before, handle={"margin": "isolated"}))

    def and_then_the_second_is_opened(_act: Callable[[], Any]) -> Any:
        shop.desk.trade(SIM, MES, 10)
        return Page(both[:listed_first])

    shop.desk.script("close", only_says(Report(nothing_open=True)))
    shop.desk.script("positions", and_then_the_second_is_opened, *[lambda _act: Page(both)] * 2)
    history = shop.carried_out(whole(), seconds=60)

    assert came_to(history) == ("closed", None)
    assert shop.desk.held() == 0


def and_then_an_entry_fills(shop: Shop) -> None:
    """After a stop was hit long ago, and the venue said that nothing is open."""

    def close(act: Callable[[], Any]) -> Any:
        said = act()
        shop.desk.trade(SIM, MES, 2)
        return said

    shop.desk.trade(SIM, MES, -10)
    shop.desk.later(30)
    shop.desk.script("close", close)


def test_nothing_is_left_alone_by_a_list_that_could_not_be_read_again(shop: Shop) -> None:
    and_then_an_entry_fills(shop)
    shop.desk.script("positions", lambda act: act(), raises(OutcomeUnknown("no answer")))
    (command,) = shop.take(whole())
    shop.work()
    assert came_to(shop.history(command)) == ("working", None)

    shop.wait(60)
    assert came_to(shop.history(command)) == ("nothing_open", "nothing_open_suspect")
    assert (shop.desk.held(), len(shop.desk.sent)) == (2, 1)


def test_where_the_limits_leave_no_room_for_another_list_the_fills_are_believed(shop: Shop) -> None:
    """A rate that is too low for it would have it asked for again and again."""
    and_then_an_entry_fills(shop)
    shop.desk.script("positions", lambda act: act(), raises(NotSent(NO_ROOM, retry_after=5)))
    (command,) = shop.take(whole())
    shop.work()

    assert came_to(shop.history(command)) == ("nothing_open", "nothing_open_suspect")
    assert (shop.desk.held(), len(shop.desk.sent)) == (2, 1)


def away(*_arguments: Any, **_named: Any) -> Any:
    raise LedgerUnavailable("away")


def test_a_ledger_that_fails_between_two_of_one_list_holds_none_of_the_others_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sent_of_three(shop)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shop.execution._journal, "move", away)
        with pytest.raises(LedgerUnavailable):
            shop.execution.step()

    held = [it for it in ids if shop.history(it).command.lease_owner]
    assert held == ids[:1]
    shop.work()
    assert [shop.history(it).command.status for it in ids[1:]] == ["closed"] * 2


@pytest.mark.parametrize("question", ["others_wait", "take_read_backs", "next_in_lanes"])
def test_a_ledger_that_fails_for_a_question_holds_no_command_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    sent_of_three(shop)
    where = execution if question == "next_in_lanes" else shop.execution.claims
    monkeypatch.setattr(where, question, away)
    shop.desk.hold("Sim104", MES, 10)
    (last,) = shop.take(ClosePosition("nt8", "Sim104", MES))
    shop.work()

    assert came_to(shop.history(last)) == ("closed", None)
    assert shop.desk.book == {}


def test_a_close_that_is_taken_while_a_list_is_read_has_one_of_its_own(shop: Shop) -> None:
    """What the list of the others shows may be from before it."""
    shop.desk.hold("Sim104", MES, 10)

    def while_another_closes(act: Callable[[], Any]) -> Any:
        seen = act()
        late.extend(shop.take(ClosePosition("nt8", "Sim104", MES)))
        assert shop.execution.step()
        return seen

    late: list[str] = []
    ids = sent_of_three(shop)
    shop.desk.script("positions", while_another_closes)
    shop.work()

    assert [came_to(shop.history(it)) for it in [*ids, *late]] == [("closed", None)] * 4
    assert shop.desk.lists == 2


@on_both_databases
@pytest.mark.parametrize(
    ("command", "sent", "left"),
    [
        (part(4), "close 4", 6),
        (part(10), "close 10", 0),
        (part(11), "close 10", 0),  # never more than is open
        (whole(size=Fraction(Decimal("0.25")), cancel_orders=False), "close 3", 7),  # rounded up to the lot
        (whole(size=Fraction(Decimal("0.999")), cancel_orders=False), "close 10", 0),
        (whole(size=Fraction(Decimal("0.001")), cancel_orders=False), "close 1", 9),
        (whole(cancel_orders=False), "close 10", 0),
    ],
    ids=str,
)
def test_a_part_becomes_a_number_of_contracts_once(
    shop: Shop, command: ClosePosition, sent: str, left: int
) -> None:
    history = shop.carried_out(command)

    assert shop.desk.sent == [f"{sent} MES 12-26 Sim101"]
    assert shop.desk.held() == left
    assert came_to(history) == ("closed", None)
    assert numbers(history) == [("10", str(left), str(left))]
    assert [attempt.kind for attempt in history.attempts] == ["read", "close", "read"]


def test_a_short_is_closed_by_the_number_too(shop: Shop) -> None:
    shop.desk.hold(SIM, MES, -10)
    history = shop.carried_out(part(4))

    assert shop.desk.held() == -6
    assert [row.side for row in history.closed_positions] == ["short"]


def test_the_profit_is_of_the_part_that_was_closed(shop: Shop) -> None:
    (row,) = shop.carried_out(part(4)).closed_positions

    assert (row.profit_loss, row.average_price, row.close_price) == (
        Decimal(40),
        Decimal(5000),
        Decimal(5100),
    )


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"account": "Sim101"}, {("Sim102", MES): 3}),
        ({"account": "SIM101", "side": Side.SHORT}, {(SIM, MES): 10, ("Sim102", MES): 3}),
        ({"instrument": MES}, {(SIM, "MNQ 12-26"): -4}),
        ({"side": Side.LONG}, {(SIM, "MNQ 12-26"): -4}),
    ],
    ids=str,
)
def test_a_flatten_is_done_when_nothing_matches_any_more(
    shop: Shop, filters: dict[str, Any], left: dict[tuple[str, str], int]
) -> None:
    shop.desk.hold(SIM, "MNQ 12-26", -4)
    shop.desk.hold("Sim102", MES, 3)
    shop.desk.book = {(account, name): held for (account, name), held in shop.desk.book.items()}
    if "account" in filters:  # the venue is asked by the name that the alert used
        shop.desk.book = {
            (filters["account"] if account == SIM else account, name): held
            for (account, name), held in shop.desk.book.items()
        }
        left = {
            (filters["account"] if account == SIM else account, name): n
            for (account, name), n in left.items()
        }

    history = shop.carried_out(FlattenMatching("nt8", **filters))

    assert came_to(history) == ("closed", None)
    assert {place: held for place, (held, _) in shop.desk.book.items()} == left
    assert len(shop.desk.sent) == 1


def test_everything_is_asked_for_by_its_own_call(shop: Shop) -> None:
    shop.desk.hold("Sim102", "ES 12-26", -2)

    history = shop.carried_out(FlattenEverything("nt8"))

    assert shop.desk.sent == ["everything"]
    assert came_to(history) == ("closed", None)
    assert sorted(closed(history)) == [("ES 12-26", Decimal(2), "snapshot"), (MES, Decimal(10), "snapshot")]


@pytest.mark.parametrize("name", ["MES", "MES1!", "mes", "MESZ2026", "MESZ6"])
def test_a_name_of_the_contract_is_resolved_by_what_is_open(shop: Shop, name: str) -> None:
    history = shop.carried_out(whole(name))

    assert came_to(history) == ("closed", None)
    assert shop.desk.sent == ["close all MES 12-26 Sim101"]


@pytest.mark.parametrize("name", ["MES", "MESZ2026"])
def test_a_name_that_could_not_be_resolved_is_not_sent(shop: Shop, name: str) -> None:
    shop.desk.script("positions", raises(LOST))
    shop.take(whole(name))
    shop.work()
    assert shop.desk.sent == []
    shop.wait(2)

    assert shop.desk.sent == ["close all MES 12-26 Sim101"]


@pytest.mark.parametrize("command", [whole("MES"), FlattenMatching("nt8", account=SIM, instrument="MES1!")])
def test_a_name_that_fits_two_contracts_is_not_guessed(shop: Shop, command: Command) -> None:
    shop.desk.hold(SIM, "MES 03-27", 1)

    history = shop.carried_out(command)

    assert came_to(history) == ("rejected", "rejected")
    assert "MES 03-27, MES 12-26" in history.command.reason
    assert shop.desk.sent == []


def test_orders_are_cancelled_before_a_part_is_closed_when_that_is_asked(shop: Shop) -> None:
    shop.desk.working = [Order(SIM, MES, "stop", market=False)]

    history = shop.carried_out(part(4, cancel_orders=True))

    assert shop.desk.sent == ["cancel MES 12-26 Sim101", "close 4 MES 12-26 Sim101"]
    assert came_to(history) == ("closed", None)


def test_the_position_is_read_anew_after_its_orders_were_cancelled(shop: Shop) -> None:
    def a_stop_fills(act: Callable[[], Any]) -> Any:
        shop.desk.trade(SIM, MES, -8)
        return act()

    shop.desk.script("cancel", a_stop_fills)

    history = shop.carried_out(part(4, cancel_orders=True))

    assert shop.desk.sent == ["cancel MES 12-26 Sim101", "close 2 MES 12-26 Sim101"]
    assert numbers(history) == [("2", "0", "0")]


def test_a_flatten_by_another_name_is_sent_by_the_venues_own(shop: Shop) -> None:
    history = shop.carried_out(FlattenMatching("nt8", account=SIM, instrument="MES1!"))

    assert shop.desk.sent == ["flatten Sim101 MES 12-26 None"]
    assert came_to(history) == ("closed", None)


# Nothing open


@pytest.mark.parametrize("command", [whole(), part(), FlattenMatching("nt8", account=SIM)], ids=str)
def test_nothing_open_is_said_when_it_was_read(shop: Shop, command: Command) -> None:
    shop.carried_out(whole())

    history = shop.carried_out(command)

    assert came_to(history) == ("nothing_open", None)
    assert history.closed_positions == []
    assert history.attempts[-1].kind == "read"


@pytest.mark.parametrize(
    "command",
    [whole("MSE 12-26"), part(), FlattenMatching("nt8", account="Sim102", instrument="MES")],
    ids=str,
)
def test_nothing_open_is_suspect_where_it_was_never_seen_open(shop: Shop, command: Command) -> None:
    if isinstance(command, FlattenMatching):
        shop.carried_out(part(1))  # seen open, and in another account
    else:
        shop.desk.book.clear()

    history = shop.carried_out(command)

    assert came_to(history) == ("nothing_open", "nothing_open_suspect")
    assert "ever seen open there" in history.command.reason


@on_both_databases
def test_what_one_worker_saw_open_another_knows(shop: Shop) -> None:
    shop.desk.hold(SIM, "ES 12-26", 1)
    shop.carried_out(part(1))  # reads all positions
    shop.desk.book.clear()

    other = Shop(shop.ledger, shop.desk)
    assert came_to(other.carried_out(whole("ES1!"))) == ("nothing_open", None)
    assert came_to(other.carried_out(whole("NQ1!"))) == ("nothing_open", "nothing_open_suspect")


@pytest.mark.parametrize("command", [whole("MES 03-27"), part(side=Side.SHORT)], ids=str)
def test_nothing_open_is_suspect_while_something_like_it_is(shop: Shop, command: Command) -> None:
    history = shop.carried_out(command)

    assert came_to(history) == ("nothing_open", "nothing_open_suspect")
    assert "long MES 12-26 in Sim101" in history.command.reason
    assert shop.desk.held() == 10


def test_a_venue_that_says_nothing_is_open_though_it_is_is_asked_again(shop: Shop) -> None:
    shop.desk.script("close", only_says(Report(nothing_open=True)))

    history = shop.carried_out(whole(), seconds=4)

    assert len(shop.desk.sent) == 2
    assert came_to(history) == ("closed", None)


def test_a_part_that_the_venue_says_was_not_open_is_sent_again_only_once_it_is_proved_undone(
    shop: Shop,
) -> None:
    shop.desk.script("close", only_says(Report(nothing_open=True)))
    (command_id,) = shop.take(part(4))
    shop.wait(SETTINGS.settle_window / 2)  # the test itself takes time
    assert (came_to(shop.history(command_id)), len(shop.desk.sent)) == (("working", None), 1)
    shop.wait(30)

    assert (came_to(shop.history(command_id)), shop.desk.held()) == (("closed", None), 6)
    assert len(shop.desk.sent) == 2


def test_a_part_that_was_done_though_the_venue_said_that_nothing_was_open_is_not_doubled(shop: Shop) -> None:
    shop.desk.script("close", only_says(Report(nothing_open=True)))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.let_pass(5)
    shop.desk.trade(SIM, MES, -4)  # it was ours, and took its time
    shop.wait(300)

    assert (shop.desk.held(), len(shop.desk.sent)) == (6, 1)
    assert came_to(shop.history(command_id)) == ("working", "still_open")


def test_a_whole_close_of_another_contract_is_suspect_though_its_answer_was_lost(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))

    history = shop.carried_out(whole("MES 03-27"), seconds=20)

    assert came_to(history) == ("nothing_open", "nothing_open_suspect")
    assert shop.desk.held() == 10


def test_a_fill_of_something_else_does_not_make_a_close_of_nothing_closed(shop: Shop) -> None:
    shop.carried_out(whole())
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    shop.desk.trade(SIM, "MNQ 12-26", 1)
    shop.wait(20)

    assert came_to(shop.history(command_id)) == ("nothing_open", None)


# Definite failures


@pytest.mark.parametrize("command", [whole(), part(), FlattenEverything("nt8")], ids=str)
@pytest.mark.parametrize(
    "failure",
    [NotSent("connection refused"), Throttled("too many", retry_after=7)],
    ids=["not sent", "throttled"],
)
def test_what_was_proved_undone_is_tried_again(shop: Shop, command: Command, failure: Exception) -> None:
    shop.desk.script("close", raises(failure), raises(failure))

    history = shop.carried_out(command, seconds=30)

    assert came_to(history) == ("closed", None)
    assert len(shop.desk.sent) == 3
    assert [a.outcome for a in history.attempts if a.kind == "close"][-1] == "reported"


def test_a_throttled_close_waits_as_long_as_the_venue_asks(shop: Shop) -> None:
    shop.desk.script("close", raises(Throttled("too many", retry_after=30)))
    shop.take(whole())
    shop.work()

    shop.wait(29)
    assert len(shop.desk.sent) == 1
    shop.wait(2)
    assert len(shop.desk.sent) == 2


def test_a_percent_is_taken_anew_while_nothing_left(shop: Shop) -> None:
    shop.desk.script("close", raises(NotSent("refused")))
    shop.take(whole(size=Fraction(Decimal("0.5")), cancel_orders=False))
    shop.work()
    shop.desk.trade(SIM, MES, -4)  # the trader reduced it by hand meanwhile
    shop.wait(2)

    assert shop.desk.sent == ["close 5 MES 12-26 Sim101", "close 3 MES 12-26 Sim101"]


@pytest.mark.parametrize("command", [whole(), part()], ids=str)
def test_a_refusal_is_final_and_told_in_the_venues_words(shop: Shop, command: Command) -> None:
    shop.desk.script("close", raises(Refused("managed by another strategy")))

    history = shop.carried_out(command, seconds=60)

    assert came_to(history) == ("rejected", "rejected")
    assert "managed by another strategy" in history.command.reason
    assert len(shop.desk.sent) == 1


def test_a_read_that_fails_before_the_close_sends_nothing_and_is_tried_again(shop: Shop) -> None:
    shop.desk.script("positions", raises(LOST), raises(NotSent("refused")), raises(Throttled("later")))

    history = shop.carried_out(part(), seconds=20)

    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]
    assert came_to(history) == ("closed", None)


def test_before_a_first_attempt_only_the_age_of_the_alert_counts(shop: Shop) -> None:
    shop.desk.script("positions", *[raises(Throttled("too many", retry_after=SETTINGS.retry_for - 20))] * 2)
    shop.take(part(4))
    shop.wait(SETTINGS.retry_for + 5)
    assert shop.desk.sent == []
    shop.wait(90)

    assert shop.desk.sent == ["close 4 MES 12-26 Sim101"]
    assert shop.desk.held() == 6


def test_time_runs_out(shop: Shop) -> None:
    shop.desk.script("close", *[raises(NotSent("refused"))] * 100)

    history = shop.carried_out(whole(), seconds=200)

    assert came_to(history) == ("gave_up", "gave_up")
    assert "time" in history.command.reason
    sent = len(shop.desk.sent)
    shop.wait(600)
    assert len(shop.desk.sent) == sent


def test_what_is_too_old_before_its_first_attempt_expires(shop: Shop) -> None:
    (command,) = shop.take(whole(), max_age=60)
    shop.let_pass(61)
    shop.work()

    assert came_to(shop.history(command)) == ("expired", "expired")
    assert shop.desk.sent == []


def test_a_position_without_its_stop_is_called_unprotected(shop: Shop) -> None:
    shop.desk.working = [Order(SIM, MES, "stop", market=False)]
    shop.desk.script("close", raises(Refused("no")))

    history = shop.carried_out(part(4, cancel_orders=True))

    assert came_to(history) == ("rejected", "unprotected")


@pytest.mark.parametrize(
    ("mishap", "status"),
    [(raises(LOST), "in_doubt"), (only_says(Report()), "working"), (raises(NotSent("refused")), "gave_up")],
)
def test_a_position_without_its_stop_is_called_unprotected_however_its_close_failed(
    shop: Shop, mishap: Any, status: str
) -> None:
    shop.desk.working = [Order(SIM, MES, "stop", market=False)]
    shop.desk.script("close", *[mishap] * 30)

    history = shop.carried_out(part(4, cancel_orders=True), seconds=150)

    assert came_to(history) == (status, "unprotected")
    assert shop.desk.sent.count("cancel MES 12-26 Sim101") == 1


def test_a_lost_cancel_leaves_the_position_unprotected_too(shop: Shop) -> None:
    shop.desk.script("cancel", *[raises(LOST, after_acting=True)] * 50)

    history = shop.carried_out(part(4, cancel_orders=True), seconds=200)

    assert came_to(history) == ("gave_up", "unprotected")
    assert not any("close" in sent for sent in shop.desk.sent)


def test_a_lost_cancel_is_repeated_and_the_close_still_goes_out_once(shop: Shop) -> None:
    shop.desk.working = [Order(SIM, MES, "stop", market=False)]
    shop.desk.script("cancel", raises(LOST, after_acting=True))

    history = shop.carried_out(part(4, cancel_orders=True), seconds=20)

    assert came_to(history) == ("closed", None)
    assert shop.desk.held() == 6
    assert shop.desk.sent.count("close 4 MES 12-26 Sim101") == 1


# Lost answers


@on_both_databases
@pytest.mark.parametrize(
    "command", [whole(), part(4), whole(size=Fraction(Decimal("0.4")), cancel_orders=False)], ids=str
)
def test_a_close_that_was_done_though_its_answer_was_lost_is_found(shop: Shop, command: Command) -> None:
    shop.desk.script("close", raises(LOST, after_acting=True))

    history = shop.carried_out(command, seconds=20)

    assert history.command.status == "closed"
    assert history.command.attention is None
    assert len(shop.desk.sent) == 1
    assert shop.desk.held() == (0 if command == whole() else 6)
    assert sum(row.quantity for row in history.closed_positions) == 10 - shop.desk.held()


@pytest.mark.parametrize(
    "command", [part(4), part(10), whole(size=Fraction(Decimal("0.4")), cancel_orders=False)], ids=str
)
def test_a_part_whose_answer_was_lost_is_never_sent_again(shop: Shop, command: Command) -> None:
    shop.desk.script("close", raises(LOST))

    history = shop.carried_out(command, seconds=300)

    assert len(shop.desk.sent) == 1
    assert came_to(history) == ("in_doubt", "in_doubt")
    assert history.command.settled_at is None


@pytest.mark.parametrize(
    "command", [whole(), FlattenMatching("nt8", account=SIM), FlattenEverything("nt8")], ids=str
)
def test_a_whole_close_is_sent_again_only_after_its_effect_could_have_come(
    shop: Shop, command: Command
) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(command)
    shop.work()

    shop.wait(SETTINGS.settle_window / 2)
    assert len(shop.desk.sent) == 1
    shop.wait(30)
    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 2


def test_a_close_that_acts_within_the_window_is_not_repeated(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    shop.let_pass(11)
    shop.desk.trade(SIM, MES, -10)
    shop.wait(20)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 1


def test_a_whole_close_whose_answers_are_all_lost_is_given_up_in_time(shop: Shop) -> None:
    shop.desk.script("close", *[raises(LOST)] * 20)

    history = shop.carried_out(whole(), seconds=SETTINGS.retry_for + 30)

    assert came_to(history) == ("gave_up", "gave_up")
    assert "proved not done" in history.command.reason
    assert history.closed_positions == []
    assert shop.desk.held() == 10


def test_nothing_open_to_a_repeat_means_that_the_first_one_did_it(shop: Shop) -> None:
    def too_late(act: Callable[[], Any]) -> Any:
        shop.desk.trade(SIM, MES, -10)  # the first one acts while the second is on its way
        return act()

    shop.desk.script("close", raises(LOST), too_late)

    history = shop.carried_out(whole("MES"), seconds=20)

    assert came_to(history) == ("closed", None)
    assert closed(history) == [(MES, Decimal(10), "snapshot")]
    assert len(shop.desk.sent) == 2


def test_what_was_proved_is_looked_at_again_right_before_the_repeat(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    shop.let_pass(SETTINGS.settle_window + 0.1)
    shop.execution.step()
    assert shop.history(command_id).command.status == "queued"
    bought_back(shop.desk)
    shop.wait(60)

    assert (shop.desk.held(), len(shop.desk.sent)) == (10, 1)


def test_a_stop_that_works_on_does_not_keep_a_close_from_being_repeated(shop: Shop) -> None:
    shop.desk.working = [Order(SIM, MES, "stop", market=False)]
    shop.desk.script("close", raises(LOST))

    history = shop.carried_out(whole(), seconds=20)

    assert came_to(history) == ("closed", None)
    assert len(shop.desk.sent) == 2


def test_a_repeat_that_never_left_does_not_wait_for_an_effect(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST), raises(NotSent("refused")), raises(Throttled("later")))

    history = shop.carried_out(whole(), seconds=SETTINGS.settle_window + 6)

    assert came_to(history) == ("closed", None)
    assert len(shop.desk.sent) == 4


def test_a_repeat_closes_at_most_what_still_stands(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    shop.take(whole(cancel_orders=False))
    shop.work()
    shop.desk.hold(SIM, MES, 7)  # smaller, and nobody knows of a fill
    shop.wait(20)

    assert shop.desk.sent == ["close 10 MES 12-26 Sim101", "close 7 MES 12-26 Sim101"]


@on_both_databases
def test_the_fill_of_the_close_before_is_no_proof_of_the_next_one(shop: Shop) -> None:
    first, second = shop.take(part(4), part(4))
    shop.execution.step()
    shop.desk.script("close", raises(LOST))
    shop.wait(120)

    assert came_to(shop.history(first)) == ("closed", None)
    assert (came_to(shop.history(second)), shop.desk.held()) == (("in_doubt", "in_doubt"), 6)


@pytest.mark.parametrize("bought", [3, 5], ids=["fewer", "more"])
def test_fills_that_do_not_add_up_to_the_position_prove_nothing(shop: Shop, bought: int) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.desk.trade(SIM, MES, -4)
    shop.desk.trade(SIM, MES, bought)
    shop.desk.hold(SIM, MES, 10)
    shop.wait(120)

    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")
    assert len(shop.desk.sent) == 1


def test_a_doubt_about_a_position_that_changed_is_settled_by_fills_that_come_later(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.let_pass(5)
    shop.desk.trade(SIM, MES, 5)
    shop.wait(10)
    assert came_to(shop.history(command_id)) == ("in_doubt", "position_changed")
    shop.desk.trade(SIM, MES, -4)  # ours, after the settle window
    shop.wait(60)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert numbers(shop.history(command_id)) == [("10", "6", "6")]
    assert len(shop.desk.sent) == 1


def test_an_order_that_fills_between_two_reads_is_seen_by_one_of_them(shop: Shop) -> None:
    works = Order(SIM, MES, "x", market=True)
    shop.desk.script("close", raises(LOST))
    shop.desk.working = [works]

    def fill(act: Callable[[], Any]) -> Any:
        seen = act()
        if works in shop.desk.working:
            shop.desk.working.remove(works)
            shop.desk.trade(SIM, MES, -10)
        return seen

    shop.desk.script("fills", fill)
    shop.desk.script("orders", fill)
    (command_id,) = shop.take(whole())
    shop.wait(30)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 1


Disturbance = Callable[[Desk], None]


def bought_back(desk: Desk) -> None:
    """Our close was done, and the trader is in again at the same price."""
    desk.trade(SIM, MES, -10, "5000")
    desk.trade(SIM, MES, 10, "5000")


def bought_back_at_another_price(desk: Desk) -> None:
    desk.hold(SIM, MES, 10, "5005")


def sold_one(desk: Desk) -> None:
    desk.trade(SIM, MES, -1)


def sold_one_by_another_name(desk: Desk) -> None:
    """The venue is not bound to spell a contract in its fills as in its positions."""
    sold_one(desk)
    desk.executions = [replace(fill, instrument="MES") for fill in desk.executions]
    desk.hold(SIM, MES, 10)


def sold_one_as_the_venue_rounds(desk: Desk) -> None:
    """By its time the fill came before the request: venues round, and count from when they got it."""
    sold_one(desk)
    desk.later(9)
    desk.hold(SIM, MES, 10)


def order_works(desk: Desk) -> None:
    desk.working.append(Order(SIM, MES, "x", market=True))


def fills_can_not_be_read(desk: Desk) -> None:
    desk.script("fills", *[raises(OutcomeUnknown("cut"))] * 500)


def fills_are_refused(desk: Desk) -> None:
    desk.script("fills", *[raises(Refused("900 s only"))] * 500)


def orders_can_not_be_read(desk: Desk) -> None:
    desk.script("orders", *[raises(OutcomeUnknown("cut"))] * 500)


def positions_can_not_be_read(desk: Desk) -> None:
    desk.script("positions", *[raises(OutcomeUnknown("cut"))] * 500)


@pytest.mark.parametrize(
    "disturbance",
    [
        sold_one,
        sold_one_by_another_name,
        sold_one_as_the_venue_rounds,
        order_works,
        fills_can_not_be_read,
        fills_are_refused,
        orders_can_not_be_read,
        positions_can_not_be_read,
    ],
)
@pytest.mark.parametrize("clock", [0, -3600, 3600], ids=["right", "slow", "fast"])
def test_without_proof_that_nothing_was_done_nothing_is_sent_again(
    shop: Shop, disturbance: Disturbance, clock: int
) -> None:
    shop.desk.clock = timedelta(seconds=clock)
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    shop.let_pass(5)
    disturbance(shop.desk)
    shop.wait(120)

    assert len(shop.desk.sent) == 1
    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")


@pytest.mark.parametrize("clock", [0, -3600, 3600], ids=["right", "slow", "fast"])
def test_a_position_that_was_closed_and_opened_again_is_left_alone(shop: Shop, clock: int) -> None:
    shop.desk.clock = timedelta(seconds=clock)
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole())
    shop.work()
    shop.let_pass(5)
    bought_back(shop.desk)
    shop.wait(120)

    assert len(shop.desk.sent) == 1
    assert shop.desk.held() == 10
    assert shop.history(command_id).command.status in ("closed", "in_doubt")


@pytest.mark.parametrize(
    "disturbance", [bought_back_at_another_price, lambda desk: desk.hold(SIM, MES, 12)], ids=["price", "grew"]
)
def test_a_position_that_is_another_now_is_left_alone_even_without_fills(
    shop: Shop, disturbance: Disturbance
) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(whole("MES1!"))  # an alias is read before, so what was open is known
    shop.work()
    shop.let_pass(5)
    disturbance(shop.desk)
    shop.wait(120)

    assert shop.desk.sent == ["close all MES 12-26 Sim101"]
    assert came_to(shop.history(command_id)) == ("in_doubt", "position_changed")


def test_a_sale_before_the_attempt_is_no_proof_of_it_whatever_the_venues_clock_says(shop: Shop) -> None:
    shop.desk.clock = timedelta(seconds=3600)
    shop.desk.hold(SIM, MES, 14)
    shop.desk.trade(SIM, MES, -4)  # by hand, half a minute before; by the venue's clock, long after
    shop.desk.later(30)
    shop.desk.script("close", raises(LOST))

    history = shop.carried_out(part(4), seconds=60)

    assert came_to(history) == ("in_doubt", "in_doubt")


def test_the_fills_prove_a_part_though_the_position_was_rebuilt(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST, after_acting=True))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.desk.trade(SIM, MES, 4)
    shop.wait(20)

    history = shop.history(command_id)
    assert came_to(history) == ("closed", None)
    assert "fills" in history.command.reason
    assert closed(history) == [(MES, Decimal(4), "snapshot")]
    assert len(shop.desk.sent) == 1


def test_a_part_of_the_part_is_no_proof(shop: Shop) -> None:
    shop.desk.script("close", acts_in_part(shop.desk, 3))

    history = shop.carried_out(part(4), seconds=300)

    assert came_to(history) == ("in_doubt", "in_doubt")
    assert numbers(history) == [("10", "6", "7")]
    assert len(shop.desk.sent) == 1


def test_a_position_on_the_other_side_is_not_ours_any_more(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.desk.hold(SIM, MES, -2)
    shop.wait(20)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert (len(shop.desk.sent), shop.desk.held()) == (1, -2)


def test_nothing_open_after_a_lost_answer_means_that_it_was_done(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST, after_acting=True))

    history = shop.carried_out(whole(), seconds=20)

    assert came_to(history) == ("closed", None)
    assert closed(history) == [(MES, Decimal(10), "fills")]


def test_a_close_that_was_filled_by_a_clock_that_is_wrong_is_closed_all_the_same(shop: Shop) -> None:
    shop.desk.clock = timedelta(hours=-1)
    shop.desk.script("close", raises(LOST, after_acting=True))

    history = shop.carried_out(whole(), seconds=20)

    assert came_to(history) == ("closed", None)
    assert history.command.reason == "nothing is open any more"


# Taken, and not there yet


def test_a_close_that_was_taken_is_never_sent_again(shop: Shop) -> None:
    shop.desk.script("close", only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.work()
    assert came_to(shop.history(command_id)) == ("working", None)
    shop.wait(120)

    assert came_to(shop.history(command_id)) == ("working", "still_open")
    assert len(shop.desk.sent) == 1
    shop.desk.trade(SIM, MES, -4)
    shop.wait(60)
    assert came_to(shop.history(command_id)) == ("closed", None)


def test_a_position_that_grows_meanwhile_is_told(shop: Shop) -> None:
    shop.desk.script("close", only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.desk.hold(SIM, MES, 15)
    shop.wait(5)

    assert came_to(shop.history(command_id)) == ("working", "position_changed")
    assert len(shop.desk.sent) == 1


def test_a_read_back_that_fails_is_made_again(shop: Shop) -> None:
    (command_id,) = shop.take(whole())
    shop.desk.script("positions", *[raises(OutcomeUnknown("cut"))] * 3)
    shop.work()
    assert came_to(shop.history(command_id)) == ("working", None)
    shop.wait(20)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert len(shop.desk.sent) == 1


def test_a_position_bought_anew_at_another_price_is_told(shop: Shop) -> None:
    shop.desk.script("close", only_says(Report()))
    (command_id,) = shop.take(part(4))
    shop.work()
    bought_back_at_another_price(shop.desk)
    shop.wait(70)

    assert came_to(shop.history(command_id)) == ("working", "position_changed")


@pytest.mark.parametrize("lost", [False, True])
def test_a_flatten_is_done_though_something_else_was_opened_after_it(shop: Shop, lost: bool) -> None:
    def and_another_is_opened(act: Callable[[], Any]) -> Any:
        report = act()
        shop.desk.trade(SIM, "MNQ 12-26", -2)
        shop.desk.trade(SIM, MES, -3)
        if lost:
            raise LOST
        return report

    shop.desk.script("close", and_another_is_opened)

    history = shop.carried_out(FlattenMatching("nt8", account=SIM), seconds=120)

    # Of a lost one nobody saw what was open: whether it was done can't be known.
    assert came_to(history) == (("in_doubt", "in_doubt") if lost else ("closed", None))
    assert closed(history) == ([] if lost else [(MES, Decimal(10), "snapshot")])
    assert len(shop.desk.sent) == 1


def test_a_flatten_that_reached_one_of_two_positions_names_the_other(shop: Shop) -> None:
    shop.desk.hold(SIM, "MNQ 12-26", -4)

    def one_order_is_rejected(act: Callable[[], Any]) -> Any:
        report = act()
        shop.desk.hold(SIM, "MNQ 12-26", -4)
        shop.desk.executions = [fill for fill in shop.desk.executions if fill.instrument == MES]
        return report

    shop.desk.script("close", one_order_is_rejected)

    history = shop.carried_out(FlattenMatching("nt8", account=SIM), seconds=120)

    assert came_to(history) == ("working", "still_open")
    assert sorted(numbers(history)) == [("10", "0", "0"), ("4", "0", "4")]
    assert len(shop.desk.sent) == 1


def test_a_flatten_is_not_done_while_something_is_open_that_no_fill_explains(shop: Shop) -> None:
    def and_one_was_left_out(act: Callable[[], Any]) -> Any:
        report = act()
        shop.desk.hold(SIM, "MNQ 12-26", -4)
        return report

    shop.desk.script("close", and_one_was_left_out)

    history = shop.carried_out(FlattenMatching("nt8", account=SIM), seconds=120)

    assert came_to(history) == ("working", "still_open")
    assert closed(history) == []


def test_a_flatten_that_was_lost_is_repeated_for_what_is_left(shop: Shop) -> None:
    shop.desk.hold(SIM, "MNQ 12-26", -4)
    shop.desk.script("close", acts_in_part(shop.desk, 10))

    history = shop.carried_out(FlattenMatching("nt8", account=SIM), seconds=60)

    assert came_to(history) == ("closed", None)
    assert (shop.desk.held(), shop.desk.held(SIM, "MNQ 12-26"), len(shop.desk.sent)) == (0, 0, 2)


# Workers that die or fall asleep


def dies(_act: Callable[[], Any]) -> Any:
    raise KeyboardInterrupt("kill -9, as far as this process can")


@on_both_databases
@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("command", [whole(), part(4)], ids=str)
def test_a_worker_that_dies_within_the_call_leaves_a_doubt_that_is_settled(
    shop: Shop, command: Command, acts: bool
) -> None:
    shop.desk.script("close", lambda act: dies(act()) if acts else dies(act))
    (command_id,) = shop.take(command)
    with pytest.raises(KeyboardInterrupt):
        shop.work()
    shop.let_pass(LEASE_SECONDS + 1)

    assert Claims(shop.ledger, "worker-2").recover() == [command_id]
    assert shop.history(command_id).command.status == "in_doubt"
    shop.wait(20)
    status = "closed" if acts or command == whole() else "in_doubt"
    assert shop.history(command_id).command.status == status
    assert shop.desk.sent.count("close 4 MES 12-26 Sim101") <= 1
    assert (
        shop.desk.held()
        == {(True, True): 0, (True, False): 6, (False, True): 0, (False, False): 10}[acts, command == whole()]
    )


def test_a_worker_that_slept_through_its_lease_sends_nothing(shop: Shop) -> None:
    (command_id,) = shop.take(part(4))

    def sleep(act: Callable[[], Any]) -> Any:
        shop.let_pass(LEASE_SECONDS + 1)
        Claims(shop.ledger, "worker-2").recover()
        return act()

    shop.desk.script("positions", sleep)
    assert shop.execution.step()
    assert shop.desk.sent == []
    shop.work()
    assert came_to(shop.history(command_id)) == ("closed", None)
    assert shop.desk.held() == 6


def test_an_answer_that_comes_after_the_lease_was_lost_changes_nothing_and_is_kept(shop: Shop) -> None:
    (command_id,) = shop.take(part(4))

    def slow(act: Callable[[], Any]) -> Any:
        report = act()
        shop.let_pass(LEASE_SECONDS + 1)
        Claims(shop.ledger, "worker-2").recover()
        return report

    shop.desk.script("close", slow)
    assert shop.execution.step()
    history = shop.history(command_id)
    assert history.command.status == "in_doubt"
    assert [event.name for event in history.events][-1] == "answered_late"
    shop.wait(20)
    assert came_to(shop.history(command_id)) == ("closed", None)
    assert (shop.desk.held(), len(shop.desk.sent)) == (6, 1)


def test_every_close_is_in_the_ledger_before_it_leaves(shop: Shop) -> None:
    seen: list[Any] = []

    def look(act: Callable[[], Any]) -> Any:
        with shop.ledger.reading() as connection:
            attempts = tables.attempts
            seen.extend(
                connection.execute(select(attempts.c.kind, attempts.c.outcome, attempts.c.request)).all()
            )
        return act()

    shop.desk.script("close", look)
    shop.carried_out(whole())

    assert seen == [("close", None, {"asks": "close all MES 12-26 Sim101"})]


# Several at once


@on_both_databases
def test_parts_of_one_position_add_up(shop: Shop) -> None:
    shop.take(part(4))
    shop.take(part(3), part(2))
    shop.work()

    assert shop.desk.sent == [f"close {n} MES 12-26 Sim101" for n in (4, 3, 2)]
    assert shop.desk.held() == 1


@on_both_databases
@pytest.mark.parametrize(
    "commands", [(part(4), whole()), (whole(), part(4))], ids=["part first", "whole first"]
)
def test_a_whole_close_goes_before_a_part_and_leaves_it_nothing(
    shop: Shop, commands: tuple[ClosePosition, ...]
) -> None:
    ids = dict(zip(commands, shop.take(*commands), strict=True))
    shop.work()

    assert shop.desk.sent == ["close all MES 12-26 Sim101"]
    assert came_to(shop.history(ids[whole()])) == ("closed", None)
    assert came_to(shop.history(ids[part(4)])) == ("superseded", None)


def test_a_read_back_that_fails_for_long_is_told(shop: Shop) -> None:
    shop.desk.script("positions", *[raises(OutcomeUnknown("cut"))] * 100)

    history = shop.carried_out(whole(), seconds=90)

    assert came_to(history) == ("working", "still_open")
    assert "can't be read back" in history.command.reason
    assert len(shop.desk.sent) == 1


def test_a_part_waits_behind_a_doubt_and_a_whole_close_does_not(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (doubtful,) = shop.take(part(4))
    shop.work()
    (waiting,) = shop.take(part(3))
    shop.wait(5)
    assert shop.history(waiting).command.status == "queued"
    (rescue,) = shop.take(whole())
    shop.work()

    assert came_to(shop.history(rescue)) == ("closed", None)
    shop.wait(40)
    assert came_to(shop.history(doubtful)) == ("superseded", None)
    assert came_to(shop.history(waiting)) == ("superseded", None)
    assert shop.desk.held() == 0


mishaps = st.sampled_from(
    [
        "none",
        "lost",
        "done and lost",
        "not sent",
        "throttled",
        "refused",
        "in part",
        "nothing",
        "says nothing open",
    ]
)


@given(
    script=st.lists(mishaps, max_size=4),
    quantity=st.integers(1, 12),
    reads=st.lists(st.booleans(), max_size=6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
def test_whatever_goes_wrong_a_part_is_closed_at_most_once(
    ledger: Ledger, script: list[str], quantity: int, reads: list[bool]
) -> None:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    shop = Shop(ledger, desk)
    moves = {
        "none": lambda act: act(),
        "lost": raises(LOST),
        "done and lost": raises(LOST, after_acting=True),
        "not sent": raises(NotSent("refused")),
        "throttled": raises(Throttled("later")),
        "refused": raises(Refused("no")),
        "in part": acts_in_part(desk, 1),
        "nothing": only_says(Report()),
        "says nothing open": only_says(Report(nothing_open=True)),
    }
    desk.script("close", *(moves[name] for name in script))
    desk.script("positions", *(raises(LOST) if fails else moves["none"] for fails in reads))

    history = shop.carried_out(part(quantity), seconds=200)

    wanted = max(0, 10 - quantity)
    assert wanted <= desk.held() <= 10
    assert (history.command.status == "closed") <= (desk.held() == wanted)
    assert sum(row.quantity or 0 for row in history.closed_positions) <= quantity
    done = [name for name in script if name in ("done and lost", "in part", "none")]
    assert history.command.status in (
        "closed",
        "in_doubt",
        "rejected",
        "working",
        "gave_up",
        "nothing_open",
    ), done
    with ledger.writing() as connection:  # the next example must not wait behind this one
        connection.execute(tables.commands.update().values(status="cancelled", due_at=None))


@given(
    command=st.sampled_from(
        [
            whole(),
            whole("MES"),
            whole(cancel_orders=False),
            part(4),
            part(12),
            FlattenMatching("nt8", account=SIM),
        ]
    ),
    script=st.lists(
        st.sampled_from(["lost", "done and lost", "in part and lost", "not sent", "throttled"]), max_size=3
    ),
    trades=st.lists(st.tuples(st.integers(0, 30), st.integers(-12, 12).filter(bool)), max_size=4),
    clock=st.sampled_from([0, 0, -3600, -1, 1, 3600]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
def test_whatever_the_trader_does_meanwhile_a_close_acts_at_most_once(
    ledger: Ledger, command: Command, script: list[str], trades: list[tuple[int, int]], clock: int
) -> None:
    desk = Desk(clock=timedelta(seconds=clock))
    desk.hold(SIM, MES, 10)
    shop = Shop(ledger, desk)

    def in_part(act: Callable[[], Any]) -> Any:
        if desk.held() > 0:
            desk.trade(SIM, MES, -1, "5100")  # the price of our closes at this desk, and of no other trade
        raise LOST

    moves = {
        "lost": raises(LOST),
        "done and lost": raises(LOST, after_acting=True),
        "in part and lost": in_part,
        "not sent": raises(NotSent("refused")),
        "throttled": raises(Throttled("later")),
    }
    desk.script("close", *(moves[name] for name in script))

    shop.take(command)
    shop.work()
    for seconds, quantity in trades:
        shop.wait(seconds)
        desk.trade(SIM, MES, quantity)
    shop.wait(150)

    ours = [fill.quantity for fill in desk.executions if fill.price == 5100]
    assert len(ours) <= 1
    if command == part(4):
        assert sum(ours) <= 4
    with ledger.writing() as connection:  # the next example must not wait behind this one
        connection.execute(tables.commands.update().values(status="cancelled", due_at=None))


def test_a_fault_of_ours_sets_its_command_aside_and_no_other(shop: Shop) -> None:
    shop.desk.hold(SIM, "MNQ 12-26", 3)
    shop.desk.script("positions", raises(KeyError("a bug")))
    (faulty,) = shop.take(part(4))
    shop.work()
    (other,) = shop.take(whole("MNQ 12-26"))
    shop.work()

    assert came_to(shop.history(faulty)) == ("queued", "still_open")
    assert "worker's log" in shop.history(faulty).command.reason
    assert came_to(shop.history(other)) == ("closed", None)
    shop.wait(70)
    assert came_to(shop.history(faulty)) == ("closed", None)


def test_a_fault_of_ours_in_the_middle_of_a_call_is_a_doubt_like_a_death(shop: Shop) -> None:
    shop.desk.script("close", raises(KeyError("a bug"), after_acting=True))
    (command_id,) = shop.take(part(4))
    shop.work()
    assert came_to(shop.history(command_id)) == ("sending", None)
    shop.let_pass(31)
    Claims(shop.ledger, "another").recover()
    shop.wait(30)

    assert came_to(shop.history(command_id)) == ("closed", None)
    assert shop.desk.held() == 6
    assert len(shop.desk.sent) == 1
