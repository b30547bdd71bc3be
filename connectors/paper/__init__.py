"""The paper exchange: orders, fills, expiry, faults, and Alpaca's API in front of it."""
