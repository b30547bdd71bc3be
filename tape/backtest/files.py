"""Sessions of a market file, column by column: what ``read_tape`` makes of them, without an object per bar.

The first session comes from ``read_tape`` itself, and so does any that this module leaves to it: with
revisions, with several feeds, or with times that are not whole minutes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tapedeck.connectors.tapes.chain import ORIGIN as CHAIN_ORIGIN
from tapedeck.connectors.tapes.chain import SyntheticChain
from tapedeck.connectors.tapes.files import beside
from tapedeck.connectors.tapes.made import QUOTES_MADE, chain_of, made_quote, stock_quote
from tapedeck.connectors.tapes.market import StockQuote, TapeMarket, quote_time
from tapedeck.connectors.tapes.market_files.columns import BARS, QUOTES
from tapedeck.connectors.tapes.market_files.duplicates import settle
from tapedeck.connectors.tapes.market_files.options import Tell
from tapedeck.connectors.tapes.market_files.tables import DAY, Table, read_table
from tapedeck.connectors.tapes.player import universe_to_send
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import universe_body
from tapedeck.schemas.columns import Columns, encode_columns
from tapedeck.streams.blocks import Block, pack_headers
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, day_number, iso_date
from tapedeck.streams.watermarks import headers_for
from tapedeck.tape.backtest.days import Day, Written, days_of
from tapedeck.tape.backtest.log import RollingLog
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

TOGETHER = 21
"""Sessions read at once: the file is scanned once for so many. Twice as many take 60 MB more."""
_PRICES = ("open", "high", "low", "close", "volume")
Ints = NDArray[np.int64]


class _Bars(NamedTuple):
    """The bars of a session in the order in which they arrive."""

    symbols: list[str]
    codes: Ints
    t: Ints
    numbers: Mapping[str, NDArray[np.float64]]


def file_days(
    sources: Sequence[TapeSource], calendar: Calendar, names: Collection[str], layout: Layout, tell: Tell
) -> Iterator[Day]:
    """The sessions of ``sources``, which are of one file, like ``days_of`` over their tapes."""
    written, first = Written(), sources[0]
    yield from days_of([first.load(tell)], names, layout, written)
    for start in range(1, len(sources), TOGETHER):  # those read before are gone when the next are read
        yield from _read(_Reader(sources[start : start + TOGETHER], calendar, layout, tell), written, names)


def _read(reader: "_Reader", written: Written, names: Collection[str]) -> Iterator[Day]:
    for source in reader.sources:
        day = reader.day(source, written)
        if day is None:
            yield from days_of([source.load(reader.tell)], names, reader.layout, written)
        else:
            yield day


class _Reader:
    """Some sessions of a file in memory."""

    def __init__(self, sources: Sequence[TapeSource], calendar: Calendar, layout: Layout, tell: Tell) -> None:
        self.sources, self.layout, self.tell, self._calendar = sources, layout, tell, calendar
        self._path = Path(sources[0].tape)
        dates = [_date(each) for each in sources]
        before = calendar.previous(dates[0])
        wanted = {*dates, *([before.date] if before is not None else [])}
        self._bars = _by_day(self._path, BARS, sources[0], wanted, tell)
        quotes = beside(self._path, sources[0].quotes)
        self._quotes = {} if quotes is None else _by_day(quotes, QUOTES, sources[0], set(dates), tell)

    def day(self, source: TapeSource, written: Written) -> Day | None:
        """One session; None if it is left to ``read_tape``."""
        date = _date(source)
        frame = self._bars.get(date)
        if frame is None or not _is_plain(frame, source.feed):
            return None
        bars = _bars_of(frame)
        before = self._calendar.previous(date)
        known = None if before is None else self._bars.get(before.date)
        known = None if known is None else known.filter(pl.col("symbol").is_in(bars.symbols))
        if (
            known is not None
            and known.height
            and not (_is_plain(known, source.feed) and _has(written, known, source.feed))
        ):
            return None
        origin = written.origin
        quotes, quote_origin = self._quoted(date, bars, origin)
        labels = [int(bars.t[0]), int(bars.t[-1]), *(t for each in quotes.values() for t in each.ends())]
        first, last = min(labels), max(labels)
        universe = universe_to_send(
            universe_body(bars.symbols, source="MANUAL", created_at=first - MINUTE_US, origin=origin),
            written.universe,
        )
        written.universe = universe or written.universe
        written.newest |= _newest(bars, source.feed)
        closes = _closes(frame if known is None or not known.height else known)
        return Day(
            date=date,
            first=first,
            last=last,
            name=f"{self._path.name}, session of {iso_date(date)}",
            origin=origin,
            market=_Market(quotes, chain_of(closes, date, self._calendar), quote_origin),
            blocks=(
                *_beginning(self.layout, first - MINUTE_US, last, universe),
                *_blocks(bars, first, last, source.feed, origin, self.layout),
            ),
            texts=(),
            bars=len(bars.t),
            symbols=tuple(bars.symbols),
            notes=written.notes,
        )

    def _quoted(self, date: int, bars: _Bars, origin: str) -> tuple[dict[str, "_Quotes"], str]:
        """The session's quotes by symbol: the recorded ones, else one around each close."""
        frame = self._quotes.get(date)
        frame = None if frame is None else frame.filter(pl.col("symbol").is_in(bars.symbols))
        found: dict[str, _Quotes] = {}
        if frame is not None and frame.height:
            sizes = [name for name in ("bid_size", "ask_size") if name in frame.columns]
            for (symbol,), rows in frame.group_by("symbol", maintain_order=True):
                columns = {name: rows[name].to_list() for name in ("bid", "ask", *sizes)}
                found[str(symbol)] = _Quotes(str(symbol), rows["ts"].to_list(), columns)
            return found, origin
        close = bars.numbers["close"]
        for code, symbol in enumerate(bars.symbols):
            mine = np.flatnonzero((bars.codes == code) & (close > 0))
            if len(mine):
                found[symbol] = _Quotes(symbol, bars.t[mine].tolist(), {"close": close[mine].tolist()})
        return found, QUOTES_MADE


class _Quotes(Sequence[StockQuote]):
    """A stock's quotes in order of time, each made when it is looked at."""

    def __init__(self, symbol: str, minutes: list[int], columns: Mapping[str, list[Any]]) -> None:
        times = [quote_time(symbol, ts - ts % MINUTE_US + MINUTE_US) for ts in minutes]
        order = sorted(range(len(times)), key=times.__getitem__)
        self._symbol = symbol
        self._minutes = [minutes[at] for at in order]
        self._columns = {name: [column[at] for at in order] for name, column in columns.items()}
        self.times = [times[at] for at in order]
        self._made: dict[int, StockQuote] = {}

    def ends(self) -> tuple[int, int]:
        """The labels of the first and the last."""
        return tuple(self.times[at] - self.times[at] % MINUTE_US for at in (0, -1))  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, at: Any) -> Any:
        if at not in self._made:
            self._made[at] = self._quote(at)
        return self._made[at]

    def _quote(self, at: int) -> StockQuote:
        ts, row = self._minutes[at], {name: column[at] for name, column in self._columns.items()}
        if "close" in row:
            return made_quote(self._symbol, ts, row["close"])
        return stock_quote(
            self._symbol, ts, row["bid"], row["ask"], (row.get("bid_size"), row.get("ask_size"))
        )


class _Market(TapeMarket):
    """The market of a session over quotes that are made when they are looked at."""

    def __init__(self, quotes: Mapping[str, _Quotes], chain: SyntheticChain, quote_origin: str) -> None:
        super().__init__(
            {}, chain, origin=CHAIN_ORIGIN, restated=quote_origin == QUOTES_MADE, quote_origin=quote_origin
        )
        self._quotes = dict(quotes)  # type: ignore[arg-type]
        self._times = {symbol: each.times for symbol, each in quotes.items()}


def _date(source: TapeSource) -> int:
    assert source.session is not None
    return day_number(source.session)


def _has(written: Written, warm_up: pl.DataFrame, feed: str) -> bool:
    """Whether the log has all of ``warm_up``: of each symbol, a bar as new as its newest."""
    newest = warm_up.group_by("symbol").agg(pl.col("ts").max()).iter_rows()
    return all(written.newest.get((feed, symbol), (0, 0)) >= (ts, 0) for symbol, ts in newest)


def _by_day(
    path: Path, spec: Any, source: TapeSource, wanted: Collection[int], tell: Tell
) -> dict[int, pl.DataFrame]:
    table: Table = read_table(path, spec, source.reading, lambda days: wanted, tell)
    table, _ = settle(table, source.reading.duplicates)
    return {int(day): frame for (day,), frame in table.frame.partition_by(DAY, as_dict=True).items()}


def _is_plain(frame: pl.DataFrame, feed: str) -> bool:
    """Whether the bars have no revision, one feed, and whole minutes that occur once a symbol."""
    if "revision" in frame.columns and (frame["revision"].fill_null(0) != 0).any():
        return False
    if "feed" in frame.columns and (frame["feed"] != feed).any():
        return False
    if (frame["ts"] % MINUTE_US != 0).any():
        return False
    return not bool(frame.select("symbol", "ts").is_duplicated().any())


def _bars_of(frame: pl.DataFrame) -> _Bars:
    ordered = frame.sort("ts", "symbol")
    symbols = sorted(ordered["symbol"].unique().to_list())
    places = {symbol: place for place, symbol in enumerate(symbols)}
    codes = np.array([places[symbol] for symbol in ordered["symbol"].to_list()], dtype=np.int64)
    numbers = {name: ordered[name].cast(pl.Float64).to_numpy() for name in _PRICES}
    return _Bars(symbols, codes, ordered["ts"].to_numpy().astype(np.int64), numbers)


def _newest(bars: _Bars, feed: str) -> dict[tuple[str, str], tuple[int, int]]:
    last = {int(code): int(t) for code, t in zip(bars.codes, bars.t, strict=True)}
    return {(feed, bars.symbols[code]): (t, 0) for code, t in last.items()}


def _closes(frame: pl.DataFrame) -> dict[str, list[float]]:
    """Closes by symbol in order of time."""
    ordered = frame.sort("symbol", "ts")
    found = ordered.group_by("symbol", maintain_order=True).agg(pl.col("close").cast(pl.Float64))
    return dict(zip(found["symbol"].to_list(), found["close"].to_list(), strict=True))


def _beginning(layout: Layout, before: int, last: int, universe: Any) -> Iterator[Block]:
    """The watermark before the session in every partition, the universe if it changed, and its watermark."""
    log = RollingLog(layout)
    writer = log.writer()
    for name in ("bars", "universe"):
        writer.watermark(name, before)
    if universe is not None:
        writer.send("universe", universe)
    writer.watermark("universe", last)
    return (Block.of(messages) for _, messages in log.parts())


def _blocks(bars: _Bars, first: int, last: int, feed: str, origin: str, layout: Layout) -> Iterator[Block]:  # noqa: PLR0917 - one session
    """The records of each partition: per minute its bars, then the watermark."""
    labels = np.arange(first, last + MINUTE_US, MINUTE_US)
    homes = np.array([layout.partition("bars", {"symbol": symbol}) for symbol in bars.symbols])
    for part in range(layout.partitions("bars")):
        mine = np.flatnonzero(homes[bars.codes] == part)
        yield _block(bars, mine, labels, part, (feed, origin))


def _block(bars: _Bars, rows: Ints, labels: Ints, part: int, told: tuple[str, str]) -> Block:
    columns = _columns(bars, rows, told)
    values, spans = encode_columns("bars", columns)
    headers = [pack_headers(headers_for(label)) for label in labels.tolist()]
    names = [symbol.encode() for symbol in bars.symbols]
    sizes = np.array([len(name) for name in names], dtype=np.int64)
    at_names = len(values)
    at_mark = at_names + int(sizes.sum())
    at_headers = at_mark + len(WATERMARK_KEY)
    lengths = np.array([len(each) for each in headers], dtype=np.int64)
    at_none = at_headers + int(lengths.sum())
    keys = np.stack((at_names + np.cumsum(sizes) - sizes, sizes), axis=1)[bars.codes[rows]]
    marks = len(labels)
    of_marks = np.stack((at_headers + np.cumsum(lengths) - lengths, lengths), axis=1)
    no_header = np.tile(np.array([[at_none, 1]]), (len(rows), 1))
    # a watermark comes behind the records of its minute
    places = np.concatenate((2 * bars.t[rows], 2 * labels + 1))
    order = np.argsort(places, kind="stable")
    data = b"".join([values.tobytes(), *names, WATERMARK_KEY, *headers, pack_headers([])])
    times = np.concatenate((bars.t[rows], labels)) + MINUTE_US
    return Block(
        "bars",
        part,
        np.frombuffer(data, dtype=np.uint8),
        np.arange(len(order)),
        (times // 1000)[order],
        np.concatenate((keys, np.tile(np.array([[at_mark, len(WATERMARK_KEY)]]), (marks, 1))))[order],
        np.concatenate((spans, np.tile(np.array([[0, -1]]), (marks, 1))))[order],
        np.concatenate((no_header, of_marks))[order],
    )


def _columns(bars: _Bars, rows: Ints, told: tuple[str, str]) -> Columns:
    feed, origin = told
    n, minutes, codes = len(rows), bars.t[rows], bars.codes[rows]
    heads = [f"bars|{feed}|{symbol}|" for symbol in bars.symbols]
    ids = "".join(
        sha256(f"{heads[code]}{t}|0".encode()).hexdigest()[:32]
        for code, t in zip(codes.tolist(), minutes.tolist(), strict=True)
    ).encode()
    names = [symbol.encode() for symbol in bars.symbols]
    texts = [*names, feed.encode(), origin.encode()]
    sizes = np.array([len(each) for each in texts], dtype=np.int64)
    spans = np.stack((len(ids) + np.cumsum(sizes) - sizes, sizes), axis=1)
    columns = Columns.empty("bars", n, np.frombuffer(ids + b"".join(texts), dtype=np.uint8))
    columns.spans["event_id"][:] = np.stack((32 * np.arange(n), np.full(n, 32)), axis=1)
    columns.spans["symbol"][:] = spans[codes]
    columns.spans["feed"][:], columns.spans["origin"][:] = spans[-2], spans[-1]
    columns.ints["t"][:], columns.ints["event_time"][:] = minutes, minutes + MINUTE_US
    columns.ints["revision"][:] = 0
    for name in _PRICES:
        columns.floats[name][:] = bars.numbers[name][rows]
    return columns
