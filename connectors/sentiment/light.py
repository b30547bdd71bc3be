"""The light engine: a linear softmax model over hashed n-grams and word classes, with numpy alone.

Each of a text's features has the weight of its rarity, each block of features the length 1, so that a long
text is not surer than a short one for its length. docs/sentiment.md has the model card.
"""

import zipfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapedeck.connectors.sentiment import words
from tapedeck.connectors.sentiment.features import STARTS, VERSION, Found, Ints, features_of
from tapedeck.connectors.sentiment.scorer import LABEL_THRESHOLD, PLACES, Mattered, Model, Score, scored
from tapedeck.connectors.sentiment.text import Tokens, tokens_of
from tapedeck.schemas.errors import Fatal

Floats = npt.NDArray[np.float64]

FILE = Path(__file__).with_name("light.npz")
MODEL_ID = "tapedeck-light-1"
NEGATIVE, POSITIVE, NEUTRAL = range(3)
"""The classes in the model's order, which is that of the training data."""
BLOCKS = len(STARTS) - 1
_FREE = 0.1  # beyond the margin, from where on a score is as it comes
_LONGEST = 3  # tokens of an n-gram that is told to have mattered
_TOLD_TOKENS = 120  # tokens of a text that are tried


class Weights(NamedTuple):
    """A model. ``rarity``: per bucket, 0 for one never met. ``weights``: bucket by class, in units of its
    block's ``units``. ``bias``: per class. The temperature is folded into the last two. ``margin``:
    by how much a side must be ahead of neutral to be told (``leaned``)."""

    rarity: npt.NDArray[np.float16]
    weights: npt.NDArray[np.int8]
    units: Floats
    bias: Floats
    margin: Floats

    def digest(self) -> str:
        """First 16 hex of SHA-256 over the numbers, the version of the features and the word list."""
        told = sha256(f"{VERSION}|{words.digest()}".encode())
        for array in self:
            told.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        return told.hexdigest()[:16]


class Rows(NamedTuple):
    """The features of some texts: ``text`` and ``bucket`` of each, by both, and its ``value``."""

    text: Ints
    bucket: Ints
    value: Floats


def rows_of(found: Found, texts: int, rarity: npt.NDArray[np.float16]) -> Rows:
    """The features that the model knows, each block of each of the ``texts`` scaled to length 1."""
    value = rarity[found.bucket].astype(np.float64)
    known = value > 0
    text, bucket, value = found.text[known], found.bucket[known], value[known]
    group = text * BLOCKS + block_of(bucket)
    length = np.sqrt(np.bincount(group, value * value, minlength=texts * BLOCKS))
    return Rows(text, bucket, value / length[group])


def block_of(bucket: Ints) -> Ints:
    """The block of each bucket."""
    return np.searchsorted(np.asarray(STARTS[1:]), bucket, side="right")


def logits(weights: Weights, texts: Sequence[Tokens]) -> Floats:
    """Text by class. Each text's sum runs over its own features in order, whatever stands beside it."""
    rows = rows_of(features_of(texts), len(texts), weights.rarity)
    scaled = rows.value * weights.units[block_of(rows.bucket)]
    sums = [np.bincount(rows.text, scaled * weights.weights[rows.bucket, k], len(texts)) for k in range(3)]
    return np.stack(sums, axis=1) + weights.bias


def softmax(values: Floats) -> Floats:
    """Probabilities of each row."""
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def leaned(shares: Floats, margin: float) -> Floats:
    """``shares`` with p_pos and p_neg brought together where p_neu is ahead of both; p_neu stays.

    What is left beside a likely neutral leans to one side by chance, and the domain's label asks for a score
    of 0.05 alone. So a score of 0.05 is the most where the likelier side is ``margin`` ahead of p_neu (below
    0: behind), less below that; a little above it nothing changes.
    """
    rest, by = shares[:, POSITIVE] + shares[:, NEGATIVE], shares[:, POSITIVE] - shares[:, NEGATIVE]
    ahead = shares[:, (POSITIVE, NEGATIVE)].max(axis=1) - shares[:, NEUTRAL] - margin
    most = np.interp(ahead, np.array([-1.0, 0.0, _FREE]), np.array([0.0, LABEL_THRESHOLD, 1.0]))
    less = np.clip(by, -most, most)
    told = shares.copy()
    told[:, POSITIVE], told[:, NEGATIVE] = (rest + less) / 2, (rest - less) / 2
    return told


@cache
def shipped() -> Weights:
    """The committed model. Raises Fatal where the file is not that of this release."""
    return read(FILE)


def read(path: Path) -> Weights:
    """A model file. Raises Fatal where it cannot be read or its features are of another version."""
    try:
        with np.load(path, allow_pickle=False) as found:
            version, model = int(found["version"]), Weights(*(found[name] for name in Weights._fields))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Fatal(
            f"the model of the light engine cannot be read: {error}",
            value=str(path),
            remedy='install tapedeck again, or set sentiment.engine = "lexicon"',
        ) from None
    if version != VERSION or model.rarity.shape != (STARTS[-1],) or model.weights.shape != (STARTS[-1], 3):
        raise Fatal(
            f"the model of the light engine is for features of version {version}, not {VERSION}",
            value=str(path),
            remedy="train it again: docs/sentiment.md",
        )
    return model


class Light:
    """The default engine."""

    def __init__(self, threshold: float = LABEL_THRESHOLD, weights: Weights | None = None) -> None:
        self._threshold = threshold
        self._weights = weights or shipped()
        self.model = Model("light", MODEL_ID, self._weights.digest())

    def score(self, texts: Sequence[str]) -> list[Score]:
        """A score per text, in order."""
        return [
            scored(row[POSITIVE], row[NEGATIVE], self.model, self._threshold)
            for row in self._shares([tokens_of(text) for text in texts]).tolist()
        ]

    def mattered(self, text: str, count: int) -> list[Mattered]:
        """The ``count`` n-grams without which the score would be the most another; they do not overlap."""
        tokens = tokens_of(text)
        spans = [
            (first, first + size)
            for size in range(1, _LONGEST + 1)
            for first in range(min(len(tokens.words), _TOLD_TOKENS) - size + 1)
        ]
        if not spans:
            return []
        shares = self._shares([tokens, *(_without(tokens, *span) for span in spans)])
        scores = shares[:, POSITIVE] - shares[:, NEGATIVE]
        moved = zip((scores[0] - scores[1:]).round(PLACES).tolist(), spans, strict=True)
        told: list[Mattered] = []
        taken: set[int] = set()
        for weight, (first, end) in sorted(moved, key=_importance):
            if weight and taken.isdisjoint(range(first, end)) and len(told) < count:
                taken.update(range(first, end))
                told.append(Mattered(" ".join(tokens.words[first:end]), weight))
        return told

    def _shares(self, tokens: Sequence[Tokens]) -> Floats:
        if not tokens:
            return np.empty((0, 3))
        return leaned(softmax(logits(self._weights, tokens)), float(self._weights.margin))


def _importance(each: tuple[float, tuple[int, int]]) -> tuple[float, tuple[int, int]]:
    """The largest first. A longer n-gram has to move more, or each would grow by words that do nothing."""
    weight, (first, end) = each
    return -abs(weight) / (end - first) ** 0.5, (first, end)


def _without(tokens: Tokens, first: int, end: int) -> Tokens:
    kept = [each for each in tokens.numbers if not first <= each.place < end]
    moved = [each if each.place < first else each._replace(place=each.place - (end - first)) for each in kept]
    return Tokens(tokens.words[:first] + tokens.words[end:], moved)
