"""Files of index values and of earnings: CSV with a header, strict. One bad line refuses the whole file."""

import csv
import difflib
import io
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from tapedeck.connectors.outlook.records import EARNINGS, REGIME, Body, ReportTime, earnings, regime
from tapedeck.connectors.symbol_list import SYMBOL
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.sessions import day_number, micros, new_york_hour

COLUMNS: dict[str, tuple[str, ...]] = {
    REGIME: ("at", "available_at", "value"),
    EARNINGS: ("symbol", "report_date", "report_time", "available_at"),
}
MOST_POINTS = 1000.0
"""A volatility index above this is a mistake: the highest close of the VIX is 82.69."""
_SHOWN = 80
_EXAMPLE = "2026-02-17T14:30:00Z"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(1980, 2100)


class _Line:
    """One line of a file: its fields by name, and errors that say where it is."""

    def __init__(self, path: Path, number: int, fields: dict[str, str]) -> None:
        self._path, self.number, self._fields = path, number, fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name].strip()

    def refused(self, what: str, value: object, remedy: str) -> Fatal:
        shown = value[:_SHOWN] if isinstance(value, str) else value
        return Fatal(what, value=shown, remedy=remedy, place=f"{self._path}:{self.number}")

    def time(self, name: str) -> int:
        """UTC microseconds of an ISO 8601 time that names its offset."""
        text = self[name]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self.refused(f"{name} is no time", text, f"write it as {_EXAMPLE}") from None
        if moment.tzinfo is None:
            raise self.refused(f"{name} names no time zone", text, f"write it in UTC, as {_EXAMPLE}")
        if moment.year not in _YEARS:
            remedy = f"write a time from {_YEARS[0]} to {_YEARS[-1]}"
            raise self.refused(f"{name} is in no year that is possible", text, remedy)
        return micros(moment.astimezone(UTC))

    def known(self, name: str, since: int, what: str) -> int:
        """A time that is not before ``since``."""
        found = self.time(name)
        if found < since:
            remedy = f"write when it became known: {iso_time(since)} or later"
            raise self.refused(f"{name} is before {what}", self[name], remedy)
        return found


def read_regime(path: Path) -> list[Body]:
    """The records of a file of index values, by the time from which they count.

    Raises Fatal with the line, the value and the remedy.
    """
    return _read(path, REGIME, _regime)


def read_earnings(path: Path) -> list[Body]:
    """The records of a file of earnings, by the time from which they count. Raises like ``read_regime``."""
    return _read(path, EARNINGS, _earnings)


READERS: dict[str, Callable[[Path], list[Body]]] = {REGIME: read_regime, EARNINGS: read_earnings}


def _read(path: Path, name: str, made: Callable[[_Line, str], Body]) -> list[Body]:
    found: dict[str, tuple[int, Body]] = {}
    for line in _lines(path, COLUMNS[name]):
        body = made(line, f"file/{path.name}")
        first, _ = found.setdefault(body["event_id"], (line.number, body))
        if first != line.number:
            told = f"line {line.number} says something of the same moment as line {first}"
            remedy = "delete one of them; a correction has an available_at of its own"
            raise line.refused(told, iso_time(body["available_at"]), remedy)
    if not found:
        raise Fatal("the file has no rows", value=str(path), remedy="write one row a line below the header")
    return [body for _, body in sorted(found.values(), key=lambda each: (each[1]["available_at"], each[0]))]


def _lines(path: Path, columns: tuple[str, ...]) -> Iterator[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "give a CSV file in UTF-8"
        raise Fatal(f"the file cannot be read: {error}", value=str(path), remedy=remedy) from None
    rows = csv.reader(io.StringIO(text), strict=True)
    header: list[str] = []
    before = 0
    try:
        for row in rows:
            number, before = before + 1, rows.line_num
            line = _Line(path, number, {})
            if not row:
                continue
            if not header:
                header = _header(line, row, columns)
                continue
            if len(row) != len(header):
                what = f"there are {len(row)} fields where the header names {len(header)}"
                raise line.refused(what, ",".join(row), f"write {','.join(header)}")
            yield _Line(path, number, dict(zip(header, row, strict=True)))
    except csv.Error as error:
        place = f"{path}:{before + 1}"
        raise Fatal(f"this is no CSV: {error}", remedy="close or delete the quote", place=place) from None
    if not header:
        remedy = f"begin it with {','.join(columns)}"
        raise Fatal("the file is empty", value=str(path), remedy=remedy)


def _header(line: _Line, row: list[str], columns: tuple[str, ...]) -> list[str]:
    """The names of the columns, in any order."""
    names = [each.strip() for each in row]
    for each in names:
        if each not in columns:
            near = difflib.get_close_matches(each, columns, n=1, cutoff=0.4)
            meant = f"did you mean {near[0]}? " if near else ""
            remedy = f"{meant}the header is {','.join(columns)}"
            raise line.refused("the header names an unknown column", each, remedy)
    if sorted(names) != sorted(columns):
        remedy = f"name each column once: {','.join(columns)}"
        raise line.refused("the header does not name every column once", ",".join(row), remedy)
    return names


def _regime(line: _Line, origin: str) -> Body:
    at = line.time("at")
    available_at = line.known("available_at", at, "it was measured")
    try:
        value = float(line["value"])
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_POINTS or "_" in line["value"]:
        remedy = f"write the index in points, above 0 and at most {MOST_POINTS:g}, as 18.42"
        raise line.refused("value is no value of a volatility index", line["value"], remedy)
    return regime(at=at, available_at=available_at, value=value, origin=origin)


def _earnings(line: _Line, origin: str) -> Body:
    symbol, available_at = line["symbol"], line.time("available_at")
    if SYMBOL.fullmatch(symbol) is None:
        raise line.refused("this is no symbol", symbol, "write it in capitals, as NVDA or BRK.B")
    try:
        time = ReportTime(line["report_time"])
    except ValueError:
        remedy = f"write {', '.join(ReportTime)}"
        raise line.refused("report_time is not known", line["report_time"], remedy) from None
    day = _report_date(line, time)
    if day is not None and new_york_hour(available_at)[0] > day:
        remedy = "write when it became known, in advance; or leave the line out"
        raise line.refused("available_at is after the report", line["available_at"], remedy)
    return earnings(
        symbol=symbol, report_date=day, report_time=time, available_at=available_at, origin=origin
    )


def _report_date(line: _Line, time: ReportTime) -> int | None:
    """In days; None for a symbol that never reports."""
    text = line["report_date"]
    if time is ReportTime.NONE:
        if text:
            remedy = (
                f"leave report_date empty, or write one of {', '.join(t for t in ReportTime if t != time)}"
            )
            raise line.refused("report_time NONE has a date", text, remedy)
        return None
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        remedy = "write YYYY-MM-DD in New York; where a symbol never reports, leave it empty with NONE"
        raise line.refused("report_date is no date", text, remedy) from None
    return day_number(day)
