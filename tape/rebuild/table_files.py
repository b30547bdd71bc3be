"""The tables of a snapshot's stage as one Parquet file. Needs polars, the extra ``frames``."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from tapedeck.streams.changelog import Values
from tapedeck.streams.frame import Logs, logs_of, pack, unpack

_CURSOR = pl.Struct({"rank": pl.UInt8, "partition": pl.UInt16, "position": pl.Int64})
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "task": pl.String,
    "partition": pl.UInt16,
    "key": pl.Binary,
    "epoch": pl.UInt32,
    "cursors": pl.List(_CURSOR),
    "body": pl.Binary,
    "size": pl.UInt32,
}


def write_tables(file: Path, tables: Mapping[str, Values]) -> None:
    """Write tables by the names of their tasks."""
    _frame(tables).write_parquet(file, compression="zstd")


def read_tables(file: Path, logs: Logs) -> dict[str, Values]:
    """The tables of a file. Raises ValueError if it does not hold them."""
    try:
        return _values(pl.read_parquet(file), logs)
    except (pl.exceptions.PolarsError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error


def _frame(tables: Mapping[str, Values]) -> pl.DataFrame:
    rows = []
    for task, values in tables.items():
        for (partition, key), data in sorted(values.items()):
            value = unpack(data)
            cursors = [
                {"rank": rank, "partition": part, "position": at}
                for (rank, part), at in sorted(value.cursors.items())
            ]
            rows.append((task, partition, key, value.epoch, cursors, value.body, len(value.body)))
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _values(frame: pl.DataFrame, logs: Logs) -> dict[str, Values]:
    found: dict[str, Values] = defaultdict(dict)
    for row in frame.iter_rows(named=True):
        cursors = {(each["rank"], each["partition"]): each["position"] for each in row["cursors"]}
        framed = pack(row["epoch"], cursors, row["body"], logs_of(cursors, logs))
        found[row["task"]][row["partition"], row["key"]] = framed
    return dict(found)
