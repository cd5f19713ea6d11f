"""A simulator as a process of its own."""

import argparse
import signal
import sys
import threading

from .simulator import Simulator, is_loopback


def parser(venue: str, doc: str | None) -> argparse.ArgumentParser:
    """The options that every simulator's command line has; `venue` is its package's name."""
    options = argparse.ArgumentParser(prog=f"python -m tests.simulators.{venue}", description=doc)
    options.add_argument("--port", type=int, required=True, help="0 takes a free one")
    options.add_argument("--host", type=_loopback, default="127.0.0.1", help="a loopback address")
    options.add_argument("--rate-limit", action="store_true", help="throttle as the venue does")
    options.add_argument("--moving", action="store_true", help="let market prices swing by a few ticks")
    return options


def serve(simulator: Simulator, name: str, let_in: str) -> int:
    """Serve until told to stop; the one line it prints says where, and who is let in. The exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        simulator.start()
    except OSError as exc:
        print(f"{name} simulator: {simulator.url.removeprefix('http://')}: {exc.strerror}", file=sys.stderr)
        return 2
    print(f"{name} simulator ready at {simulator.url} for {let_in}", flush=True)
    stop.wait()
    simulator.stop()
    return 0


def _loopback(host: str) -> str:
    if not is_loopback(host):
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address")
    return host
