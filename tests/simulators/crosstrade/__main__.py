"""`python -m tests.simulators.crosstrade`: the simulator as a process of its own, with a small book."""

import argparse
import os
import signal
import sys
import threading

from .demonstration import demonstration_book
from .server import CrossTradeSimulator, is_loopback


def main() -> int:
    options = _options()
    venue = CrossTradeSimulator(
        os.environ.get(options.token_env) or None,
        book=demonstration_book(options.moving),
        host=options.host,
        port=options.port,
        rate_limit=options.rate_limit,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        venue.start()
    except OSError as exc:
        print(f"CrossTrade simulator: {options.host}:{options.port}: {exc.strerror}", file=sys.stderr)
        return 2
    let_in = f"the token in {options.token_env}" if venue.token else "any bearer token"
    print(f"CrossTrade simulator ready at {venue.url} for {let_in}", flush=True)
    stop.wait()
    venue.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.crosstrade", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="a loopback address")
    parser.add_argument("--token-env", default="CROSSTRADE_TOKEN", help="variable with the bearer token")
    parser.add_argument("--rate-limit", action="store_true", help="3 requests a second, 20 at once")
    parser.add_argument("--moving", action="store_true", help="let market prices swing by a few ticks")
    return parser.parse_args()


def _loopback(host: str) -> str:
    if not is_loopback(host):
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address")
    return host


if __name__ == "__main__":
    sys.exit(main())
