"""Softmax regression: the loss and its gradient in numba, L-BFGS in numpy. Convex, and without chance."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from tapedeck.connectors.sentiment.features import Ints
from tapedeck.connectors.sentiment.light import Floats, Rows

Loss = Callable[[Floats], tuple[float, Floats]]
_MEMORY = 10
_ENOUGH = 1e-4  # share of the slope by which a step must lower the loss
_SHORTEST = 1e-10


class Fitted(NamedTuple):
    """Weights, bucket by class, for the buckets that were met; ``bias`` per class."""

    buckets: Ints
    weights: Floats
    bias: Floats


@njit(cache=True)
def _loss_and_slope(  # type: ignore[no-untyped-def]  # noqa: PLR0917
    starts, bucket, value, weights, bias, label, importance, slope, bias_slope
):
    """The weighted log loss of all texts; adds to both slopes."""
    loss, z = 0.0, np.empty(3)
    for text in range(len(starts) - 1):
        z[:] = bias
        for at in range(starts[text], starts[text + 1]):
            for k in range(3):
                z[k] += value[at] * weights[bucket[at], k]
        top = max(z[0], z[1], z[2])
        total = 0.0
        for k in range(3):
            total += math.exp(z[k] - top)
        loss += importance[text] * (math.log(total) + top - z[label[text]])
        for k in range(3):
            z[k] = importance[text] * (math.exp(z[k] - top) / total - (label[text] == k))
            bias_slope[k] += z[k]
        for at in range(starts[text], starts[text + 1]):
            for k in range(3):
                slope[bucket[at], k] += value[at] * z[k]
    return loss


def fit(rows: Rows, labels: Ints, importance: Floats, decay: float, steps: int) -> Fitted:
    """The model that ``steps`` of L-BFGS reach from 0. ``importance``: per class; ``decay``: L2 per text."""
    buckets, place = np.unique(rows.bucket, return_inverse=True)
    starts = np.searchsorted(rows.text, np.arange(len(labels) + 1))
    weight = importance[labels] / importance[labels].sum()
    size = 3 * len(buckets)
    l2 = decay / len(labels)

    def loss(at: Floats) -> tuple[float, Floats]:
        weights = at[:size].reshape(-1, 3)
        slope, bias_slope = l2 * weights, np.zeros(3)
        told = _loss_and_slope(
            starts, place, rows.value, weights, at[size:], labels, weight, slope, bias_slope
        )
        return told + l2 / 2 * float((weights * weights).sum()), np.concatenate([slope.ravel(), bias_slope])

    found = minimum(loss, np.zeros(size + 3), steps)
    return Fitted(buckets, found[:size].reshape(-1, 3), found[size:])


def minimum(loss: Loss, start: Floats, steps: int) -> Floats:
    """Where L-BFGS with backtracking is after ``steps``, or where no step lowers ``loss`` any more."""
    at, (low, slope) = start, loss(start)
    memory: list[tuple[Floats, Floats, float]] = []
    for _ in range(steps):
        way = _way(slope, memory)
        falls, length = float(slope @ way), 1.0 if memory else 1 / max(1.0, float(np.linalg.norm(slope)))
        while True:
            there = at + length * way
            lower, new_slope = loss(there)
            if lower <= low + _ENOUGH * length * falls:
                break
            length /= 2
            if length < _SHORTEST:
                return at
        moved, turned = there - at, new_slope - slope
        if (curve := float(moved @ turned)) > 0:
            memory = [*memory[1 - _MEMORY :], (moved, turned, 1 / curve)]
        at, low, slope = there, lower, new_slope
    return at


def _way(slope: Floats, memory: list[tuple[Floats, Floats, float]]) -> Floats:
    """Down, by the two loops of L-BFGS (Nocedal and Wright, algorithm 7.4)."""
    way, shares = -slope, []
    for moved, turned, scale in reversed(memory):
        share = scale * float(moved @ way)
        shares.append(share)
        way = way - share * turned
    if memory:
        moved, turned, _ = memory[-1]
        way = way * float(moved @ turned) / float(turned @ turned)
    for (moved, turned, scale), share in zip(memory, reversed(shares), strict=True):
        way = way + (share - scale * float(turned @ way)) * moved
    return way
