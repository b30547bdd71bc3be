"""Shared by tests: servers, oracles, and logs and records for single cases."""
