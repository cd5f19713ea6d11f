"""How fast the door answers, and how many alerts a second it takes, beside two bare views under the same gunicorn.

`reads`: a view that only reads the body. `commits`: one that also commits one row to the same database and rings once
over the same Redis. No worker runs, and nobody hears the rings. Each run sends the same load to the three, one after
the other. Rates are kept whatever is answered: a time counts from when the alert was meant to leave.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from tests.bench.ceilings import PATH, make_table
from tests.bench.figures import Aim, Figure, Finding, Note, quantile
from tests.bench.load import Clients, Sent, Target, fresh, throughput
from tests.bench.setting import Bench, setting, start_ceiling

ALERT = '{"action": "close", "instrument": "NQ 12-26", "id": "{n}"}'
READS, COMMITS = "reads", "commits"
ONE_BY_ONE, FLAT_OUT = "one by one", "flat out"
RATES = (50, 200)
ENOUGH = 0.6
"""Of the throughput of a view that commits and rings."""
MILLISECONDS_AT_MOST = 10.0

Load = Callable[[Clients, Target], list[Sent]]


def measure(bench: Bench) -> Iterator[Finding]:
    for kind in bench.kinds:
        with setting(bench, kind, "futures") as running:
            make_table(running.ledger)
            reading, committing = running.another(1), running.another(1)
            start_ceiling(reading, "bare")
            start_ceiling(committing, "committing")
            targets = {
                "door": running.target("futures", ALERT),
                READS: Target(reading.port, PATH, ALERT),
                COMMITS: Target(committing.port, PATH, ALERT),
            }
            warm = {name: bench.clients.flat_out(target, 1) for name, target in targets.items()}
            accepted = sum(it.status == 202 for it in warm["door"])
            for name, load in loads(bench).items():
                runs = in_turns(bench, targets, load)
                accepted += sum(it.status == 202 for run in runs["door"] for it in run)
                yield from figures(
                    f"{kind}, {name}", runs, sequential=name == ONE_BY_ONE, flat_out=name == FLAT_OUT
                )
            kept = running.count()
            yield Note(f"{kind}: {accepted:,} answered 202, {kept:,} in the ledger" + _lost(accepted, kept))


def loads(bench: Bench) -> Mapping[str, Load]:
    """Each named; about as long as the others."""
    in_a_row, seconds = bench.pick(200, 20), bench.pick(2, 1)
    rates: dict[str, Load] = {
        f"{rate} a second": partial(_at_rate, rate=rate, count=bench.pick(max(100, rate), 25))
        for rate in RATES
    }
    return {
        ONE_BY_ONE: lambda clients, target: clients.in_a_row(target, fresh(in_a_row)),
        **rates,
        FLAT_OUT: lambda clients, target: clients.flat_out(target, seconds),
    }


def in_turns(bench: Bench, targets: Mapping[str, Target], load: Load) -> Mapping[str, list[list[Sent]]]:
    """The same load to each, run by run."""
    runs: dict[str, list[list[Sent]]] = {name: [] for name in targets}
    for _ in range(bench.runs):
        for name, target in targets.items():
            runs[name].append(load(bench.clients, target))
    return runs


def figures(
    name: str, runs: Mapping[str, list[list[Sent]]], *, sequential: bool, flat_out: bool
) -> Iterator[Finding]:
    def of_each(take: Callable[[list[Sent]], float]) -> dict[str, list[float]]:
        return {target: [take(run) for run in each] for target, each in runs.items()}

    for told, part in (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99)):
        times = of_each(lambda run, part=part: quantile([it.latency for it in run], part) * 1000)  # type: ignore[misc]
        aim = Aim(MILLISECONDS_AT_MOST) if sequential and told == "95 %" else None
        yield Figure(f"{name}: {told}", "ms", times.pop("door"), times, aim)
    rates = of_each(throughput)
    aim = Aim(ENOUGH, least=True, to=COMMITS) if flat_out else None
    yield Figure(f"{name}: throughput", "1/s", rates.pop("door"), rates, aim)
    failed = [it.status for each in runs.values() for run in each for it in run if it.status != 202]
    if failed:
        yield Note(f"{name}: {len(failed)} were not answered 202, but {sorted(set(failed))}")


def _at_rate(clients: Clients, target: Target, *, rate: int, count: int) -> list[Sent]:
    return clients.at_rate(target, fresh(count), rate)


def _lost(accepted: int, kept: int) -> str:
    return "" if kept >= accepted else f": {accepted - kept:,} LOST"
