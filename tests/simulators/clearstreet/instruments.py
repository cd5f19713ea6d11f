"""The venue's instruments, and the names that they are known by."""

import re
import uuid

from .errors import UnknownInstrument
from .records import Instrument

STOCK, OPTION = "COMMON_STOCK", "OPTION"
SHARES_A_CONTRACT = 100
OSI = re.compile(r"[A-Z.]{1,6}\d{6}[CP]\d{8}")

# AAPL, TSLA and GOOG have the ids of the vendor's examples; the others are ours.
LISTED = (
    Instrument("a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8", "AAPL", STOCK, "XNAS"),
    Instrument("d4d5d6d7-e4e5-f4f5-a4a5-a6a7a8a9aaab", "TSLA", STOCK, "XNAS"),
    Instrument("c3c4c5c6-d3d4-e3e4-f3f4-f5f6f7f8f9fa", "GOOG", STOCK, "XNMS"),
    Instrument("b2b3b4b5-c2c3-d2d3-e2e3-e4e5e6e7e8e9", "BRK.B", STOCK, "XNYS"),
    Instrument(
        "e5e6e7e8-f5f6-a5a6-b5b6-b7b8b9babbbc", "AAPL260320P00180000", OPTION, "XCBO", SHARES_A_CONTRACT
    ),
)


class Instruments:
    """Every instrument, by UUID, ticker or OSI symbol. Not thread-safe: the book's lock guards it."""

    def __init__(self) -> None:
        self._by_id: dict[str, Instrument] = {}
        self._by_symbol: dict[str, Instrument] = {}
        for instrument in LISTED:
            self._add(instrument)

    def find(self, name: str) -> Instrument | None:
        # brokers.md, 3.2: a UUID, an equity ticker, or an OSI symbol with or without its padding.
        try:
            return self._by_id.get(str(uuid.UUID(name)))
        except ValueError:
            return self._by_symbol.get(_plain(name))

    def resolve(self, name: str) -> Instrument:
        found = self.find(name)
        if found is None:
            raise UnknownInstrument(name)
        return found

    def list(self, symbol: str) -> Instrument:
        """The instrument of that name; a new one with an id of its own if there is none."""
        found = self.find(symbol)
        if found is not None:
            return found
        plain = _plain(symbol)
        instrument_id = str(uuid.uuid5(uuid.NAMESPACE_URL, plain))
        if OSI.fullmatch(plain):
            return self._add(Instrument(instrument_id, plain, OPTION, "XCBO", SHARES_A_CONTRACT))
        return self._add(Instrument(instrument_id, plain, STOCK, "XNAS"))

    def _add(self, instrument: Instrument) -> Instrument:
        self._by_id[instrument.instrument_id] = instrument
        self._by_symbol[instrument.symbol] = instrument
        return instrument


def _plain(symbol: str) -> str:
    return "".join(symbol.split()).upper()
