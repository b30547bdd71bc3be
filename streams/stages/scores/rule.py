"""How much a symbol deserves watching now: one number in [0, 1] from sentiment and features.

The formula is in docs/domain.md#watch-score.
"""

from typing import NamedTuple

from tapedeck.streams.config.groups import Watchlist

NO_NEWS_AGE_S = 3600.0
_SENTIMENT_DEAD_ZONE = 0.05
_SETUP_RANGE = 0.01
_VOL_FLOOR = 0.7
_VOL_SPAN = 0.8
_UNKNOWN_VOL_RATIO = 1.0
_SCORE_DECIMALS = 6


class WatchScore(NamedTuple):
    """The score and its components, rounded to 6 decimals; ``score`` is None if it cannot be computed."""

    score: float | None
    sentiment_pressure: float
    setup_quality: float | None
    vol_score: float
    trend_alignment: float | None


def clamp(x: float) -> float:
    """``x`` limited to [0, 1]."""
    return max(0.0, min(1.0, x))


def round6(x: float) -> float:
    """Half-even to the 6 decimals at which scores are stored and compared; never minus zero."""
    return round(x, _SCORE_DECIMALS) + 0.0


def watch_score(
    config: Watchlist,
    *,
    n: int,
    s: float,
    age_s: float | None,
    distance_sma20: float | None,
    vol_ratio: float | None,
    trend_state: int | None,
) -> WatchScore:
    """The watch score of one symbol.

    ``n`` items and their signed average ``s`` in [-1, 1] come from the 60-minute sentiment window, ``age_s``
    is the newest item's age in seconds (None = no item). ``distance_sma20`` is a fraction, ``trend_state``
    -1, 0 or +1. A null distance or trend gives no score; a null ``vol_ratio`` counts as 1.
    """
    age = NO_NEWS_AGE_S if age_s is None else age_s
    pressure = 0.50 * abs(s) + 0.30 * min(n / config.full_count, 1.0) + 0.20 * clamp(1 - age / NO_NEWS_AGE_S)
    vol = clamp(((_UNKNOWN_VOL_RATIO if vol_ratio is None else vol_ratio) - _VOL_FLOOR) / _VOL_SPAN)
    setup = None if distance_sma20 is None else clamp(1 - abs(distance_sma20) / _SETUP_RANGE)
    trend = None if trend_state is None else _alignment(trend_state, s)
    score = None
    if setup is not None and trend is not None:
        score = round6(
            config.weight_sentiment * pressure
            + config.weight_setup * setup
            + config.weight_vol * vol
            + config.weight_trend * trend
        )
    return WatchScore(
        score=score,
        sentiment_pressure=round6(pressure),
        setup_quality=None if setup is None else round6(setup),
        vol_score=round6(vol),
        trend_alignment=trend,
    )


def _alignment(trend_state: int, s: float) -> float:
    if trend_state == 0 or abs(s) <= _SENTIMENT_DEAD_ZONE:
        return 0.5
    return 1.0 if (trend_state > 0) == (s > 0) else 0.0
