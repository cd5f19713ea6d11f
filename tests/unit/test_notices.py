"""What people are told: each cause once to each address, again until it is taken, and no secret on the way."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app.alerts.hooks import Hook
from app.domain.causes import CAUSES, HEALTH, HEARTBEAT
from app.domain.statuses import Attention, Status
from app.domain.venues import VENUES
from app.ledger import notices, questions, tables
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish, new_id
from app.ledger.heartbeats import Heartbeat
from app.ledger.intake import refuse
from app.ledger.notices import Cause
from app.ledger.types import from_now
from app.messages import is_address, name_of, send
from app.notifying import GONE_FOR, Lookout, Notifier
from app.queueing import Doorbell
from config.file import Notify
from config.secrets import Secret
from tests.conftest import on_both_databases
from tests.mailbox import Mailbox, mailbox
from tests.running import free_port
from tests.shop import whole
from tests.taking import accept
from tests.unit.test_claims import set_on
from workers.watching import Watch

URL = "https://flatwire.example"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


def notifier(ledger: Ledger, *urls: str, on: tuple[str, ...] = CAUSES) -> Notifier:
    return Notifier(ledger, Notify(tuple(Secret(url) for url in urls), frozenset(on)), URL)


def asking(ledger: Ledger, attention: Attention = Attention.IN_DOUBT, reason: str = "no answer came") -> str:
    """A command that asks for a person."""
    taken = accept(ledger, Delivery("futures", new_id().encode(), "close", "main"), Wish([whole()]))
    command = str(taken.commands[0].id)
    set_on(ledger, command, status=Status.IN_DOUBT, attention=attention, reason=reason)
    return command


def rows(ledger: Ledger) -> list[Any]:
    with ledger.reading() as connection:
        return list(connection.execute(select(tables.notices).order_by(tables.notices.c.seq)).all())


def due_now(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        later = tables.notices.c.due_at.is_not(None)
        connection.execute(update(tables.notices).where(later).values(due_at=from_now(-1)))


@on_both_databases
def test_a_command_that_needs_a_person_is_told_once_with_its_page(ledger: Ledger, box: Mailbox) -> None:
    command = asking(ledger)
    for _ in range(3):
        notifier(ledger, box.url).once()

    (message,) = box.messages
    assert message[0] == "Flatwire: in_doubt"
    assert "close MES 12-26 in Sim101 at nt8: no answer came" in message[1]
    assert message[1].endswith(f"{URL}/commands/{command}")


@on_both_databases
def test_another_cause_of_the_same_command_is_told_too(ledger: Ledger, box: Mailbox) -> None:
    command = asking(ledger)
    notifier(ledger, box.url).once()
    set_on(ledger, command, attention=Attention.UNPROTECTED)
    notifier(ledger, box.url).once()

    assert [title for title, _ in box.messages] == ["Flatwire: in_doubt", "Flatwire: unprotected"]


@on_both_databases
def test_many_that_tell_at_once_tell_once(ledger: Ledger, box: Mailbox) -> None:
    for _ in range(5):
        asking(ledger)
    begin = threading.Barrier(6)

    def tell(_: int) -> None:
        teller = notifier(ledger, box.url)
        begin.wait()
        teller.once()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tell, range(6)))
    notifier(ledger, box.url).once()

    assert box.text.count("no answer came") == 5


@on_both_databases
def test_what_an_address_did_not_take_is_told_again_and_only_there(ledger: Ledger, box: Mailbox) -> None:
    with mailbox() as other:
        asking(ledger)
        box.broken = True
        notifier(ledger, box.url, other.url).once()
        assert (len(box.messages), len(other.messages)) == (0, 1)
        assert notices.undelivered(ledger) == {name_of(Secret(box.url)): 1}

        box.broken = False
        notifier(ledger, box.url, other.url).once()
        assert box.messages == []  # not yet: ten seconds have not passed
        due_now(ledger)
        notifier(ledger, box.url, other.url).once()
        assert (len(box.messages), len(other.messages)) == (1, 1)
    assert notices.undelivered(ledger) == {}


def test_an_address_that_never_takes_anything_is_left_in_the_end_and_shown(ledger: Ledger) -> None:
    asking(ledger)
    nobody = notifier(ledger, f"json://127.0.0.1:{free_port()}/a-secret-path")
    waits = []
    with capture_logs() as logs:
        for _ in range(notices.TRIES):
            due_now(ledger)
            nobody._told_at = dict.fromkeys(nobody.addresses, float("-inf"))
            nobody.once()
            (row,) = rows(ledger)
            waits.append(None if row.due_at is None else row.due_at - row.noted_at)

    assert waits[-1] is None
    assert waits[0] < timedelta(seconds=20) < timedelta(minutes=50) < waits[-2]
    assert list(notices.undelivered(ledger).values()) == [1]
    assert "a-secret-path" not in str(logs)


def test_a_storm_comes_in_one_message_the_gravest_first(ledger: Ledger, box: Mailbox) -> None:
    for number in range(30):
        asking(ledger, Attention.REJECTED if number else Attention.UNPROTECTED)
    teller = notifier(ledger, box.url)
    teller.once()
    asking(ledger)
    teller.once()  # within ten seconds: with the next

    ((title, text),) = box.messages
    assert len(text) < 1900  # what Discord takes, say
    assert title == "Flatwire: 30 things to look at"
    assert "unprotected" in text.splitlines()[0]
    assert text.splitlines()[-1] == f"… and 24 more: {URL}/attention"


def test_what_is_not_wanted_is_not_told(ledger: Ledger, box: Mailbox) -> None:
    asking(ledger)
    notifier(ledger, box.url, on=("rejected",)).once()

    assert (box.messages, rows(ledger)) == ([], [])


def test_what_is_of_long_ago_is_told_to_nobody(ledger: Ledger, box: Mailbox) -> None:
    then = from_now(-2 * 86_400)
    set_on(ledger, asking(ledger), status=Status.REJECTED, accepted_at=then, settled_at=then)
    notifier(ledger, box.url).once()

    assert box.messages == []


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_held_over_a_weekend_and_fails_now_is_told(
    ledger: Ledger, box: Mailbox, settled: bool
) -> None:
    times = {"accepted_at": from_now(-2 * 86_400), "settled_at": from_now(0) if settled else None}
    set_on(ledger, asking(ledger), **times)
    notifier(ledger, box.url).once()

    assert len(box.messages) == 1


def test_what_is_new_is_not_given_up_with_what_is_old(ledger: Ledger, box: Mailbox) -> None:
    asking(ledger, reason="an old one")
    box.broken = True
    notifier(ledger, box.url).once()
    with ledger.writing() as connection:
        connection.execute(update(tables.notices).values(tries=notices.TRIES - 1, due_at=from_now(-1)))
    asking(ledger, reason="a new one")
    notifier(ledger, box.url).once()
    box.broken = False
    due_now(ledger)
    notifier(ledger, box.url).once()

    assert "a new one" in box.text
    assert "an old one" not in box.text


def test_each_of_many_refusals_is_noted(ledger: Ledger, box: Mailbox) -> None:
    for number in range(150):
        refuse(ledger, Delivery("futures", str(number).encode(), str(number), "main"), "no", [])
    it = notifier(ledger, box.url)
    for _ in range(2):
        it.once()

    assert len(rows(ledger)) == 150


@on_both_databases
def test_a_refused_alert_is_told_once(ledger: Ledger, box: Mailbox) -> None:
    refuse(ledger, Delivery("futures", b"cloze", "cloze", "main"), "there is no action", [])
    for _ in range(2):
        notifier(ledger, box.url).once()

    ((title, text),) = box.messages
    assert title == "Flatwire: refused"
    assert "hook futures: there is no action" in text


def test_others_words_can_not_turn_a_message_round(ledger: Ledger, box: Mailbox) -> None:
    asking(ledger, reason="a\nb\x1b[31m\u202e@everyone\ud800" + "x" * 999)
    notifier(ledger, box.url).once()

    ((_, text),) = box.messages
    assert len(text.splitlines()) == 1
    assert len(text) < 300
    assert not {"\x1b", "\u202e", "@"} & set(text)


@pytest.mark.parametrize(
    ("address", "known"), [("json://127.0.0.1", True), ("mailto", False), ("tgram://x", False), ("", False)]
)
def test_addresses_that_apprise_does_not_know_are_told_apart(address: str, known: bool) -> None:
    assert is_address(address) is known
    assert known or not send(Secret(address), "title", "text")


# Silence


class Bell:
    """A doorbell that answers as it is told to."""

    answer: bool | None = True

    def answers(self) -> bool | None:
        return self.answer


def watch(ledger: Ledger, box: Mailbox, *hooks: Hook, doorbell: Any = None) -> Watch:
    Heartbeat(ledger, "worker-1").beat("1")
    return Watch(
        ledger,
        notifier(ledger, box.url),
        doorbell or Doorbell(None),
        {hook.name: hook for hook in hooks},
        {} if hooks else {"nt8": object()},
    )


def told(it: Watch) -> None:
    """What it noted is delivered now."""
    it.notifier._told_at = dict.fromkeys(it.notifier.addresses, float("-inf"))
    it.notifier.once()


LISTENING = Hook("futures", "nt8", VENUES["crosstrade"], heartbeat=3600)


def heard(ledger: Ledger, seconds_ago: float) -> None:
    """The last that the hook heard is of then."""
    accept(ledger, Delivery("futures", new_id().encode(), "", "main"), Wish([], ignored="a sign of life"))
    with ledger.writing() as connection:
        connection.execute(update(tables.alerts).values(received_at=from_now(-seconds_ago)))


@on_both_databases
def test_a_hook_that_hears_nothing_is_told_once_for_each_silence(ledger: Ledger, box: Mailbox) -> None:
    heard(ledger, 3500)
    expected = [(3500, 0), (3700, 1), (3800, 1), (10, 2), (20, 2), (3700, 3)]
    for seconds_ago, messages in expected:
        heard(ledger, seconds_ago)
        it = watch(ledger, box, LISTENING)  # a restart is no alert
        it.look()
        told(it)
        assert len(box.messages) == messages, seconds_ago
    assert [HEARTBEAT in title for title, _ in box.messages] == [True] * 3
    assert "hears again" in box.messages[1][1]


@on_both_databases
def test_a_hook_that_never_heard_anything_is_silent_since_somebody_watches(
    ledger: Ledger, box: Mailbox
) -> None:
    for days in (0, 1, 2):
        with ledger.writing() as connection:
            connection.execute(update(tables.notices).values(noted_at=from_now(-3000 * days)))
        it = watch(ledger, box, LISTENING)
        it.look()
        told(it)
    assert [HEARTBEAT in title for title, _ in box.messages] == [True]


def test_redis_is_told_when_it_is_gone_and_when_it_is_back(ledger: Ledger, box: Mailbox) -> None:
    doorbell = Bell()
    it = watch(ledger, box, doorbell=doorbell)
    for doorbell.answer, said in (
        (True, 0),
        (False, 0),
        (False, 1),
        (False, 1),
        (True, 2),
        (True, 2),
        (None, 2),
    ):
        it.look()
        told(it)
        assert len(box.messages) == said
    assert "Redis answers again" in box.messages[-1][1]


@on_both_databases
def test_a_broker_that_can_not_be_read_is_told_before_an_exit_needs_it(ledger: Ledger, box: Mailbox) -> None:
    it = watch(ledger, box)

    def reads(found: dict[str, Any]) -> None:
        it.look()
        question = questions.take(ledger, "nt8")
        assert question, "each look asks for a reading"
        questions.answer(ledger, question, found)
        with ledger.writing() as connection:  # it is fresh no more
            connection.execute(
                update(tables.questions).values(asked_at=from_now(-70), answered_at=from_now(-69))
            )

    good: dict[str, Any] = {"positions": [], "slowest": 0.2}
    away, slow = {"problem": "NinjaTrader is not connected"}, {"positions": [], "slowest": 6.2}
    for found in (good, away, away, good, slow, good, slow, slow, slow, good, good):
        reads(found)
        told(it)
    assert [text.partition(": ")[2].partition(" http")[0] for _, text in box.messages] == [
        "broker nt8: NinjaTrader is not connected",
        "broker nt8 answers again",
        "broker nt8: it is slow: 6.2 s for a list of positions",
        "broker nt8 answers again",
    ]


def test_a_broker_that_nobody_reads_is_told(ledger: Ledger, box: Mailbox) -> None:
    it = watch(ledger, box)
    for _ in range(3):
        it.look()
        with ledger.writing() as connection:  # a minute passes
            connection.execute(update(tables.questions).values(asked_at=from_now(-60)))
    told(it)

    assert "no worker read it for 6" in box.text


def test_a_broker_that_was_asked_about_just_now_is_not_silent(ledger: Ledger, box: Mailbox) -> None:
    one, two = watch(ledger, box), watch(ledger, box)
    for _ in range(4):
        one.look()
        two.look()  # of another machine, half a second later
        question = questions.take(ledger, "nt8")
        assert question
        questions.answer(ledger, question, {"positions": []})
        with ledger.writing() as connection:
            connection.execute(
                update(tables.questions).values(asked_at=from_now(-60), answered_at=from_now(-59))
            )
    told(one)

    assert box.messages == []


def test_machines_with_lines_of_their_own_to_redis_do_not_contradict_each_other(
    ledger: Ledger, box: Mailbox
) -> None:
    gone = Bell()
    gone.answer = False
    one, two = watch(ledger, box, doorbell=Bell()), watch(ledger, box, doorbell=gone)
    one.machine = "another"
    for _ in range(5):
        for it in (one, two):
            it.look()
            told(it)

    assert len([text for _, text in box.messages if "Redis" in text]) == 1


@on_both_databases
def test_the_web_process_tells_when_no_worker_is_alive(ledger: Ledger, box: Mailbox) -> None:
    teller = notifier(ledger, box.url)
    lookout = Lookout(ledger, teller)
    lookout.once()
    assert box.messages == []
    assert lookout._gone_since is not None
    lookout._gone_since -= GONE_FOR
    for _ in range(3):
        lookout.once()
    assert [title for title, _ in box.messages] == [f"Flatwire: {HEALTH}"]

    Heartbeat(ledger, "worker-1").beat("1")
    lookout.once()
    teller._told_at = dict.fromkeys(teller.addresses, float("-inf"))
    teller.once()
    assert "a worker is alive again" in box.messages[-1][1]
    assert len(box.messages) == 2


def test_nothing_is_noted_of_what_is_not_wanted(ledger: Ledger, box: Mailbox) -> None:
    notifier(ledger, box.url, on=("rejected",)).note(Cause("health redis", HEALTH, "gone"))

    assert rows(ledger) == []
