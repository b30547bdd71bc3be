"""The kernel against TA-Lib on real bars.

RSI, SMA and Bollinger bands are seeded alike and agree from their first value. TA-Lib's ATR takes no
true range of the first bar and seeds one bar later, so it is compared over one session after a warm-up
of 300 bars: what the seeds differ by has then shrunk by (13/14)**300, below 1e-9.
"""

from datetime import date

import numpy as np
import polars as pl
import pytest
import talib

from tapedeck.streams.config.document import from_dict
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.support.cases import shared
from tests.support.feature_oracle import Bar

ATR_WARM_UP = 300


def recorded(symbol: str, *days: date) -> list[Bar]:
    """The regular bars of some sessions of a recording, in order."""
    tape = pl.read_parquet(shared("us_equity_trades_1m.parquet")).filter(pl.col("symbol") == symbol)
    tape = tape.sort("ts").with_columns(pl.col("ts").dt.epoch("us"), pl.col("volume").cast(pl.Float64))
    bars = [Bar(*row) for row in tape.drop("symbol").iter_rows()]
    sessions = [xnys().session_on(day_number(day)) for day in days]
    return [bar for bar in bars if any(s.open <= bar.t < s.close for s in sessions if s)]


def column(bars: list[Bar], name: str) -> np.ndarray:
    step = FeaturesStage(from_dict({}), xnys()).step(b"iex|X", None, [bar.row() for bar in bars])
    assert len(step.outs) == len(bars)
    return np.array([np.nan if out.body[name] is None else out.body[name] for out in step.outs])


def assert_equal(mine: np.ndarray, theirs: np.ndarray, start: int = 0) -> None:
    mine, theirs = mine[start:], theirs[start:]
    assert np.array_equal(np.isnan(mine), np.isnan(theirs))
    known = ~np.isnan(theirs)
    assert known.sum() > 50
    np.testing.assert_allclose(mine[known], theirs[known], rtol=1e-9, atol=1e-10)


TAPES = [
    ("IBM", date(2013, 10, 10), date(2013, 10, 11)),
    ("BAC", date(2013, 10, 10), date(2013, 10, 11)),
    ("GOOG", date(2015, 12, 23), date(2015, 12, 24)),
]


@pytest.fixture(scope="module", params=TAPES, ids=lambda tape: tape[0])
def bars(request: pytest.FixtureRequest) -> list[Bar]:
    return recorded(*request.param)


def closes(bars: list[Bar]) -> np.ndarray:
    return np.array([bar.close for bar in bars])


def test_rsi_equals_talib_over_two_sessions(bars: list[Bar]) -> None:
    assert_equal(column(bars, "rsi14"), talib.RSI(closes(bars), 14))


@pytest.mark.parametrize(("name", "window"), [("sma20", 20), ("sma50", 50)])
def test_sma_equals_talib_over_two_sessions(bars: list[Bar], name: str, window: int) -> None:
    assert_equal(column(bars, name), talib.SMA(closes(bars), window))


def test_bollinger_bands_equal_talib_over_two_sessions(bars: list[Bar]) -> None:
    upper, _, lower = talib.BBANDS(closes(bars), 20, 2.0, 2.0)
    assert_equal(column(bars, "bb_upper"), upper)
    assert_equal(column(bars, "bb_lower"), lower)


@pytest.mark.parametrize(
    ("symbol", "day"), [("IBM", date(2013, 10, 11)), ("AAPL", date(2014, 6, 5)), ("GOOG", date(2015, 12, 23))]
)
def test_atr_equals_talib_within_a_session_after_the_warm_up(symbol: str, day: date) -> None:
    bars = recorded(symbol, day)
    high, low, close = (np.array([getattr(bar, name) for bar in bars]) for name in ("high", "low", "close"))
    assert_equal(column(bars, "atr14"), talib.ATR(high, low, close, 14), ATR_WARM_UP)


def test_a_third_session_is_seeded_where_the_second_starts() -> None:
    days = (date(2013, 10, 9), date(2013, 10, 10), date(2013, 10, 11))
    three = recorded("IBM", *days)
    two = recorded("IBM", *days[1:])
    newest = len(recorded("IBM", days[2]))
    theirs = talib.RSI(closes(two), 14)[-newest:]
    assert_equal(column(three, "rsi14")[-newest:], theirs)
    assert not np.allclose(theirs[:5], talib.RSI(closes(three), 14)[-newest:][:5], rtol=0, atol=1e-12)
