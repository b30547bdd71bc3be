"""Stages for single tests, run by workers by their names."""
