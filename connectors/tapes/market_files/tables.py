"""A market table from any of its forms, batch by batch: only the sessions to keep take memory."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import polars as pl

from tapedeck.connectors.tapes.market_files.columns import Matched, Spec, match
from tapedeck.connectors.tapes.market_files.options import Reading, Tell, quiet
from tapedeck.connectors.tapes.market_files.paths import Part, parts
from tapedeck.connectors.tapes.market_files.scale import Prices
from tapedeck.connectors.tapes.market_files.text import LINE, read_header, read_text
from tapedeck.connectors.tapes.market_files.values import Where, typed
from tapedeck.schemas.errors import Fatal

FILE, DAY = "file", "day"
_ROWS = 50_000

Keep = Callable[[Collection[int]], Collection[int]]
"""Returns, of the New York dates seen so far, those whose rows are still wanted."""


class Batch(NamedTuple):
    """Rows of one file under our names and types, with ``FILE``, ``LINE`` and ``DAY``."""

    part: Part
    frame: pl.DataFrame


@dataclass(frozen=True)
class Table:
    """Rows of ``path``: ``symbol`` text, ``ts`` UTC microseconds, ``day`` the New York date in days.

    ``days`` are all dates of the file, even if their rows were not kept. ``notes``: what was recognized.
    """

    path: Path
    frame: pl.DataFrame
    days: tuple[int, ...]
    notes: tuple[str, ...]
    files: tuple[Path, ...]

    def has(self, column: str) -> bool:
        return column in self.frame.columns

    def distinct(self, column: str) -> list[str]:
        return cast(list[str], self.frame[column].unique().sort().to_list())

    def symbols(self) -> list[str]:
        return self.distinct("symbol")

    def on(self, day: int) -> "Table":
        """The rows of one New York date."""
        return Table(self.path, self.frame.filter(pl.col(DAY) == day), self.days, self.notes, self.files)

    def rows(self) -> Iterator[dict[str, Any]]:
        return self.frame.iter_rows(named=True, buffer_size=4096)


class Reader:
    """Reads a path as ``spec`` declares it. Iterate ``batches`` once, then use the other members."""

    def __init__(self, path: Path, spec: Spec, reading: Reading, tell: Tell = quiet) -> None:
        self.path, self.spec, self.reading, self._tell = path, spec, reading, tell
        self.parts = parts(path)
        self.prices = Prices(path, spec, reading.scale)
        self.remarks: dict[str, str] = {}
        self.forms: dict[str, None] = {}
        self.matched: list[Matched] = []
        self.rows = 0

    def batches(self) -> Iterator[Batch]:
        """Every row in file order. Raises Fatal naming file, row, column, value and remedy."""
        for number, part in enumerate(self.parts):
            where = Where(part.path, "row" if part.parquet else "line", self.remarks)
            for raw in self._raw(part):
                frame = typed(where, self._named(part, raw), self.spec, self.reading)
                self.rows += raw.height
                self._tell(f"{part.path.name}: {self.rows:,} rows read")
                if frame.is_empty():
                    continue
                self.prices.see(frame)
                yield Batch(part, frame.with_columns(_new_york_day(), pl.lit(number, pl.UInt32).alias(FILE)))
        if not self.rows:
            raise Fatal(f"{self.path} has no rows", remedy="name a file with at least one bar")

    def _raw(self, part: Part) -> Iterator[pl.DataFrame]:
        if part.parquet:
            return self._parquet(part)
        header, form = read_header(part.path)
        self.forms[form.words] = None
        matched = self._matched(part, header)
        return (_ours(*each, matched) for each in read_text(part.path, header, form, matched.all()))

    def _parquet(self, part: Part) -> Iterator[pl.DataFrame]:
        try:
            header = list(pl.read_parquet_schema(part.path))
            self.forms["Parquet"] = None
            matched = self._matched(part, header)
            columns = matched.all()
            row = 1
            lazy = pl.scan_parquet(part.path, glob=False).select(columns)
            for frame in lazy.collect_batches(chunk_size=_ROWS, maintain_order=True):
                yield _ours(frame, pl.int_range(row, row + frame.height, eager=True), matched)
                row += frame.height
        except (pl.exceptions.PolarsError, OSError) as error:
            first = str(error).splitlines()[0]
            raise Fatal(
                f"{part.path} cannot be read: {first}", remedy="write it again as Parquet or CSV"
            ) from None

    def _matched(self, part: Part, header: list[str]) -> Matched:
        named = part.symbol is not None
        self.matched.append(match(str(part.path), header, self.spec, self.reading.columns, named=named))
        return self.matched[-1]

    def _named(self, part: Part, frame: pl.DataFrame) -> pl.DataFrame:
        if "symbol" in frame.columns:
            return frame
        return frame.with_columns(pl.lit(part.symbol).alias("symbol"))


def _ours(frame: pl.DataFrame, lines: pl.Series, matched: Matched) -> pl.DataFrame:
    ours = [
        frame[theirs[0]].alias(name) if len(theirs) == 1 else _joined(frame, theirs).alias(name)
        for name, theirs in matched.taken.items()
    ]
    return pl.DataFrame([*ours, lines.alias(LINE)])


def _joined(frame: pl.DataFrame, theirs: tuple[str, ...]) -> pl.Series:
    """A date and a time of day as one text."""
    day, time = (frame[name].cast(pl.String).str.strip_chars() for name in theirs)
    short = time.str.contains(r"^\d{3}$|^\d{5}$")
    return day + " " + time.zip_with(~short, "0" + time)


def _new_york_day() -> pl.Expr:
    utc = pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC")
    return utc.dt.convert_time_zone("America/New_York").dt.date().to_physical().cast(pl.Int64).alias(DAY)


def read_table(path: Path, spec: Spec, reading: Reading, keep: Keep, tell: Tell = quiet) -> Table:
    """The rows of the dates that ``keep`` wants. Raises Fatal like ``Reader.batches``."""
    reader = Reader(path, spec, reading, tell)
    days: set[int] = set()
    kept: list[pl.DataFrame] = []
    wanted: set[int] = set()
    for _, frame in reader.batches():
        days |= set(frame[DAY].unique().to_list())
        if (now := set(keep(days))) != wanted:
            kept, wanted = [_on(each, now) for each in kept], now
        kept.append(_on(frame, wanted))
    if not days:
        raise Fatal(
            f"{path} has no row of these symbols",
            value=", ".join(reading.symbols),
            remedy="see what it holds with `tape check`",
        )
    whole = pl.concat(kept, how="diagonal")
    return Table(
        path,
        reader.prices.scaled(whole),
        tuple(sorted(days)),
        (*_said(reader), *reader.prices.notes()),
        tuple(part.path for part in reader.parts),
    )


def _on(frame: pl.DataFrame, days: set[int]) -> pl.DataFrame:
    return frame.filter(pl.col(DAY).is_in(list(days)))


def _said(reader: Reader) -> list[str]:
    return [f"{reader.path.name}: {column} is read as {words}" for column, words in reader.remarks.items()]
