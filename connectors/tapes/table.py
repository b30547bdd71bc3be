"""Reading a market table from Parquet or CSV, and refusing one that is not what it must be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from tapedeck.schemas.errors import Fatal

_TEXT = ("symbol", "feed")
_ISO_WITH_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_EXAMPLE = "2013-10-11T13:30:00Z"
_READERS = (".parquet", ".csv")


@dataclass(frozen=True)
class Table:
    """Rows of ``path``: ``symbol`` text, ``ts`` UTC microseconds, ``day`` the New York date in days."""

    path: Path
    frame: pl.DataFrame

    def has(self, column: str) -> bool:
        return column in self.frame.columns

    def days(self) -> list[int]:
        """The New York dates that have rows, sorted."""
        return cast(list[int], self.frame["day"].unique().sort().to_list())

    def distinct(self, column: str) -> list[str]:
        return cast(list[str], self.frame[column].unique().sort().to_list())

    def symbols(self) -> list[str]:
        return self.distinct("symbol")

    def on(self, day: int) -> "Table":
        """The rows of one New York date."""
        return Table(self.path, self.frame.filter(pl.col("day") == day))

    def rows(self) -> list[dict[str, Any]]:
        return self.frame.to_dicts()


def read_table(path: Path, *, numbers: tuple[str, ...], either: tuple[tuple[str, str], ...] = ()) -> Table:
    """Read ``path``; every column in ``numbers`` must hold finite numbers, one pair of ``either`` numbers
    or nulls. Raises Fatal naming file, column, what was found and the remedy."""
    frame = _read(path)
    needed = ("symbol", "ts", *numbers)
    missing = [column for column in needed if column not in frame.columns]
    pair = next((each for each in either if set(each) <= set(frame.columns)), None)
    if either and pair is None:
        missing.append(" or ".join(", ".join(each) for each in either))
    if missing:
        raise Fatal(
            f"{path} lacks the column {' and '.join(missing)}",
            value=frame.columns,
            remedy=f"a tape needs {', '.join(needed)}",
        )
    if frame.is_empty():
        raise Fatal(f"{path} has no rows", remedy="name a file with at least one bar")
    _check_types(path, frame, (*numbers, *(pair or ())))
    frame = _with_times(path, frame)
    _refuse_unknown(path, frame, (*needed, *(c for c in ("feed", "revision") if c in frame.columns)))
    return Table(path, frame)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix.lower() not in _READERS:
        raise Fatal(f"{path} is not a tape", value=path.suffix, remedy="name a .parquet or .csv file")
    if not path.is_file():
        raise Fatal("there is no such tape file", value=str(path), remedy="check the path")
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0]
        raise Fatal(f"{path} cannot be read: {first}", remedy="write it again as Parquet or CSV") from None


def _check_types(path: Path, frame: pl.DataFrame, numbers: tuple[str, ...]) -> None:
    wanted = {column: "text" for column in _TEXT} | {column: "numbers" for column in numbers}
    wanted |= {"revision": "whole numbers", "bid_size": "numbers", "ask_size": "numbers"}
    for column, kind in wanted.items():
        if column not in frame.columns:
            continue
        found = frame.schema[column]
        fits = {
            "text": found == pl.String,
            "numbers": found.is_numeric() or found == pl.Null,
            "whole numbers": found.is_integer(),
        }[kind]
        if not fits:
            raise Fatal(
                f"{path}, column {column} must hold {kind}", value=str(found), remedy="mend the column"
            )


def _with_times(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    ts = frame.schema["ts"]
    if ts == pl.String:
        naive = frame.filter(~pl.col("ts").str.contains(_ISO_WITH_ZONE))
        if not naive.is_empty():
            raise _without_zone(path, naive["ts"][0])
        try:
            moment = frame["ts"].str.to_datetime(time_unit="us", time_zone="UTC")
        except pl.exceptions.PolarsError:
            raise Fatal(
                f"{path}, column ts must hold ISO 8601 times",
                value=frame["ts"][0],
                remedy=f"write {_EXAMPLE}",
            ) from None
    elif isinstance(ts, pl.Datetime):
        if ts.time_zone is None:
            raise _without_zone(path, str(ts))
        moment = frame["ts"].dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    else:
        raise Fatal(
            f"{path}, column ts must hold times", value=str(ts), remedy=f"write times like {_EXAMPLE}"
        )
    local = moment.dt.convert_time_zone("America/New_York").dt.date()
    day = local.to_physical().cast(pl.Int64)
    return frame.with_columns(moment.to_physical().alias("ts"), day.alias("day"))


def _without_zone(path: Path, found: str) -> Fatal:
    return Fatal(
        f"{path}, column ts has times without a time zone",
        value=found,
        remedy=f"write UTC times like {_EXAMPLE}",
    )


def _refuse_unknown(path: Path, frame: pl.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        unknown = pl.col(column).is_null()
        if frame.schema[column].is_float():
            unknown = unknown | ~pl.col(column).is_finite()
        bad = frame.with_row_index("row").filter(unknown)
        if not bad.is_empty():
            row = bad.row(0, named=True)
            raise Fatal(
                f"{path}, row {row['row'] + 1}, column {column}: no finite value ({bad.height} rows in all)",
                value=row[column],
                remedy="drop or mend these rows; a minute without a trade has no row",
            )
