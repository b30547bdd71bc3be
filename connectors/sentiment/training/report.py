"""How good a model is: F1 per class, confusion, and whether its probabilities come true."""

from typing import NamedTuple

import numpy as np

from tapedeck.connectors.sentiment.features import Ints
from tapedeck.connectors.sentiment.light import NEGATIVE, NEUTRAL, POSITIVE, Floats
from tapedeck.connectors.sentiment.scorer import LABEL_THRESHOLD

CLASSES = ("negative", "positive", "neutral")
_BINS = 10


class Bin(NamedTuple):
    """Texts whose confidence lies in one tenth: how many, how confident, how often right."""

    low: float
    texts: int
    confidence: float
    right: float


def labels_of(shares: Floats, threshold: float = LABEL_THRESHOLD) -> Ints:
    """The labels by the rule: the sign of p_pos - p_neg beyond the threshold, else neutral."""
    score = shares[:, POSITIVE] - shares[:, NEGATIVE]
    return np.where(score > threshold, POSITIVE, np.where(score < -threshold, NEGATIVE, NEUTRAL))


def confusion(true: Ints, told: Ints) -> Ints:
    """True label by told label, in counts."""
    return np.bincount(true * 3 + told, minlength=9).reshape(3, 3)


def f1_of(true: Ints, told: Ints) -> list[float]:
    """F1 per class: twice the hits over all that are or are told."""
    table = confusion(true, told)
    both = table.sum(axis=0) + table.sum(axis=1)
    return [2 * int(table[k, k]) / max(1, int(both[k])) for k in range(3)]


def macro_f1(true: Ints, told: Ints) -> float:
    """The mean of the classes' F1."""
    return sum(f1_of(true, told)) / 3


def reliability(true: Ints, shares: Floats) -> list[Bin]:
    """The tenths of confidence that any text is in."""
    confidence = shares.max(axis=1)
    right = shares.argmax(axis=1) == true
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    return [
        Bin(k / _BINS, int(here.sum()), float(confidence[here].mean()), float(right[here].mean()))
        for k in range(_BINS)
        if (here := place == k).any()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: |confidence - right|, weighted by texts."""
    return sum(each.texts * abs(each.confidence - each.right) for each in bins) / sum(b.texts for b in bins)


def in_words(title: str, true: Ints, shares: Floats) -> str:
    """The whole report of one set."""
    lines = [f"{title}: {len(true):,} texts"]
    for name, told in (("label", labels_of(shares)), ("most probable", shares.argmax(axis=1))):
        each = "  ".join(f"{k} {value:.4f}" for k, value in zip(CLASSES, f1_of(true, told), strict=True))
        lines.append(f"  by {name}: macro-F1 {macro_f1(true, told):.4f}  {each}")
    lines.append(f"  {'true, by label':>16}" + "".join(f"{name:>10}" for name in CLASSES))
    for name, row in zip(CLASSES, confusion(true, labels_of(shares)).tolist(), strict=True):
        lines.append(f"  {name:>16}" + "".join(f"{count:>10}" for count in row))
    bins = reliability(true, shares)
    lines.append(f"  reliability, expected calibration error {calibration_error(bins):.4f}")
    lines += [
        f"    {b.low:.1f}+ {b.texts:>6} texts  sure {b.confidence:.3f}  right {b.right:.3f}" for b in bins
    ]
    return "\n".join(lines)
