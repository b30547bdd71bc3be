"""How far a minute was from passing: the value that stopped it, its threshold, and what was between them.

Values come from the recorded bodies and thresholds from the configuration; nothing is decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Watchlist
from tapedeck.streams.contract import MINUTE_US, SECOND_US
from tapedeck.streams.stages.signals.reasons import SignalReason
from tapedeck.streams.stages.watchlist.reasons import WatchlistReason
from tapedeck.tape.explain.describe import number

Body = dict[str, Any]
_INPUTS = ("close", "sma20", "sma50", "distance_sma20", "trend_state", "vol_ratio")


@dataclass(frozen=True, kw_only=True)
class Miss:
    """``name`` is ``value`` where ``limit`` was needed: ``gap`` apart in ``unit``, in the way of ``side``."""

    name: str
    value: float
    limit: float
    side: str
    unit: str = ""

    @property
    def gap(self) -> float:
        return abs(self.value - self.limit)

    @property
    def share(self) -> float:
        """The gap as a share of the limit: what misses of one reason are compared by."""
        return self.gap / (abs(self.limit) or 1.0)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        bound = "needs" if self.value < self.limit else "limit"
        return (
            f"{self.name} is {_shown(self.value)}{unit}, {bound} {_shown(self.limit)}{unit}: "
            f"{_shown(self.gap)}{unit} {self.side}"
        )


def _shown(value: float) -> str:
    return number(round(value, 6))


class Decided(NamedTuple):
    """A decision with what it was made from: feature, membership, the list and the score behind that, and the
    symbol's last signal before it."""

    decision: Body
    feature: Body | None = None
    membership: Body | None = None
    listed: Body | None = None
    score: Body | None = None
    last_signal: Body | None = None


def signal_miss(reason: SignalReason, at: Decided, config: Config) -> Miss | None:
    """How far the decision was from passing the check that gave ``reason``; None where it is no distance."""
    make = _SIGNALS.get(reason)
    return make(at, config) if make else None


def signal_detail(reason: SignalReason, at: Decided, config: Config) -> str:
    """What a reason without a distance is about: which features are unknown, which feed it is."""
    feature = at.feature
    if reason is SignalReason.NO_FEATURES and feature is not None:
        return "unknown: " + ", ".join(name for name in _INPUTS if feature[name] is None)
    if reason is SignalReason.FEED_NOT_SELECTED:
        return f"the feed is {at.decision['feed']}, configured is {config.bars.feed}"
    if reason is SignalReason.NO_SETUP:
        above = (at.decision["distance_sma20"] or 0.0) > 0
        trend = {1: "up", 0: "flat", -1: "down"}.get(at.decision["trend_state"], "unknown")
        return f"the close is {'above' if above else 'below'} its average, the trend is {trend}"
    return ""


def _over(name: str, value: float | None, limit: float, side: str, unit: str = "") -> Miss | None:
    return None if value is None else Miss(name=name, value=value, limit=limit, side=side, unit=unit)


def _distance(at: Decided) -> float | None:
    distance = at.decision["distance_sma20"]
    return None if distance is None else abs(distance)


def _cooldown(at: Decided, config: Config) -> Miss | None:
    if at.last_signal is None:
        return None
    since = (at.decision["bar_t"] - at.last_signal["bar_t"]) / MINUTE_US
    limit = config.signal.cooldown_min
    return _over("time since the last signal", since, limit, "left", "min")


def _bar_age(at: Decided, config: Config) -> Miss | None:
    age = (at.decision["now"] - at.decision["as_of"]) / SECOND_US
    return _over("age of the bar", age, config.signal.max_bar_age_s, "too old", "s")


def _bars(at: Decided, config: Config) -> Miss | None:
    known = None if at.feature is None else at.feature["bars"]
    return _over("bars in the window", known, config.feature.ready_bars, "short", "bars")


_SIGNALS: dict[SignalReason, Callable[[Decided, Config], Miss | None]] = {
    SignalReason.NOT_READY: _bars,
    SignalReason.STALE_BAR: _bar_age,
    SignalReason.COOLDOWN: _cooldown,
    SignalReason.STRETCHED: lambda at, config: _over(
        "distance from the average", _distance(at), config.signal.stretch, "too far"
    ),
    SignalReason.NO_SETUP: lambda at, config: _over(
        "distance from the average", _distance(at), config.signal.at_band, "too far"
    ),
    SignalReason.VOLUME_TOO_LOW: lambda at, config: _over(
        "volume ratio", at.decision["volume_ratio"], config.signal.volume_steps[0], "short"
    ),
    SignalReason.OPTIONS_CONFIDENCE_TOO_LOW: lambda at, config: _over(
        "confidence", at.decision["confidence"], config.signal.swing_min, "short"
    ),
    SignalReason.STOCK_CONFIDENCE_TOO_LOW: lambda at, config: _over(
        "confidence", at.decision["confidence"], config.signal.stock_min, "short"
    ),
}


def watchlist_miss(reason: WatchlistReason, at: Decided, config: Config) -> Miss | None:
    """How far the symbol was from being on the list; None where it is no distance."""
    rules, membership = config.watchlist, at.membership
    score = None if membership is None else membership["score"]
    if reason in (WatchlistReason.NO_FRESH_BAR, WatchlistReason.STALE):
        if at.score is None or membership is None:
            return None
        age = (membership["evaluation"] - at.score["as_of"]) / SECOND_US
        return _over("age of the newest bar", age, rules.fresh_s, "too old", "s")
    if reason is WatchlistReason.SCORE_BELOW_EXIT:
        return _over("score", score, rules.exit, "short")
    if reason in (WatchlistReason.SCORE_BELOW_ENTRY, WatchlistReason.BACKFILL_ENDED):
        return _over("score", score, _least_score(at.listed, rules), "short")
    if reason in (WatchlistReason.CAPPED, WatchlistReason.NOT_SELECTED_CAP):
        lowest = _lowest(at.listed, "SCORED")
        return None if lowest is None else _over("score", score, lowest, "short")
    return None


def _least_score(listed: Body | None, rules: Watchlist) -> float:
    """The score that would have been enough: entry, or what filled the list up."""
    if not rules.backfill_enabled or listed is None:
        return rules.enter
    if len(listed["members"]) < min(rules.backfill_to, rules.cap):
        return rules.backfill_min
    lowest = _lowest(listed, "BACKFILL")
    return rules.enter if lowest is None else min(max(lowest, rules.backfill_min), rules.enter)


def _lowest(listed: Body | None, flag: str) -> float | None:
    """The lowest score on the list among those with ``flag``."""
    members = [] if listed is None else listed["members"]
    return min((m["score"] for m in members if m["flag"] == flag and m["score"] is not None), default=None)


def gate_miss(gate: Body) -> Miss | None:
    """How far a gate's value was from its limit; None where one of them is not a number."""
    try:
        observed, limit = Decimal(gate["observed"]), Decimal(gate["threshold"])
    except (InvalidOperation, TypeError):
        return None
    side = "over" if observed > limit else "short"
    unit = gate["unit"] or ""
    return Miss(name=gate["gate"], value=float(observed), limit=float(limit), side=side, unit=unit)
