"""The decision rule in compiled code: one bar's numbers to one action (docs/domain.md#signals).

Live decides one bar with it, rebuild millions; the result is the same to the bit. Prices are dollars,
distances fractions, times and ages microseconds. An unknown integer is ``NULL``, an unknown float NaN, an
absent code ``NONE``; codes are places in the enums of ``rule`` and ``reasons`` beside this file.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.rounding import round6
from tapedeck.streams.stages.signals.reasons import SignalReason

# ruff: noqa: PLR0917  (numba knows no keyword-only arguments)

INT_MAX = (1 << 63) - 1
NULL = -(1 << 63)
NONE = -1

A_BUY_CALL, A_BUY_PUT, A_BUY_STOCK, A_SELL_STOCK, A_HOLD = range(5)
S_DAY_TRADE, S_SWING_TRADE, S_GAP_FADE = range(3)
D_BULL, D_BEAR = range(2)
(
    R_OPTION_DAY_TRADE, R_OPTION_SWING_TRADE, R_STOCK_WEAK_TREND, R_STOCK_HIGH_VOL, R_GAP_FADE,
    R_OUTSIDE_SESSION, R_NOT_ON_WATCHLIST, R_NOT_READY, R_NO_FEATURES, R_STALE_BAR, R_STRETCHED, R_NO_SETUP,
    R_VOLUME_TOO_LOW, R_VOLUME_UNKNOWN, R_OPTIONS_CONFIDENCE_TOO_LOW, R_STOCK_CONFIDENCE_TOO_LOW, R_COOLDOWN,
    R_FEED_NOT_SELECTED, R_SUSPECT_SPLIT, R_RULE_ERROR,
) = range(20)  # fmt: skip
assert [globals()[f"R_{reason}"] for reason in SignalReason] == [*range(20)], "reasons.py has another order"

# parameters, integers: ages in microseconds
P_MAX_AGE, P_COOLDOWN, P_FADES, P_FULL_COUNT, P_STEPS = range(5)
# parameters, floats: fractions, minutes; after them the volume steps, then the factor of each
(
    P_AT_BAND, P_STRETCH, P_BREAKOUT, P_DAY_MIN, P_DAY_SLOPE, P_DAY_CAP, P_SWING_MIN, P_STOCK_MIN,
    P_MAX_VOL_RATIO, P_DAY_MIN_VOLUME, P_MIN_GAP, P_MIN_PREV, P_FADE_CONFIDENCE, P_FROM_MIN, P_TO_MIN,
) = range(15)  # fmt: skip
P_VOLUME = 15

_WEIGHT_TREND, _WEIGHT_NEARNESS, _WEIGHT_VOL, _BASE_FLOOR = 0.35, 0.25, 0.20, 0.20
_TREND_DISAGREES = 0.5
_QUIET_VOL, _LIVELY_VOL = 0.8, 1.3
_QUIET_FACTOR, _NORMAL_FACTOR, _LIVELY_FACTOR = 0.7, 1.0, 0.5
_UNKNOWN_VOLUME_FACTOR = 0.5
_NO_BREAKOUT_FACTOR = 0.5
_ALIGNED_NEWS, _OPPOSED_NEWS = 0.25, 0.20
_STRONG_VOLUME, _STRONG_MOVE, _STRONG_FACTOR = 2.5, 0.01, 1.25
_BRISK_VOLUME, _BRISK_MOVE, _BRISK_FACTOR = 2.0, 0.008, 1.10
_DAY_SLOPE_FROM = 1.2

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Codes = tuple[int, int, int, int, float, float, float, float, float, float]
"""Action, strategy, reason, direction, confidence; base, sentiment, volume, move and momentum factor."""

_jit = njit(error_model="numpy")


def parameters(config: Config) -> tuple[Ints, Floats]:
    """The kernel's parameters, in the order of the ``P_`` names."""
    rule, fade = config.signal, config.gap_fade
    ints = [
        rule.max_bar_age_s * SECOND_US, rule.cooldown_min * MINUTE_US, int(fade.enabled), rule.full_count,
        len(rule.volume_steps),
    ]  # fmt: skip
    floats = [
        rule.at_band, rule.stretch, rule.breakout, rule.day_min, rule.day_slope, rule.day_cap, rule.swing_min,
        rule.stock_min, rule.max_vol_ratio, rule.day_min_volume, fade.min_gap, fade.min_prev,
        fade.confidence, fade.from_min, fade.to_min, *rule.volume_steps, *rule.volume_factors,
    ]  # fmt: skip
    return np.array([min(each, INT_MAX) for each in ints], dtype=np.int64), np.array(floats, dtype=np.float64)


@_jit
def _decided(action: int, strategy: int, reason: int, direction: int, confidence: float) -> Codes:
    """A decision without factors."""
    return action, strategy, reason, direction, confidence, np.nan, np.nan, np.nan, np.nan, np.nan


@_jit
def hold(reason: int, direction: int) -> Codes:
    """A HOLD with its reason, without confidence and factors."""
    return _decided(A_HOLD, NONE, reason, direction, 0.0)


@_jit
def _tested(untested: int, reason: int) -> bool:
    return (untested >> reason) & 1 == 0


@_jit
def _failed_entry(
    max_age: int,
    untested: int,
    selected: bool,
    in_session: bool,
    listed: bool,
    ready: bool,
    split: bool,
    known: bool,
    bar_age: int,
) -> int:
    """The first entry check that fails, NONE where all pass. Every bar passes them in this order."""
    if not selected and _tested(untested, R_FEED_NOT_SELECTED):
        return R_FEED_NOT_SELECTED
    if not in_session and _tested(untested, R_OUTSIDE_SESSION):
        return R_OUTSIDE_SESSION
    if not listed and _tested(untested, R_NOT_ON_WATCHLIST):
        return R_NOT_ON_WATCHLIST
    if not ready and _tested(untested, R_NOT_READY):
        return R_NOT_READY
    if split and _tested(untested, R_SUSPECT_SPLIT):
        return R_SUSPECT_SPLIT
    if not known and _tested(untested, R_NO_FEATURES):
        return R_NO_FEATURES
    if (bar_age == NULL or bar_age > max_age) and _tested(untested, R_STALE_BAR):
        return R_STALE_BAR
    return NONE


@_jit
def _volume_step(pi: Any, pf: Any, volume_ratio: float) -> int:
    """How many volume steps the ratio has reached; 0 is too little to trade, and so is an unknown one."""
    step = 0
    while step < pi[P_STEPS] and pf[P_VOLUME + step] <= volume_ratio:
        step += 1
    return step


@_jit
def _fades_gap(
    pi: Any, pf: Any, step: int, minutes_in: float, gap_pct: float, prev_move: float, faded: bool
) -> bool:
    if pi[P_FADES] == 0 or faded or step == 0 or not pf[P_FROM_MIN] <= minutes_in < pf[P_TO_MIN]:
        return False
    is_wide = abs(gap_pct) >= pf[P_MIN_GAP] and abs(prev_move) > pf[P_MIN_PREV]
    return is_wide and (gap_pct > 0.0) == (prev_move > 0.0)


@_jit
def _setup(pf: Any, distance: float, trend: int) -> tuple[int, bool]:
    """(direction, whether options are allowed) from price and trend only.

    The first match wins, so at the average without trend is BULL.
    """
    is_at = abs(distance) <= pf[P_AT_BAND]
    above = distance > pf[P_AT_BAND]
    below = distance < -pf[P_AT_BAND]
    if (above or is_at) and trend >= 0:
        return D_BULL, trend == 1
    if (below or is_at) and trend == -1:
        return D_BEAR, True
    if below and trend == 0:
        return D_BEAR, False
    return NONE, False


@_jit
def _base(stretch: float, sign: int, distance: float, trend: int, vol_ratio: float) -> float:
    agreement = 1.0 if trend == sign else _TREND_DISAGREES
    nearness = 1.0 - min(abs(distance) / stretch, 1.0)
    if vol_ratio < _QUIET_VOL:
        vol = _QUIET_FACTOR
    else:
        vol = _NORMAL_FACTOR if vol_ratio <= _LIVELY_VOL else _LIVELY_FACTOR
    return _WEIGHT_TREND * agreement + _WEIGHT_NEARNESS * nearness + _WEIGHT_VOL * vol + _BASE_FLOOR


@_jit
def _sentiment_factor(full_count: int, sign: int, n: int, avg: float) -> float:
    if n == 0 or avg == 0.0:
        return 1.0
    weight = min(n / full_count, 1.0)
    if (avg > 0.0) == (sign > 0):
        return 1.0 + _ALIGNED_NEWS * abs(avg) * weight
    return 1.0 - _OPPOSED_NEWS * abs(avg) * weight


@_jit
def _momentum_factor(volume_ratio: float, distance: float, options: bool) -> float:
    if volume_ratio >= _STRONG_VOLUME and abs(distance) >= _STRONG_MOVE and options:
        return _STRONG_FACTOR
    if volume_ratio >= _BRISK_VOLUME and abs(distance) >= _BRISK_MOVE:
        return _BRISK_FACTOR
    return 1.0


@_jit
def _day_threshold(pf: Any, vol_ratio: float) -> float:
    if vol_ratio <= _DAY_SLOPE_FROM:
        return float(pf[P_DAY_MIN])
    sloped = pf[P_DAY_MIN] + pf[P_DAY_SLOPE] * (vol_ratio - _DAY_SLOPE_FROM)
    return float(round6(min(sloped, pf[P_DAY_CAP])))


@_jit
def _act(
    pf: Any, direction: int, options: bool, confidence: float, vol_ratio: float, volume_ratio: float
) -> tuple[int, int, int]:
    """(action, strategy, reason) that the confidence is good for."""
    is_bull = direction == D_BULL
    if options and vol_ratio <= pf[P_MAX_VOL_RATIO]:
        action = A_BUY_CALL if is_bull else A_BUY_PUT
        if confidence >= _day_threshold(pf, vol_ratio) and volume_ratio >= pf[P_DAY_MIN_VOLUME]:
            return action, S_DAY_TRADE, R_OPTION_DAY_TRADE
        if confidence >= pf[P_SWING_MIN]:
            return action, S_SWING_TRADE, R_OPTION_SWING_TRADE
        return A_HOLD, NONE, R_OPTIONS_CONFIDENCE_TOO_LOW
    if confidence >= pf[P_STOCK_MIN]:
        action = A_BUY_STOCK if is_bull else A_SELL_STOCK
        return action, S_DAY_TRADE, R_STOCK_HIGH_VOL if options else R_STOCK_WEAK_TREND
    return A_HOLD, NONE, R_STOCK_CONFIDENCE_TOO_LOW


@_jit
def _by_price_and_trend(
    pi: Any,
    pf: Any,
    step: int,
    distance: float,
    trend: int,
    vol_ratio: float,
    volume_ratio: float,
    n: int,
    avg: float,
) -> Codes:
    if np.isnan(distance) or trend == NULL or np.isnan(vol_ratio):
        return hold(R_NO_FEATURES, NONE)
    if abs(distance) >= pf[P_STRETCH]:
        return hold(R_STRETCHED, NONE)
    direction, options = _setup(pf, distance, trend)
    if direction == NONE:
        return hold(R_NO_SETUP, NONE)
    is_volume_known = not np.isnan(volume_ratio)
    if is_volume_known and step == 0:
        return hold(R_VOLUME_TOO_LOW, direction)
    sign = 1 if direction == D_BULL else -1
    base = _base(pf[P_STRETCH], sign, distance, trend, vol_ratio)
    sentiment = _sentiment_factor(pi[P_FULL_COUNT], sign, n, avg)
    volume = pf[P_VOLUME + pi[P_STEPS] + step - 1] if is_volume_known else _UNKNOWN_VOLUME_FACTOR
    move = 1.0 if sign * distance > pf[P_BREAKOUT] else _NO_BREAKOUT_FACTOR
    momentum = _momentum_factor(volume_ratio, distance, options)
    # the product is taken before the factors are rounded for the record
    confidence = round6(max(0.0, min(1.0, base * sentiment * volume * move * momentum)))
    action, strategy, reason = A_HOLD, NONE, R_VOLUME_UNKNOWN
    if is_volume_known:
        action, strategy, reason = _act(pf, direction, options, confidence, vol_ratio, volume_ratio)
    return (
        action, strategy, reason, direction, confidence, round6(base), round6(sentiment), round6(volume),
        round6(move), round6(momentum),
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def decide_bar(
    pi: Any,
    pf: Any,
    untested: int,
    selected: bool,
    in_session: bool,
    listed: bool,
    ready: bool,
    split: bool,
    prices_known: bool,
    distance: float,
    trend: int,
    vol_ratio: float,
    volume_ratio: float,
    bar_age: int,
    since_signal: int,
    n: int,
    avg: float,
    minutes_in: float,
    gap_pct: float,
    prev_move: float,
    faded: bool,
) -> Codes:
    """The decision for one bar; the arguments are those of ``streams.stages.signals.rule.Case``.

    ``pi``, ``pf``: ``parameters``. ``untested``: bit r set leaves the entry check with reason r out.
    ``minutes_in`` is NaN outside a session, ``faded`` whether the session's gap was faded already.
    """
    known = prices_known and not (np.isnan(distance) or trend == NULL or np.isnan(vol_ratio))
    failed = _failed_entry(
        pi[P_MAX_AGE], untested, selected, in_session, listed, ready, split, known, bar_age
    )
    if failed != NONE:
        return hold(failed, NONE)
    step = _volume_step(pi, pf, volume_ratio)
    if _fades_gap(pi, pf, step, minutes_in, gap_pct, prev_move, faded):
        action, direction = (A_BUY_PUT, D_BEAR) if gap_pct > 0.0 else (A_BUY_CALL, D_BULL)
        made = _decided(action, S_GAP_FADE, R_GAP_FADE, direction, round6(pf[P_FADE_CONFIDENCE]))
    else:
        made = _by_price_and_trend(pi, pf, step, distance, trend, vol_ratio, volume_ratio, n, avg)
    if made[0] != A_HOLD and since_signal != NULL and since_signal < pi[P_COOLDOWN]:
        return (A_HOLD, NONE, R_COOLDOWN) + made[3:]  # noqa: RUF005 (numba cannot compile the star)
    return made
