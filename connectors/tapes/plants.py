"""Planted moves: price and volume shaped so that the unchanged signal rules have something to find.

Nothing downstream knows about them. A plant coils near its 20-bar mean for an hour (high setup quality, so
the watchlist takes it). Then, within the five minutes of one watchlist evaluation, it runs clear of the mean,
on volume. In a stock that moves a lot anyway the run stays within the usual volatility (the rules buy
options). In a quiet one it does not (they buy the stock).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COIL = 60
RUN = 5  # minutes between two watchlist evaluations
AFTER = 12
_MEAN = 20  # bars of the mean that distance is measured from
_DRIFT = 0.00006  # the coil's slope per minute: gives the trend its sign
_STEPS = np.array([0.8, 1.0, 1.0, 1.1, 1.1])
_RUN_VOLUME = np.array([1.1, 1.2, 1.3, 1.4, 4.8])
_BASELINE = 115  # bars before the run that the long volatility window still covers at its end
_RECENT = 29


class Plant(NamedTuple):
    """A move of ``symbol`` in ``direction`` (+1 or -1) that starts ``start`` minutes after the open, a
    multiple of five, and ends ``distance`` away from the 20-bar mean. ``coil`` is the volatility of the
    hour before, relative to the hour before that."""

    symbol: str
    direction: int
    start: int
    distance: float
    coil: float

    def window(self) -> range:
        """Minutes after the open in which this symbol's bars are neither missing, late nor revised."""
        return range(self.start - COIL, self.start + RUN + AFTER)


def plan(rng: np.random.Generator) -> tuple[Plant, ...]:
    """Three moves before the earliest last entry (13:00 in New York): up, up in a quiet stock, down."""
    return (
        Plant("AMD", 1, 85 + 5 * int(rng.integers(4)), 0.0125, 1.05),
        Plant("WMT", 1, 125 + 5 * int(rng.integers(4)), 0.0155, 1.05),
        Plant("ORCL", -1, 165 + 5 * int(rng.integers(4)), 0.0118, 1.12),
    )


def shape_returns(plant: Plant, rng: np.random.Generator, returns: Floats) -> None:
    """Write the plant into a session's log returns per minute, in place."""
    start, begin = plant.start, plant.start - COIL
    usual = float(np.std(returns[max(1, start - _BASELINE) : begin]))
    noise = np.diff(np.concatenate([[0.0], rng.standard_normal(COIL - 1), [0.0]]))
    noise *= plant.coil * usual / float(np.std(noise[-_RECENT:]))
    returns[begin:start] = noise + plant.direction * _DRIFT
    returns[start : start + RUN] = plant.direction * _STEPS * _stride(plant, returns[start - _MEAN : start])
    settle = returns[start + RUN : start + RUN + AFTER]
    settle[:] = rng.standard_normal(AFTER) * usual * 0.8 - plant.direction * 0.00015


def shape_volume(plant: Plant, rng: np.random.Generator, volume: Floats, usual: Floats) -> None:
    """Write the plant into a session's volume per minute, in place. ``usual`` is its smooth profile."""
    start, begin = plant.start, plant.start - COIL
    volume[begin:start] = usual[begin:start] * np.exp(0.12 * rng.standard_normal(COIL))
    volume[start : start + RUN] = usual[start : start + RUN] * _RUN_VOLUME
    fade = slice(start + RUN, start + RUN + AFTER)
    volume[fade] = usual[fade] * np.linspace(3.0, 1.0, AFTER)


def _stride(plant: Plant, before: Floats) -> float:
    """The size of one step with which the run ends ``distance`` from the mean of the last 20 closes."""
    levels = np.cumsum(before)[RUN:] - np.sum(before)  # log closes of the coil's last 15 bars

    def reached(stride: float) -> float:
        run = np.cumsum(plant.direction * _STEPS * stride)
        closes = np.exp(np.concatenate([levels, run]))
        return plant.direction * float(closes[-1] / np.mean(closes) - 1.0)

    low, high = 0.0, 0.05
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < plant.distance else (low, middle)
    return low
