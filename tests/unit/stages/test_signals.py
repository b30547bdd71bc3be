"""The decision rule: vectors S1..S36, the order of its checks, the gap fade, totality."""

from dataclasses import replace
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import GapFade, Signal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.signals.reasons import SignalReason as R
from tapedeck.streams.stages.signals.rule import ENTRY_CHECKS, Case, Direction, GapCase, Strategy, decide

CONFIG = Config()
SECOND = 1_000_000
GOOD = Case(
    in_session=True,
    on_watchlist=True,
    ready=True,
    prices=(100.0, 99.7, 99.0),
    distance=0.003,
    trend=1,
    vol_ratio=1.0,
    volume_ratio=2.0,
    bar_age=0,
    since_signal=None,
)

# id, trend, distance, vol_ratio, volume_ratio, (s, n), action, strategy, reason, confidence
DAY, SWING = "day_trade", "swing_trade"
VECTORS = [
    ("S1", 1, 0.003, 1, 1, None, "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.144375),
    ("S2", 1, 0.003, 1, 1.7, None, "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.385),
    ("S3", 1, 0.003, 1, 2, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.553437),
    ("S4", 1, 0.003, 1, 2, (0.8, 5), "BUY_CALL", DAY, "OPTION_DAY_TRADE", 0.664125),
    ("S5", 1, 0.003, 1, 2, (-0.8, 5), "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.464887),
    ("S6", 1, 0.003, 1, 5.5, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.649687),
    ("S7", 1, 0.012, 1, 1.2, None, "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.255),
    ("S8", 1, 0.012, 1, 1.6, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.68),
    ("S9", 1, 0.012, 1, 2.1, None, "BUY_CALL", DAY, "OPTION_DAY_TRADE", 1.0),
    ("S10", -1, -0.012, 1.25, 2.6, None, "BUY_PUT", DAY, "OPTION_DAY_TRADE", 1.0),
    ("S11", -1, -0.012, 0.7, 1.6, None, "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.632),
    ("S12", -1, 0.004, 1, 2.1, None, "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.54625),
    ("S13", -1, 0.012, 1, 2.6, None, "HOLD", None, "NO_SETUP", 0.0),
    ("S14", 0, 0, 1, 3, None, "BUY_STOCK", DAY, "STOCK_WEAK_TREND", 0.515625),
    ("S15", 1, 0.012, 1.35, 3, None, "BUY_STOCK", DAY, "STOCK_HIGH_VOL", 1.0),
    ("S16", 1, 0.003, 1, 0.4, None, "HOLD", None, "VOLUME_TOO_LOW", 0.0),
    ("S17", 1, 0.003, 1, None, None, "HOLD", None, "VOLUME_UNKNOWN", 0.240625),
    ("S18", 1, 0.02, 1, 3, None, "HOLD", None, "STRETCHED", 0.0),
    ("S19", 1, 0.0199, 1, 2, None, "BUY_CALL", DAY, "OPTION_DAY_TRADE", 0.950331),
    ("S20", 1, 0.01, 1, 2.5, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.628906),
    ("S21", 1, 0.005, 1, 0.5, None, "HOLD", None, "OPTIONS_CONFIDENCE_TOO_LOW", 0.140625),
    ("S22", 1, 0.012, 1.3, 1.5, None, "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.68),
    ("S23", 1, 0.012, 1.3001, 1.5, None, "BUY_STOCK", DAY, "STOCK_HIGH_VOL", 0.6),
    ("S24", 0, -0.012, 1, 1.6, None, "SELL_STOCK", DAY, "STOCK_WEAK_TREND", 0.54),
    ("S25", 0, 0.001, 1, 1.6, None, "HOLD", None, "STOCK_CONFIDENCE_TOO_LOW", 0.325),
    ("S26", 0, -0.004, 1, 2.2, None, "BUY_STOCK", DAY, "STOCK_WEAK_TREND", 0.445625),
    ("S27", -1, -0.003, 1, 2, (-0.6, 5), "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.636453),
    ("S28", -1, -0.008, 1, 2, None, "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.56925),
    ("S29", 1, 0.003, 1, 2, (0.5, 2), "BUY_CALL", SWING, "OPTION_SWING_TRADE", 0.581109),
    ("S30", 1, 0.003, None, 2, None, "HOLD", None, "NO_FEATURES", 0.0),
    ("S31", -1, -0.012, 1.25, 1.9, None, "BUY_PUT", SWING, "OPTION_SWING_TRADE", 0.68),
    ("S32", 1, 0.0101, 0.79, 5, (-1, 9), "BUY_CALL", DAY, "OPTION_DAY_TRADE", 1.0),
    ("S33", 1, 0.012, 1.35, None, (1, 5), "HOLD", None, "VOLUME_UNKNOWN", 0.46875),
]
COLUMNS = (
    "trend",
    "distance",
    "vol_ratio",
    "volume_ratio",
    "sentiment",
    "action",
    "strategy",
    "reason",
    "confidence",
)


@pytest.mark.parametrize(COLUMNS, [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS])
def test_vector(
    trend: int,
    distance: float,
    vol_ratio: float | None,
    volume_ratio: float | None,
    sentiment: tuple[float, int] | None,
    action: str,
    strategy: str | None,
    reason: str,
    confidence: float,
) -> None:
    avg, n = sentiment or (0.0, 0)
    case = replace(
        GOOD,
        trend=trend,
        distance=distance,
        vol_ratio=vol_ratio,
        volume_ratio=volume_ratio,
        sentiment_avg=avg,
        sentiment_n=n,
    )
    decision = decide(case, CONFIG)
    assert decision[:4] == (action, strategy, reason, confidence)


def test_not_ready_holds_s34() -> None:
    assert decide(replace(GOOD, ready=False), CONFIG)[:4] == ("HOLD", None, "NOT_READY", 0.0)


def test_signal_before_the_cooldown_holds_and_keeps_its_confidence_s35() -> None:
    decision = decide(replace(GOOD, since_signal=15 * MINUTE_US - SECOND), CONFIG)
    assert decision[:4] == ("HOLD", None, "COOLDOWN", 0.553437)


def test_signal_exactly_at_the_cooldown_goes_s36() -> None:
    decision = decide(replace(GOOD, since_signal=15 * MINUTE_US), CONFIG)
    assert decision[:4] == ("BUY_CALL", "swing_trade", "OPTION_SWING_TRADE", 0.553437)


FAILING = {
    R.FEED_NOT_SELECTED: {"feed_selected": False},
    R.OUTSIDE_SESSION: {"in_session": False},
    R.NOT_ON_WATCHLIST: {"on_watchlist": False},
    R.NOT_READY: {"ready": False},
    R.SUSPECT_SPLIT: {"suspect_split": True},
    R.NO_FEATURES: {"prices": (None,)},
    R.STALE_BAR: {"bar_age": 60 * SECOND + 1},
}


def test_entry_checks_fire_alone_and_in_their_order() -> None:
    assert list(ENTRY_CHECKS) == list(FAILING)
    reasons = list(FAILING)
    for at, reason in enumerate(reasons):
        assert decide(replace(GOOD, **FAILING[reason]), CONFIG).reason is reason  # type: ignore[arg-type]
        together: dict[str, object] = {}
        for later in reasons[at:]:
            together |= FAILING[later]
        assert decide(replace(GOOD, **together), CONFIG).reason is reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field", ["in_session", "on_watchlist", "ready", "bar_age", "distance", "trend", "vol_ratio"]
)
def test_unknown_never_opens(field: str) -> None:
    assert decide(replace(GOOD, **{field: None}), CONFIG).action is Action.HOLD  # type: ignore[arg-type]


def test_bar_of_exactly_the_greatest_age_is_decided() -> None:
    assert decide(replace(GOOD, bar_age=60 * SECOND), CONFIG).reason is R.OPTION_SWING_TRADE


def test_untested_check_is_left_out() -> None:
    case = replace(GOOD, on_watchlist=None, ready=None)
    untested = frozenset({R.NOT_ON_WATCHLIST, R.NOT_READY})
    assert decide(case, CONFIG, untested).reason is R.OPTION_SWING_TRADE
    assert decide(case, CONFIG, frozenset({R.NOT_ON_WATCHLIST})).reason is R.NOT_READY


@pytest.mark.parametrize(
    ("vol_ratio", "limit"), [(1.2, 0.65), (1.24, 0.66), (1.3, 0.675)], ids=["flat", "sloped", "end"]
)
def test_day_trade_threshold_rises_with_volatility(vol_ratio: float, limit: float) -> None:
    def strategy(confidence_at: float) -> Strategy | None:
        config = Config(signal=Signal(volume_factors=(0.3, 0.8, confidence_at / 0.9625, 1.25, 1.35)))
        case = replace(GOOD, distance=0.003, vol_ratio=vol_ratio, sentiment_n=0)
        return decide(replace(case, volume_ratio=2.0), config).strategy

    assert strategy(2 * limit + 0.0001) is Strategy.DAY_TRADE
    assert strategy(2 * limit - 0.0001) is Strategy.SWING_TRADE


FADE = Config(gap_fade=GapFade(enabled=True))
GAP = GapCase(minutes_in=5.0, gap_pct=0.008, prev_move=0.0051, done=False)


def test_gap_up_after_an_up_session_is_faded_with_a_put() -> None:
    decision = decide(replace(GOOD, gap=GAP), FADE)
    assert decision[:5] == ("BUY_PUT", "gap_fade", "GAP_FADE", 0.7, Direction.BEAR)


def test_gap_down_after_a_down_session_is_faded_with_a_call() -> None:
    decision = decide(replace(GOOD, gap=replace(GAP, gap_pct=-0.02, prev_move=-0.01)), FADE)
    assert decision[:5] == ("BUY_CALL", "gap_fade", "GAP_FADE", 0.7, Direction.BULL)


@pytest.mark.parametrize(
    "change",
    [
        {"minutes_in": 4.99},
        {"minutes_in": 60.0},
        {"gap_pct": 0.0079},
        {"gap_pct": None},
        {"prev_move": 0.005},
        {"prev_move": -0.01},
        {"prev_move": None},
        {"done": True},
    ],
    ids=str,
)
def test_gap_that_does_not_fit_leaves_the_normal_rule(change: dict[str, float | None]) -> None:
    assert decide(replace(GOOD, gap=replace(GAP, **change)), FADE).reason is R.OPTION_SWING_TRADE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("volume", "reason"), [(None, R.VOLUME_UNKNOWN), (0.49, R.VOLUME_TOO_LOW), (0.5, R.GAP_FADE)]
)
def test_gap_fade_needs_volume(volume: float | None, reason: R) -> None:
    assert decide(replace(GOOD, gap=GAP, volume_ratio=volume), FADE).reason is reason


def test_gap_fade_is_off_by_default_and_respects_the_cooldown() -> None:
    assert decide(replace(GOOD, gap=GAP), CONFIG).reason is R.OPTION_SWING_TRADE
    held = decide(replace(GOOD, gap=GAP, since_signal=MINUTE_US), FADE)
    assert (held.action, held.reason, held.confidence) == (Action.HOLD, R.COOLDOWN, 0.7)


ANY = st.none() | st.floats()
FLAG = st.none() | st.booleans()
CASES = st.builds(
    Case,
    in_session=FLAG,
    on_watchlist=FLAG,
    ready=FLAG,
    prices=st.tuples(ANY, ANY, ANY),
    distance=ANY | st.floats(-0.03, 0.03),
    trend=st.none() | st.sampled_from([-1, 0, 1]),
    vol_ratio=ANY | st.floats(0, 3),
    volume_ratio=ANY | st.floats(0, 6),
    bar_age=st.none() | st.integers(),
    since_signal=st.none() | st.integers(),
    feed_selected=st.booleans(),
    suspect_split=st.booleans(),
    sentiment_n=st.integers(0, 100),
    sentiment_avg=st.floats(-1, 1),
    gap=st.none()
    | st.builds(GapCase, minutes_in=st.floats(0, 400), gap_pct=ANY, prev_move=ANY, done=st.booleans()),
)
LIKELY = st.builds(
    lambda d, t, v, w: replace(GOOD, distance=d, trend=t, vol_ratio=v, volume_ratio=w),
    st.floats(-0.025, 0.025),
    st.sampled_from([-1, 0, 1]),
    st.floats(0.1, 2),
    st.none() | st.floats(0, 7),
)


@given(CASES | LIKELY)
def test_decision_is_total_and_an_action_has_all_its_parts(case: Case) -> None:
    decision = decide(case, FADE)
    acts = decision.action is not Action.HOLD
    assert acts == (decision.strategy is not None)
    assert acts == (decision.reason in list(R)[:5])
    if acts:
        assert 0.4 <= decision.confidence <= 1
        assert decision.direction is (
            Direction.BULL if decision.action in (Action.BUY_CALL, Action.BUY_STOCK) else Direction.BEAR
        )
        assert case.on_watchlist and case.ready and case.in_session and None not in case.prices
        assert not any(isnan(price) for price in case.prices if price is not None)


@given(LIKELY)
def test_mirrored_case_gives_the_mirrored_action_where_there_is_a_trend(case: Case) -> None:
    if case.trend:
        mirror = {
            "BUY_CALL": "BUY_PUT",
            "BUY_PUT": "BUY_CALL",
            "BUY_STOCK": "SELL_STOCK",
            "SELL_STOCK": "BUY_STOCK",
        }
        one = decide(case, CONFIG)
        assert case.distance is not None
        other = decide(replace(case, distance=-case.distance, trend=-case.trend), CONFIG)
        assert other.action == mirror.get(one.action, "HOLD")
        assert (other.reason, other.confidence) == (one.reason, one.confidence)
