"""Which adapter serves which kind of broker: the one place where a venue is wired in."""

from collections.abc import Callable

from config.file import BrokerSettings
from workers.brokers.broker import Broker
from workers.brokers.clearstreet.adapter import ClearStreet
from workers.brokers.crosstrade.adapter import CrossTrade
from workers.brokers.okx.adapter import Okx


def broker_of(settings: BrokerSettings) -> Broker:
    """The adapter for a configured broker."""
    adapters: dict[str, Callable[[BrokerSettings], Broker]] = {
        "crosstrade": CrossTrade,
        "clearstreet": ClearStreet,
        "okx": Okx,
    }
    return adapters[settings.venue.kind](settings)
