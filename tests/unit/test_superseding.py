"""A wider close takes over what it leaves nothing to do, and nothing else."""

import pytest

from app.domain.commands import ClosePosition, Command, FlattenEverything, FlattenMatching
from app.domain.failures import NotSent, OutcomeUnknown, Refused, Throttled
from app.domain.positions import Side
from app.ledger.connection import Ledger
from tests.conftest import on_both_databases
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SETTINGS, SIM, Shop, came_to, part, whole

MNQ = "MNQ 12-26"


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


def held_back(shop: Shop, command: Command) -> str:
    """A command that could not be sent yet, and waits for some seconds."""
    shop.desk.script("close", raises(Throttled("too fast", retry_after=30)))
    (command_id,) = shop.take(command)
    shop.work()
    assert shop.history(command_id).command.status == "queued"
    shop.desk.sent.clear()
    return command_id


CONTAINED: list[tuple[Command, Command, bool]] = [
    (whole(), part(), True),
    (whole(), part(side=Side.LONG), True),
    (whole(), whole(), True),
    (whole(), whole("mes 12-26"), True),
    (whole("MES"), part(), True),  # what is open is that contract
    (whole("MESZ2026"), part(), True),
    (whole(side=Side.LONG), part(side=Side.LONG), True),
    (whole(side=Side.LONG), part(), False),
    (whole(), ClosePosition("nt8", SIM, "MES"), False),  # it may mean another contract by then
    (whole(), FlattenMatching("nt8", account=SIM), False),
    (whole(), FlattenMatching("nt8", instrument=MES), False),
    (FlattenMatching("nt8", account=SIM), ClosePosition("nt8", "SIM101", MES), True),
    (FlattenMatching("nt8", account=SIM), whole("MES"), True),
    (FlattenMatching("nt8", account=SIM), FlattenMatching("nt8", account=SIM, side=Side.LONG), True),
    (FlattenMatching("nt8", account=SIM, side=Side.LONG), part(), False),
    (FlattenMatching("nt8", instrument=MES), part(), True),
    (FlattenMatching("nt8", side=Side.LONG), part(side=Side.LONG), True),
    (FlattenEverything("nt8"), part(), True),
    (FlattenEverything("nt8"), FlattenMatching("nt8", account=SIM), True),
    (part(), part(2), False),
    # Whose orders nobody else cancels goes on.
    (FlattenMatching("nt8", account=SIM, cancel_orders=False), whole(), False),
    (whole(cancel_orders=False), part(), True),
]


@on_both_databases
@pytest.mark.parametrize(("wide", "narrow", "superseded"), CONTAINED, ids=lambda it: str(it)[:50])
def test_what_is_wholly_contained_and_unsent_is_superseded(
    shop: Shop, wide: Command, narrow: Command, superseded: bool
) -> None:
    command_id = held_back(shop, narrow)
    (taker,) = shop.take(wide)
    shop.work()

    command = shop.history(command_id).command
    assert (command.status == "superseded") is superseded
    if superseded:
        assert taker in command.reason
        assert (command.attention, command.due_at) == (None, None)
        shop.wait(40)
        assert len(shop.desk.sent) == 1


def test_a_part_that_backed_off_never_meets_what_was_opened_next(shop: Shop) -> None:
    command_id = held_back(shop, part(4))
    shop.take(whole())
    shop.work()
    shop.desk.hold(SIM, MES, 10)  # somebody enters anew, as large as before
    shop.wait(60)

    assert shop.history(command_id).command.status == "superseded"
    assert shop.desk.held() == 10


def test_other_instruments_and_accounts_go_on(shop: Shop) -> None:
    shop.desk.hold(SIM, MNQ, 3)
    shop.desk.hold("Sim102", MES, 3)
    others = [
        held_back(shop, ClosePosition("nt8", SIM, MNQ)),
        held_back(shop, ClosePosition("nt8", "Sim102", MES)),
    ]
    shop.take(whole())
    shop.wait(60)

    assert [shop.history(it).command.status for it in others] == ["closed", "closed"]


def test_what_never_left_supersedes_nothing(shop: Shop) -> None:
    waiting = held_back(shop, part(4))
    shop.desk.script("positions", raises(OutcomeUnknown("cut")))
    (wide,) = shop.take(whole("MES"))  # the read that would tell the contract fails
    shop.work()

    assert shop.history(wide).command.status == "queued"
    assert shop.history(waiting).command.status == "queued"


def test_who_took_over_tries_again_by_itself_and_its_refusal_is_told(shop: Shop) -> None:
    waiting = held_back(shop, part(4))
    shop.desk.script("close", raises(NotSent("refused to connect")), raises(Refused("the market is closed")))
    (wide,) = shop.take(whole())
    shop.wait(20)

    assert shop.history(waiting).command.status == "superseded"
    assert came_to(shop.history(wide)) == ("rejected", "rejected")


# In doubt


def doubtful(shop: Shop, *, done: bool = False) -> str:
    shop.desk.script("close", raises(LOST, after_acting=done))
    (command_id,) = shop.take(part(4))
    shop.work()
    assert shop.history(command_id).command.status == "in_doubt"
    return command_id


@on_both_databases
@pytest.mark.parametrize("done", [True, False])
def test_a_doubt_is_superseded_when_the_position_is_read_flat_after_its_window(
    shop: Shop, done: bool
) -> None:
    command_id = doubtful(shop, done=done)
    (wide,) = shop.take(whole())
    shop.work()
    assert shop.history(wide).command.status == "closed"
    assert shop.history(command_id).command.status == "in_doubt"  # it may still come
    shop.wait(SETTINGS.settle_window + 1)

    history = shop.history(command_id)
    assert came_to(history) == ("superseded", None)
    assert history.closed_positions == []
    assert len(shop.desk.sent) == 2


def test_a_doubt_that_only_a_person_could_settle_is_looked_at_when_a_wider_close_is_done(shop: Shop) -> None:
    command_id = doubtful(shop)
    shop.wait(200)
    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")
    shop.take(whole())
    shop.wait(2)

    assert came_to(shop.history(command_id)) == ("superseded", None)


def test_a_doubt_stays_one_when_its_window_was_open_and_something_is_open_now(shop: Shop) -> None:
    command_id = doubtful(shop)
    shop.take(whole())
    shop.work()
    shop.desk.hold(SIM, MES, 10)
    shop.desk.script("fills", *[raises(Refused("no executions here"))] * 50)
    shop.wait(200)

    status, attention = came_to(shop.history(command_id))
    assert (status, attention) == ("in_doubt", "in_doubt")


def test_a_doubt_waits_for_a_wider_close_that_hangs_and_a_person_is_told(shop: Shop) -> None:
    command_id = doubtful(shop)
    shop.desk.script("close", raises(LOST))
    shop.desk.script("fills", *[raises(Refused("no executions here"))] * 200)
    (wide,) = shop.take(whole())
    shop.wait(300)

    assert came_to(shop.history(wide)) == ("in_doubt", "in_doubt")
    assert came_to(shop.history(command_id)) == ("in_doubt", "in_doubt")
