"""Rebuild: any state again from its source topics, compared with live, and put in its place."""
