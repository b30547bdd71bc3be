"""Accounts, orders and positions of a pipeline, as its topics tell them, for a person or a program."""
