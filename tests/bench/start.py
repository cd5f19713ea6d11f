"""How long it takes from the start of the web process until `/readyz` answers, and until a first worker is alive.

Beside the web process, in turns: a bare Flask application under the same gunicorn, until it answers. Both leave out what
the release line does (the migrations).
"""

import http.client
import time
from collections.abc import Callable, Iterator

from tests.bench.ceilings import PATH
from tests.bench.figures import Figure, Finding
from tests.bench.setting import Bench, setting
from tests.running import WEB, Product

LONGEST = 60.0


def measure(bench: Bench) -> Iterator[Finding]:
    for kind in bench.kinds:
        with setting(bench, kind, "futures") as running:
            running.product.stop("web")
            bare = running.another(1)
            runs = [_run(running.product, bare) for _ in range(bench.runs)]
            web, workers, beside = (list(times) for times in zip(*runs, strict=True))
            yield Figure(f"{kind}: web, until /readyz answers", "s", web, {"a bare view": beside})
            yield Figure(f"{kind}: workers, until the first is alive", "s", workers)


def _run(product: Product, bare: Product) -> tuple[float, float, float]:
    web = _started(product, "web", WEB, lambda: _status(product.port, "GET", "/readyz") == 200)
    workers = _started(product, "worker", ("-m", "workers"), lambda: product.alive() > 0)
    product.stop("worker")
    product.stop("web")
    arguments = (*WEB[:-1], "tests.bench.ceilings:bare()")
    beside = _started(bare, "bare", arguments, lambda: _status(bare.port, "POST", PATH) == 202)
    bare.stop("bare")
    return web, workers, beside


def _started(place: Product, name: str, arguments: tuple[str, ...], there: Callable[[], bool]) -> float:
    began = time.perf_counter()
    place.start(name, *arguments)
    while not there():
        if time.perf_counter() > began + LONGEST:
            raise AssertionError(f"{name} did not answer within {LONGEST} s")
        time.sleep(0.01)
    return time.perf_counter() - began


def _status(port: int, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
