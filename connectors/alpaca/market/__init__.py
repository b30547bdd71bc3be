"""Alpaca's market data: minute bars, their updates, quotes and trading statuses, by websocket and REST.

``frames`` reads the JSON, ``stream`` keeps the connection, ``history`` asks REST, ``ingest`` decides what
becomes a record. Trades are not subscribed, so their cancels and corrections do not arrive here: a bar is
corrected by an updated bar, and by REST. Alpaca's test stream is not used either: the data server of this
project has a clock of its own.
"""
