"""The simulated venues of `make run`, and the hook that each of them has."""

from typing import NamedTuple


class SimulatedVenue(NamedTuple):
    """A venue, its hook, and alerts that close what its simulator's demonstration book holds."""

    kind: str
    """As in `app.domain.venues`; the name of its simulator's package too."""
    hook: str
    credential: tuple[str, ...]
    """The environment variables that its broker's secrets and its simulator are given."""
    alert: str
    more: tuple[str, ...]

    @property
    def port(self) -> str:
        """The environment variable that says where the simulator listens."""
        return f"{self.kind.upper()}_PORT"

    @property
    def secret(self) -> str:
        """The environment variable that holds the hook's secret."""
        return f"HOOK_{self.hook.upper()}_SECRET"


SIMULATED = (
    SimulatedVenue(
        "crosstrade",
        "futures",
        ("CROSSTRADE_TOKEN",),
        "close MES 12-26",
        ("close 50% of MNQ 12-26", "flatten Sim102"),
    ),
    SimulatedVenue(
        "clearstreet",
        "stocks",
        ("CLEARSTREET_API_KEY",),
        "close TSLA",
        ("close 30 AAPL", "flatten 19817"),
    ),
    SimulatedVenue(
        "okx",
        "crypto",
        ("OKX_API_KEY", "OKX_API_SECRET", "OKX_PASSPHRASE"),
        "close BTCUSDT.P",
        ("close 25% of ETH-USDT-SWAP", "flatten long"),
    ),
)
