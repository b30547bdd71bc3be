"""How far a bar was from becoming a signal."""

from collections.abc import Callable

from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Judged, Miss, number, over
from tapedeck.streams.protocol import MINUTE_US, SECOND_US
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.signals.told import news

_TOO_LOW = (SignalReason.OPTIONS_CONFIDENCE_TOO_LOW, SignalReason.STOCK_CONFIDENCE_TOO_LOW)
_INPUTS = ("close", "sma20", "sma50", "distance_sma20", "trend_state", "vol_ratio")


def miss(reason: str, at: Judged, config: Config) -> Miss | None:
    """How far the decision was from passing the check that gave ``reason``; None if it is not a distance."""
    make = _SIGNALS.get(reason)
    return make(at, config) if make else None


def detail(reason: str, at: Judged, config: Config) -> str:
    """Details that no distance tells: which features are unknown, which feed it is, what the news did."""
    feature = at.beside.get("features")
    if reason == SignalReason.NO_FEATURES and feature is not None:
        return "unknown: " + ", ".join(name for name in _INPUTS if feature[name] is None)
    if reason == SignalReason.FEED_NOT_SELECTED:
        return f"the feed is {at.record['feed']}, configured is {config.bars.feed}"
    if reason in _TOO_LOW and (mood := news(at.record)):
        return f"{mood} changed the confidence by the factor {number(at.record['factors']['sentiment'])}"
    if reason == SignalReason.NO_SETUP:
        above = (at.record["distance_sma20"] or 0.0) > 0
        trend = {1: "up", 0: "flat", -1: "down"}.get(at.record["trend_state"], "unknown")
        return f"the close is {'above' if above else 'below'} its average, the trend is {trend}"
    return ""


def _distance(at: Judged) -> float | None:
    distance = at.record["distance_sma20"]
    return None if distance is None else abs(distance)


def _cooldown(at: Judged, config: Config) -> Miss | None:
    last = at.beside.get("signals")
    if last is None:
        return None
    since = (at.record["bar_t"] - last["bar_t"]) / MINUTE_US
    limit = config.signal.cooldown_min
    return over("time since the last signal", since, limit, "left", "min")


def _bar_age(at: Judged, config: Config) -> Miss | None:
    age = (at.record["now"] - at.record["as_of"]) / SECOND_US
    return over("age of the bar", age, config.signal.max_bar_age_s, "too old", "s")


def _bars(at: Judged, config: Config) -> Miss | None:
    feature = at.beside.get("features")
    known = None if feature is None else feature["bars"]
    return over("bars in the window", known, config.feature.ready_bars, "short", "bars")


_SIGNALS: dict[str, Callable[[Judged, Config], Miss | None]] = {
    SignalReason.NOT_READY: _bars,
    SignalReason.STALE_BAR: _bar_age,
    SignalReason.COOLDOWN: _cooldown,
    SignalReason.STRETCHED: lambda at, config: over(
        "distance from the average", _distance(at), config.signal.stretch, "too far"
    ),
    SignalReason.NO_SETUP: lambda at, config: over(
        "distance from the average", _distance(at), config.signal.at_band, "too far"
    ),
    SignalReason.VOLUME_TOO_LOW: lambda at, config: over(
        "volume ratio", at.record["volume_ratio"], config.signal.volume_steps[0], "short"
    ),
    SignalReason.OPTIONS_CONFIDENCE_TOO_LOW: lambda at, config: over(
        "confidence", at.record["confidence"], config.signal.swing_min, "short"
    ),
    SignalReason.STOCK_CONFIDENCE_TOO_LOW: lambda at, config: over(
        "confidence", at.record["confidence"], config.signal.stock_min, "short"
    ),
}
