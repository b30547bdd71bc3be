"""The decision rule: one bar's features to one action, HOLD included (docs/domain.md#signals).

Checks run in a fixed order and the first that fails gives HOLD with its reason. Confidence is a filter,
not a probability. Prices are dollars, distances fractions, times and ages microseconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import isnan, nan
from typing import NamedTuple

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.stages.signals import rule_kernel as kernel
from tapedeck.streams.stages.signals.reasons import SignalReason


class Strategy(StrEnum):
    """Lower case, as accounts and exits name them."""

    DAY_TRADE = "day_trade"
    SWING_TRADE = "swing_trade"
    GAP_FADE = "gap_fade"


class Direction(StrEnum):
    BULL = "BULL"
    BEAR = "BEAR"


class Factors(NamedTuple):
    """The factors whose product is the confidence; None if the rule did not get that far.

    The product is taken before the factors are rounded for the record.
    """

    base: float | None = None
    sentiment: float | None = None
    volume: float | None = None
    move: float | None = None
    momentum: float | None = None


class Decision(NamedTuple):
    action: Action
    strategy: Strategy | None
    reason: SignalReason
    confidence: float = 0.0
    direction: Direction | None = None
    factors: Factors = Factors()


@dataclass(frozen=True, kw_only=True, slots=True)
class GapCase:
    """What the gap fade requires. ``minutes_in`` = as_of minus the session's open, in minutes."""

    minutes_in: float
    gap_pct: float | None
    prev_move: float | None
    done: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One bar as the rule sees it. None (or NaN) means unknown, and an unknown value never opens anything.

    ``prices`` are the close and the moving averages that must be known. ``bar_age`` is now - as_of,
    ``since_signal`` the bar time since the symbol's last signal (None = there is none).
    """

    in_session: bool | None
    on_watchlist: bool | None
    ready: bool | None
    prices: tuple[float | None, ...]
    distance: float | None
    trend: int | None
    vol_ratio: float | None
    volume_ratio: float | None
    bar_age: int | None
    since_signal: int | None
    feed_selected: bool = True
    suspect_split: bool = False
    sentiment_n: int = 0
    sentiment_avg: float = 0.0
    gap: GapCase | None = None


ENTRY_CHECKS = (
    SignalReason.FEED_NOT_SELECTED,
    SignalReason.OUTSIDE_SESSION,
    SignalReason.NOT_ON_WATCHLIST,
    SignalReason.NOT_READY,
    SignalReason.SUSPECT_SPLIT,
    SignalReason.NO_FEATURES,
    SignalReason.STALE_BAR,
)
"""Checked in this order before any arithmetic; the first that fails gives its reason."""
ACTIONS, STRATEGIES, DIRECTIONS = tuple(Action), tuple(Strategy), tuple(Direction)
REASONS = tuple(SignalReason)


def decide(case: Case, config: Config, untested: frozenset[SignalReason] = frozenset()) -> Decision:
    """The decision for ``case``. Entry checks named in ``untested`` are skipped (for trying a rule)."""
    gap = case.gap or GapCase(minutes_in=nan, gap_pct=None, prev_move=None, done=False)
    codes = kernel.decide_bar(
        *kernel.parameters(config),
        sum(1 << REASONS.index(reason) for reason in ENTRY_CHECKS if reason in untested),
        case.feed_selected,
        case.in_session is True,
        case.on_watchlist is True,
        case.ready is True,
        case.suspect_split,
        not any(isnan(_number(price)) for price in case.prices),
        _number(case.distance),
        _whole(case.trend),
        _number(case.vol_ratio),
        _number(case.volume_ratio),
        _whole(case.bar_age),
        _whole(case.since_signal),
        _whole(case.sentiment_n),
        float(case.sentiment_avg),
        float(gap.minutes_in),
        _number(gap.gap_pct),
        _number(gap.prev_move),
        gap.done,
    )
    return from_codes(codes)


def from_codes(codes: kernel.Codes) -> Decision:
    """The decision that the kernel's ``codes`` mean."""
    action, strategy, reason, direction, confidence, *factors = codes
    return Decision(
        ACTIONS[action],
        None if strategy == kernel.NONE else STRATEGIES[strategy],
        REASONS[reason],
        confidence,
        None if direction == kernel.NONE else DIRECTIONS[direction],
        Factors(*(None if isnan(factor) else factor for factor in factors)),
    )


def _number(x: float | None) -> float:
    return nan if x is None else float(x)


def _whole(x: int | None) -> int:
    """``x`` as the kernel takes it. Too large a value is clamped, which is still beyond every limit."""
    return kernel.NULL if x is None else max(-kernel.INT_MAX, min(x, kernel.INT_MAX))
