"""A hook: who may call it, what it may do, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network

from app.alerts.strategies import Scale
from app.domain.commands import Action, Unit
from app.domain.instruments import account_key
from app.domain.venues import Venue

ALL = "*"


@dataclass(frozen=True, slots=True)
class Hook:
    """A configured webhook endpoint."""

    name: str
    broker: str
    venue: Venue
    live: bool = False
    accounts: tuple[str, ...] = ()
    """What it may touch, in the venue's spelling; `("*",)` is all."""
    default_account: str | None = None
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    """Label to SHA-256 digest; the secrets themselves are kept nowhere."""
    signing_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Label to the key of its Standard Webhooks signatures. Such a secret is never taken as it stands."""
    allow: frozenset[Action] = frozenset({Action.CLOSE, Action.FLATTEN})
    instruments: tuple[str, ...] = ()
    """Patterns of what it may name; empty: anything."""
    require: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    symbols: Mapping[str, str] = field(default_factory=dict)
    """The sender's name to the venue's: the broker's table, then the hook's own."""
    quantity_unit: Unit | None = None
    """What a quantity counts; None: what the venue counts in."""
    cancel_orders: bool | None = None
    max_age: float = 300
    """Seconds from receipt (or the alert's own time) after which a command is no longer wanted."""
    dedupe_window: float = 30
    """Seconds in which the same bytes are the same alert."""
    dialects: tuple[str, ...] = ()
    """Other products' alert texts that are understood as they stand."""
    scale: Scale = Scale.QUANTITY
    """What the size of a strategy's partial exit means for the position that is open."""
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    """From where it may be called; empty: from anywhere."""
    rate: float | None = None
    """Alerts a second that are taken, over ten seconds; None: no limit."""
    max_positions: int | None = None
    """A flatten that would close more stops and asks for attention; None: no limit."""
    heartbeat: float | None = None
    """Seconds within which it should hear something; None: it may be silent."""
    dry_run: bool = False
    """Shadow mode: alerts are taken, mapped and shown, and nothing is sent."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its secrets."""
        return (*self.secrets, *self.signing_keys)

    @property
    def known_accounts(self) -> tuple[str, ...]:
        """Names that stand for accounts in a sentence."""
        return (*self.accounts, *([self.default_account] if self.default_account else []))

    @property
    def all_accounts(self) -> bool:
        return ALL in self.accounts

    def account(self, name: str) -> str | None:
        """The account as the hook spells it, or None if the hook may not touch it."""
        known = self.accounts if self.venue.names_accounts else (self.broker,)
        for own in known:
            if account_key(own) == account_key(name):
                return own
        free = self.all_accounts and self.venue.names_accounts and self.venue.account_name.fullmatch(name)
        return name if free else None

    def instrument(self, name: str) -> str:
        """The venue's name for what the sender calls `name`: by the tables, and by the venue's own rule."""
        if name in self.symbols:
            return self.symbols[name]
        ruled = self.venue.symbol(name)
        return self.symbols.get(ruled, ruled)

    def allows_instrument(self, name: str) -> bool:
        return not self.instruments or any(
            fnmatchcase(name.upper(), pattern.upper()) for pattern in self.instruments
        )
