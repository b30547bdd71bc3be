"""Nanoseconds per bar of the feature kernel beside TA-Lib and talipp, in one process.

    python -m tests.bench.bench_kernel

All compute RSI, MACD, Bollinger, two SMAs and ATR. The kernel computes all 26 features of the domain
besides, rounds them and keeps the window ready for a roll-back; TA-Lib runs over whole arrays and keeps no
state; talipp is fed bar by bar. One row gives TA-Lib and numpy the kernel's other columns to compute as well:
that is the nearest to equal work. A figure is the median of several rounds, each of which runs all of them
in turn; it is CPU time, so that other work on the machine counts less.
"""

from collections.abc import Callable
from statistics import median
from time import process_time_ns

import numpy as np
import talib
from talipp.indicators import ATR, BB, MACD, RSI, SMA
from talipp.ohlcv import OHLCV

from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.stages.features import kernel
from tapedeck.streams.stages.features import layout as L
from tests.bench.report import Row, Table

SYMBOLS = 28
SESSIONS = 26
ROUNDS = 7
LIVE_MINUTES = 200
TALIPP_BARS = 2_000
_FIRST_OPEN = 1_381_411_800_000_000  # 2013-10-10 13:30 UTC


Work = Callable[[], int]
"""Folds some bars and says how many."""


def bars(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's integer and price columns of a random walk over SESSIONS full sessions."""
    dates, opens, closes = xnys().tables()
    first = int(np.searchsorted(opens, _FIRST_OPEN))
    rows = []
    for at in range(first, first + SESSIONS):
        for t in range(int(opens[at]), int(closes[at]), MINUTE_US):
            rows.append((t, 0, dates[at], dates[at - 1], opens[at], closes[at]))
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, len(rows))))
    start = np.concatenate(([100.0], close[:-1]))
    volume = rng.integers(1, 9_999, len(rows)).astype(np.float64)
    high, low = np.maximum(start, close) * 1.0005, np.minimum(start, close) * 0.9995
    return np.array(rows, dtype=np.int64), np.column_stack((start, high, low, close, volume))


class Window:
    """One key's window with the arrays that a call needs."""

    def __init__(self, capacity: int) -> None:
        config = from_dict({})
        self.slots, self.floats = L.open_state(None, L.fingerprint(config))
        self.ints, self.numbers = L.parameters(config)
        self.status = np.empty(capacity, dtype=np.int64)
        self.meta = np.empty((2 * capacity, L.META), dtype=np.int64)
        self.values = np.empty((2 * capacity, L.VALUES), dtype=np.float64)

    def fold(self, table: np.ndarray, prices: np.ndarray) -> None:
        kernel.fold(
            self.slots,
            self.floats,
            self.ints,
            self.numbers,
            table,
            prices,
            self.status,
            self.meta,
            self.values,
        )


def median_ns(works: dict[str, Work], rounds: int = ROUNDS) -> dict[str, float]:
    """Median CPU nanoseconds per bar of each work, all of them in turn in each round."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = process_time_ns()
            done = work()
            found[name].append((process_time_ns() - start) / done)
    return {name: median(figures) for name, figures in found.items()}


def replay(table: np.ndarray, prices: np.ndarray) -> Work:
    def work() -> int:
        Window(len(table)).fold(table, prices)
        return len(table)

    return work


def live(table: np.ndarray, prices: np.ndarray) -> Work:
    """One call per symbol and minute, as the features worker makes them."""
    windows = [Window(1) for _ in range(SYMBOLS)]
    for window in windows:
        for k in range(150):
            window.fold(table[k : k + 1], prices[k : k + 1])
    minute = iter(range(150, len(table)))

    def work() -> int:
        for _ in range(LIVE_MINUTES):
            k = next(minute)
            for window in windows:
                window.fold(table[k : k + 1], prices[k : k + 1])
        return LIVE_MINUTES * SYMBOLS

    return work


def talib_batch(prices: np.ndarray) -> Work:
    high, low, close = (np.ascontiguousarray(prices[:, k]) for k in (L.F_HIGH, L.F_LOW, L.F_CLOSE))

    def work() -> int:
        talib.RSI(close, 14)
        talib.MACD(close, 12, 26, 9)
        talib.BBANDS(close, 20, 2.0, 2.0)
        talib.SMA(close, 20)
        talib.SMA(close, 50)
        talib.ATR(high, low, close, 14)
        return len(close)

    return work


def talipp_stream(prices: np.ndarray, count: int) -> Work:
    rows = prices[:count].tolist()

    def work() -> int:
        by_close = (RSI(14), MACD(12, 26, 9), BB(20, 2.0), SMA(20), SMA(50))
        atr = ATR(14)
        for start, high, low, close, volume in rows:
            for indicator in by_close:
                indicator.add(close)
            atr.add(OHLCV(start, high, low, close, volume))
        return len(rows)

    return work


def equal_work(prices: np.ndarray) -> Work:
    """TA-Lib and numpy for what the kernel's 26 columns hold, rounded as it rounds; still no state."""
    opened, high, low, close, volume = (np.ascontiguousarray(column) for column in prices.T)

    def work() -> int:
        returns = np.diff(np.log(close), prepend=np.log(close[0]))
        sma20, sma50 = talib.SMA(close, 20), talib.SMA(close, 50)
        recent, baseline = talib.STDDEV(returns, 30), talib.STDDEV(returns, 120)
        upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0)
        columns = (
            sma20, sma50, close / sma20 - 1, close / sma50 - 1, recent, baseline, recent / baseline,
            volume / talib.SMA(volume, 20), talib.RSI(close, 14), *talib.MACD(close, 12, 26, 9),
            upper, lower, (close - lower) / (upper - lower), talib.ATR(high, low, close, 14),
            np.cumsum((high + low + close) / 3 * volume) / np.cumsum(volume),
            talib.ROCP(close, 5), talib.ROCP(close, 15), talib.MAX(high, 30), talib.MIN(low, 30),
            np.sign(sma20 - sma50), close / opened - 1,
        )  # fmt: skip
        for column in columns:
            np.round(column, 6)
        return len(close)

    return work


def measure(short: bool = False) -> Table:
    """Median ns per bar by way of computing. ``short`` takes fewer bars and rounds."""
    table, prices = bars(1)
    if short:
        table, prices = table[:2_000], prices[:2_000]
    Window(2).fold(table[:2], prices[:2])  # compile, or load the compiled kernel
    replayed = "kernel, replay: 26 features with state"
    found = median_ns(
        {
            replayed: replay(table, prices),
            "kernel, one call per symbol and minute": live(table, prices),
            "TA-Lib, whole arrays, 6 indicators": talib_batch(prices),
            "TA-Lib and numpy, the kernel's columns": equal_work(prices),
            "talipp, bar by bar, 6 indicators": talipp_stream(prices, 500 if short else TALIPP_BARS),
        }
    )
    base = found[replayed]
    return Table(
        "feature kernel, CPU nanoseconds per bar",
        tuple(Row(name, ns, "ns", note=f"{ns / base:.2f}x of replay") for name, ns in found.items()),
        (
            "the 6 indicators are RSI, MACD, Bollinger, two SMAs and ATR; the kernel's rows hold all 26",
            "features, rounded, in a window that can be rolled back; TA-Lib sees arrays and keeps no state",
        ),
    )


def main() -> None:
    """Measure and print."""
    print(measure())


if __name__ == "__main__":
    main()
