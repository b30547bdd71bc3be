"""A trading year of minute bars, made with numpy and written as whole record batches.

28 symbols over the sessions before a fixed date: random walks that share the market's move, with the day's U
of volume and quiet nights. The topics are what the player would have written: every symbol's bar of a minute,
then the minute's watermark in each partition, and one universe.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tapedeck.connectors.kafka.bulk.writer import BulkWriter
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.tapes.profiles import PROFILES
from tapedeck.connectors.tapes.tape import universe_body
from tapedeck.schemas.codec import encode
from tapedeck.schemas.columns import Columns, encode_columns
from tapedeck.streams.blocks import Block, pack_headers
from tapedeck.streams.protocol import MINUTE_US, Message
from tapedeck.streams.sessions import xnys
from tapedeck.streams.watermarks import headers_for
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout

SYMBOLS = tuple(sorted(PROFILES))
YEAR = 252
FEED, ORIGIN = "iex", "synthetic/year"
_LAST_OPEN = 1_771_338_600_000_000  # 2026-02-17 14:30 UTC
_SEED = 7
_MARKET_VOL = 0.008
_NIGHT_VOL = 0.004

_COLUMNS = ("open", "high", "low", "close", "volume")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Size(NamedTuple):
    """What was written: sessions, minutes, bars."""

    sessions: int
    minutes: int
    bars: int


class _Session(NamedTuple):
    """``minutes`` int64 (m): left edges. ``prices`` (symbols, m, 5): open, high, low, close, volume."""

    minutes: Ints
    prices: Floats


def _sessions(count: int) -> Iterator[_Session]:
    """The last ``count`` sessions up to the fixed date."""
    _, opens, closes = xnys().tables()
    end = int(np.searchsorted(opens, _LAST_OPEN)) + 1
    rng = np.random.default_rng(_SEED)
    profiles = [PROFILES[symbol] for symbol in SYMBOLS]
    last = np.array([each.price for each in profiles])
    day_vol = np.array([each.day_vol for each in profiles])
    beta = np.array([each.beta for each in profiles])
    shares = np.array([each.shares * 1e6 for each in profiles])
    for at in range(end - count, end):
        minutes = np.arange(opens[at], closes[at], MINUTE_US)
        m, place = len(minutes), np.linspace(0.0, 1.0, len(minutes))
        shape = 0.7 + 1.5 * np.exp(-place * 20) + 0.6 * np.exp((place - 1) * 15)
        market = rng.standard_normal(m) * _MARKET_VOL
        own = rng.standard_normal((len(SYMBOLS), m)) * 0.8 * day_vol[:, None]
        moves = (beta[:, None] * market + own) * shape / np.sqrt(m)
        moves[:, 0] += rng.standard_normal(len(SYMBOLS)) * _NIGHT_VOL
        close = np.maximum(1.0, last[:, None] * np.exp(np.cumsum(moves, axis=1)))
        start = np.concatenate((last[:, None], close[:, :-1]), axis=1)
        reach = np.abs(rng.standard_normal((2, len(SYMBOLS), m))) * 0.3 * day_vol[:, None] / np.sqrt(m)
        high = np.maximum(start, close) * (1 + reach[0])
        low = np.minimum(start, close) * (1 - reach[1])
        prices = np.round(np.stack((start, high, low, close), axis=-1), 2)
        volume = shares[:, None] / m * shape * np.exp(0.35 * rng.standard_normal((len(SYMBOLS), m)))
        last = close[:, -1]
        yield _Session(minutes, np.concatenate((prices, np.rint(volume)[:, :, None]), axis=-1))


class _Marks:
    """The watermarks of consecutive minutes as bytes: one key and a header each."""

    def __init__(self, minutes: Ints) -> None:
        headers = [pack_headers(headers_for(label)) for label in minutes.tolist()]
        sizes = np.array([len(each) for each in headers])
        self.data = np.frombuffer(WATERMARK_KEY + b"".join(headers), dtype=np.uint8)
        starts = len(WATERMARK_KEY) + np.cumsum(sizes) - sizes
        self.headers = np.column_stack((starts, sizes))


def _bars(session: _Session, symbols: list[int]) -> Columns:
    """The bars of ``symbols``, minute by minute."""
    minutes = session.minutes.tolist()
    names = [SYMBOLS[each] for each in symbols]
    texts = [f"bars|{FEED}|{name}|" for name in names]
    ids = [sha256(f"{text}{t}|0".encode()).hexdigest()[:32] for t in minutes for text in texts]
    shared = "".join(names) + FEED + ORIGIN
    n, base = len(ids), 32 * len(ids)
    columns = Columns.empty("bars", n, np.frombuffer(("".join(ids) + shared).encode(), dtype=np.uint8))
    sizes = np.array([len(name) for name in names])
    starts = base + np.cumsum(sizes) - sizes
    feed_at = base + len(shared) - len(FEED) - len(ORIGIN)
    columns.spans["event_id"][:] = np.column_stack((np.arange(n) * 32, np.full(n, 32)))
    columns.spans["symbol"][:] = np.tile(np.column_stack((starts, sizes)), (len(minutes), 1))
    columns.spans["feed"][:] = feed_at, len(FEED)
    columns.spans["origin"][:] = feed_at + len(FEED), len(ORIGIN)
    t = np.repeat(session.minutes, len(symbols))
    columns.ints["t"][:] = t
    columns.ints["event_time"][:] = t + MINUTE_US
    columns.ints["revision"][:] = 0
    prices = session.prices[symbols].transpose(1, 0, 2).reshape(n, 5)
    for place, name in enumerate(("open", "high", "low", "close", "volume")):
        columns.floats[name][:] = prices[:, place]
    return columns


def _block(session: _Session, partition: int, symbols: list[int]) -> Block:
    """One partition's records of a session: per minute the bars, then the watermark."""
    m, marks = len(session.minutes), _Marks(session.minutes)
    bars = _bars(session, symbols) if symbols else Columns.empty("bars", 0, np.empty(0, dtype=np.uint8))
    values, spans = encode_columns("bars", bars)
    keys_at = len(values) + len(marks.data)
    names = "".join(SYMBOLS[each] for each in symbols).encode()
    none = keys_at + len(names)
    sizes = np.array([len(SYMBOLS[each]) for each in symbols], dtype=np.int64)
    per_bar = np.column_stack((keys_at + np.cumsum(sizes) - sizes, sizes))

    def woven(of_bars: Ints, of_marks: Ints) -> Ints:
        """Spans (m * symbols, 2) and (m, 2) in the order of the log."""
        grid = np.empty((m, len(symbols) + 1, 2), dtype=np.int64)
        grid[:, :-1] = of_bars.reshape(m, len(symbols), 2)
        grid[:, -1] = of_marks
        return grid.reshape(-1, 2)

    no_headers = np.tile(np.array([[none, 1]]), (m * len(symbols), 1))
    empty = np.frombuffer(pack_headers([]), dtype=np.uint8)
    n = m * (len(symbols) + 1)
    return Block(
        "bars",
        partition,
        np.concatenate((values, marks.data, np.frombuffer(names, dtype=np.uint8), empty)),
        np.arange(n),
        np.repeat((session.minutes + MINUTE_US) // 1000, len(symbols) + 1),
        woven(np.tile(per_bar, (m, 1)), np.tile([[len(values), len(WATERMARK_KEY)]], (m, 1))),
        woven(spans, np.tile([[0, -1]], (m, 1))),
        woven(no_headers, np.add(marks.headers, (len(values), 0))),
    )


_WITHOUT_NEWS = ("sentiment", "sentiment_windows")


def _mark_message(name: str, partition: int, label: int) -> Message:
    stamp = (label + MINUTE_US) // 1000
    return Message(name, partition, 0, stamp, WATERMARK_KEY, None, tuple(headers_for(label)))


def write_year(cluster: Cluster, sessions: int = YEAR) -> Size:
    """Write bars and universe of the last ``sessions`` sessions; their topics are there already."""
    with BulkWriter(cluster) as writer:
        for block in year_blocks(cluster.layout, sessions):
            writer.write(block)
    minutes = sum(len(session.minutes) for session in _sessions(sessions))
    return Size(sessions, minutes, minutes * len(SYMBOLS))


def year_blocks(layout: Layout, sessions: int) -> Iterator[Block]:
    """The records of bars and universe of the last ``sessions`` sessions; each block's offsets begin at 0.

    A first watermark at the end says that there was no news until then.
    """
    parts: dict[int, list[int]] = {part: [] for part in range(layout.partitions("bars"))}
    for number, symbol in enumerate(SYMBOLS):
        parts[layout.partition("bars", {"symbol": symbol})].append(number)
    for number, session in enumerate(_sessions(sessions)):
        if number == 0:
            yield from _beginning(layout, int(session.minutes[0]) - MINUTE_US)
        yield Block.of([_mark_message("universe", 0, label) for label in session.minutes.tolist()])
        for part, symbols in parts.items():
            yield _block(session, part, symbols)
    for name in _WITHOUT_NEWS:
        for part in range(layout.partitions(name)):
            yield Block.of([_mark_message(name, part, int(session.minutes[-1]))])


def write_file(path: Path, sessions: int, symbols: Sequence[str] = SYMBOLS) -> int:
    """Write the bars of the last ``sessions`` sessions as one Parquet file; returns how many there are."""
    frames = []
    for minutes, prices in _sessions(sessions):
        n = len(minutes)
        columns = {"symbol": np.repeat(SYMBOLS, n), "ts": np.tile(minutes, len(SYMBOLS))}
        columns |= {name: prices[:, :, at].reshape(-1) for at, name in enumerate(_COLUMNS)}
        frame = pl.DataFrame(columns).with_columns(
            pl.from_epoch("ts", "us").dt.replace_time_zone("UTC"), pl.col("volume").cast(pl.Int64)
        )
        frames.append(frame.filter(pl.col("symbol").is_in(list(symbols))).sort("ts", "symbol"))
    whole = pl.concat(frames)
    whole.write_parquet(path)
    return whole.height


def _beginning(layout: Layout, label: int) -> Iterator[Block]:
    """What stands before the first minute: a watermark in every partition, and the universe."""
    for part in range(layout.partitions("bars")):
        yield Block.of([_mark_message("bars", part, label)])
    body = universe_body(SYMBOLS, source="DEFAULT", created_at=label, origin=ORIGIN)
    universe = Message("universe", 0, 0, label // 1000, b"universe", encode("universe", body), ())
    yield Block.of([_mark_message("universe", 0, label), universe])
