"""Rows of the same symbol and minute: equal ones are counted downstream, others are refused or settled."""

from typing import Any

import polars as pl

from tapedeck.connectors.tapes.market_files.options import Duplicates
from tapedeck.connectors.tapes.market_files.tables import FILE, Table
from tapedeck.connectors.tapes.market_files.text import LINE
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_utc

_VALUES = ("open", "high", "low", "close", "volume", "bid", "ask", "bid_size", "ask_size")
_PLACE = "place"


def conflicting(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose symbol, minute, feed and revision occur again with other values, in file order."""
    key = [name for name in ("symbol", "ts", "feed", "revision") if name in frame.columns]
    values = [name for name in _VALUES if name in frame.columns]
    again = frame.with_row_index(_PLACE).filter(frame.select(key).is_duplicated())
    others = (
        again.group_by(key).agg(pl.struct(values).n_unique().alias("bodies")).filter(pl.col("bodies") > 1)
    )
    return again.join(others, on=key, how="semi", nulls_equal=True).sort(*key, _PLACE)


def settle(table: Table, how: Duplicates) -> tuple[Table, list[str]]:
    """The table with one row for each minute that had several bodies, and a note of how many were dropped.

    Raises Fatal with both lines if the reading does not say which row counts.
    """
    found = conflicting(table.frame)
    if found.is_empty():
        return table, []
    if how is Duplicates.REFUSE:
        raise _refused(table, found)
    key = [name for name in ("symbol", "ts", "feed", "revision") if name in found.columns]
    last = found.group_by(key).agg(pl.col(_PLACE).max())
    gone = found.join(last, on=_PLACE, how="anti")
    frame = table.frame.with_row_index(_PLACE).join(gone.select(_PLACE), on=_PLACE, how="anti")
    note = (
        f"{table.path.name}: of rows that differ in one minute, the last counts; {gone.height} rows left out"
    )
    return Table(table.path, frame.drop(_PLACE), table.days, table.notes, table.files), [note]


def _refused(table: Table, found: pl.DataFrame) -> Fatal:
    first, second = found.rows(named=True)[:2]
    values = [name for name in _VALUES if name in found.columns and first[name] != second[name]]
    second = _differing(found, first, values) or second
    values = values or [name for name in _VALUES if name in found.columns and first[name] != second[name]]
    told = [
        f"{name} {first[name]:g} and {second[name]:g}"
        for name in values
        if None not in (first[name], second[name])
    ]
    minutes = found.select("symbol", "ts").n_unique()
    return Fatal(
        f"{_places(table, first, second)}: {first['symbol']} at {iso_utc(first['ts'])} has two rows with"
        f" different values ({minutes} such minutes)",
        value=", ".join(told) or values,
        remedy="delete the wrong rows, or add --duplicates last to use the last of each; corrections that"
        " came later are rows with a column revision of 1, 2, ...",
    )


def _differing(found: pl.DataFrame, first: dict[str, Any], values: list[str]) -> dict[str, Any] | None:
    """The first row of the same minute that differs, if the second does not."""
    if values:
        return None
    same = found.filter((pl.col("symbol") == first["symbol"]) & (pl.col("ts") == first["ts"])).rows(
        named=True
    )
    names = [name for name in _VALUES if name in found.columns]
    return next((row for row in same if any(row[name] != first[name] for name in names)), None)


def _places(table: Table, first: dict[str, Any], second: dict[str, Any]) -> str:
    one, other = (table.files[row[FILE]] for row in (first, second))
    unit = "row" if one.suffix.lower() == ".parquet" else "line"
    return (
        f"{one}, {unit}s {first[LINE]} and {second[LINE]}"
        if one == other
        else (f"{one}, {unit} {first[LINE]} and {other}, {unit} {second[LINE]}")
    )
