"""What accounts know of the market besides prices: the volatility index, and coming earnings."""
