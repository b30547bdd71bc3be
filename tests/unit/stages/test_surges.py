"""Surges: the vectors P1 to P8, the Poisson tail, and each condition of a level."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapedeck.streams.config.text_groups import Surge
from tapedeck.streams.stages.surges.rule import Level, log10_at_least, surge

CONFIG = Surge()
VECTORS = {
    "P1": (5, 3, 0, 20, 0.5, 3.7642, "MEDIUM"),
    "P2": (12, 8, 1, 20, 1.0, 9.0801, "HIGH"),
    "P3": (12, 4, 1, 20, 1.0, 9.0801, "MEDIUM"),
    "P4": (40, 20, 25, 20, 25.0, 2.463, "LOW"),
    "P5": (4, 4, 0, 20, 0.5, 2.7566, "LOW"),
    "P6": (30, 12, 4, 20, 4.0, 16.0393, "HIGH"),
    "P7": (9, 9, 2, 6, None, None, "NO_BASELINE"),
    "P8": (60, 30, 25, 20, 25.0, 8.6753, "HIGH"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    k, authors, mean, days, baseline, score, level = VECTORS[name]
    assert surge(k, authors, [mean] * days, CONFIG) == (Level(level), baseline, score)


@pytest.mark.parametrize("days, level", [(6, Level.NO_BASELINE), (7, Level.HIGH)])
def test_a_baseline_needs_seven_days(days: int, level: Level) -> None:
    assert surge(12, 8, [1] * days, CONFIG).level is level


def test_only_the_newest_28_days_count() -> None:
    assert surge(12, 8, [1] * 28 + [1000] * 9, CONFIG).baseline == 1.0


@pytest.mark.parametrize(
    "k, authors, history, level",
    [
        (10, 5, [0] * 7, Level.HIGH), (9, 5, [0] * 7, Level.MEDIUM), (10, 4, [0] * 7, Level.MEDIUM),
        (5, 2, [0] * 7, Level.LOW), (4, 3, [0] * 7, Level.LOW), (199, 99, [100] * 7, Level.LOW),
        (200, 99, [100] * 7, Level.HIGH), (0, 0, [0] * 7, Level.LOW),
    ],
)  # fmt: skip
def test_each_condition_of_a_level(k: int, authors: int, history: list[int], level: Level) -> None:
    assert surge(k, authors, history, CONFIG).level is level


def exact(k: int, mean: Fraction) -> float:
    """-log10 of the tail, from the sum below ``k`` in exact fractions and a long exponential."""
    terms, term = [], Fraction(1)
    for i in range(1, 400 + 4 * k):
        term = term * mean / i
        terms.append(term)
    whole = 1 + sum(terms)
    tail = sum(terms[k - 1 :]) if k else whole
    return math.log10(tail / whole) if tail < whole else 0.0


@given(st.integers(0, 60), st.integers(1, 160))
def test_the_tail_agrees_with_exact_fractions(k: int, quarters: int) -> None:
    mean = Fraction(quarters, 4)
    assert log10_at_least(k, float(mean)) == pytest.approx(exact(k, mean), rel=1e-9, abs=1e-9)


@given(st.integers(0, 100_000), st.floats(0.5, 50_000))
def test_the_tail_is_finite_and_falls_with_k(k: int, mean: float) -> None:
    found, next_one = log10_at_least(k, mean), log10_at_least(k + 1, mean)
    assert math.isfinite(found)
    assert next_one <= found + 1e-9 <= 1e-9


def test_parameters_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"min_days": 29}, {"high_p": 0.01}, {"medium_p": 0.0}):
        with pytest.raises(ValidationError):
            Surge(**wrong)
