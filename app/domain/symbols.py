"""From a chart's name of an instrument to a venue's: the built-in rules, one function a venue.

TradingView writes `EXCHANGE:TICKER`, `BTCUSDT.P` for a perpetual swap, `ES1!` for a continuous future, and
`AAPL260320C180.0` for an option. A name that a rule does not know stays as it is.
"""

import re

_EXCHANGE = re.compile(r"[A-Z0-9_]+:(?=.)")
_PAIR = re.compile(r"(?P<base>[A-Z0-9]{2,10}?)(?P<quote>USDT|USDC|USD|EUR|BTC|ETH)(?P<swap>\.P)?")
_CHART_OPTION = re.compile(
    r"(?P<root>[A-Z.]{1,6})(?P<date>\d{6})(?P<right>[CP])(?P<strike>\d{1,5}(\.\d{1,3})?)"
)


def futures_symbol(name: str) -> str:
    """As NinjaTrader's add-on takes it: `CME_MINI:ES1!` is `ES1!`, which it resolves to the front month itself."""
    return _without_exchange(name)


def stock_symbol(name: str) -> str:
    """A ticker, or an option in OSI's spelling: `NASDAQ:AAPL` is `AAPL`, `AAPL260320C180.0` is `AAPL260320C00180000`."""
    plain = _without_exchange(name)
    if option := _CHART_OPTION.fullmatch(plain.upper()):
        whole, _, part = option["strike"].partition(".")
        return f"{option['root']}{option['date']}{option['right']}{int(whole):05}{part:<03}"
    return plain.upper() if plain.isascii() and "-" not in plain else plain


def crypto_symbol(name: str) -> str:
    """As OKX writes it: `OKX:BTCUSDT.P` is `BTC-USDT-SWAP`, and `BTCUSDT` the pair `BTC-USDT`."""
    plain = _without_exchange(name).upper()
    if pair := _PAIR.fullmatch(plain):
        return f"{pair['base']}-{pair['quote']}" + ("-SWAP" if pair["swap"] else "")
    return plain


def _without_exchange(name: str) -> str:
    match = _EXCHANGE.match(name.upper())
    return name[match.end() :] if match else name
