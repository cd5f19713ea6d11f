"""`/metrics` for Prometheus: the same from every web process, as all of it stands in the ledger."""

from collections.abc import Iterator

from flask import Blueprint, Response, current_app
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from app import __version__
from app.ledger import condition, notices, tallies
from app.ledger.pauses import paused
from app.ledger.tallies import BUCKETS, Sums

metrics = Blueprint("metrics", __name__)

COUNTERS = {
    "alerts": ("Alerts that reached an existing hook, by what became of them.", ("outcome",)),
    "commands_accepted": ("Commands that were accepted.", ("broker",)),
    "commands_settled": ("Commands that came to an end, by their status.", ("broker", "status")),
    "attempts": ("Calls that act, by what became of them; throttled ones too.", ("broker", "outcome")),
    "taken_back": ("Commands that were taken back from a worker that was gone.", ("broker",)),
}
HISTOGRAMS = {
    "answer": ("Seconds from the first byte of a call at the door to its answer.", "status"),
    "alert_to_broker": (
        "Seconds from the receipt of an alert to the first call of its close, of those that closed.",
        "broker",
    ),
    "alert_to_closed": ("Seconds from the receipt of an alert to the read that showed it closed.", "broker"),
}
GAUGES = {
    "workers_alive": "Workers that gave a sign of life in the last half minute.",
    "commands_unsettled": "Commands that are not at their end.",
    "oldest_unsettled_seconds": "The age of the oldest of them; 0 if there is none.",
    "commands_needing_attention": "Commands that a person must look at.",
    "paused": "Pauses that operators set and nobody took back.",
    "notices_undelivered": "Notifications of the last day that an address did not take.",
    "redis_up": "Whether Redis answers; 0 without one too.",
    "rings_waiting": "Rings that no worker has heard yet.",
}


class Flatwire(Collector):
    """One look at everything."""

    def collect(self) -> Iterator[Metric]:
        ledger = current_app.extensions["flatwire_ledger"]
        current_app.extensions["flatwire_answers"].add_to(ledger, after=0)
        sums = tallies.counted(ledger)
        for name, (told, labels) in COUNTERS.items():
            yield _counter(name, told, labels, sums)
        for name, (told, label) in HISTOGRAMS.items():
            yield _histogram(name, told, label, sums)
        for name, value in _now().items():
            yield GaugeMetricFamily(f"flatwire_{name}", GAUGES[name], value=value)
        yield InfoMetricFamily("flatwire", "This version.", value={"version": __version__})


@metrics.get("/metrics")
def scrape() -> Response:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Flatwire())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _counter(name: str, told: str, labels: tuple[str, ...], sums: Sums) -> Metric:
    family = CounterMetricFamily(f"flatwire_{name}", told, labels=labels)
    for (of, given), value in sums.items():
        if of == name:
            family.add_metric([dict(given)[label] for label in labels], value)
    return family


def _histogram(name: str, told: str, label: str, sums: Sums) -> Metric:
    family = HistogramMetricFamily(f"flatwire_{name}_seconds", told, labels=[label])
    values = {dict(given)[label] for of, given in sums if of == name}
    for value in sorted(values):
        of = (label, value)
        buckets = [
            ("+Inf" if bound == BUCKETS[-1] else str(bound), sums.get((name, (of, ("le", str(bound)))), 0))
            for bound in BUCKETS
        ]
        family.add_metric([value], buckets, sums[(f"{name}_sum", (of,))] / 1_000_000)
    return family


def _now() -> dict[str, float]:
    ledger = current_app.extensions["flatwire_ledger"]
    health = condition.health(ledger)
    redis = current_app.extensions["flatwire_doorbell"].vitals() or {"answers": False}
    return {
        "workers_alive": health.workers,
        "commands_unsettled": health.unsettled,
        "oldest_unsettled_seconds": health.oldest_unsettled or 0.0,
        "commands_needing_attention": health.attention,
        "paused": len(paused(ledger)),
        "notices_undelivered": sum(notices.undelivered(ledger).values()),
        "redis_up": float(redis["answers"]),
        "rings_waiting": redis.get("rings_waiting", 0),
    }
