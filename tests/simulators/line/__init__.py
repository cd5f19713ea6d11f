"""
The line of every simulator: HTTP on a raw socket, faults, the journal, `/_simulator`.

A venue supplies, in its own package:

* a `Book` with `later(seconds, act)` and `advance()`; `agenda.Agenda` does what is due in it, in order;
* a `Wording`: its bodies for a refusal, a throttle, a time-out, and the benign answer that faults may use;
* `KINDS = shared(wording) | {...}`: the shared faults (listed in `faults.py`) and its own `Kind`s by name, which
  may be built with `after_acting` and `acting_if_told`; `Forecast(KINDS, operations, sends_orders)` deals
  them out. Its public `Fault` is a StrEnum of those names;
* a `BookFace` with `shown()` and `set(wanted)`, for `/_simulator/book`;
* a subclass of `Simulator` with `wording`, `book: Book`, `secret_headers` (lower case; not in the journal) and
  `receive(request, headers)`: authorise and route, and return either an `Answer(status, body, acted, headers)`
  (401, 404, 405: no bad days) or a `Call(operation, act, bucket, about)`, whose `act(plan)` returns the Answer.
  `request.path` has the exact query and `request.content` the exact body (to check a signature);
  `request.route`, `request.query` and `request.body` are the path alone, decoded values and parsed JSON;
  a request that asks for a WebSocket gets an `Upgrade(take)`, which is given the `Talk`;
  `bucket` is a `TokenBucket` of the venue's rates, `Buckets().of(key, rate, burst)` keeps one for each key;
* a `__main__` with `process.parser` and `process.serve`.

`tests/simulators/crosstrade/server.py` is the shortest example.
"""

from .agenda import Agenda, Clock
from .exchange import Exchange, LineIsDown, json_bytes
from .faults import Kind, Options, Play, Wording, acting_if_told, after_acting, shared
from .forecast import EVERY, BadDay, Forecast
from .journal import Journal, Request
from .records import Act, Answer, Call, FillPlan, Upgrade
from .simulator import Simulator, is_loopback
from .talk import Talk
from .throttle import Buckets, TokenBucket

__all__ = [
    "EVERY",
    "Act",
    "Agenda",
    "Answer",
    "BadDay",
    "Buckets",
    "Call",
    "Clock",
    "Exchange",
    "FillPlan",
    "Forecast",
    "Journal",
    "Kind",
    "LineIsDown",
    "Options",
    "Play",
    "Request",
    "Simulator",
    "Talk",
    "TokenBucket",
    "Upgrade",
    "Wording",
    "acting_if_told",
    "after_acting",
    "is_loopback",
    "json_bytes",
    "shared",
]
