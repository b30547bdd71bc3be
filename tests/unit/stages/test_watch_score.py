"""The watch score's vectors W1..W12."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.stages.scores.rule import WatchScore, watch_score

VECTORS = [
    ("W1", 0, 0.0, None, 0.0, 1.0, 0, 0.425),
    ("W2", 5, 0.8, 0.0, 0.0, 1.5, 1, 0.965),
    ("W3", 5, -0.8, 0.0, 0.0, 1.5, 1, 0.765),
    ("W4", 5, -0.8, 0.0, 0.0, 1.5, -1, 0.965),
    ("W5", 1, 0.05, 1800.0, 0.002, 1.0, 1, 0.439750),
    ("W6", 1, 0.06, 1800.0, 0.002, 1.0, 1, 0.541500),
    ("W7", 3, 0.5, 900.0, 0.004, 1.2, 1, 0.678),
    ("W8", 0, 0.0, None, 0.0, 1.5, 1, 0.55),
    ("W9", 2, 0.4, 600.0, 0.01, 0.6, -1, 0.170333),
    ("W10", 10, 0.2, 7200.0, -0.003, None, -1, 0.39),
    ("W11", 5, 1.0, 0.0, 0.0, 1.5, 1, 1.0),
    ("W12", 4, 0.7, 300.0, None, 1.0, 1, None),
]


def score(
    n: int, s: float, age: float | None, d: float | None, vol: float | None, trend: int | None
) -> WatchScore:
    return watch_score(Watchlist(), n=n, s=s, age_s=age, distance_sma20=d, vol_ratio=vol, trend_state=trend)


@pytest.mark.parametrize(
    ("n", "s", "age", "d", "vol", "trend", "expected"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_vector(
    n: int,
    s: float,
    age: float | None,
    d: float | None,
    vol: float | None,
    trend: int,
    expected: float | None,
) -> None:
    assert score(n, s, age, d, vol, trend).score == expected


def test_null_trend_is_not_scored_and_keeps_the_known_components() -> None:
    result = score(0, 0.0, None, 0.002, 1.5, None)
    assert result == WatchScore(None, 0.0, 0.8, 1.0, None)


UNIT = st.floats(-1, 1)
ANY = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.integers(0, 10**6),
    UNIT,
    st.none() | ANY,
    st.none() | ANY,
    st.none() | ANY,
    st.none() | st.sampled_from([-1, 0, 1]),
)
def test_score_lies_in_the_unit_interval_whatever_the_inputs(
    n: int, s: float, age: float | None, d: float | None, vol: float | None, trend: int | None
) -> None:
    result = score(n, s, age, d, vol, trend)
    assert (result.score is None) == (d is None or trend is None)
    assert all(part is None or 0 <= part <= 1 for part in result)
    assert result.score is None or result.score == round(result.score, 6)
