"""The domain's vectors F1 to F23 and the null rules, through the stage."""

from datetime import date
from typing import Any

import pytest

from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Session, day_number, xnys
from tapedeck.streams.stages.features.stage import FeaturesStage
from tests.support.feature_oracle import Bar, assert_agrees, compute

SMALL = {
    "sma_short": 3, "sma_long": 5, "recent": 4, "baseline": 8, "volume_window": 3, "rsi": 3, "macd_fast": 2,
    "macd_slow": 4, "macd_signal": 2, "bollinger": 4, "atr": 3, "momentum_short": 2, "momentum_long": 4,
    "opening_range_min": 3,
}  # fmt: skip
SESSION_A, SESSION_B = (xnys().session_on(day_number(date(2026, 3, day))) for day in (5, 6))
TEN = [
    ("A", 387, 100.0, 100.4, 99.8, 100.2, 900), ("A", 388, 100.2, 100.6, 100.1, 100.5, 1100),
    ("A", 389, 100.5, 100.7, 100.2, 100.3, 1500), ("B", 0, 102.0, 102.5, 101.6, 102.1, 4000),
    ("B", 1, 102.1, 102.3, 101.9, 102.0, 2000), ("B", 2, 102.0, 102.8, 102.0, 102.6, 2400),
    ("B", 3, 102.6, 102.9, 102.4, 102.5, 1600), ("B", 4, 102.5, 103.1, 102.5, 103.0, 2100),
    ("B", 5, 103.0, 103.2, 102.7, 102.8, 1200), ("B", 6, 102.8, 103.6, 102.8, 103.5, 4900),
]  # fmt: skip
VECTORS = [
    ("sma20", 100.9666667, 103.1, 100.3725),
    ("sma50", None, 102.88, 100.349),
    ("trend_state", None, 1, 1),
    ("distance_sma20", 0.0112248267, 0.0038797284, -0.0001245361),
    ("distance_sma50", None, 0.0060264386, 0.0001096174),
    ("recent_vol", 0.0035242638, 0.0045974814, 0.0032868435),
    ("baseline_vol", None, 0.0039819985, 0.0032468429),
    ("vol_ratio", None, 1.154566337, 1.012319841),
    ("volume_ratio", 3.428571429, 3, 1.346801347),
    ("rsi14", 91.30434783, 86.34825486, 49.82777033),
    ("macd", 0.7305555556, 0.3153071522, 0.0302594056),
    ("macd_signal", None, 0.3019554192, 0.0157620259),
    ("macd_hist", None, 0.013351733, 0.0144973797),
    ("bb_upper", 102.3201537, 103.678011, 100.7427364),
    ("bb_lower", 99.22984629, 102.221989, 100.0022636),
    ("bb_position", 0.9287599311, 0.8777415509, 0.4831188943),
    ("atr14", 0.6555555556, 0.6438347813, 0.3482114722),
    ("vwap", 102.0666667, 102.6456044, 100.3259333),
    ("momentum_5", None, 0.0048543689, -0.0019888624),
    ("momentum_15", None, 0.0087719298, 0.0006979759),
    ("or_high", None, 102.8, 100.63),
    ("or_low", None, 101.6, 99.98),
    ("gap_pct", 0.0169491525, 0.0169491525, None),
]


def run(bars: list[Bar], config: Config) -> list[dict[str, Any]]:
    step = FeaturesStage(config, xnys()).step(b"iex|SPY", None, [bar.row() for bar in bars])
    assert step.drops == []
    return [out.body for out in step.outs]


def ten_bars() -> list[Bar]:
    sessions = {"A": SESSION_A, "B": SESSION_B}
    return [Bar(sessions[s].open + minute * MINUTE_US, *rest) for s, minute, *rest in TEN]


def long_series() -> list[Bar]:
    bars = []
    for i in range(130):
        close = 100 + 0.05 * (7 * i % 13) + 0.02 * (i // 40)
        volume = 1000.0 + 100 * (37 * i % 11)
        bars.append(Bar(SESSION_B.open + i * MINUTE_US, close, close + 0.03, close - 0.02, close, volume))
    return bars


@pytest.fixture(scope="module")
def columns() -> list[dict[str, Any]]:
    small = run(ten_bars(), from_dict({"feature": SMALL}))
    return [small[3], small[9], run(long_series(), from_dict({}))[-1]]


@pytest.mark.parametrize(
    ("name", "after_4", "after_10", "long"), VECTORS, ids=[f"F{i}" for i in range(1, 24)]
)
def test_vector_holds(
    columns: list[dict[str, Any]],
    name: str,
    after_4: float | None,
    after_10: float | None,
    long: float | None,
) -> None:
    for body, expected in zip(columns, (after_4, after_10, long), strict=True):
        if expected is None:
            assert body[name] is None
        else:
            assert body[name] == pytest.approx(expected, rel=1e-9, abs=6e-11)


def test_the_oracle_itself_gives_the_vectors() -> None:
    config = from_dict({"feature": SMALL})
    bars = ten_bars()
    for n, body in enumerate(run(bars, config), start=1):
        session = SESSION_A if n <= 3 else SESSION_B
        previous, current = ([], bars[:n]) if n <= 3 else (bars[:3], bars[3:n])
        assert_agrees(body, compute(config, session, previous, current))
    for name, _, after_10, _ in VECTORS:
        expected = compute(config, SESSION_B, bars[:3], bars[3:])[name]
        assert expected == (None if after_10 is None else pytest.approx(after_10, rel=1e-9, abs=6e-11))


def flat(n: int, session: Session = SESSION_B, price: float = 100.1, volume: float = 0.0) -> list[Bar]:
    return [Bar(session.open + k * MINUTE_US, price, price, price, price, volume) for k in range(n)]


def test_a_flat_tape_without_volume_gives_nulls_where_a_ratio_has_no_meaning() -> None:
    body = run(flat(130), from_dict({}))[-1]
    assert body["rsi14"] == 50.0
    assert body["recent_vol"] == body["baseline_vol"] == 0.0
    for name in ("vol_ratio", "volume_ratio", "volume_surge", "bb_position", "vwap"):
        assert body[name] is None
    assert body["bb_upper"] == body["bb_lower"] == 100.1
    assert body["trend_state"] == 0
    assert body["or_state"] == "INSIDE"


def test_rsi_is_100_without_a_loss() -> None:
    bars = [bar._replace(close=100.1 + k / 10, high=200.0) for k, bar in enumerate(flat(20))]
    assert run(bars, from_dict({}))[-1]["rsi14"] == 100.0


def test_a_feature_is_null_until_its_window_is_full() -> None:
    bodies = run(long_series(), from_dict({}))
    first = {
        name: next(n for n, b in enumerate(bodies, 1) if b[name] is not None) for name, *_ in VECTORS[:-1]
    }
    assert first == {
        "sma20": 20, "sma50": 50, "trend_state": 50, "distance_sma20": 20, "distance_sma50": 50,
        "recent_vol": 30, "baseline_vol": 120, "vol_ratio": 120, "volume_ratio": 21, "rsi14": 15, "macd": 26,
        "macd_signal": 34, "macd_hist": 34, "bb_upper": 20, "bb_lower": 20, "bb_position": 20, "atr14": 14,
        "vwap": 1, "momentum_5": 6, "momentum_15": 16, "or_high": 30, "or_low": 30,
    }  # fmt: skip
    assert [b["ready"] for b in bodies].index(True) == 49


def test_returns_over_more_than_five_minutes_are_left_out() -> None:
    config = from_dict({"feature": SMALL})
    bars = long_series()[:9]
    for shift, known in ((5, True), (6, False)):
        # two of three returns must remain of a window of 4: a second gap takes one too many
        moved = [*bars[:7], bars[7]._replace(t=bars[6].t + shift * MINUTE_US)]
        moved.append(bars[8]._replace(t=moved[-1].t + 6 * MINUTE_US))
        assert (run(moved, config)[-1]["recent_vol"] is not None) is known


def test_the_opening_range_holds_only_bars_of_its_minutes_and_is_null_without_any() -> None:
    bars = long_series()
    late_start = run(bars[31:60], from_dict({}))[-1]
    assert late_start["or_high"] is None
    assert late_start["or_state"] is None
    above = run([*bars[:40], bars[40]._replace(high=150.0, close=140.0)], from_dict({}))[-1]
    assert (above["or_high"], above["or_state"]) == (run(bars[:30], from_dict({}))[-1]["or_high"], "ABOVE")
