"""Old alerts leave the ledger whole, after they were kept elsewhere, and nothing that is needed leaves it."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from app import archiving
from app.domain.failures import Refused
from app.ledger import archive, notices, readers, tables
from app.ledger.archive import Document
from app.ledger.claims import Claims
from app.ledger.connection import Ledger
from app.ledger.delivery import Delivery, Wish
from app.ledger.events import record
from app.ledger.intake import refuse
from app.ledger.notices import Cause
from app.ledger.once import KeyReused
from app.ledger.operators import NoSuchCommand, acknowledge, retry
from tests.conftest import on_both_databases, on_postgresql
from tests.desk import LOST, Desk, raises
from tests.shop import MES, SIM, Shop, part, whole
from tests.taking import accept

DAYS = 30
MOMENTS = {
    "alerts": ("received_at",),
    "commands": ("accepted_at", "expires_at", "first_attempt_at", "gives_up_at", "settled_at", "due_at"),
    "attempts": ("sent_at", "settles_at", "answered_at"),
    "closed_positions": ("closed_at",),
    "events": ("at",),
    "alert_keys": ("expires_at",),
    "notices": ("noted_at",),
}


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    desk = Desk()
    desk.hold(SIM, MES, 10)
    return Shop(ledger, desk)


def grow_old(ledger: Ledger, days: float) -> None:
    """All that is in the ledger happened so much earlier."""
    with ledger.writing() as connection:
        triggers = without_triggers(connection)
        for table, columns in MOMENTS.items():
            changes = ", ".join(f"{column} = {column} - :passed" for column in columns)
            connection.execute(text(f"UPDATE {table} SET {changes}"), {"passed": int(days * 86400e6)})
        for trigger in triggers:
            connection.exec_driver_sql(trigger)


def without_triggers(connection: Connection) -> list[str]:
    """Let events be changed. What makes it impossible again."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER USER"))
        return ["ALTER TABLE events ENABLE TRIGGER USER"]
    found = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'")
    ).all()
    for row in found:
        connection.exec_driver_sql(f"DROP TRIGGER {row.name}")
    return [row.sql for row in found]


def pruned(ledger: Ledger, days: float = DAYS) -> list[Document]:
    """What was handed over to be kept, and then deleted."""
    kept: list[Document] = []
    assert archiving.prune(ledger, days, kept.extend) == len(kept)
    return kept


def rows(ledger: Ledger) -> dict[str, int]:
    with ledger.reading() as connection:
        return {
            name: connection.execute(
                select(func.count()).select_from(tables.metadata.tables[name])
            ).scalar_one()
            for name in ("alerts", "commands", "attempts", "closed_positions", "events")
        }


def newest(shop: Shop) -> None:
    """An alert of today: the newest is never deleted."""
    shop.desk.hold(SIM, "ES 12-26", 1)
    shop.take(whole("ES 12-26"))
    shop.work()
    shop.wait(5)


def closed_long_ago(shop: Shop) -> str:
    (command_id,) = shop.take(part(4))
    shop.work()
    shop.wait(5)
    assert shop.history(command_id).command.status == "closed"
    grow_old(shop.ledger, DAYS + 1)
    return command_id


@on_both_databases
def test_what_is_old_and_settled_is_kept_whole_elsewhere_and_then_gone(shop: Shop) -> None:
    ledger = shop.ledger
    command_id = closed_long_ago(shop)
    history = shop.history(command_id)
    refuse(ledger, Delivery("futures", b"close", "close", "main"), "is no order", [])
    newest(shop)
    before = rows(ledger)
    (document,) = pruned(ledger)

    (command,) = document["commands"]
    assert (command["id"], command["status"], command["quantity"]) == (command_id, "closed", "4")
    assert [it["request"] for it in command["attempts"]] == [it.request for it in history.attempts]
    assert [it["name"] for it in command["events"]] == [it.name for it in history.events]
    assert [it["quantity"] for it in command["closed_positions"]] == ["4"]
    json.dumps(document)
    gone = {name: count - rows(ledger)[name] for name, count in before.items()}
    events = len(history.events)
    assert gone == {
        "alerts": 1,
        "commands": 1,
        "attempts": len(history.attempts),
        "closed_positions": 1,
        "events": events,
    }
    assert pruned(ledger) == []


@on_both_databases
def test_what_is_young_open_in_doubt_or_asks_for_somebody_stays(shop: Shop) -> None:
    ledger = shop.ledger
    shop.desk.script("close", raises(LOST))
    (doubtful,) = shop.take(part(1))
    shop.wait(200)
    shop.desk.script("close", raises(Refused("the market is closed")))
    (asking,) = shop.take(whole("NQ 12-26"))
    shop.work()
    assert shop.history(asking).command.attention == "rejected"
    grow_old(ledger, DAYS + 1)
    newest(shop)
    assert (pruned(ledger), archiving.prunable(ledger, DAYS)) == ([], 0)

    acknowledge(ledger, asking, "ada", "closed by hand")
    newest(shop)
    assert (pruned(ledger), archiving.prunable(ledger, DAYS)) == ([], 0)  # somebody looked at it just now
    grow_old(ledger, DAYS + 1)
    newest(shop)
    assert archiving.prunable(ledger, DAYS) >= 1
    (document, *_) = pruned(ledger)
    assert document["commands"][0]["id"] == asking
    assert shop.history(doubtful).command.status == "in_doubt"
    with pytest.raises(NoSuchCommand):
        retry(ledger, asking, "ada", "too late", max_age=300)


def test_the_days_are_those_since_it_was_settled(shop: Shop) -> None:
    shop.desk.script("close", raises(LOST))
    (command_id,) = shop.take(part(1))
    shop.wait(200)
    grow_old(shop.ledger, DAYS + 1)
    with shop.ledger.writing() as connection:  # an operator resolved it yesterday
        triggers = text(
            "UPDATE commands SET status = 'cancelled', attention = NULL, settled_at = accepted_at + :some"
        )
        connection.execute(triggers, {"some": int(DAYS * 86400e6)})
    newest(shop)

    assert pruned(shop.ledger) == []
    grow_old(shop.ledger, DAYS)
    assert [it["commands"][0]["id"] for it in pruned(shop.ledger)] == [command_id]


@on_both_databases
def test_a_command_that_is_retried_meanwhile_stays(shop: Shop) -> None:
    ledger = shop.ledger
    shop.desk.script("close", raises(Refused("the market is closed")))
    (command_id,) = shop.take(part(4))
    shop.work()
    acknowledge(ledger, command_id, "ada", "later")
    newest(shop)
    grow_old(ledger, DAYS + 1)
    newest(shop)
    assert archiving.prunable(ledger, DAYS) == 2
    again = retry(ledger, command_id, "ada", "now", max_age=300)

    assert len(pruned(ledger)) == 1
    assert shop.history(again).command.status == "queued"


@on_both_databases
@pytest.mark.parametrize("key", ["a header", None])
def test_a_repeat_of_what_was_deleted_is_a_repeat_still(shop: Shop, key: str | None) -> None:
    ledger = shop.ledger
    delivery = Delivery("futures", b"close 4 MES 12-26", "close 4 MES 12-26", "main", header_key=key)
    wish = Wish([part(4)], dedupe_window=2 * DAYS * 86400)
    first = accept(ledger, delivery, wish)
    shop.work()
    shop.wait(5)
    grow_old(ledger, DAYS + 1)
    newest(shop)
    assert len(pruned(ledger)) == 1

    again = accept(ledger, delivery, wish)
    assert (again.duplicate, again.alert, list(again.commands)) == (True, first.alert, [])
    if key:
        with pytest.raises(KeyReused):
            accept(ledger, Delivery("futures", b"other", "other", "main", header_key=key), wish)


def test_what_could_not_be_kept_is_not_deleted(shop: Shop) -> None:
    command_id = closed_long_ago(shop)
    newest(shop)

    def full(documents: Sequence[Document]) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        archiving.prune(shop.ledger, DAYS, full)
    assert shop.history(command_id).command.status == "closed"


def test_the_newest_rows_stay_so_that_numbers_are_not_given_again(shop: Shop) -> None:
    closed_long_ago(shop)
    grow_old(shop.ledger, DAYS)

    assert pruned(shop.ledger) == []
    assert all(rows(shop.ledger).values())


@on_both_databases
def test_many_are_deleted_in_several_transactions(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "AT_ONCE", 3)
    monkeypatch.setattr(archiving, "BETWEEN", 0)
    for number in range(11):
        refuse(ledger, Delivery("futures", b"x", f"text {number}", "main"), "is no order", [])
    grow_old(ledger, DAYS + 1)
    calls: list[int] = []
    kept: list[Document] = []

    def keep(documents: Sequence[Document]) -> None:
        calls.append(len(documents))
        kept.extend(documents)

    assert archiving.prune(ledger, DAYS, keep) == 10
    assert calls == [3, 3, 3, 1]
    assert [it["text"] for it in kept] == [f"text {number}" for number in range(10)]


@on_both_databases
def test_nobody_waits_while_what_goes_is_written_down(shop: Shop) -> None:
    closed_long_ago(shop)
    newest(shop)
    others = Ledger(shop.ledger.url.render_as_string(hide_password=False))

    def slow_disk(documents: Sequence[Document]) -> None:
        accept(others, Delivery("futures", b"meanwhile", "meanwhile", "main"), Wish([whole("NQ 12-26")]))
        assert Claims(others, "other").take(["nt8"])

    assert archiving.prune(shop.ledger, DAYS, slow_disk) == 1
    others.dispose()


@on_both_databases
def test_what_came_again_or_was_looked_at_while_it_was_written_down_stays(shop: Shop) -> None:
    command_id = closed_long_ago(shop)
    newest(shop)
    (first,) = (it["id"] for it in archive.prunable(shop.ledger, next(archive.chunks(shop.ledger, DAYS))))
    for change in ("deliveries = deliveries + 1", "deliveries = deliveries"):

        def meanwhile(documents: Sequence[Document], change: str = change) -> None:
            with shop.ledger.writing() as connection:
                connection.execute(text(f"UPDATE alerts SET {change} WHERE id = :it"), {"it": first})
                if change == "deliveries = deliveries":
                    record(connection, command_id, "looked_at", "ada")

        assert archiving.prune(shop.ledger, DAYS, meanwhile) == 0
    assert shop.history(command_id).command.status == "closed"


@on_postgresql
def test_a_repeat_that_meets_its_own_pruning_waits_for_it_or_keeps_it(shop: Shop) -> None:
    delivery = Delivery("futures", b"x", "x", "main", header_key="a key")
    first = accept(shop.ledger, delivery, Wish([part(4)]))
    shop.work()
    shop.wait(5)
    grow_old(shop.ledger, DAYS + 1)
    newest(shop)
    chunk = next(archive.chunks(shop.ledger, DAYS))
    documents = archive.prunable(shop.ledger, chunk)
    assert [it["id"] for it in documents] == [first.alert]
    with shop.ledger.writing() as connection:  # a repeat that counts itself just now
        connection.execute(text("UPDATE alerts SET deliveries = 2 WHERE id = :it"), {"it": first.alert})
        assert archive.prune(shop.ledger, chunk, documents) == 0

    with shop.ledger.writing() as connection:  # it is being deleted just now
        connection.execute(text("SELECT 1 FROM alerts WHERE id = :it FOR UPDATE"), {"it": first.alert})
        repeat = threading.Thread(target=accept, args=(shop.ledger, delivery, Wish([part(4)])))
        repeat.start()
        repeat.join(0.3)
        assert repeat.is_alive()
        commands = text("SELECT id FROM commands WHERE alert = :it")
        (command,) = connection.execute(commands, {"it": first.alert}).scalars()
        for table in ("attempts", "closed_positions", "events"):
            connection.execute(text(f"DELETE FROM {table} WHERE command = :it"), {"it": command})
        connection.execute(text("DELETE FROM commands WHERE id = :it"), {"it": command})
        connection.execute(text("DELETE FROM alerts WHERE id = :it"), {"it": first.alert})
    repeat.join(10)
    again = accept(shop.ledger, delivery, Wish([part(4)]))
    assert (again.duplicate, again.alert) == (True, first.alert)


@on_both_databases
def test_the_last_that_each_hook_heard_stays(ledger: Ledger) -> None:
    for hook, number in (("quiet", 1), ("busy", 2), ("busy", 3)):
        refuse(ledger, Delivery(hook, b"x", f"text {number}", "main"), "is no order", [])
    grow_old(ledger, DAYS + 1)

    assert [it["text"] for it in pruned(ledger)] == ["text 2"]
    assert readers.last_heard(ledger, "quiet") is not None


@on_both_databases
def test_what_a_wider_close_took_over_stays_as_long_as_that_goes_on(shop: Shop) -> None:
    (first,), (second,) = shop.take(part(1)), shop.take(whole("NQ 12-26"))
    with shop.ledger.writing() as connection:
        done = text(
            "UPDATE commands SET status = 'superseded', superseded_by = :by, due_at = NULL, "
            "settled_at = accepted_at WHERE id = :it"
        )
        connection.execute(done, {"by": second, "it": first})
    grow_old(shop.ledger, DAYS + 1)
    shop.take(whole("ES 12-26"))

    assert pruned(shop.ledger) == []


def test_half_a_line_of_a_full_disk_swallows_no_alert(shop: Shop, tmp_path: Path) -> None:
    closed_long_ago(shop)
    newest(shop)
    path = tmp_path / "archive.jsonl"
    path.write_text('{"id": "whole"}\n{"id": "ha')
    with archiving.archived_in(path) as keep:
        archiving.prune(shop.ledger, DAYS, keep)

    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"id": "whole"}', '{"id": "ha']
    assert json.loads(lines[2])["commands"][0]["status"] == "closed"


@on_both_databases
def test_an_export_beside_a_prune_shows_each_alert_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    closed_long_ago(shop)
    newest(shop)
    documents = archive._documents

    def meanwhile(connection: Connection, rows: Any) -> list[Document]:
        monkeypatch.undo()
        archiving.prune(shop.ledger, DAYS, forget)
        return documents(connection, rows)

    monkeypatch.setattr(archive, "_documents", meanwhile)
    exported = list(archive.documents(shop.ledger))
    assert [len(it["commands"]) for it in exported] == [1, 1]
    assert len(exported[0]["commands"][0]["events"]) > 3
    assert rows(shop.ledger)["alerts"] == 1


def forget(documents: Sequence[Document]) -> None:
    pass


@on_both_databases
def test_events_of_this_week_or_of_what_is_open_can_not_be_deleted(shop: Shop) -> None:
    ledger = shop.ledger
    shop.desk.script("close", raises(LOST))
    shop.take(part(1))
    shop.wait(200)
    for days in (6.9, 8.0):  # too young; then old, and in doubt still
        grow_old(ledger, days)
        with pytest.raises(DBAPIError, match="append-only"), ledger.writing() as connection:
            connection.execute(tables.events.delete())
    with ledger.writing() as connection:
        connection.execute(text("UPDATE commands SET settled_at = accepted_at, status = 'cancelled'"))
        connection.execute(tables.events.delete())

    assert rows(ledger)["events"] == 0


@on_both_databases
def test_what_lies_beside_goes_too_but_for_what_lasts(ledger: Ledger) -> None:
    (command,) = accept(ledger, Delivery("f", b"c", "c", "main"), Wish([whole()], dedupe_window=0)).commands
    abouts = (f"command {'1' * 32} gave_up", "health redis a", "alert 2", f"command {command.id} in_doubt")
    causes = [Cause(about, "health", "text") for about in abouts]
    notices.note(ledger, causes, ["here"])
    notices.watched_since(ledger, "hook futures")
    notices.over(ledger, "health redis a")
    notices.note(ledger, [Cause("health broker nt8", "health", "text")], ["here"])
    taken = notices.take(ledger, "here")
    notices.told(ledger, [it for it in taken if it.text])
    notices.note(ledger, [Cause("command 3 expired", "expired", "not told yet")], ["here"])
    accept(ledger, Delivery("futures", b"a", "a", "main"), Wish([whole()]))
    accept(ledger, Delivery("futures", b"b", "b", "main", header_key="b"), Wish([whole()]))
    grow_old(ledger, DAYS + 1)
    pruned(ledger)

    with ledger.reading() as connection:
        found = set(connection.execute(select(tables.notices.c.about)).scalars())
        keys = connection.execute(select(func.count()).select_from(tables.alert_keys)).scalar()
    assert found == {
        "watch hook futures",
        "health broker nt8",
        "command 3 expired",
        f"command {command.id} in_doubt",
    }
    assert keys == 1


@on_both_databases
def test_an_export_holds_what_was_received_in_a_time_oldest_first(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "AT_ONCE", 2)
    for number in range(5):
        refuse(shop.ledger, Delivery("futures", b"x", f"text {number} \n \ud800", "main"), "is no order", [])
    closed_long_ago(shop)
    newest(shop)
    with shop.ledger.reading() as connection:
        moments = (
            connection.execute(select(tables.alerts.c.received_at).order_by(tables.alerts.c.seq))
            .scalars()
            .all()
        )
    path = tmp_path / "export.jsonl"
    with path.open("w") as file:
        assert archiving.export(shop.ledger, file, moments[1], moments[-1]) == 5

    lines: list[Any] = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"][:6] for line in lines] == ["text 1", "text 2", "text 3", "text 4", "a text"]
    assert lines[-1]["commands"][0]["events"][0]["name"] == "accepted"
