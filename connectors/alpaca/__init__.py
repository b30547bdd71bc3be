"""Alpaca through alpaca-py: orders, replies, the stream of trade updates."""
