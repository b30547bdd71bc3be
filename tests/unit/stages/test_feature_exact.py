"""The kernel against the formulas in exact fractions, at prices of up to 1,000,000."""

from datetime import date
from fractions import Fraction
from itertools import pairwise
from math import isqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.streams.config.document import from_dict
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.support.feature_oracle import Bar

CONFIG = from_dict({})
STAGE = FeaturesStage(CONFIG, xnys())
OPEN = xnys().session_on(day_number(date(2026, 2, 17))).open
RELATIVE = Fraction(1, 10**9)
HALF_A_PLACE = Fraction(1, 2 * 10**10)
"""Features are rounded to 10 places."""
PLACE = Fraction(1, 10**10)


def bars_of(closes: list[float], share: float = 0.0) -> list[Bar]:
    """Bars of one session that close at ``closes`` and reach ``share`` of it above and below."""
    return [
        Bar(OPEN + i * MINUTE_US, close, close * (1 + share), close * (1 - share), close, 100.0 + i % 7)
        for i, close in enumerate(closes)
    ]


def fold(bars: list[Bar]) -> dict[str, Any]:
    """The features after the last of ``bars``."""
    return STAGE.step(b"iex|X", None, [bar.row("X") for bar in bars]).outs[-1].body


def root(square: Fraction) -> Fraction:
    """The square root to 40 digits and more."""
    scale = 10**80
    return Fraction(isqrt(square.numerator * scale // square.denominator), 10**40)


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def ema(values: list[Fraction], window: int, take: int = 2) -> list[Fraction]:
    """Seeded by the mean of the first ``window``; the first is of value number ``window``."""
    found = [mean(values[:window])]
    for value in values[window:]:
        found.append(found[-1] + (value - found[-1]) * take / (window - 1 + take))
    return found


def deviation(closes: list[Fraction], window: int) -> Fraction:
    last = closes[-window:]
    returns = [b / a - 1 for a, b in pairwise(last)]
    middle = mean(returns)
    return root(sum(((r - middle) ** 2 for r in returns), Fraction(0)) / (len(returns) - 1))


def exact(bars: list[Bar]) -> dict[str, Fraction | None]:
    """Everything that is computed with closes; at least 120 bars of one session."""
    c, high, low, volume = ([Fraction(bar[at]) for bar in bars] for at in (4, 2, 3, 5))
    spans = [high[0] - low[0]] + [
        max(up - down, abs(up - last), abs(down - last))
        for up, down, last in zip(high[1:], low[1:], c, strict=False)
    ]
    value = sum((sum(bar) / 3 * v for *bar, v in zip(high, low, c, volume, strict=True)), Fraction(0))
    sma20, sma50 = mean(c[-20:]), mean(c[-50:])
    width = 2 * root(sum(((x - sma20) ** 2 for x in c[-20:]), Fraction(0)) / 20)
    macd = [a - b for a, b in zip(ema(c, 12)[14:], ema(c, 26), strict=True)]
    signal = ema(macd, 9)[-1]
    changes = [b - a for a, b in pairwise(c)]
    gain, loss = (ema([max(s * x, Fraction(0)) for x in changes], 14, 1)[-1] for s in (1, -1))
    recent, baseline = deviation(c, 30), deviation(c, 120)
    return {
        "sma20": sma20,
        "sma50": sma50,
        "distance_sma20": (c[-1] - sma20) / sma20,
        "distance_sma50": (c[-1] - sma50) / sma50,
        "bb_upper": sma20 + width,
        "bb_lower": sma20 - width,
        "bb_position": (c[-1] - sma20 + width) / (2 * width) if width > PLACE * 1000 else None,
        "macd": macd[-1],
        "macd_signal": signal,
        "macd_hist": macd[-1] - signal,
        "rsi14": 100 * gain / (gain + loss) if gain + loss else Fraction(50),
        "recent_vol": recent,
        "baseline_vol": baseline,
        "vol_ratio": recent / baseline if min(recent, baseline) > PLACE * 1000 else None,
        "momentum_5": c[-1] / c[-6] - 1,
        "momentum_15": c[-1] / c[-16] - 1,
        "atr14": ema(spans, 14, 1)[-1],
        "vwap": value / sum(volume),
    }


def assert_exact(body: dict[str, Any], wanted: dict[str, Fraction | None]) -> None:
    for name, value in wanted.items():
        if value is not None:
            assert body[name] is not None, name
            off = abs(Fraction(body[name]) - value)
            assert off <= RELATIVE * abs(value) + HALF_A_PLACE, (name, body[name], float(value))


def trend(wanted: dict[str, Fraction | None]) -> int | None:
    """The trend; None where rounding decides."""
    short, long = wanted["sma20"], wanted["sma50"]
    assert short is not None and long is not None
    if short == long:
        return 0
    clear = 4 * max(PLACE, long / 2**52)
    return None if abs(short - long) < clear else 1 if short > long else -1


prices = st.one_of(st.integers(100, 100_000_000), st.integers(50_000_000, 100_000_000))
moves = st.lists(st.integers(-4, 4), min_size=1, max_size=30)
sizes = st.sampled_from([0, 1, 3, 250, 40_000])


@settings(max_examples=60, deadline=None)
@given(prices, moves, sizes, st.integers(120, 150), st.sampled_from([0.0, 1e-8, 0.003]))
def test_every_feature_is_within_1e9_of_the_exact_value_up_to_a_million(
    cents: int, pattern: list[int], size: int, count: int, share: float
) -> None:
    closes, at = [], cents
    for k in range(count):
        at = min(100_000_000, max(100, at + pattern[k % len(pattern)] * min(size, at // 20)))
        closes.append(at / 100)
    bars = bars_of(closes, share)
    body, wanted = fold(bars), exact(bars)
    assert_exact(body, wanted)
    if (sign := trend(wanted)) is not None:
        assert body["trend_state"] == sign


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100_000_000), st.integers(50, 140))
def test_a_flat_price_has_no_trend_no_width_and_no_momentum_whatever_its_height(cents: int, n: int) -> None:
    assert_flat(fold(bars_of([cents / 100] * n)), cents / 100)


@pytest.mark.parametrize("price", [745_000.10, 67_890.12, 123_456.70])
def test_fifty_equal_bars_of_a_high_price_are_flat(price: float) -> None:
    assert_flat(fold(bars_of([price] * 50)), price)


def assert_flat(body: dict[str, Any], price: float) -> None:
    for name in ("sma20", "sma50", "bb_upper", "bb_lower"):
        assert body[name] == price, name
    for name in ("trend_state", "distance_sma20", "distance_sma50", "macd", "macd_signal", "macd_hist"):
        assert body[name] in (0, None), name
    assert body["trend_state"] == 0
    assert body["bb_position"] is None
    assert (body["rsi14"], body["atr14"], body["vol_ratio"]) == (50.0, 0.0, None)


def test_a_price_that_swings_about_one_level_has_no_trend() -> None:
    """Both means are the same number, but no close is at it."""
    body = fold(bars_of([745_000.10, 745_000.20] * 25))
    assert body["trend_state"] == 0
    assert body["sma20"] == body["sma50"] == pytest.approx(745_000.15, abs=2e-10)
    assert body["bb_position"] == pytest.approx(0.75, abs=1e-9)


def test_a_cent_at_a_million_is_seen_by_every_average() -> None:
    bars = bars_of([999_999.99] * 119 + [1_000_000.00])
    body = fold(bars)
    assert_exact(body, exact(bars))
    assert body["trend_state"] == 1
    assert body["macd"] > 0 and body["bb_position"] > 1
