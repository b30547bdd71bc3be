"""Recorded windows of the source topics: cut from a log, kept as regression tapes, and replayed."""
