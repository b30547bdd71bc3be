"""Recorded windows of the source topics: cut out of a log, kept as regression tapes, played again."""
