"""The audit store: one append-only table per audited topic, ledgers and views over them."""
