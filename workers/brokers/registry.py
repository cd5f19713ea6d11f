"""Which adapter serves which kind of broker: the one place where a venue is wired in."""

from collections.abc import Callable

from config.file import BrokerSettings
from workers.brokers.broker import Broker
from workers.brokers.clearstreet.adapter import ClearStreet
from workers.brokers.crosstrade.adapter import CrossTrade
from workers.brokers.crosstrade.socket_adapter import CrossTradeSocket
from workers.brokers.okx.adapter import Okx


def broker_of(settings: BrokerSettings) -> Broker:
    """The adapter for a configured broker."""
    adapters: dict[tuple[str, str], Callable[[BrokerSettings], Broker]] = {
        ("crosstrade", "rest"): CrossTrade,
        ("crosstrade", "websocket"): CrossTradeSocket,
        ("clearstreet", "rest"): ClearStreet,
        ("okx", "rest"): Okx,
    }
    return adapters[settings.venue.kind, settings.transport](settings)
