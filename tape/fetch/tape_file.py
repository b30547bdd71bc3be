"""History into a tape file: a session is a part on disk, and what is there is not asked for again.

Until all sessions are there, the parts are in a folder beside the file. ``request.json`` in it says what was
asked for, so that parts of another request are never mixed in.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple, Protocol

import polars as pl

from tapedeck.connectors.alpaca.market.frames import Bar, Unread
from tapedeck.connectors.tapes.market_files.stamp import Stamp
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, day_number, iso_date

_SCHEMA: dict[str, type[pl.DataType]] = {
    "symbol": pl.String, "ts": pl.Int64, "open": pl.Float64, "high": pl.Float64,
    "low": pl.Float64, "close": pl.Float64, "volume": pl.Float64, "feed": pl.String, "revision": pl.Int64,
}  # fmt: skip
Say = Callable[[str], None]


class Bars(Protocol):
    """Where history comes from; ``connectors.alpaca.market.history.History`` is one."""

    def pages(self, symbols: Sequence[str], first: int, last: int) -> Iterator[list[Bar | Unread]]: ...


@dataclass(frozen=True)
class Request:
    """What is fetched: bars of ``symbols`` in ``feed``, of the sessions from ``first`` to ``last``."""

    symbols: tuple[str, ...]
    feed: str
    first: date
    last: date

    def as_json(self) -> str:
        """The request as its folder of parts keeps it."""
        return json.dumps(asdict(self), default=str, sort_keys=True)


class Fetched(NamedTuple):
    """``bars`` in the file; ``kept``: sessions on disk before; ``without``: symbols without any."""

    bars: int
    sessions: int
    kept: int
    unread: int
    without: tuple[str, ...]


def sessions_of(request: Request, calendar: Calendar) -> list[tuple[date, int, int]]:
    """(New York date, first and last minute of its hours from 04:00 to 20:00) of every session.

    Raises Fatal if there is none.
    """
    found = [
        (iso_date(session.date), *calendar.trading_hours(session.date))
        for session in calendar.between(day_number(request.first), day_number(request.last))
    ]
    if not found:
        raise Fatal(
            "there is no session between these dates",
            value=f"{request.first} to {request.last}",
            remedy="name dates on which New York trades",
        )
    return [(day, first, last - MINUTE_US) for day, first, last in found]


def fetch(source: Bars, request: Request, out: Path, calendar: Calendar, say: Say) -> Fetched:
    """Write the bars of ``request`` to ``out``. What an earlier run fetched of it is used.

    Raises Fatal for parts of another request, and if no bar came.
    """
    parts = _begun(out, request)
    wanted = sessions_of(request, calendar)
    kept = unread = 0
    for number, (day, first, last) in enumerate(wanted, start=1):
        path = parts / f"{day}.parquet"
        if path.exists():
            kept += 1
            continue
        frame, broken = _session(source, request, first, last)
        unread += broken
        half = path.with_suffix(".half")
        frame.write_parquet(half)
        half.rename(path)
        say(f"{day}: {frame.height:,} bars ({number} of {len(wanted)} sessions)")
    whole = pl.concat([pl.scan_parquet(parts / f"{day}.parquet") for day, _, _ in wanted])
    counts = whole.group_by("symbol").len().collect()
    bars = int(counts["len"].sum())
    if not bars:
        raise Fatal(
            "no bar of these symbols came", value=", ".join(request.symbols),
            remedy=f"check the symbols, the dates and the feed {request.feed}; the parts in {parts} may go",
        )  # fmt: skip
    half = out.with_name(f".{out.name}.half")
    whole.sink_parquet(half, metadata=Stamp(f"alpaca/{request.feed}").metadata())
    half.rename(out)
    rmtree(parts)
    without = tuple(sorted({*request.symbols} - {*counts["symbol"].to_list()}))
    return Fetched(bars, len(wanted), kept, unread, without)


def parts_of(out: Path) -> Path:
    """The folder of the parts of ``out``."""
    return out.with_name(f"{out.name}.parts")


def _begun(out: Path, request: Request) -> Path:
    parts = parts_of(out)
    told = parts / "request.json"
    if told.exists() and told.read_text() != request.as_json():
        raise Fatal(
            "another fetch into this file was begun and not finished",
            value=told.read_text(),
            remedy=f"repeat it with the same symbols, dates and feed, or remove the folder {parts}",
        )
    parts.mkdir(exist_ok=True)
    told.write_text(request.as_json())
    return parts


def _session(source: Bars, request: Request, first: int, last: int) -> tuple[pl.DataFrame, int]:
    """The bars of one session, by time and symbol, and how many rows could not be read."""
    rows, unread = {}, 0
    for page in source.pages(request.symbols, first, last):
        for row in page:
            if isinstance(row, Unread):
                unread += 1
                continue
            prices = row.open, row.high, row.low, row.close, row.volume
            rows[row.t, row.symbol] = (row.symbol, row.t, *prices, request.feed, 0)
    columns = [rows[key] for key in sorted(rows)]
    frame = pl.DataFrame(columns, schema=_SCHEMA, orient="row")
    return frame.with_columns(pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC")), unread
