"""The options of every command that reads a market file, and its progress line."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tapedeck.connectors.tapes.market_files.options import Duplicates, Reading, Tell

Quotes = Annotated[Path | None, typer.Option(help="Default: FILE with quotes for trades in its name.")]
News = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Articles beside FILE, JSON lines, as `tape exchange` reads."
    ),
]
Zone = Annotated[str | None, typer.Option(help="The zone of times that have none: America/New_York.")]
Columns = Annotated[
    str | None,
    typer.Option(metavar="OURS=THEIRS,...", help="Names of the file's columns: ts=when,close=last."),
]
Symbols = Annotated[str | None, typer.Option(metavar="A,B,...", help="Only these symbols of the file.")]
Scale = Annotated[
    int | None, typer.Option(min=1, help="Divide the file's prices by this: 10000 for LEAN's, 1 for dollars.")
]
Repeated = Annotated[
    Duplicates,
    typer.Option(help="Rows of one symbol and minute with other values: refuse, or the last counts."),
]

_QUIET_S = 2.0
_TELL_S = 1.0


def reading_of(
    zone: str | None, columns: str | None, symbols: str | None, scale: int | None, duplicates: Duplicates
) -> Reading:
    """The options as one value. Raises Fatal for invalid ones."""
    return Reading.parse(zone=zone, columns=columns, symbols=symbols, scale=scale, duplicates=duplicates)


def progress() -> Tell:
    """Reports a slow reading's progress on standard error: one updated line, or one every so often."""
    next_at: float | None = None  # counted from the first call: importing takes long too

    def tell(line: str) -> None:
        nonlocal next_at
        if next_at is None:
            next_at = time.monotonic() + _QUIET_S
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + (_TELL_S if sys.stderr.isatty() else 10 * _TELL_S)
            print(f"tape: {line}", file=sys.stderr, flush=True)

    return tell
