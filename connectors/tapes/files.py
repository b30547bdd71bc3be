"""Tapes from files: Parquet and text of minute bars, and of quotes.

Bars: columns symbol, ts (the minute's START, with a time zone), open, high, low, close, volume, and
optionally revision and feed. Quotes: symbol, ts (the same), and either bid, ask or bid_close, ask_close;
optionally bid_size, ask_size. ``tapes.reading`` knows other names and forms of these. A row that breaks a
market rule (negative volume, off the minute) is played as it is, so that the pipeline dead-letters it. A row
that cannot become a record (no value or NaN) makes the file invalid.
"""

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.tapes.chain import ORIGIN as CHAIN_ORIGIN
from tapedeck.connectors.tapes.hours import session_notes
from tapedeck.connectors.tapes.made import QUOTES_MADE, chain_notes, made_quotes, market_over, stock_quote
from tapedeck.connectors.tapes.market import StockQuote
from tapedeck.connectors.tapes.market_files.columns import BARS, QUOTES
from tapedeck.connectors.tapes.market_files.duplicates import settle
from tapedeck.connectors.tapes.market_files.options import DEFAULT_FEED, Reading, Tell, quiet
from tapedeck.connectors.tapes.market_files.stamp import stamp_of
from tapedeck.connectors.tapes.market_files.tables import Table, read_table
from tapedeck.connectors.tapes.tape import Body, Tape, arrange, bar_body, quote_body, universe_body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown, day_number, iso_date, xnys

_PRICES = ("open", "high", "low", "close")


class _Source(NamedTuple):
    bars: Table
    reading: Reading
    origin: str
    feed: str
    notes: list[str]


def read_tape(
    bars: Path,
    *,
    quotes: Path | None = None,
    session: date | None = None,
    feed: str = DEFAULT_FEED,
    calendar: Calendar | None = None,
    reading: Reading | None = None,
    tell: Tell = quiet,
) -> Tape:
    """The tape of one session of ``bars``, with the session before as warm-up.

    ``session`` None takes the newest one. Without ``quotes``, the file next to ``bars`` is taken that has
    "quotes" for "trades" in its name; without that, quotes are generated around each close and labeled.
    ``tell`` is called with the progress of the reading. Raises Fatal naming the file, the column, what was
    found and the remedy; CalendarUnknown for a session that the calendar does not cover.
    """
    calendar, reading = calendar or xnys(), reading or Reading()
    table = read_table(bars, BARS, reading, _Wanted(session, calendar), tell)
    day = _session_day(table, session, calendar)
    table, settled = settle(table, reading.duplicates)
    notes = [*table.notes, *settled, *_beyond(table, calendar)]
    source = _Source(table, reading, origin_of(bars), _feed(table, feed), notes)
    live = table.on(day)
    symbols = live.symbols()
    notes += _hours(live, day, calendar)
    tell(f"{bars.name}: building the session of {iso_date(day)}")
    history = _history(source, day, symbols, calendar)
    arrivals = [(_arrival(body), body) for body in _bodies(source, live)]
    labels = [label for label, _ in arrivals]
    recorded = beside(bars, quotes)
    found = _recorded_quotes(source, recorded, day, set(symbols), tell) if recorded else {}
    quote_origin = source.origin if found else QUOTES_MADE
    if not found:
        notes.append(f"no recorded quotes: synthetic ones are made around each close ({QUOTES_MADE})")
        found = made_quotes(arrivals, source.feed)
    quoted = _quote_bodies(found, source.feed, quote_origin)
    labels += [label for label, _ in quoted]
    minutes = arrange(arrivals, quoted, min(labels), max(labels))
    known = history or sorted((body for _, body in arrivals), key=_by_symbol)
    _say_the_rest(source, table, known)
    return Tape(
        name=f"{bars.name}, session of {iso_date(day)}",
        origin=source.origin,
        session=day,
        feed=source.feed,
        universe=universe_body(
            symbols, source="MANUAL", created_at=minutes[0].label - MINUTE_US, origin=source.origin
        ),
        history=tuple(history),
        minutes=minutes,
        market=market_over(found, known, day, calendar, quote_origin),
        notes=tuple(notes),
    )


def sessions_of_file(
    bars: Path, calendar: Calendar, reading: Reading | None = None, tell: Tell = quiet
) -> list[int]:
    """The dates of the sessions for which ``bars`` has a bar. Raises Fatal as above."""
    return sessions_among(read_table(bars, BARS, reading or Reading(), lambda days: (), tell).days, calendar)


def sessions_among(days: Collection[int], calendar: Calendar) -> list[int]:
    """Those of ``days`` that have a session, in order."""
    first, last = calendar.horizon()
    return [day for day in sorted(days) if first <= day <= last and calendar.session_on(day) is not None]


class _Wanted:
    """Of the dates seen so far: the session to play, the newest if none is named, and the one before it."""

    def __init__(self, session: date | None, calendar: Calendar) -> None:
        self._calendar = calendar
        self._day = None if session is None else day_number(session)
        if self._day is not None:
            calendar.session_on(self._day)

    def __call__(self, days: Collection[int]) -> Collection[int]:
        day = self._day
        if day is None:
            day = max(sessions_among(days, self._calendar), default=None)
        before = None if day is None else self._calendar.previous(day)
        return {each for each in (day, before and before.date) if each is not None}


def _session_day(table: Table, wanted: date | None, calendar: Calendar) -> int:
    days = sessions_among(table.days, calendar)
    listed = ", ".join(str(iso_date(day)) for day in days) or "none"
    if wanted is None and days:
        return days[-1]
    if wanted is None and (beyond := _outside(table, calendar)):
        raise CalendarUnknown(beyond[-1], calendar.horizon())
    if wanted is None or day_number(wanted) not in days:
        raise Fatal(
            f"{table.path} has no bars of this session",
            value=str(wanted) if wanted else None,
            remedy=f"sessions in the file: {listed}",
        )
    return day_number(wanted)


def _outside(table: Table, calendar: Calendar) -> list[int]:
    first, last = calendar.horizon()
    return [day for day in table.days if not first <= day <= last]


def _beyond(table: Table, calendar: Calendar) -> list[str]:
    days = _outside(table, calendar)
    if not days:
        return []
    first, last = (iso_date(edge) for edge in calendar.horizon())
    said = f"the calendar covers only {first} to {last}: rows of {len(days)} days outside it are left out"
    return [f"{table.path.name}: {said}, such as {iso_date(days[-1])}"]


def _hours(live: Table, day: int, calendar: Calendar) -> list[str]:
    session = calendar.session_on(day)
    assert session is not None
    return session_notes(live.frame.group_by("ts").len().iter_rows(), session, calendar)


def _feed(table: Table, wanted: str) -> str:
    if not table.has("feed"):
        return wanted
    feeds = table.distinct("feed")
    if wanted not in feeds:
        raise Fatal(
            f"{table.path}, column feed: no bar of the wanted feed",
            value=wanted,
            remedy=f"feeds in the file: {', '.join(feeds)}",
        )
    return wanted


def _history(source: _Source, day: int, symbols: list[str], calendar: Calendar) -> list[Body]:
    before = calendar.previous(day)
    found = []
    if before is not None:
        wanted = set(symbols)
        found = [body for body in _bodies(source, source.bars.on(before.date)) if body["symbol"] in wanted]
    if found and before is not None:
        source.notes.append(f"warm-up: {len(found)} bars of {iso_date(before.date)}")
    else:
        source.notes.append("no warm-up: the file has no bars of the session before")
    return sorted(found, key=_by_symbol)


def _bodies(source: _Source, table: Table) -> list[Body]:
    """The bars of ``table``, with every feed: the pipeline's own rule selects one."""
    return [
        bar_body(
            row["symbol"],
            row["ts"],
            [row[name] for name in _PRICES],
            row["volume"],
            feed=row.get("feed") or source.feed,
            origin=source.origin,
            revision=row.get("revision") or 0,
        )
        for row in table.rows()
    ]


def _by_symbol(body: Body) -> tuple[str, int, int]:
    return body["symbol"], body["t"], body["revision"]


def _arrival(body: Body) -> int:
    """A first revision arrives in its own minute, each later one a minute after the one before."""
    t: int = body["t"] + body["revision"] * MINUTE_US
    return t - t % MINUTE_US


def origin_of(bars: Path) -> str:
    """The label of the records of ``bars``: the file itself, or the file that it is a copy of."""
    return stamp_of(bars).origin or f"file/{bars.name}"


def beside(bars: Path, quotes: Path | None) -> Path | None:
    """The quotes of ``bars``: the given ones, or the file with the matching name next to it."""
    if quotes is not None:
        return quotes
    sibling = bars.with_name(stamp_of(bars).quotes or bars.name.replace("trades", "quotes"))
    return sibling if sibling != bars and sibling.exists() else None


def _recorded_quotes(
    source: _Source, path: Path, day: int, symbols: set[str], tell: Tell
) -> dict[str, list[StockQuote]]:
    """The recorded quotes of the day's symbols as of each minute's end."""
    found: dict[str, list[StockQuote]] = {}
    table, settled = settle(
        read_table(path, QUOTES, source.reading, lambda days: {day}, tell), source.reading.duplicates
    )
    for row in table.rows():
        if row["symbol"] in symbols:
            sizes = (row.get("bid_size"), row.get("ask_size"))
            quote = stock_quote(row["symbol"], row["ts"], row["bid"], row["ask"], sizes)
            found.setdefault(row["symbol"], []).append(quote)
    if found:
        source.notes.append(f"quotes: {path.name}, each minute's last, stamped up to 3 s before its end")
        source.notes.extend((*table.notes, *settled))
    return found


def _quote_bodies(quotes: dict[str, list[StockQuote]], feed: str, origin: str) -> list[tuple[int, Body]]:
    return [
        (quote.time - quote.time % MINUTE_US, quote_body(quote, feed=feed, origin=origin))
        for rows in quotes.values()
        for quote in rows
    ]


def _say_the_rest(source: _Source, table: Table, bars: list[Body]) -> None:
    if not table.has("feed"):
        source.notes.append(f"the file has no column feed: its bars are played as feed {source.feed}")
    source.notes.append("universe: MANUAL, the symbols of this session; its validation was skipped")
    source.notes.append(f"option chains are synthetic ({CHAIN_ORIGIN})")
    source.notes.extend(chain_notes(bars))
