"""Which adapter serves which kind of broker: the one place where a venue is wired in."""

from config.file import BrokerSettings
from workers.brokers.broker import Broker
from workers.brokers.crosstrade.adapter import CrossTrade


def broker_of(settings: BrokerSettings) -> Broker:
    """The adapter for a configured broker."""
    adapters = {"crosstrade": CrossTrade}
    return adapters[settings.venue.kind](settings)
