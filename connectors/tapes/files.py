"""Tapes from files: Parquet and CSV of minute bars, and of quotes.

Bars: columns symbol, ts (the minute's START, with a time zone), open, high, low, close, volume, and
optionally revision and feed. Quotes: symbol, ts (the same), and either bid, ask or bid_close, ask_close;
optionally bid_size, ask_size. A row that breaks a market rule (negative volume, off the minute) is played
as it is, so that the pipeline dead-letters it; one that cannot be a record (a null or NaN) refuses the file.
"""

from datetime import date
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.tapes.chain import ORIGIN as CHAIN_ORIGIN
from tapedeck.connectors.tapes.chain import SyntheticChain, Underlying
from tapedeck.connectors.tapes.market import StockQuote, TapeMarket, quote_time
from tapedeck.connectors.tapes.table import Table, read_table
from tapedeck.connectors.tapes.tape import Body, Tape, arrange, bar_body, money, quote_body, universe_body
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.contract import MINUTE_US
from tapedeck.streams.sessions import Calendar, day_number, iso_date, xnys

_PRICES = ("open", "high", "low", "close")
_BAR_NUMBERS = (*_PRICES, "volume")
DEFAULT_FEED = "iex"
_SYNTHETIC = "synthetic/"
QUOTES_MADE = f"{_SYNTHETIC}quotes"
_MINUTES_A_YEAR = 252 * 390
_VOL_BOUNDS = (0.12, 0.9)
_ACTIVITY = 20_000.0


class _Source(NamedTuple):
    bars: Table
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
) -> Tape:
    """The tape of one session of ``bars``, with the session before as warm-up.

    ``session`` None takes the newest one. Without ``quotes`` the file beside ``bars`` that has "quotes" for
    "trades" in its name is taken; without that, quotes are made around each close and labelled.
    Raises Fatal naming the file, the column, what was found and the remedy; CalendarUnknown for a date
    that the calendar does not cover.
    """
    calendar = calendar or xnys()
    table = read_table(bars, numbers=_BAR_NUMBERS)
    day = _session_day(table, session, calendar)
    source = _Source(table, f"file/{bars.name}", _feed(table, feed), [])
    live = table.on(day)
    symbols = live.symbols()
    history = _history(source, day, symbols, calendar)
    arrivals = [(_arrival(body), body) for body in _bodies(source, live)]
    labels = [label for label, _ in arrivals]
    found = _recorded_quotes(source, _beside(bars, quotes), day, set(symbols))
    quote_origin = source.origin if found else QUOTES_MADE
    if not found:
        source.notes.append(f"no recorded quotes: they are made around each close ({QUOTES_MADE})")
        found = made_quotes(arrivals, source.feed)
    quoted = _quote_bodies(found, source.feed, quote_origin)
    labels += [label for label, _ in quoted]
    minutes = arrange(arrivals, quoted, min(labels), max(labels))
    _say_the_rest(source, table)
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
        market=market_over(found, history or [b for _, b in arrivals], day, calendar, quote_origin),
        notes=tuple(source.notes),
    )


def sessions_of_file(bars: Path, calendar: Calendar) -> list[int]:
    """The dates of the sessions of which ``bars`` has a bar. Raises Fatal as above."""
    return _sessions(read_table(bars, numbers=_BAR_NUMBERS), calendar)


def _sessions(table: Table, calendar: Calendar) -> list[int]:
    return [day for day in table.days() if _has_session(day, calendar)]


def _session_day(table: Table, wanted: date | None, calendar: Calendar) -> int:
    days = _sessions(table, calendar)
    listed = ", ".join(str(iso_date(day)) for day in days) or "none"
    if wanted is None and days:
        return days[-1]
    if wanted is None or day_number(wanted) not in days:
        raise Fatal(
            f"{table.path} has no bars of this session",
            value=str(wanted) if wanted else None,
            remedy=f"sessions in the file: {listed}",
        )
    return day_number(wanted)


def _has_session(day: int, calendar: Calendar) -> bool:
    first, last = calendar.horizon()
    return first <= day <= last and calendar.session_on(day) is not None


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
    return sorted(found, key=lambda body: (body["symbol"], body["t"], body["revision"]))


def _bodies(source: _Source, table: Table) -> list[Body]:
    """The bars of ``table``, every feed it holds: which one is decided is the pipeline's own rule."""
    return [
        bar_body(
            row["symbol"],
            row["ts"],
            [row[name] for name in _PRICES],
            row["volume"],
            feed=row.get("feed", source.feed),
            origin=source.origin,
            revision=row.get("revision", 0),
        )
        for row in table.rows()
    ]


def _arrival(body: Body) -> int:
    """A first revision arrives in its own minute, each later one a minute after the one before."""
    t: int = body["t"] + body["revision"] * MINUTE_US
    return t - t % MINUTE_US


def _beside(bars: Path, quotes: Path | None) -> Path | None:
    if quotes is not None:
        return quotes
    sibling = bars.with_name(bars.name.replace("trades", "quotes"))
    return sibling if sibling != bars and sibling.is_file() else None


def _recorded_quotes(
    source: _Source, path: Path | None, day: int, symbols: set[str]
) -> dict[str, list[StockQuote]]:
    """The recorded quotes of the day's symbols as of each minute's end."""
    found: dict[str, list[StockQuote]] = {}
    if path is None:
        return found
    table = read_table(path, numbers=(), either=(("bid", "ask"), ("bid_close", "ask_close")))
    bid, ask = ("bid", "ask") if table.has("bid") else ("bid_close", "ask_close")
    for row in table.on(day).rows():
        if row["symbol"] not in symbols:
            continue
        sizes = (row.get("bid_size"), row.get("ask_size"))
        quote = _quote(row["symbol"], row["ts"], row[bid], row[ask], sizes)
        found.setdefault(row["symbol"], []).append(quote)
    if found:
        source.notes.append(f"quotes: {path.name}, each minute's last, stamped up to 3 s before its end")
    return found


def made_quotes(arrivals: list[tuple[int, Body]], feed: str) -> dict[str, list[StockQuote]]:
    """A quote around the close of each on-time bar, by symbol, for tapes that hold none."""
    found: dict[str, list[StockQuote]] = {}
    for _, body in sorted(arrivals, key=lambda pair: (pair[1]["t"], pair[1]["revision"])):
        if body["revision"] == 0 and body["close"] > 0 and body["feed"] == feed:
            half = max(0.01, round(body["close"] * 0.0001, 2))
            bid, ask = body["close"] - half, body["close"] + half
            quote = _quote(body["symbol"], body["t"], bid, ask, (None, None))
            found.setdefault(body["symbol"], []).append(quote)
    return found


def _quote(
    symbol: str, ts: int, bid: float | None, ask: float | None, sizes: tuple[int | None, int | None]
) -> StockQuote:
    edge = ts - ts % MINUTE_US + MINUTE_US
    return StockQuote(
        symbol=symbol,
        time=quote_time(symbol, edge),
        bid=money(bid),
        ask=money(ask),
        bid_size=None if sizes[0] is None else int(sizes[0]),
        ask_size=None if sizes[1] is None else int(sizes[1]),
    )


def _quote_bodies(quotes: dict[str, list[StockQuote]], feed: str, origin: str) -> list[tuple[int, Body]]:
    return [
        (quote.time - quote.time % MINUTE_US, quote_body(quote, feed=feed, origin=origin))
        for rows in quotes.values()
        for quote in rows
    ]


def _say_the_rest(source: _Source, table: Table) -> None:
    if not table.has("feed"):
        source.notes.append(f"the file has no column feed: its bars are played as feed {source.feed}")
    source.notes.append("universe: MANUAL, the symbols of this session; its validation was skipped")
    source.notes.append(f"option chains are synthetic ({CHAIN_ORIGIN})")


def market_over(
    quotes: dict[str, list[StockQuote]], bars: list[Body], day: int, calendar: Calendar, quote_origin: str
) -> TapeMarket:
    """The market of a tape's quotes, with a synthetic chain whose volatility is that of ``bars``."""
    session = calendar.session_on(day)
    assert session is not None
    closes: dict[str, list[float]] = {}
    for body in bars:
        closes.setdefault(body["symbol"], []).append(body["close"])
    chain = SyntheticChain(
        {
            symbol: Underlying(reference=rows[-1], volatility=_volatility(rows), activity=_ACTIVITY)
            for symbol, rows in closes.items()
            if rows[-1] > 0
        },
        session,
        calendar,
    )
    return TapeMarket(
        quotes,
        chain,
        origin=CHAIN_ORIGIN,
        quote_origin=quote_origin,
        restated=quote_origin.startswith(_SYNTHETIC),
    )


def _volatility(closes: list[float]) -> float:
    """Annual volatility from minute closes, within sane bounds."""
    returns = [b / a - 1 for a, b in pairwise(closes) if a > 0]
    mean_square = sum(r * r for r in returns) / max(1, len(returns))
    return min(_VOL_BOUNDS[1], max(_VOL_BOUNDS[0], sqrt(mean_square * _MINUTES_A_YEAR)))
