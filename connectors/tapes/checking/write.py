"""Writes a market file in a form that plays without options: Parquet, by session and time."""

from pathlib import Path

import polars as pl

from tapedeck.connectors.tapes.checking.spool import PLACE, Spool
from tapedeck.connectors.tapes.market_files.columns import Spec
from tapedeck.connectors.tapes.market_files.duplicates import settle
from tapedeck.connectors.tapes.market_files.stamp import Stamp
from tapedeck.connectors.tapes.market_files.tables import Table
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import Calendar

_SORT = ("ts", "symbol", "revision", PLACE)


def refuse_target(path: Path) -> None:
    """Raise Fatal if writing ``path`` would lose something, or if it could not be read back."""
    if path.suffix != ".parquet":
        raise Fatal(
            "a tape is written as Parquet", value=str(path), remedy="name a file that ends in .parquet"
        )
    if path.exists():
        raise Fatal(
            "this file already exists", value=str(path), remedy="choose another name, or move it away"
        )
    if not path.parent.is_dir():
        raise Fatal("this folder does not exist", value=str(path.parent), remedy="create it first")


def write(
    spool: Spool, out: Path, scratch: Path, calendar: Calendar, *, feed: str | None, stamp: Stamp
) -> int:
    """Write the rows of ``spool`` to ``out``, except days beyond the calendar; returns the number of rows.

    ``feed`` applies to rows without one; None for quotes. Raises Fatal for minutes with two bodies, unless
    the reading says which one counts.
    """
    first, last = calendar.horizon()
    rows, done = 0, []
    for day, frame in spool.each():
        if first <= day <= last:
            done.append(scratch / f"{day}.parquet")
            tidy = _tidy(spool, frame, feed)
            rows += tidy.height
            tidy.write_parquet(done[-1])
    if not done:
        raise Fatal("there is nothing to write: every row is outside the calendar", value=str(out))
    half = out.with_name(f".{out.name}.part")
    pl.concat([pl.scan_parquet(path) for path in done]).sink_parquet(half, metadata=stamp.metadata())
    half.rename(out)
    return rows


def _tidy(spool: Spool, frame: pl.DataFrame, feed: str | None) -> pl.DataFrame:
    reader = spool.reader
    files = tuple(part.path for part in reader.parts)
    table, _ = settle(Table(reader.path, frame.drop(PLACE), (), (), files), reader.reading.duplicates)
    frame = table.frame.with_row_index(PLACE)
    if feed is not None:
        given = pl.col("feed") if "feed" in frame.columns else pl.lit(None, pl.String)
        number = pl.col("revision") if "revision" in frame.columns else pl.lit(None, pl.Int64)
        frame = frame.with_columns(given.fill_null(feed).alias("feed"), number.fill_null(0).alias("revision"))
    ordered = frame.sort([name for name in _SORT if name in frame.columns])
    moment = pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC")
    return ordered.with_columns(moment).select(_columns(reader.spec, ordered))


def _columns(spec: Spec, frame: pl.DataFrame) -> list[str]:
    return [column.name for column in spec.columns if column.name in frame.columns]
