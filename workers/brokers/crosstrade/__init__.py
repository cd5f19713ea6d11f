"""CrossTrade, the NinjaTrader 8 add-on."""
