"""Cells as their declared type: the first invalid one is named with its file, row, column and text."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tapedeck.connectors.tapes.market_files.columns import Column, Kind, Spec
from tapedeck.connectors.tapes.market_files.options import Reading
from tapedeck.connectors.tapes.market_files.text import LINE
from tapedeck.connectors.tapes.market_files.times import moments
from tapedeck.schemas.errors import Fatal

_NOTHING = ("", "-", "--", "nan", "null", "none", "n/a", "na", "#n/a", "nil", "nat", "<na>", "(null)", "\\n")
_UNDEFINED = 2**63 - 1  # Databento's value for a missing price
_DROP = "drop or correct these rows; a minute without a trade has no row"


@dataclass
class Where:
    """A file as messages name it. ``unit``: what its rows are counted in, as lines for a text file."""

    path: Path
    unit: str
    remarks: dict[str, str]

    def bad(self, frame: pl.DataFrame, column: str, bad: pl.Series, what: str, remedy: str) -> Fatal:
        """The error for the first row of ``bad``, with its text, and how many others there are."""
        row = frame.filter(bad).row(0, named=True)
        count = int(bad.sum())
        more = f" ({count} rows at least)" if count > 1 else ""
        return Fatal(
            f"{self.path}, {self.unit} {row[LINE]}, column {column}: {what}{more}",
            value=row[column],
            remedy=remedy,
        )

    def wrong_type(self, column: str, kind: Kind, found: object, remedy: str = "") -> Fatal:
        remedy = remedy or f"write the column again as {kind.value}, or name another one with --columns"
        return Fatal(f"{self.path}, column {column} must hold {kind.value}", value=str(found), remedy=remedy)


def typed(where: Where, frame: pl.DataFrame, spec: Spec, reading: Reading) -> pl.DataFrame:
    """``frame`` under our names as declared: text, float64, and ``ts`` in UTC microseconds.

    Rows of symbols that are not wanted are left out unread. Raises Fatal as in ``Where.bad``.
    """
    frame = frame.with_columns(_text(where, frame, "symbol"))
    _refuse_blank(where, frame, "symbol")
    if reading.symbols:
        frame = frame.filter(pl.col("symbol").is_in(list(reading.symbols)))
    for column in spec.columns:
        if column.name not in frame.columns or column.name == "symbol":
            continue
        frame = frame.with_columns(_cast(where, frame, column, reading).alias(column.name))
    return frame


def _cast(where: Where, frame: pl.DataFrame, column: Column, reading: Reading) -> pl.Series:
    if column.kind is Kind.TEXT:
        text = _text(where, frame, column.name)
        _refuse_blank(where, frame.with_columns(text), column.name)
        return text
    if column.kind is Kind.TIME:
        return moments(where, frame, column.name, reading.zone)
    if column.kind is Kind.WHOLE:
        return _whole(where, frame, column)
    return _number(where, frame, column)


def _text(where: Where, frame: pl.DataFrame, name: str) -> pl.Series:
    cells, kind = frame[name], frame.schema[name]
    if not isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise where.wrong_type(name, Kind.TEXT, kind)
    return cells.cast(pl.String).str.strip_chars()


def _refuse_blank(where: Where, frame: pl.DataFrame, name: str) -> None:
    """No text may be missing or empty; whitespace inside a symbol would make it a different one elsewhere."""
    empty = frame[name].is_null() | (frame[name] == "")
    if empty.any():
        raise where.bad(frame, name, empty, "no text", "drop these rows or name their symbol")
    spaced = frame[name].str.contains(r"\s")
    if name == "symbol" and spaced.any():
        raise where.bad(frame, name, spaced, "a symbol with a blank inside", "write a dot, as in BRK.B")


def _number(where: Where, frame: pl.DataFrame, column: Column) -> pl.Series:
    cells, kind = frame[column.name], frame.schema[column.name]
    if isinstance(kind, pl.String):
        plain = cells.cast(pl.Float64, strict=False)
        if plain.is_finite().fill_null(value=False).all() and not (plain >= _UNDEFINED).any():
            return plain  # most columns: no cell has whitespace around it or is missing
        cells = cells.str.strip_chars()
        nothing = cells.is_null() | cells.str.to_lowercase().is_in(_NOTHING) | (cells == str(_UNDEFINED))
        found = cells.set(nothing, None).cast(pl.Float64, strict=False)
        broken = found.is_null() & ~nothing
    elif kind.is_numeric() or isinstance(kind, pl.Null):
        found = cells.cast(pl.Float64)
        nothing = found.is_null() | found.is_nan()
        if kind.is_integer():
            nothing |= (cells == _UNDEFINED).fill_null(value=False)
            found = found.set(nothing, None)
        broken = pl.repeat(value=False, n=len(cells), eager=True)
    else:
        raise where.wrong_type(column.name, Kind.NUMBER, kind)
    if broken.any():
        raise where.bad(frame, column.name, broken, "no number", _mend(frame, column.name, broken))
    if not column.unknown and nothing.any():
        raise where.bad(frame, column.name, nothing, "not a finite value", _DROP)
    endless = found.is_infinite().fill_null(value=False)
    if endless.any():
        raise where.bad(frame, column.name, endless, "not a finite value", _DROP)
    return found.set(nothing, None)


def _mend(frame: pl.DataFrame, name: str, broken: pl.Series) -> str:
    text = str(frame.filter(broken)[name][0]).strip()
    if text.casefold() == name:
        return "the column names are repeated here: delete the line"
    if "," in text:
        whole, point = text.replace(",", ""), text.replace(",", ".")
        return f"write {whole} if the comma separates thousands, {point} if it is the decimal point"
    return _DROP


def _whole(where: Where, frame: pl.DataFrame, column: Column) -> pl.Series:
    cells, kind = frame[column.name], frame.schema[column.name]
    if not (kind.is_integer() or isinstance(kind, pl.String)):
        raise where.wrong_type(column.name, Kind.WHOLE, kind)
    found = (
        cells.str.strip_chars().cast(pl.Int64, strict=False)
        if isinstance(kind, pl.String)
        else cells.cast(pl.Int64, strict=False)
    )
    bad = found.is_null()
    if bad.any():
        raise where.bad(
            frame, column.name, bad, "not a whole number", "write 0 for a first row, 1 for its correction"
        )
    return found
