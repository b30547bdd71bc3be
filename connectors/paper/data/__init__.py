<<<<<<< HEAD
"""Alpaca's market-data API beside the paper exchange: bars, quotes and news of a tape; scenarios."""
=======
"""The data server: Alpaca's market data and news over a tape, by a clock, with scenarios."""
>>>>>>> 1b396bc74a71e6cf14949bb3f1b40b6f391c66dd
