"""The storm: many alerts from many senders while processes are killed, Redis dies and new versions are rolled out.

What each position should come to follows from the alerts that were taken alone, in whatever order they were: a position
is closed in parts, or by one percentage, or at last as a whole. At the end the venues' books must say just that.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import requests
from sqlalchemy import Select, func, select

from app.ledger import tables
from app.ledger.connection import Ledger
from tests.rehearsal.processes import Killable, killable_product
from tests.running import eventually
from tests.simulators.okx.instruments import INSTRUMENTS, PRICES
from tests.simulators.okx.records import Instrument

Position = tuple[str, str, str]
"""A hook, which means a venue; an account; an instrument."""

FUTURES = tuple(f"{root} 12-26" for root in ("MES", "MNQ", "ES", "NQ", "MYM", "M2K"))
TICKERS = ("AAPL", "TSLA", "GOOG", "MSFT", "NVDA", "AMZN")
CLIENTS = 8
PAUSE = 0.5
"""Seconds between two alerts of a client, on average: the weather must have time to change."""
DONE = ("closed", "nothing_open", "superseded")
DID_NOTHING = ("nothing_open", "expired", "gave_up")
"""Sent once more, an alert that came to this alone is taken anew."""
GARBAGE = (
    "close {{ticker}}",
    "action=close;instrument=AAPL;quanity=1",
    "action=close;instrument=AAPL;quantity=",
    "action=close;instrument=AAPL;account=nobody",
    '{"action": "flatten"}',
    "flatten everything",
    "buy 1 AAPL",
    "\ufffd",
)
"""All of it is to be refused."""


POINTS = (
    "web.accept:before",
    "web.accept:after",
    "web.accept:before:several",
    "web.accept:after:several",
    "web.ring:after",
    "claims.take:after",
    "journal.begin:before:close",
    "send:sent:close",
    "send:answered:close",
    "journal.move:before:sending-working",
    "journal.move:after:sending-working",
    "journal.move:before:working-closed",
)
"""Those of `failpoints/sitecustomize.py` after which the evidence decides: no kill there leaves a doubt for a person."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of the storm, however often it is sent."""

    hook: str
    text: str
    about: tuple[Position, ...] = ()
    """What it closes; nothing, if it is garbage."""
    takes: Decimal | None = None
    """How much; None: all."""


@dataclass(slots=True)
class Plan:
    """What is open at the beginning, and all alerts that will be sent."""

    open: dict[Position, Decimal] = field(default_factory=dict)
    """Below zero for a short."""
    alerts: list[Alert] = field(default_factory=list)

    def expected(self, taken: Iterable[Alert]) -> dict[Position, Decimal]:
        """What should be left once these were carried out."""
        left = dict(self.open)
        for alert in taken:
            for position in alert.about:
                held = left[position]
                reduced = held - (held.copy_sign(1) if alert.takes is None else alert.takes).copy_sign(held)
                left[position] = reduced if reduced * held > 0 else Decimal()
        return {position: held for position, held in left.items() if held}


@dataclass(slots=True)
class Tally:
    """What the senders were answered."""

    sent: int = 0
    """Deliveries; an alert may have several."""
    duplicates: int = 0
    unavailable: int = 0
    """Answered 503."""
    broken: int = 0
    """Not answered at all: the line broke."""
    refused: int = 0
    taken: set[Alert] = field(default_factory=set)
    wrongly: list[str] = field(default_factory=list)
    """What should have been taken and was refused, or the other way round."""


@dataclass(frozen=True, slots=True)
class StormResult:
    """What the storm left."""

    alerts: int
    sent: int
    accepted: int
    duplicates: int
    refused: int
    unavailable: int
    """503s."""
    broken: int
    """Deliveries whose line broke."""
    kills: dict[str, int]
    seconds: float
    lost: list[str]
    """Accepted, not done, and nobody told."""
    doubled: list[str]
    """Closed further than the accepted alerts asked."""
    wrongly_closed: list[str]
    """Still open, and all that asked for it is called closed."""
    told: list[str]
    """Not done, and a person was told."""
    wrongly_answered: list[str]
    statuses: dict[str, int]
    attention: dict[str, int]
    """Of commands that ask for a person: how many, by status and reason."""

    @property
    def fine(self) -> bool:
        return not (self.lost or self.doubled or self.wrongly_closed or self.wrongly_answered)


def storm(folder: Path, database_url: str, alerts: int = 1000, seed: int = 1) -> StormResult:
    """Three venues, two web processes, three workers, and everything that can happen to them."""
    chance = random.Random(seed)
    plan = planned(chance, alerts)
    accounts = tuple(sorted({account for hook, account, _ in plan.open if hook == "stocks"}))
    with (
        more_coins(plan),
        killable_product(
            folder, database_url, accounts=accounts, web_processes=2, workers=3, patience=1800
        ) as running,
    ):
        put(running, plan)
        started = time.monotonic()
        tally, kills = _raging(running, plan, chance)
        _calm(running, within=60 + alerts * 0.5)
        return _judged(running, plan, tally, kills, time.monotonic() - started)


# The plan


def planned(chance: random.Random, alerts: int) -> Plan:
    """A few at CrossTrade, whose limit is narrow, more at OKX, most at Clear Street; one in twenty is garbage."""
    plan = Plan()
    for text in chance.choices(GARBAGE, k=alerts // 20):
        plan.alerts.append(Alert("stocks", text))
    futures = chance.sample([(account, it) for account in ("Sim101", "Sim102") for it in FUTURES], 12)
    _closed(plan, chance, "futures", iter(futures), len(plan.alerts) + min(40, alerts // 12))
    coins = (("okx", f"COIN{number}-USDT-SWAP") for number in range(alerts))
    _closed(plan, chance, "crypto", coins, len(plan.alerts) + alerts // 8)
    _closed_or_flattened(plan, chance, alerts)
    plan.open["stocks", "19816", "AAPL"] = Decimal(100)  # a bystander
    return plan


def _closed_or_flattened(plan: Plan, chance: random.Random, until: int) -> None:
    """Accounts of some positions, each of them closed by itself, or all with one flatten behind some parts."""
    account = 20_000
    while len(plan.alerts) < until:
        account += 1
        name = str(account)
        tickers = chance.sample(TICKERS, 4)
        if account % 4:
            _closed(plan, chance, "stocks", iter([(name, ticker) for ticker in tickers]), until)
            continue
        positions = [_opened(plan, chance, "stocks", name, ticker) for ticker in tickers]
        for position in positions:
            _in_parts(plan, chance, position, chance.randint(0, 2))
        text = _text(chance, plan, action="flatten", account=name)
        plan.alerts.append(Alert("stocks", text, tuple(positions)))


def _closed(
    plan: Plan, chance: random.Random, hook: str, places: Iterator[tuple[str, str]], until: int
) -> None:
    for account, instrument in places:
        if len(plan.alerts) >= until:
            return
        position = _opened(plan, chance, hook, account, instrument)
        match chance.choice(("parts", "percent", "whole", "parts and whole")):
            case "parts":
                _in_parts(plan, chance, position, chance.randint(1, 6))
            case "percent":
                percent = chance.choice((25, 50, 75))
                takes = abs(plan.open[position]) * percent / 100
                text = _text(chance, plan, instrument=instrument, account=account, percent=f"{percent}%")
                plan.alerts.append(Alert(hook, text, (position,), takes))
            case "whole":
                _whole(plan, chance, position)
            case _:
                _in_parts(plan, chance, position, chance.randint(1, 4))
                _whole(plan, chance, position)


def _opened(plan: Plan, chance: random.Random, hook: str, account: str, instrument: str) -> Position:
    """A position of which all percentages that are asked for are whole numbers, and no number of parts is too many."""
    position = (hook, account, instrument)
    plan.open[position] = Decimal(4 * chance.randint(10, 30)) * chance.choice((1, -1))
    return position


def _in_parts(plan: Plan, chance: random.Random, position: Position, parts: int) -> None:
    hook, account, instrument = position
    for _ in range(parts):
        quantity = chance.randint(1, 6)
        text = _text(chance, plan, instrument=instrument, account=account, quantity=str(quantity))
        plan.alerts.append(Alert(hook, text, (position,), Decimal(quantity)))


def _whole(plan: Plan, chance: random.Random, position: Position) -> None:
    hook, account, instrument = position
    plan.alerts.append(Alert(hook, _text(chance, plan, instrument=instrument, account=account), (position,)))


def _text(chance: random.Random, plan: Plan, **fields: str) -> str:
    fields = {"action": "close", **fields, "id": f"storm-{len(plan.alerts)}"}
    if chance.random() < 0.5:
        return json.dumps(fields)
    return ";".join(f"{name}={value}" for name, value in fields.items())


# The books


@contextmanager
def more_coins(plan: Plan) -> Iterator[None]:
    """The simulated OKX lists four instruments: as many more as the plan has, counted one by one."""
    names = [instrument for hook, _, instrument in plan.open if hook == "crypto"]
    one = Decimal(1)
    listed = {name: Instrument(name, "SWAP", one, one, one, Decimal("0.01"), Decimal(9999)) for name in names}
    with mock.patch.dict(INSTRUMENTS, listed), mock.patch.dict(PRICES, dict.fromkeys(names, Decimal(100))):
        yield


def put(running: Killable, plan: Plan) -> None:
    """Open the positions of the plan, and no others."""
    futures, stocks, coins = running.futures.venue.book, running.stocks.venue.book, running.coins.venue.book
    for book in (futures, stocks, coins):
        book.clear_positions()
    for (hook, account, instrument), held in plan.open.items():
        side, quantity = "long" if held > 0 else "short", abs(held)
        match hook:
            case "futures":
                futures.set_position(account, instrument, side, int(quantity), 100.0)
            case "stocks":
                stocks.set_position(int(account), instrument, side, quantity, "100")
            case "crypto":
                coins.set_position(instrument, side, quantity)


def open_now(running: Killable) -> dict[Position, Decimal]:
    """What the venues' books say."""
    return {
        (market.hook, *place): held
        for market in running.markets.values()
        for place, held in market.positions().items()
    }


# The day


def _raging(running: Killable, plan: Plan, chance: random.Random) -> tuple[Tally, dict[str, int]]:
    """Send all alerts, and let things happen meanwhile."""
    deliveries = _deliveries(plan, chance)
    tally, lock, kills = Tally(), threading.Lock(), Counter[str]()
    over = threading.Event()
    weather = threading.Thread(target=_weather, args=(running, random.Random(chance.random()), kills, over))
    weather.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            for sent in [clients.submit(_deliver, running, alert, tally, lock) for alert in deliveries]:
                sent.result()
    finally:
        over.set()
        weather.join()
    return tally, dict(kills)


def _deliveries(plan: Plan, chance: random.Random) -> list[Alert]:
    """Each alert once, and one in four again, soon or much later."""
    deliveries = [(chance.random(), alert) for alert in plan.alerts]
    for alert in plan.alerts:
        if alert.about and chance.random() < 0.25:
            at = chance.random()
            # Two at the same moment, and a third at any.
            deliveries += [(at, alert), (at, alert), (chance.random(), alert)][: chance.randint(1, 3)]
    return [alert for _, alert in sorted(deliveries, key=lambda delivery: delivery[0])]


def _deliver(running: Killable, alert: Alert, tally: Tally, lock: threading.Lock) -> None:
    """Send an alert until it is answered, each time the same bytes: TradingView sends again after a 5xx."""
    time.sleep(random.uniform(0, 2 * PAUSE))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = running.product.send(alert.text, alert.hook)
        except requests.RequestException:
            with lock:
                tally.sent += 1
                tally.broken += 1
        else:
            with lock:
                tally.sent += 1
                if _heard(tally, alert, answer):
                    return
        time.sleep(0.3)
    with lock:
        tally.wrongly.append(f"not answered for a minute: {alert.text}")


def _heard(tally: Tally, alert: Alert, answer: requests.Response) -> bool:
    """Count an answer. False: the alert is to be sent again."""
    if answer.status_code == 503:
        tally.unavailable += 1
        return False
    if answer.status_code in (200, 202):
        tally.duplicates += answer.status_code == 200
        tally.taken.add(alert)
    else:
        tally.refused += 1
    if answer.ok is not bool(alert.about):
        tally.wrongly.append(f"{answer.status_code} for {alert.text}: {answer.text[:200]}")
    return True


def _weather(running: Killable, chance: random.Random, kills: Counter[str], over: threading.Event) -> None:
    """Let one thing after the other happen until it is over; everything at least once."""
    acts = [_kill_at_a_point, _kill_at_a_point, _kill_worker, _kill_web, _kill_redis, _empty_redis, _deploy]
    happened: set[Callable[[Killable], str]] = set()
    while not over.is_set() or len(happened) < len(set(acts)):
        chance.shuffle(acts)
        for act in acts:
            if over.is_set() and act in happened:
                continue
            over.wait(chance.uniform(0.5, 2.5))
            kills[act(running)] += 1
            happened.add(act)


def _kill_at_a_point(running: Killable) -> str:
    """Whoever comes there first dies; at most moments hardly anything is in flight."""
    point = random.choice(POINTS)
    running.arm(point)
    with suppress(AssertionError):
        eventually(lambda: running.death(point), within=3)
    died = running.death(point) is not None
    running.arm()
    return "killed at a point" if died else "nobody at the point"


def _kill_worker(running: Killable) -> str:
    """While the venues are slow: else most would die with nothing in flight."""
    for market in running.markets.values():
        for operation in sorted(market.closing_one):
            slow = random.choice(("hang_then_act", "act_then_hang"))
            market.venue.bad_day(slow, on=operation, seconds=0.6)
    time.sleep(0.5)
    _kill_one(running.product.worker_pids())
    return "worker killed"


def _kill_web(running: Killable) -> str:
    parent = running.product.processes["web"].pid
    _kill_one([int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()])
    return "web process killed"


def _kill_one(pids: Sequence[int]) -> None:
    if pids:
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGKILL)


def _kill_redis(running: Killable) -> str:
    running.redis.kill()
    time.sleep(0.5)
    running.redis.start()
    return "Redis killed"


def _empty_redis(running: Killable) -> str:
    running.redis.empty()
    return "Redis emptied"


def _deploy(running: Killable) -> str:
    """A new supervisor beside the old one, which is then told to end."""
    processes = running.product.processes
    leaving = processes.pop("worker")
    processes[f"leaving {leaving.pid}"] = leaving
    running.product.start("worker", "-m", "workers")
    time.sleep(1)
    leaving.terminate()
    return "deployed"


def _calm(running: Killable, within: float) -> None:
    """Wait until all is settled, or a person was told, with workers whose supervisor remembers no deaths."""
    _deploy(running)
    commands = tables.commands.c
    unsettled = select(func.count()).where(commands.settled_at.is_(None))
    with ledger_of(running) as ledger:

        def none(counted: Select[Any]) -> bool:
            time.sleep(0.3)  # the workers need the processors more
            with ledger.reading() as connection:
                return not connection.execute(counted).scalar_one()

        with suppress(AssertionError):
            eventually(lambda: none(unsettled.where(commands.attention.is_(None))), within, "the storm ends")
            eventually(lambda: none(unsettled), 15, "what a person was told of ends too")


@contextmanager
def ledger_of(running: Killable) -> Iterator[Ledger]:
    ledger = Ledger(running.product.database_url)
    yield ledger
    ledger.dispose()


# The judgement


@dataclass(slots=True)
class Findings:
    """What is not as it should be, each in a line."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrongly_closed: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def _judged(
    running: Killable, plan: Plan, tally: Tally, kills: dict[str, int], seconds: float
) -> StormResult:
    commands = _commands(running)
    asked: dict[str, list[Any]] = {}
    for command in commands:
        asked.setdefault(command.text, []).append(command)
    findings = Findings()
    _judge_alerts(findings, {alert.text for alert in tally.taken}, asked)
    expected, left = plan.expected(tally.taken), open_now(running)
    for position, before in plan.open.items():
        mine = [it for alert in tally.taken if position in alert.about for it in asked.get(alert.text, ())]
        _judge_position(
            findings,
            f"{position}",
            before,
            expected.get(position, Decimal()),
            left.get(position, Decimal()),
            mine,
        )
    findings.doubled += [f"{position} was not there before" for position in left.keys() - plan.open.keys()]
    attention = Counter(f"{it.status}, {it.attention}: {it.reason}" for it in commands if it.attention)
    return StormResult(
        alerts=len(plan.alerts),
        sent=tally.sent,
        accepted=len(tally.taken),
        duplicates=tally.duplicates,
        refused=tally.refused,
        unavailable=tally.unavailable,
        broken=tally.broken,
        kills=kills,
        seconds=seconds,
        lost=findings.lost,
        doubled=findings.doubled,
        wrongly_closed=findings.wrongly_closed,
        told=findings.told,
        wrongly_answered=tally.wrongly,
        statuses=dict(Counter(command.status for command in commands)),
        attention=dict(attention),
    )


def _commands(running: Killable) -> Sequence[Any]:
    """All that the ledger holds, each with the text that asked for it."""
    commands, alerts = tables.commands, tables.alerts
    told = select(commands, alerts.c.text).join(alerts, alerts.c.id == commands.c.alert)
    with ledger_of(running) as ledger, ledger.reading() as connection:
        return connection.execute(told.order_by(commands.c.seq)).all()


def _judge_alerts(findings: Findings, taken: set[str], asked: dict[str, list[Any]]) -> None:
    """What is accepted has a command, and not two that did something."""
    findings.lost += [f"no command came of {text}" for text in taken - asked.keys()]
    findings.doubled += [f"never accepted: {text}" for text in asked.keys() - taken]
    for text, mine in asked.items():
        if sum(command.status not in DID_NOTHING for command in mine) > 1:
            findings.doubled.append(f"{', '.join(it.status for it in mine)} came of {text}")


def _judge_position(
    findings: Findings, name: str, before: Decimal, wanted: Decimal, left: Decimal, mine: Sequence[Any]
) -> None:
    """What the book says against what was accepted; `mine` are the commands that were about it."""
    says = ", ".join(f"{it.status} ({it.attention}: {it.reason})" for it in mine)
    line = f"{name}: {before}, should be {wanted}, is {left}; {says}"
    told = any(it.attention for it in mine)
    side = abs(before) / before
    if left * side < wanted * side:
        findings.doubled.append(line)
    elif left != wanted and all(it.status in DONE for it in mine):
        findings.wrongly_closed.append(line)
    elif left != wanted or any(it.settled_at is None for it in mine):
        (findings.told if told else findings.lost).append(line)
    elif any(it.status not in DONE for it in mine):
        findings.told.append(line)
