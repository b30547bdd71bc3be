"""Figures of trades and of sessions: hit rate, expectancy with its interval, Sharpe, Sortino, drawdown."""

from collections.abc import Sequence
from math import exp, inf, lgamma, log, log1p, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

SESSIONS_A_YEAR = 252
CONFIDENCE = 0.95
_TINY = 1e-300
_STEPS = 300


class Interval(NamedTuple):
    """A mean with its interval at 95 %; no bounds with fewer than two values."""

    mean: float
    low: float | None
    high: float | None


class Drawdown(NamedTuple):
    """The deepest fall below an earlier peak: USD (positive), as a fraction of the peak, and where.

    ``peak`` and ``trough``: places in the sequence. ``longest``: the most values in a row below a peak.
    """

    usd: float
    share: float
    peak: int
    trough: int
    longest: int


def mean_of(values: Sequence[float]) -> Interval | None:
    """The mean with Student's t interval; None without values."""
    if not values:
        return None
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, None, None)
    reach = t_quantile((1 + CONFIDENCE) / 2, n - 1) * stdev(values) / sqrt(n)
    return Interval(mean, mean - reach, mean + reach)


def share_of(hits: int, n: int) -> Interval | None:
    """``hits`` of ``n`` with Wilson's interval; None without any."""
    if not n:
        return None
    z, p = 1.959963984540054, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, middle - reach), min(1.0, middle + reach))


def sharpe(returns: Sequence[float]) -> float | None:
    """Mean over standard deviation of session returns, a year of them; no risk-free rate.

    None where it says nothing: fewer than two sessions, or returns that do not vary.
    """
    if len(returns) < 2:
        return None
    deviation = stdev(returns)
    return fmean(returns) / deviation * sqrt(SESSIONS_A_YEAR) if deviation > 0 else None


def sortino(returns: Sequence[float]) -> float | None:
    """Like ``sharpe``, over the root of the mean square of the losses; None without a loss."""
    if len(returns) < 2:
        return None
    down = sqrt(fmean(min(each, 0.0) ** 2 for each in returns))
    return fmean(returns) / down * sqrt(SESSIONS_A_YEAR) if down > 0 else None


def drawdown(values: Sequence[float]) -> Drawdown | None:
    """The deepest fall of ``values``; None without any."""
    if not values:
        return None
    top, worst, longest = 0, Drawdown(0.0, 0.0, 0, 0, 0), 0
    for place, value in enumerate(values):
        if value >= values[top]:
            top = place
        fall = values[top] - value
        longest = max(longest, place - top)
        if fall > worst.usd:
            worst = Drawdown(fall, fall / values[top] if values[top] else 0.0, top, place, 0)
    return worst._replace(longest=longest)


def profit_factor(values: Sequence[float]) -> float | None:
    """What was won over what was lost; None without a trade, infinite without a loss."""
    won, lost = sum(v for v in values if v > 0), -sum(v for v in values if v < 0)
    return (won / lost if lost else inf) if values else None


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t above one half, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while _t_below(high, degrees) < probability and high < 1e9:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _t_below(t: float, degrees: int) -> float:
    return 1 - _beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    total = d
    for n in range(1, _STEPS):
        for top in (
            n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n)),
            -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1)),
        ):
            d = 1 / (1 + top * d or _TINY)
            c = 1 + top / c or _TINY
            total *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * total
