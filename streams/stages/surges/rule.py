"""Whether a symbol is mentioned far more often than at other days' same hour (docs/domain.md#surges)."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from tapedeck.streams.config.text_groups import Surge

_HIGHEST_SCORE = 30.0
_DECIMALS = 4
_TINY = 1e-17


class Level(StrEnum):
    NO_BASELINE = "NO_BASELINE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class Surged(NamedTuple):
    """``baseline``: expected mentions an hour, ``score``: -log10 of their probability, 4 decimals.

    Both are None without a baseline.
    """

    level: Level
    baseline: float | None = None
    score: float | None = None


def log10_at_least(k: int, mean: float) -> float:
    """log10 P(X >= k) of a Poisson variable with ``mean`` > 0."""
    if k <= 0:
        return 0.0
    if k <= mean:
        below = math.fsum(math.exp(_log_term(i, mean)) for i in range(k))
        return math.log10(max(1.0 - below, _TINY))
    term = total = 1.0
    at = k
    while term > total * _TINY:
        at += 1
        term *= mean / at
        total += term
    return (_log_term(k, mean) + math.log(total)) / math.log(10)


def _log_term(i: int, mean: float) -> float:
    """log P(X = i)."""
    return i * math.log(mean) - mean - math.lgamma(i + 1)


def surge(mentions: int, authors: int, history: Sequence[int], config: Surge) -> Surged:
    """The surge of one completed hour.

    ``history``: mentions in the same New York hour of the days before, newest first; hours without a mention
    are zeros in it. Only the newest ``days`` count.
    """
    days = history[: config.days]
    if len(days) < config.min_days:
        return Surged(Level.NO_BASELINE)
    baseline = max(config.lambda_floor, math.fsum(days) / len(days))
    log_p = log10_at_least(mentions, baseline)
    score = round(min(_HIGHEST_SCORE, -log_p), _DECIMALS) + 0.0
    return Surged(_level(mentions, authors, baseline, log_p, config), baseline, score)


def _level(mentions: int, authors: int, baseline: float, log_p: float, config: Surge) -> Level:
    if mentions / baseline < config.ratio:
        return Level.LOW
    high = mentions >= config.high_mentions and authors >= config.high_authors
    if high and log_p < math.log10(config.high_p):
        return Level.HIGH
    medium = mentions >= config.medium_mentions and authors >= config.medium_authors
    return Level.MEDIUM if medium and log_p < math.log10(config.medium_p) else Level.LOW
