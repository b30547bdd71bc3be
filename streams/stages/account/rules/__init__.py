"""The rules of an account: gates, contracts, sizing, prices, orders, positions."""
