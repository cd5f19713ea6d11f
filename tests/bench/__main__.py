"""`make bench`: each figure beside its ceiling, in the same run. It never fails for being slow (docs/benchmarks.md)."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator

from config.logging import configure_logging
from tests.bench import burst, fanout, growth, intake, memory, soak, start, throughput, venue
from tests.bench.databases import DATABASES
from tests.bench.figures import Finding, line
from tests.bench.machine import described
from tests.bench.record import written
from tests.bench.setting import Bench, a_bench
from tests.running import RedisServer

SUBJECTS = {
    module.__name__.rpartition(".")[2]: module
    for module in (intake, burst, venue, throughput, fanout, growth, memory, start, soak)
}
BY_ITSELF = {"soak"}
"""Subjects that are measured only when they are named."""
DEFAULT = [name for name in SUBJECTS if name not in BY_ITSELF]


def main() -> int:
    options = arguments()
    if not RedisServer.available():
        print("there is no Redis or Valkey server on this machine", file=sys.stderr)
        return 2
    configure_logging("CRITICAL", "text")  # the product's parts that run in this process have nothing to tell
    kinds = [kind for kind in DATABASES if options.database in (None, kind.lower())]
    # Whoever stops it so wants what it started to end too.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))
    found: dict[str, list[Finding]] = {}
    with a_bench(kinds, short=options.short, web_processes=options.web_processes) as bench:
        machine = described(bench.folder, bench.databases.postgresql)
        print(f"load average {machine['load_average'][0]}; figures are medians [least … most]", flush=True)
        for name in options.subjects or DEFAULT:
            found[name] = []
            for finding in told(bench, name):
                found[name].append(finding)
            page = written(machine, found, part=part_of(options), short=options.short)  # a later one may fail
    print(f"\nwritten to {page}")
    return 0


def told(bench: Bench, name: str) -> Iterator[Finding]:
    """What is found about a subject, each as soon as it is."""
    began = time.monotonic()
    print(f"\n{name}: {(SUBJECTS[name].__doc__ or '').splitlines()[0]}", flush=True)
    for finding in SUBJECTS[name].measure(bench):
        print(line(finding), flush=True)
        yield finding
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


def part_of(options: argparse.Namespace) -> str:
    """What a run was of, if not of all with one web process."""
    several = options.web_processes > 1
    return "-".join(
        [
            *options.subjects,
            *([options.database] if options.database else []),
            *([f"{options.web_processes}-web-processes"] if several else []),
        ]
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    told = f"some of: {', '.join(SUBJECTS)}; without, all but {', '.join(sorted(BY_ITSELF))}"
    parser.add_argument("subjects", nargs="*", help=told)
    parser.add_argument(
        "--short", action="store_true", help="few and small runs: whether it works, not how fast"
    )
    parser.add_argument("--database", choices=[kind.lower() for kind in DATABASES], help="only on this one")
    told = "of the product and of its ceilings alike (WEB_CONCURRENCY)"
    parser.add_argument("--web-processes", type=int, default=1, metavar="N", help=told)
    options = parser.parse_args()
    if strange := set(options.subjects) - set(SUBJECTS):
        parser.error(f"there is no subject {', '.join(sorted(strange))}; there are {', '.join(SUBJECTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
