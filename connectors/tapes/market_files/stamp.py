"""The metadata that ``tape check --write`` puts in a Parquet file: the source of its bars, and its quotes."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

_ORIGIN, _QUOTES = "tapedeck.origin", "tapedeck.quotes"


class Stamp(NamedTuple):
    """``origin`` labels the records, so that the copy plays with the digests of its source; ``quotes`` names
    the file next to it. None if a file does not say."""

    origin: str | None = None
    quotes: str | None = None

    def metadata(self) -> dict[str, str]:
        """As Parquet metadata."""
        told = {_ORIGIN: self.origin, _QUOTES: self.quotes}
        return {name: text for name, text in told.items() if text is not None}


def stamp_of(path: Path) -> Stamp:
    """The stamp of one Parquet file; an empty one for all else."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return Stamp()
    try:
        told = pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return Stamp()  # reading its rows will report what is wrong
    return Stamp(told.get(_ORIGIN), told.get(_QUOTES))
