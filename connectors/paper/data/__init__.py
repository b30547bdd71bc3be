"""The data server: Alpaca's market data and news over a tape, by a clock, with scenarios."""
