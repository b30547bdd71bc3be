"""Regression tapes, each with the digests that every driver must leave of it."""

from pathlib import Path

from tapedeck.connectors.recorded.format import is_recorded

HERE = Path(__file__).parent
FOLDERS = sorted(path for path in HERE.iterdir() if is_recorded(path))
