"""Alpaca's market-data API beside the paper exchange: bars, quotes and news of a tape; scenarios."""
