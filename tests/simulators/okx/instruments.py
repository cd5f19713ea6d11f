"""The instruments that the simulator lists, with the sizes that OKX publishes for them."""

from decimal import Decimal

from .records import Instrument

D = Decimal

INSTRUMENTS = {
    listed.inst_id: listed
    for listed in (
        Instrument("BTC-USDT-SWAP", "SWAP", D("0.01"), D("0.01"), D("0.01"), D("0.1"), D(12000)),
        Instrument("ETH-USDT-SWAP", "SWAP", D("0.1"), D("0.01"), D("0.01"), D("0.01"), D(20000)),
        # Whole contracts, unlike the swaps, so that a client cannot assume one lot for all.
        # 1806048000 is 2027-03-26 08:00 UTC, when OKX's futures expire.
        Instrument(
            "BTC-USDT-270326", "FUTURES", D("0.01"), D(1), D(1), D("0.1"), D(3000), expires_at="1806048000000"
        ),
        Instrument("BTC-USDT", "MARGIN", D(1), D("0.00000001"), D("0.00001"), D("0.1"), D(1000000)),
    )
}

PRICES = {
    "BTC-USDT-SWAP": D("103500"),
    "ETH-USDT-SWAP": D("3450"),
    "BTC-USDT-270326": D("106200"),
    "BTC-USDT": D("103480"),
}
