"""The decision rule in plain Python, as it was before it was compiled: the reference for the kernel."""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from tapedeck.streams.config import groups
from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.scores.rule import clamp, round6
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.signals.rule import Case, Decision, Direction, Factors, Strategy

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


def _has_features(case: Case) -> bool:
    return None not in (*case.prices, case.distance, case.trend, case.vol_ratio)


def _is_fresh(case: Case, config: groups.Signal) -> bool:
    return case.bar_age is not None and case.bar_age <= config.max_bar_age_s * SECOND_US


Check = Callable[[Case, groups.Signal], bool]
ENTRY_CHECKS: tuple[tuple[SignalReason, Check], ...] = (
    (SignalReason.FEED_NOT_SELECTED, lambda case, _: case.feed_selected),
    (SignalReason.OUTSIDE_SESSION, lambda case, _: case.in_session is True),
    (SignalReason.NOT_ON_WATCHLIST, lambda case, _: case.on_watchlist is True),
    (SignalReason.NOT_READY, lambda case, _: case.ready is True),
    (SignalReason.SUSPECT_SPLIT, lambda case, _: not case.suspect_split),
    (SignalReason.NO_FEATURES, lambda case, _: _has_features(case)),
    (SignalReason.STALE_BAR, _is_fresh),
)
"""Passed in this order before any arithmetic; the first that is false gives its reason."""


def decide(case: Case, config: Config, untested: frozenset[SignalReason] = frozenset()) -> Decision:
    """The decision for ``case``. Entry checks named in ``untested`` are left out (for trying a rule)."""
    for reason, passes in ENTRY_CHECKS:
        if reason not in untested and not passes(case, config.signal):
            return hold(reason)
    decision = _gap_fade(case, config) or _by_price_and_trend(case, config.signal)
    if decision.action is Action.HOLD or case.since_signal is None:
        return decision
    if case.since_signal < config.signal.cooldown_min * MINUTE_US:
        return decision._replace(action=Action.HOLD, strategy=None, reason=SignalReason.COOLDOWN)
    return decision


def hold(
    reason: SignalReason,
    confidence: float = 0.0,
    direction: Direction | None = None,
    factors: Factors = Factors(),  # noqa: B008
) -> Decision:
    """A HOLD with its reason."""
    return Decision(Action.HOLD, None, reason, confidence, direction, factors)


def _gap_fade(case: Case, config: Config) -> Decision | None:
    rule, gap = config.gap_fade, case.gap
    if not rule.enabled or gap is None or gap.done or not rule.from_min <= gap.minutes_in < rule.to_min:
        return None
    if gap.gap_pct is None or gap.prev_move is None or case.volume_ratio is None:
        return None
    is_wide = abs(gap.gap_pct) >= rule.min_gap and abs(gap.prev_move) > rule.min_prev
    is_one_way = (gap.gap_pct > 0) == (gap.prev_move > 0)
    if not is_wide or not is_one_way or case.volume_ratio < config.signal.volume_steps[0]:
        return None
    action, direction = (
        (Action.BUY_PUT, Direction.BEAR) if gap.gap_pct > 0 else (Action.BUY_CALL, Direction.BULL)
    )
    return Decision(action, Strategy.GAP_FADE, SignalReason.GAP_FADE, round6(rule.confidence), direction)


class _Setup(NamedTuple):
    direction: Direction
    options: bool

    @property
    def sign(self) -> int:
        return 1 if self.direction is Direction.BULL else -1


def _setup(distance: float, trend: int, config: groups.Signal) -> _Setup | None:
    """Direction from price and trend only.

    The first match wins, so a price at its average without a trend is BULL.
    """
    is_at = abs(distance) <= config.at_band
    above = distance > config.at_band
    below = distance < -config.at_band
    if (above or is_at) and trend >= 0:
        return _Setup(Direction.BULL, options=trend == 1)
    if (below or is_at) and trend == -1:
        return _Setup(Direction.BEAR, options=True)
    if below and trend == 0:
        return _Setup(Direction.BEAR, options=False)
    return None


def _by_price_and_trend(case: Case, config: groups.Signal) -> Decision:
    distance, trend, vol_ratio = case.distance, case.trend, case.vol_ratio
    if distance is None or trend is None or vol_ratio is None:
        return hold(SignalReason.NO_FEATURES)
    if abs(distance) >= config.stretch:
        return hold(SignalReason.STRETCHED)
    setup = _setup(distance, trend, config)
    if setup is None:
        return hold(SignalReason.NO_SETUP)
    volume = _volume_factor(case.volume_ratio, config)
    if volume is None:
        return hold(SignalReason.VOLUME_TOO_LOW, direction=setup.direction)
    is_breakout = setup.sign * distance > config.breakout
    factors = Factors(
        base=_base(setup, distance, trend, vol_ratio, config),
        sentiment=_sentiment_factor(setup.sign, case.sentiment_n, case.sentiment_avg, config),
        volume=volume,
        move=1.0 if is_breakout else _NO_BREAKOUT_FACTOR,
        momentum=_momentum_factor(case.volume_ratio, distance, setup.options),
    )
    confidence = _confidence(factors)
    factors = Factors(*(None if factor is None else round6(factor) for factor in factors))
    if case.volume_ratio is None:
        return hold(SignalReason.VOLUME_UNKNOWN, confidence, setup.direction, factors)
    action, strategy, reason = _act(setup, confidence, vol_ratio, case.volume_ratio, config)
    return Decision(action, strategy, reason, confidence, setup.direction, factors)


def _confidence(factors: Factors) -> float:
    product = 1.0
    for factor in factors:
        product *= 1.0 if factor is None else factor
    return round6(clamp(product))


def _base(setup: _Setup, distance: float, trend: int, vol_ratio: float, config: groups.Signal) -> float:
    agreement = 1.0 if trend == setup.sign else _TREND_DISAGREES
    nearness = 1 - min(abs(distance) / config.stretch, 1.0)
    if vol_ratio < _QUIET_VOL:
        vol = _QUIET_FACTOR
    else:
        vol = _NORMAL_FACTOR if vol_ratio <= _LIVELY_VOL else _LIVELY_FACTOR
    return _WEIGHT_TREND * agreement + _WEIGHT_NEARNESS * nearness + _WEIGHT_VOL * vol + _BASE_FLOOR


def _sentiment_factor(sign: int, n: int, avg: float, config: groups.Signal) -> float:
    if n == 0 or avg == 0:
        return 1.0
    weight = min(n / config.full_count, 1.0)
    if (avg > 0) == (sign > 0):
        return 1 + _ALIGNED_NEWS * abs(avg) * weight
    return 1 - _OPPOSED_NEWS * abs(avg) * weight


def _volume_factor(volume_ratio: float | None, config: groups.Signal) -> float | None:
    """None if the volume is too low to trade."""
    if volume_ratio is None:
        return _UNKNOWN_VOLUME_FACTOR
    step = bisect_right(config.volume_steps, volume_ratio)
    return config.volume_factors[step - 1] if step else None


def _momentum_factor(volume_ratio: float | None, distance: float, options: bool) -> float:
    if volume_ratio is None:
        return 1.0
    if volume_ratio >= _STRONG_VOLUME and abs(distance) >= _STRONG_MOVE and options:
        return _STRONG_FACTOR
    if volume_ratio >= _BRISK_VOLUME and abs(distance) >= _BRISK_MOVE:
        return _BRISK_FACTOR
    return 1.0


def _day_threshold(vol_ratio: float, config: groups.Signal) -> float:
    if vol_ratio <= _DAY_SLOPE_FROM:
        return config.day_min
    return round6(min(config.day_min + config.day_slope * (vol_ratio - _DAY_SLOPE_FROM), config.day_cap))


def _act(
    setup: _Setup, confidence: float, vol_ratio: float, volume_ratio: float, config: groups.Signal
) -> tuple[Action, Strategy | None, SignalReason]:
    is_bull = setup.direction is Direction.BULL
    if setup.options and vol_ratio <= config.max_vol_ratio:
        action = Action.BUY_CALL if is_bull else Action.BUY_PUT
        if confidence >= _day_threshold(vol_ratio, config) and volume_ratio >= config.day_min_volume:
            return action, Strategy.DAY_TRADE, SignalReason.OPTION_DAY_TRADE
        if confidence >= config.swing_min:
            return action, Strategy.SWING_TRADE, SignalReason.OPTION_SWING_TRADE
        return Action.HOLD, None, SignalReason.OPTIONS_CONFIDENCE_TOO_LOW
    if confidence >= config.stock_min:
        reason = SignalReason.STOCK_HIGH_VOL if setup.options else SignalReason.STOCK_WEAK_TREND
        return Action.BUY_STOCK if is_bull else Action.SELL_STOCK, Strategy.DAY_TRADE, reason
    return Action.HOLD, None, SignalReason.STOCK_CONFIDENCE_TOO_LOW
