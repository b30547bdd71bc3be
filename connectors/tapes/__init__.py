"""Tapes of bars and quotes: read from files, made from a seed, and played into the source topics."""
