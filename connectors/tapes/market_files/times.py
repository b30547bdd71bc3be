"""Times as UTC microseconds: ISO 8601 with any zone, the clock of a named zone, and epochs of four units."""

import re
from typing import TYPE_CHECKING

import polars as pl

from tapedeck.connectors.tapes.market_files.columns import Kind
from tapedeck.connectors.tapes.market_files.options import known_zone
from tapedeck.schemas.errors import Fatal

if TYPE_CHECKING:
    from tapedeck.connectors.tapes.market_files.values import Where

_USUAL = "%Y-%m-%dT%H:%M:%SZ"
_EXAMPLE = "2013-10-11T13:30:00Z"
_MOMENT = (
    r"^(?<year>\d{4})[-/.]?(?<month>\d{2})[-/.]?(?<day>\d{2})"
    r"(?:[T ]*(?<hour>\d{1,2}):?(?<minute>\d{2})(?::?(?<second>\d{2})(?:[.,](?<part>\d{1,9}))?)?)?"
    r"\s*\[?(?<zone>[^\]]*)\]?$"
)
_EPOCH = r"^\d{9,10}(\.\d*)?$|^\d{12,13}(\.\d*)?$|^\d{15,16}(\.\d*)?$|^\d{18,19}(\.0*)?$|^\d\.\d+[eE]\+?\d+$"
_COMPACT = r"^20\d{10}$|^20\d{12}$"
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?")
_UTC = ("z", "utc", "gmt", "zulu", "+00")
_CLOCKS = {"est": -18000, "edt": -14400, "cst": -21600, "cdt": -18000, "pst": -28800, "pdt": -25200}
_UNITS = (
    ("seconds", 1_000_000, 1),
    ("milliseconds", 1000, 1),
    ("microseconds", 1, 1),
    ("nanoseconds", 1, 1000),
)
_FIRST_S, _LAST_S = 315_532_800, 4_102_444_800  # 1980 and 2100
_DAY_ONLY = "these are days: a tape has one row a minute, with the minute's start"


def moments(where: "Where", frame: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    """The column as int64 microseconds UTC. ``zone``: the zone of times that have none.

    Raises Fatal naming the row and its text for what is not a time, has no zone, or does not exist in it.
    """
    cells, kind = frame[name], frame.schema[name]
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _from_text(where, frame.with_columns(cells.cast(pl.String).str.strip_chars()), name, zone)
    if isinstance(kind, pl.Datetime):
        return _from_typed(where, frame, name, zone)
    if kind.is_integer() or kind.is_float():
        return _from_epoch(where, frame, name, cells)
    remedy = _DAY_ONLY if isinstance(kind, pl.Date) else f"write times like {_EXAMPLE}"
    raise where.wrong_type(name, Kind.TIME, kind, remedy)


def _from_typed(where: "Where", frame: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    cells, kind = frame[name], frame.schema[name]
    assert isinstance(kind, pl.Datetime)
    absent = cells.is_null()
    if absent.any():
        raise where.bad(frame, name, absent, "no time", "drop or correct these rows")
    if kind.time_zone is None and zone is None:
        raise _without_zone(where, frame, name, absent | ~absent)
    cells = cells.dt.cast_time_unit("us")
    if kind.time_zone is None and zone is not None:
        return _on_clock(where, frame, name, cells, zone)
    return cells.dt.convert_time_zone("UTC").to_physical()


def _on_clock(where: "Where", frame: pl.DataFrame, name: str, naive: pl.Series, zone: str) -> pl.Series:
    """Local times of a zone. Raises Fatal for a time that a clock change skips or repeats."""
    found = naive.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    lost = found.is_null() & naive.is_not_null()
    if lost.any():
        what = f"{zone} has this time never, or twice"
        raise where.bad(frame, name, lost, what, f"write it in UTC, like {_EXAMPLE}")
    where.remarks[name] = f"the clock of {zone}" if zone != "UTC" else "UTC"
    return found.dt.convert_time_zone("UTC").to_physical()


def _from_epoch(where: "Where", frame: pl.DataFrame, name: str, cells: pl.Series) -> pl.Series:
    """Whole numbers since 1970, whose size tells the unit: a single one for the whole column."""
    known = cells.drop_nulls()
    size = float(known[0]) if len(known) else 0.0
    for unit, times, by in _UNITS:
        low, high = (edge * 1_000_000 * by // times for edge in (_FIRST_S, _LAST_S))
        if low <= size < high:
            outside = ~((cells >= low) & (cells < high)).fill_null(value=False)
            if outside.any():
                remedy = f"earlier rows count {unit} since 1970: use one unit for all rows"
                raise where.bad(frame, name, outside, "no time", remedy)
            where.remarks[name] = f"{unit} since 1970, UTC"
            if cells.dtype.is_integer():
                return cells.cast(pl.Int64) * times // by
            return (cells.cast(pl.Float64) * times / by).round(0).cast(pl.Int64)
    row = frame.row(0, named=True)
    raise Fatal(
        f"{where.path}, {where.unit} {row['line']}, column {name} must hold times; as {cells.dtype} it takes"
        " seconds, milli-, micro- or nanoseconds since 1970",
        value=row[name],
        remedy=f"write times like {_EXAMPLE}",
    )


def _from_text(where: "Where", frame: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    cells = frame[name]
    if not len(cells):
        return pl.Series(name, [], pl.Int64)
    if re.match(_EPOCH, str(cells[0])) and not re.match(_COMPACT, str(cells[0])):
        numbers = cells.cast(pl.Int64 if not cells.str.contains(r"[.eE]").any() else pl.Float64, strict=False)
        return _from_epoch(where, frame, name, numbers)
    usual = cells.str.to_datetime(_USUAL, time_unit="us", strict=False)
    if not usual.has_nulls():
        return usual.to_physical()
    distinct = cells.unique(maintain_order=True)
    first = pl.DataFrame({name: distinct}).join(
        frame.unique(name, keep="first"), on=name, how="left", maintain_order="left"
    )
    table = pl.DataFrame({name: distinct, "moment": _of_texts(where, first, name, zone)})
    return frame.select(name).join(table, on=name, how="left", maintain_order="left")["moment"]


def _of_texts(where: "Where", frame: pl.DataFrame, name: str, zone: str | None) -> pl.Series:
    fields = frame[name].str.extract_groups(_MOMENT).struct.unnest()
    broken = fields["year"].is_null()
    days = fields["hour"].is_null() & ~broken
    if days.any() and not broken.any():
        raise where.bad(frame, name, days, "a day without a time", _DAY_ONLY)
    second = fields["second"].fill_null("00")
    part = fields["part"].fill_null("").str.pad_end(6, "0").str.slice(0, 6)
    stamp = (
        fields["year"]
        + fields["month"]
        + fields["day"]
        + fields["hour"].str.zfill(2)
        + fields["minute"]
        + second
        + "."
        + part
    )
    naive = stamp.str.to_datetime("%Y%m%d%H%M%S%.f", time_unit="us", strict=False)
    broken |= naive.is_null()
    if broken.any():
        raise where.bad(
            frame, name, broken, "must hold ISO 8601 times", _as_meant(str(frame.filter(broken)[name][0]))
        )
    zones = fields["zone"].fill_null("").str.strip_chars()
    found = naive.to_physical()
    for written in zones.unique().sort().to_list():
        here = zones == written
        moved = _moved(where, frame.filter(here), naive.filter(here).alias(name), written, zone)
        found = found.scatter(here.arg_true(), moved)
    return found


def _moved(
    where: "Where", frame: pl.DataFrame, naive: pl.Series, written: str, zone: str | None
) -> pl.Series:
    """Times of one zone as written in the file; ``naive`` has the column's name."""
    name = naive.name
    low = written.casefold()
    if not written:
        if zone is None:
            raise _without_zone(where, frame, name, naive.is_not_null())
        return _on_clock(where, frame, name, naive, zone)
    if low in _UTC:
        return naive.to_physical()
    if low in _CLOCKS:
        return naive.to_physical() - _CLOCKS[low] * 1_000_000
    if (offset := _OFFSET.fullmatch(written.upper())) is not None:
        sign, hours, minutes = offset.groups()
        seconds = (int(hours) * 60 + int(minutes or 0)) * 60
        return naive.to_physical() - (seconds if sign == "+" else -seconds) * 1_000_000
    try:
        known = known_zone(written)
    except Fatal as error:
        remedy = f"its zone {written!r} is not known: write UTC times like {_EXAMPLE}"
        what = "must hold ISO 8601 times"
        raise where.bad(frame, name, naive.is_not_null(), what, remedy) from error
    return _on_clock(where, frame, name, naive, known)


def _without_zone(where: "Where", frame: pl.DataFrame, name: str, bad: pl.Series) -> Fatal:
    what = "times without a time zone"
    remedy = f"write UTC times like {_EXAMPLE}, or name their zone: --zone America/New_York"
    return where.bad(frame, name, bad, what, remedy)


def _as_meant(text: str) -> str:
    if re.match(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", text):
        return f"day and month cannot be distinguished: write {_EXAMPLE}"
    return f"write {_EXAMPLE}"
