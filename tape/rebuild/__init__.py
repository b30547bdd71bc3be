"""Rebuild any state from its source topics, compare it with live, and activate it."""
